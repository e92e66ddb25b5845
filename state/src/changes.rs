//! What one seal changed, as bytes in one arena. It must not know what the bytes mean, nor where they go. Tables and id
//! sets fill it; the lane sends it to the changelog and a store applies it. The invariant: it is never altered between
//! the first sending and the apply, so the log and the store get the same bytes however often it was sent.

use crate::prefetch;

/// Changed entries in the order of their change: a key, and its new value or `None` for a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys and values, one behind the other.
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Where the key ends in the arena; it begins where the entry before it ends.
    key_end: usize,
    /// Where the value ends; equal to `key_end` for a tombstone, but also for an empty value.
    end: usize,
    tombstone: bool,
}

impl Changes {
    /// No changes.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Adds one entry; `None` deletes the key.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.push_with(|out| out.extend_from_slice(key), value.map(|v| |out: &mut Vec<u8>| out.extend_from_slice(v)));
    }

    /// Adds all entries of another, in their order.
    pub(crate) fn append(&mut self, other: &Changes) {
        let base = self.arena.len();
        self.arena.extend_from_slice(&other.arena);
        let moved = |e: &Entry| Entry { key_end: base + e.key_end, end: base + e.end, tombstone: e.tombstone };
        self.entries.extend(other.entries.iter().map(moved));
    }

    /// Adds one entry that is written straight into the arena. Returns the length of its value in bytes.
    pub(crate) fn push_with(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        value: Option<impl FnOnce(&mut Vec<u8>)>,
    ) -> usize {
        key(&mut self.arena);
        let key_end = self.arena.len();
        let tombstone = value.is_none();
        if let Some(write) = value {
            write(&mut self.arena);
        }
        let end = self.arena.len();
        self.entries.push(Entry { key_end, end, tombstone });
        end - key_end
    }

    /// Key and value of every entry, in the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + '_ {
        let mut start = 0;
        self.entries.iter().map(move |e| {
            let key = &self.arena[start..e.key_end];
            start = e.end;
            (key, (!e.tombstone).then(|| &self.arena[e.key_end..e.end]))
        })
    }

    /// Key and value of the entry that was pushed as the `at`-th, from 0.
    pub(crate) fn at(&self, at: usize) -> (&[u8], Option<&[u8]>) {
        let start = at.checked_sub(1).map_or(0, |before| self.entries[before].end);
        let e = &self.entries[at];
        (&self.arena[start..e.key_end], (!e.tombstone).then(|| &self.arena[e.key_end..e.end]))
    }

    /// Has the processor fetch what [`at`](Changes::at) reads first.
    pub(crate) fn prefetch(&self, at: usize) {
        prefetch::fetch(&raw const self.entries[at]);
    }

    /// How many entries, tombstones counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Forgets the entries and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_not_a_tombstone() {
        let mut changes = Changes::new();
        changes.push(b"a", Some(b"1"));
        changes.push(b"b", Some(b""));
        changes.push(b"c", None);
        changes.push(b"", Some(b"2"));
        let all: Vec<_> = changes.iter().collect();
        let want: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", Some(b"1")), (b"b", Some(b"")), (b"c", None), (b"", Some(b"2"))];
        assert_eq!(all, want);
        assert_eq!((changes.len(), changes.bytes(), changes.is_empty()), (4, 5, false));
        assert!(want.into_iter().eq((0..4).map(|at| changes.at(at))));
        let mut twice = changes.clone();
        twice.append(&changes);
        assert!(twice.iter().eq(changes.iter().chain(changes.iter())));
        changes.clear();
        assert_eq!(changes, Changes::new());
    }
}
