//! What keys take in memory, and what the allocator takes beside. It must not know what they stand for. Tables count by it, and what
//! else keeps keys. The invariant: what is counted is what is held, so that a budget made of such counts is kept.

use smallvec::SmallVec;

/// A key in memory: up to sixteen bytes lie where it is, longer ones behind a pointer.
pub type KeyBytes = SmallVec<[u8; INLINE]>;

const INLINE: usize = 16;

/// What an allocation costs beside what was asked for, bytes: glibc's header, and rounding up to sixteen.
pub const ALLOCATED: usize = 16;

/// Bytes that a key of this length holds outside of a [`KeyBytes`].
pub fn outside(length: usize) -> usize {
    if length > INLINE { length + ALLOCATED } else { 0 }
}
