//! The shape of every record key: `[state id u16][bucket u64][rest]`, big-endian, so that byte order is the order of
//! (state, bucket, rest). It knows nothing of values. Tables, id sets, stores and the changelog call it.
//! The invariant: a published shape never changes, for the same bytes lie in changelogs and stores.

use std::ops::Range;

/// Names one state of a task; given to a name once and kept in the checkpoint's list. 0 is reserved for the
/// checkpoint's own key space, so states count from 1.
pub type StateId = u16;

/// Bytes before `rest`: two of state id, eight of bucket.
pub const PREFIX: usize = 10;

/// The changelog key of a task's checkpoint: state id 0, then a word. Never in a store's entries.
pub const CHECKPOINT_KEY: &[u8] = b"\0\0checkpoint";

/// Appends the key of (`id`, `bucket`, `rest`) to `out`. `bucket` is a window's start in ms, 0 where there are none.
pub fn key(id: StateId, bucket: u64, rest: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&bucket.to_be_bytes());
    out.extend_from_slice(rest);
}

/// Takes a key apart. `None` if it is shorter than a prefix or of state id 0, so the checkpoint's key gives `None`.
pub fn split(key: &[u8]) -> Option<(StateId, u64, &[u8])> {
    let (id, after) = key.split_first_chunk::<2>()?;
    let (bucket, rest) = after.split_first_chunk::<8>()?;
    let id = StateId::from_be_bytes(*id);
    (id != 0).then_some((id, u64::from_be_bytes(*bucket), rest))
}

/// All keys of one state, as a half-open range for [`StateStore::scan`](crate::StateStore::scan).
pub fn state_range(id: StateId) -> Range<Vec<u8>> {
    let mut from = Vec::with_capacity(PREFIX);
    key(id, 0, b"", &mut from);
    from..after_state(id)
}

/// All keys of one bucket of a state, as a half-open range.
pub fn bucket_range(id: StateId, bucket: u64) -> Range<Vec<u8>> {
    let mut from = Vec::with_capacity(PREFIX);
    key(id, bucket, b"", &mut from);
    from..after_bucket(id, bucket)
}

/// Every key that an entry may have: all states, without the checkpoint's key space.
pub fn all_states() -> Range<Vec<u8>> {
    vec![0, 1]..vec![0xff; PREFIX + 64]
}

fn after_bucket(id: StateId, bucket: u64) -> Vec<u8> {
    let Some(next) = bucket.checked_add(1) else { return after_state(id) };
    let mut to = Vec::with_capacity(PREFIX);
    key(id, next, b"", &mut to);
    to
}

/// The first key behind a state. The last id has no successor of two bytes: three bytes of 0xff and more bytes than a
/// prefix stand in, above every key whose bucket is a time.
fn after_state(id: StateId) -> Vec<u8> {
    match id.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        None => vec![0xff; PREFIX + 64],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(id: StateId, bucket: u64, rest: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        key(id, bucket, rest, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_key_comes_apart_as_it_was_put_together(id in 1u16.., bucket: u64, rest: Vec<u8>) {
            let key = made(id, bucket, &rest);
            prop_assert_eq!(split(&key), Some((id, bucket, &rest[..])));
        }

        #[test]
        fn byte_order_is_the_order_of_the_parts(a: (u16, u64, Vec<u8>), b: (u16, u64, Vec<u8>)) {
            prop_assert_eq!(made(a.0, a.1, &a.2).cmp(&made(b.0, b.1, &b.2)), a.cmp(&b));
        }

        #[test]
        fn a_bucket_range_holds_its_bucket_and_nothing_else(id in 1u16..0xffff, bucket: u64, other: u64, rest: Vec<u8>) {
            let range = bucket_range(id, bucket);
            prop_assert!(range.contains(&made(id, bucket, &rest)));
            prop_assert_eq!(range.contains(&made(id, other, &rest)), other == bucket);
            prop_assert!(!range.contains(&made(id + 1, bucket, &rest)));
            prop_assert!(state_range(id).contains(&made(id, bucket, &rest)));
            prop_assert!(!state_range(id).contains(&made(id + 1, 0, b"")));
            prop_assert!(all_states().contains(&made(id, bucket, &rest)));
        }
    }

    #[test]
    fn the_checkpoint_is_no_entry() {
        assert_eq!(split(CHECKPOINT_KEY), None);
        assert!(!all_states().contains(&CHECKPOINT_KEY.to_vec()));
        assert_eq!(split(b"\0\x01short"), None);
    }
}
