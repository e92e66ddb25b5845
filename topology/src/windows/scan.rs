//! The search for updates that a store owes, since before its task was opened or for want of memory, a slice a seal.
//!
//! Called by a grouping's entries: with each change while it lasts, and at a seal. Knows nothing of memory: whether an
//! entry still owes is not decided here. Invariant: what the store held at the start is looked at once; what has changed
//! since is left to the queue of owed updates, and a window that has closed is left to its end.

use super::cell::{self, Cell};
use std::collections::{BTreeMap, HashSet, VecDeque};
use tidemill_state::{
    StateId, StateStore, StoreError, codec,
    held::{self, KeyBytes},
    keys,
};

/// Start of its window, and key.
pub(crate) type EntryId = (i64, KeyBytes);

/// What is kept for a key of so many bytes: its place in a list that may have room for twice as many, and itself.
pub(super) fn kept(key: usize) -> usize {
    2 * size_of::<EntryId>() + held::outside(key)
}

/// How much one slice may look at and find. Shared by the groups of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Entries that may still be spoken of or removed.
    pub rows: usize,
    /// Entries, or windows without one, that may still be looked at.
    pub looks: usize,
}

#[derive(Debug)]
pub(crate) struct Scan {
    id: StateId,
    /// Windows that are not behind, ascending; the first one is begun.
    left: VecDeque<i64>,
    /// The last key looked at in the first of them.
    after: Option<Box<[u8]>>,
    /// Keys ahead that have changed, by window.
    changed: BTreeMap<i64, HashSet<KeyBytes, foldhash::fast::RandomState>>,
    /// Memory of those.
    bytes: usize,
}

impl Scan {
    pub fn new(id: StateId, starts: impl Iterator<Item = i64>) -> Scan {
        Scan { id, left: starts.collect(), after: None, changed: BTreeMap::new(), bytes: 0 }
    }

    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// An entry changes, so the search leaves it out from now on. True if it would have looked at it.
    pub fn leave(&mut self, start: i64, key: &[u8]) -> bool {
        let Some(first) = self.left.front() else { return false };
        let ahead = match *first == start {
            true => self.after.as_ref().is_none_or(|after| *key > **after),
            false => self.left.binary_search(&start).is_ok(),
        };
        if !ahead || self.changed.get(&start).is_some_and(|keys| keys.contains(key)) {
            return false;
        }
        self.bytes += kept(key.len());
        self.changed.entry(start).or_default().insert(KeyBytes::from_slice(key))
    }

    /// The first window has nothing left to look at.
    fn behind(&mut self) {
        self.after = None;
        let keys = self.left.pop_front().and_then(|start| self.changed.remove(&start));
        self.bytes -= keys.iter().flatten().map(|key| kept(key.len())).sum::<usize>();
    }

    /// Looks on and gives what the store says owes, in the order of windows and keys.
    pub fn slice(
        &mut self,
        store: &dyn StateStore,
        closed: impl Fn(i64) -> bool,
        room: &mut Room,
    ) -> Result<Vec<EntryId>, StoreError> {
        let mut found = Vec::new();
        while let Some(&start) = self.left.front() {
            if room.looks == 0 || found.len() == room.rows {
                break;
            }
            if closed(start) || self.window(store, start, room, &mut found)? {
                self.behind();
            }
            // A window costs a seek, so one that has nothing left is not free.
            room.looks = room.looks.saturating_sub(1);
        }
        Ok(found)
    }

    /// Looks on in one window; true at its end.
    fn window(
        &mut self,
        store: &dyn StateStore,
        start: i64,
        room: &mut Room,
        found: &mut Vec<EntryId>,
    ) -> Result<bool, StoreError> {
        let bucket = start as u64;
        let mut range = keys::bucket_range(self.id, bucket);
        if let Some(after) = &self.after {
            range.start.extend_from_slice(after);
            range.start.push(0);
        }
        let changed = self.changed.get(&start);
        let (mut ended, mut last, mut bad) = (true, None, None);
        store.scan(&range.start, &range.end, &mut |full, value| {
            if room.looks == 0 || found.len() == room.rows {
                ended = false;
                return false;
            }
            room.looks -= 1;
            let key = &full[keys::PREFIX..];
            match codec::decode::<Cell>(cell::VERSION, value) {
                Ok((_, cell)) if cell.owes && !changed.is_some_and(|keys| keys.contains(key)) => {
                    found.push((start, KeyBytes::from_slice(key)));
                }
                Ok(_) => {}
                Err(cause) => bad = Some(StoreError::Value { id: self.id, bucket, cause }),
            }
            let last: &mut Vec<u8> = last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
            bad.is_none()
        })?;
        if let Some(e) = bad {
            return Err(e);
        }
        self.after = last.map(Vec::into_boxed_slice).or(self.after.take());
        Ok(ended)
    }
}
