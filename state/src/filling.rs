//! What a rebuild has been given and no file holds yet: sorted when it is written, so that the store takes it as a file and sorts
//! nothing itself. It must not know files, nor RocksDB. The store uses it. The invariant: of a key that came twice, the last word
//! stands, a tombstone too.

use crate::changes::Changes;

/// Of an entry beside its bytes: where it stands, its place in the order, and what the sort takes for that.
const ENTRY: usize = 80;

/// See the module.
#[derive(Default)]
pub(crate) struct Filling {
    waiting: Changes,
}

impl Filling {
    /// Takes these behind what is there; about how many bytes of memory the writing of all that waits will have taken.
    pub fn take(&mut self, changes: &Changes) -> usize {
        changes.iter().for_each(|(key, value)| self.waiting.push(key, value));
        self.waiting.bytes() + self.waiting.len() * ENTRY
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Every key once, in order, with its last value; `None` deletes it.
    pub fn sorted(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        let mut all: Vec<_> = self.waiting.iter().collect();
        // Stable, and backwards: of equal keys the last one comes first, and stays.
        all.reverse();
        all.sort_by_key(|(key, _)| *key);
        all.dedup_by_key(|(key, _)| *key);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let want: [(&[u8], Option<&[u8]>); 3] = [(b"", Some(b"")), (b"a", Some(b"3")), (b"b", None)];
        assert_eq!(filling.sorted(), want);
        assert!(!filling.is_empty() && Filling::default().sorted().is_empty());
    }
}
