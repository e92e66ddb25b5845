//! How much is kept of an id's fingerprint, and the bytes of a segment of them. It must not know what a segment is for.
//! Id sets call it. The invariant: a segment that was ever written is read, or refused in words.

use crate::codec::CodecError;

/// Version of a segment's value: `[version][bytes of a fingerprint: 16, 10 or 8][fingerprints, big-endian]`. Of fewer than 16 it is
/// the low bits; a set that keeps fewer than a segment has takes what it needs of them.
pub(crate) const VERSION: u8 = 1;

/// How many bits of a fingerprint are kept. A collision takes a new id for one already seen. Among `n` ids of a bucket
/// the odds of any collision are about n²/2^(bits+1): for 20 million ids 1 in 10^24 (128 bits), 1 in 6·10^9 (80 bits),
/// 1 in 92 000 (64 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 128 bits, 16 bytes an id.
    Wide,
    /// The low 80 bits, 10 bytes an id. Segments of 16 bytes are read too: they were written before there were these.
    Close,
    /// The low 64 bits, 8 bytes an id: half the memory and half the log.
    Narrow,
}

impl Width {
    /// In the log.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Width::Wide => 16,
            Width::Close => size_of::<Close>(),
            Width::Narrow => 8,
        }
    }

    /// Whether a segment with so many bytes an id has what this width keeps.
    fn reads(self, bytes: usize) -> bool {
        bytes == self.bytes() || self == Width::Close && bytes == Width::Wide.bytes()
    }
}

/// The low 80 bits, little-endian.
pub(crate) type Close = [u8; 10];

pub(crate) fn low(fingerprint: u128) -> u64 {
    fingerprint as u64
}

pub(crate) fn close(fingerprint: u128) -> Close {
    let bytes = fingerprint.to_le_bytes();
    *bytes.first_chunk().expect("sixteen are more than ten")
}

pub(crate) fn pack(width: Width, ids: &[u128], out: &mut Vec<u8>) {
    out.reserve(2 + ids.len() * width.bytes());
    out.push(VERSION);
    out.push(width.bytes() as u8);
    for &id in ids {
        out.extend_from_slice(&id.to_be_bytes()[size_of::<u128>() - width.bytes()..]);
    }
}

pub(crate) fn unpack(width: Width, version: u8, body: &[u8], mut into: impl FnMut(u128)) -> Result<(), CodecError> {
    let malformed = |cause: String| CodecError::Malformed { version, cause };
    let (&stored, packed) = body.split_first().ok_or_else(|| malformed("no width".into()))?;
    let stored = stored as usize;
    if !width.reads(stored) {
        return Err(malformed(format!("fingerprints of {stored} bytes where {} are kept", width.bytes())));
    }
    if !packed.len().is_multiple_of(stored) {
        return Err(malformed(format!("{} bytes of fingerprints are no whole number of them", packed.len())));
    }
    for chunk in packed.chunks_exact(stored) {
        into(chunk.iter().fold(0, |id, &byte| id << 8 | u128::from(byte)));
    }
    Ok(())
}
