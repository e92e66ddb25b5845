//! The bytes that end the plain part of a string, many at a time: quote, backslash, and what is below a blank.
//!
//! Called by the scanner for every string. Knows nothing of JSON beside these bytes. Invariant: both ways, that of x86-64 and
//! that of every machine, say the same; the tests hold them together.

#[cfg(target_arch = "x86_64")]
pub(super) use sse::{WIDTH, first};
#[cfg(not(target_arch = "x86_64"))]
pub(super) use words::{WIDTH, first};

/// SSE2, which every x86-64 has.
#[cfg(target_arch = "x86_64")]
mod sse {
    use std::arch::x86_64::*;

    /// Bytes at a time.
    pub(in super::super) const WIDTH: usize = 16;

    /// How many bytes stand in front of the first special one.
    #[inline(always)]
    pub(in super::super) fn first(chunk: &[u8; WIDTH]) -> usize {
        let both = u128::from_le_bytes(*chunk);
        // SAFETY: SSE2 is part of the architecture, and none of these touches memory.
        #[allow(unused_unsafe, reason = "safe from Rust 1.87 on, where the feature is known to be there")]
        let mask = unsafe {
            let bytes = _mm_set_epi64x((both >> 64) as i64, both as i64);
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
        };
        (mask | 1 << WIDTH).trailing_zeros() as usize
    }
}

/// Eight bytes in a word. In each byte, `(x - n) & !x & 0x80` is set where x < n (Mycroft's test); above the first such byte
/// it may be set wrongly, so only the first counts.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    pub(in super::super) const WIDTH: usize = 8;
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    #[inline(always)]
    pub(in super::super) fn first(chunk: &[u8; WIDTH]) -> usize {
        let word = u64::from_le_bytes(*chunk);
        let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        (((quote | backslash | below(word, b' ')) & HIGHS).trailing_zeros() / 8) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place, in front of other special bytes and alone.
    #[test]
    fn both_ways_find_the_first_special_byte() {
        for byte in 0..=255u8 {
            for place in 0..WIDTH {
                for behind in [b'x', b'"', 0x01, 0x80, 0xff] {
                    let mut chunk = [b'x'; WIDTH];
                    chunk[place] = byte;
                    chunk[place + 1..].fill(behind);
                    let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..b' ');
                    let wanted = chunk.iter().position(special).unwrap_or(WIDTH);
                    assert_eq!(first(&chunk), wanted, "{chunk:?}");
                    let word: [u8; words::WIDTH] = chunk[..words::WIDTH].try_into().unwrap();
                    assert_eq!(words::first(&word), wanted.min(words::WIDTH), "{word:?}");
                }
            }
        }
    }
}
