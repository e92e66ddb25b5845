//! Bytes as text in JSON: base64 with padding, the standard alphabet (RFC 4648, section 4).
//!
//! Called by the JSON format alone. Invariant: four characters for every three bytes begun.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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
