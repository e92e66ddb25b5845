//! Bytes as text in JSON: base64 with padding, the standard alphabet (RFC 4648, section 4).
//!
//! Called by the JSON format, and for keys that a query names. Invariant: four characters for every three bytes begun.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes of a text; `None` if it is none of this alphabet, padding included.
pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            let digit = match chunk.get(at) {
                Some(digit) => ALPHABET.iter().position(|letter| letter == digit)? as u32,
                None => 0,
            };
            bits = bits << 6 | digit;
        }
        let bytes = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        out.extend_from_slice(bytes.get(..chunk.len().saturating_sub(1))?);
    }
    Some(out)
}

pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().zip([16, 8, 0]).fold(0u32, |n, (b, shift)| n | (*b as u32) << shift);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            // One byte fills two characters, two fill three.
            out.push(if i <= chunk.len() { ALPHABET[(bits >> shift) as usize & 63] } else { b'=' });
        }
    }
}
