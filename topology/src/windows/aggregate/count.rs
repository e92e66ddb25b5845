//! `count()`: how many records, whatever is in them.
//!
//! Called by [`Function`](super::Function). Invariant: it counts records that were accepted, each once.

pub(super) fn add(a: u64, b: u64) -> Option<u64> {
    a.checked_add(b)
}
