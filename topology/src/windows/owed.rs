//! Which updates are owed, and when each is said: in rounds, first changed first.
//!
//! Called by a grouping's entries. Knows nothing of values: an entry's own flag says whether it still owes. Invariant: an entry that owes
//! stands in the queue once, or is ahead of the search, or had no room in the queue: then the next search comes through its window.

use super::scan::{EntryId, Scan, kept};
use std::collections::{BTreeSet, VecDeque};
use tidemill_state::{StateId, held::KeyBytes};

/// It may take so much in any case: a thousand keys.
const LEAST: usize = 64 << 10;

pub(crate) struct Owed {
    /// In the order of their first change.
    queue: VecDeque<EntryId>,
    /// Memory of the queue.
    bytes: usize,
    /// So many at the front have their turn now; who comes behind them waits for the next round.
    round: usize,
    /// Wall clock of the seal that began the last round, ms.
    begun: Option<i64>,
    /// What the store owed when the task was opened, or what had no room.
    pub search: Scan,
    id: StateId,
    /// Memory that the queue and the search may take.
    limit: usize,
    /// Windows of entries that had no room.
    beyond: BTreeSet<i64>,
    /// Such windows whose turn it is, once the store has what this seal carries; `None`: the seal that comes.
    awaited: Option<(BTreeSet<i64>, Option<u64>)>,
}

impl Owed {
    /// `windows`: those of the state `id` that may owe something of old.
    pub fn new(id: StateId, windows: impl Iterator<Item = i64>) -> Owed {
        let (queue, beyond, search) = (VecDeque::new(), BTreeSet::new(), Scan::new(id, windows));
        Owed { queue, bytes: 0, round: 0, begun: None, search, id, limit: usize::MAX, beyond, awaited: None }
    }

    /// From now on no more memory is taken than this. What has no room is said all the same, and may then come before its time.
    pub fn hold_to(&mut self, bytes: usize) {
        self.limit = bytes.max(LEAST);
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= self.limit
    }

    pub fn push(&mut self, start: i64, key: &[u8]) {
        let bytes = kept(key.len());
        if !self.has_room(bytes) {
            self.beyond.insert(start);
            return;
        }
        self.bytes += bytes;
        self.queue.push_back((start, KeyBytes::from_slice(key)));
    }

    /// An entry changes that owes from now on: the search leaves it to the queue. True if it would have looked at it; where there is no room
    /// for that, it does.
    pub fn leave(&mut self, start: i64, key: &[u8]) -> bool {
        self.has_room(2 * kept(key.len())) && self.search.leave(start, key)
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.search.bytes()
    }

    /// Whether there is something to say, or to look for, at this wall time. With `0s` only what a seal has left over:
    /// the rest goes with whatever seal comes.
    pub fn is_due(&self, every: i64, now: i64) -> bool {
        let left_over = every > 0 || self.may_search();
        self.round > 0 || !self.search.is_over() || (left_over && self.may_begin(every, now))
    }

    /// Whether something had no room, and no search is on.
    fn may_search(&self) -> bool {
        !self.beyond.is_empty() && self.awaited.is_none() && self.search.is_over()
    }

    fn may_begin(&self, every: i64, now: i64) -> bool {
        // A clock that was set back must not silence a step.
        let waits = !self.queue.is_empty() || self.may_search();
        waits && self.begun.is_none_or(|begun| now < begun || now - begun >= every)
    }

    /// Begins a round if the last one is over and it is time. True if a round is on.
    pub fn begin(&mut self, every: i64, now: i64) -> bool {
        if self.round == 0 && self.may_begin(every, now) {
            self.round = self.queue.len();
            self.begun = Some(now);
            if self.may_search() {
                self.awaited = Some((std::mem::take(&mut self.beyond), None));
            }
        }
        self.round > 0
    }

    /// A seal carries every change so far.
    pub fn sealed(&mut self, sequence: u64) {
        if let Some((_, seal)) = &mut self.awaited {
            seal.get_or_insert(sequence);
        }
    }

    /// The store has what this seal carried.
    pub fn applied(&mut self, sequence: u64) {
        if let Some((windows, _)) = self.awaited.take_if(|(_, seal)| seal.is_some_and(|seal| seal <= sequence)) {
            self.search = Scan::new(self.id, windows.into_iter());
        }
    }

    /// A found update was said: that was the first round, if there has been none.
    pub fn began_with_found(&mut self, now: i64) {
        self.begun.get_or_insert(now);
    }

    /// The next one of this round.
    pub fn next(&mut self) -> Option<EntryId> {
        self.round = self.round.checked_sub(1)?;
        let next = self.queue.pop_front()?;
        self.bytes -= kept(next.1.len());
        Some(next)
    }
}
