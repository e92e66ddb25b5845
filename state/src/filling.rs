//! What a rebuild has been given and no file holds yet: sorted when it is written, so that the store takes it as a file and sorts
//! nothing itself. It must not know files, nor RocksDB. The store uses it. The invariant: of a key that came twice, the last word
//! stands, a tombstone too.

use crate::{changes::Changes, prefetch};
use std::cmp::Ordering;

/// Of an entry beside its bytes: where it stands, and its place in the order, with what both lists have to spare.
const ENTRY: usize = 64;
/// So many entries before one is written, the processor is told to fetch it.
const AHEAD: usize = 16;

/// See the module. Its memory is kept for the next file.
#[derive(Default)]
pub(crate) struct Filling {
    waiting: Changes,
    order: Vec<Place>,
}

impl Filling {
    /// Takes these behind what is there; about how many bytes of memory the writing of all that waits will have taken.
    pub fn take(&mut self, changes: &Changes) -> usize {
        self.waiting.append(changes);
        self.waiting.bytes() + self.waiting.len() * ENTRY
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Calls `each` with every key once, in order, with its last value; `None` deletes it. Ends with the first error.
    pub fn sorted<E>(&mut self, each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        sorted(&self.waiting, &mut self.order, each)
    }
}

/// The same for any changes; `order` is kept for its memory.
pub(crate) fn sorted<E>(
    all: &Changes,
    order: &mut Vec<Place>,
    mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let shared = shared(all);
    order.clear();
    order.extend(all.iter().zip(0..).map(|((key, _), at)| Place::of(&key[shared..], at)));
    order.sort_unstable_by(|a, b| a.against(b, all).then_with(|| a.at.cmp(&b.at)));
    for (n, place) in order.iter().enumerate() {
        // What is side by side in the order lies anywhere in memory.
        if let Some(soon) = order.get(n + AHEAD) {
            all.prefetch(soon.at as usize);
        }
        if let Some(sooner) = order.get(n + AHEAD / 2) {
            prefetch::fetch(all.at(sooner.at as usize).0.as_ptr());
        }
        if order.get(n + 1).is_none_or(|next| next.against(place, all).is_ne()) {
            let (key, value) = all.at(place.at as usize);
            each(key, value)?;
        }
    }
    Ok(())
}

/// Where an entry goes: mostly its head says so, and what is compared lies side by side.
pub(crate) struct Place {
    /// The first bytes behind what all keys share, filled up with zeros.
    head: [u64; 2],
    /// How many bytes the key has there.
    rest: u32,
    at: u32,
}

/// Bytes of a head.
const HEAD: usize = 16;

impl Place {
    fn of(rest: &[u8], at: u32) -> Place {
        let mut head = [0; HEAD];
        let len = rest.len().min(HEAD);
        head[..len].copy_from_slice(&rest[..len]);
        let (high, low) = head.split_at(HEAD / 2);
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("half of sixteen bytes"));
        Place { head: [word(high), word(low)], rest: rest.len() as u32, at }
    }

    /// The order of the two keys.
    fn against(&self, other: &Place, all: &Changes) -> Ordering {
        self.head.cmp(&other.head).then_with(|| match self.rest.max(other.rest) as usize {
            // A head is filled up with what comes before every other byte: the shorter key is the first one.
            ..=HEAD => self.rest.cmp(&other.rest),
            _ => all.at(self.at as usize).0.cmp(all.at(other.at as usize).0),
        })
    }
}

/// How many bytes all keys begin with in common.
fn shared(all: &Changes) -> usize {
    let mut keys = all.iter().map(|(key, _)| key);
    let Some(first) = keys.next() else { return 0 };
    keys.fold(first.len(), |len, key| first[..len].iter().zip(key).take_while(|(a, b)| a == b).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sorted(filling: &mut Filling) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let told = filling.sorted(|key, value| {
            all.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok::<(), ()>(())
        });
        assert_eq!(told, Ok(()));
        all
    }

    #[test]
    fn the_last_word_of_a_key_stands() {
        let mut filling = Filling::default();
        let mut changes = Changes::new();
        for (key, value) in [(&b"b"[..], Some(&b"1"[..])), (b"a", Some(b"2")), (b"b", None), (b"", Some(b""))] {
            changes.push(key, value);
        }
        filling.take(&changes);
        changes.clear();
        changes.push(b"a", Some(b"3"));
        assert_eq!(filling.take(&changes), 7 + 5 * ENTRY);
        let want = [(b"".to_vec(), Some(b"".to_vec())), (b"a".to_vec(), Some(b"3".to_vec())), (b"b".to_vec(), None)];
        assert_eq!(sorted(&mut filling), want);
        assert!(!filling.is_empty());
        filling.clear();
        assert!(filling.is_empty() && sorted(&mut filling).is_empty());
    }

    #[test]
    fn an_error_ends_it() {
        let mut filling = Filling::default();
        let mut changes = Changes::new();
        changes.push(b"a", None);
        changes.push(b"b", None);
        filling.take(&changes);
        let mut seen = 0;
        let told = filling.sorted(|_, _| {
            seen += 1;
            Err(seen)
        });
        assert_eq!((told, seen), (Err(1), 1));
    }

    proptest! {
        /// Keys that share much, that end where others go on, with zeros where a head is filled up.
        #[test]
        fn the_order_is_that_of_the_bytes(
            start in 0usize..20,
            keys in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..24), 0..200),
        ) {
            let (mut filling, mut model) = (Filling::default(), BTreeMap::new());
            for (n, key) in keys.iter().enumerate() {
                let key = [&[7; 20][..start], key].concat();
                let value = (n % 5 > 0).then(|| n.to_string().into_bytes());
                let mut changes = Changes::new();
                changes.push(&key, value.as_deref());
                filling.take(&changes);
                model.insert(key, value);
            }
            prop_assert!(sorted(&mut filling).into_iter().eq(model));
        }
    }
}
