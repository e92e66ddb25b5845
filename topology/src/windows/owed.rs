//! Which updates are owed, and when each is said: in rounds, first changed first.
//!
//! Called by a grouping's entries. Knows nothing of values: an entry's own flag says whether it still owes. Invariant: an
//! entry that owes stands in the queue once, or is ahead of the search and has not changed.

use super::scan::{EntryId, PLACE, Scan};
use std::collections::VecDeque;

pub(crate) struct Owed {
    /// In the order of their first change.
    queue: VecDeque<EntryId>,
    /// Memory of the queue.
    bytes: usize,
    /// So many at the front have their turn now; who comes behind them waits for the next round.
    round: usize,
    /// Wall clock of the seal that began the last round, ms.
    begun: Option<i64>,
    /// What the store owed when the task was opened.
    pub old: Scan,
}

impl Owed {
    pub fn new(old: Scan) -> Owed {
        Owed { queue: VecDeque::new(), bytes: 0, round: 0, begun: None, old }
    }

    pub fn push(&mut self, start: i64, key: &[u8]) {
        self.bytes += PLACE + key.len();
        self.queue.push_back((start, key.into()));
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.old.bytes()
    }

    /// Whether there is something to say, or to look for, at this wall time. With `0s` only what a seal has left over:
    /// the rest goes with whatever seal comes.
    pub fn is_due(&self, every: i64, now: i64) -> bool {
        self.round > 0 || !self.old.is_over() || (every > 0 && self.may_begin(every, now))
    }

    fn may_begin(&self, every: i64, now: i64) -> bool {
        // A clock that was set back must not silence a step.
        !self.queue.is_empty() && self.begun.is_none_or(|begun| now < begun || now - begun >= every)
    }

    /// Begins a round if the last one is over and it is time. True if a round is on.
    pub fn begin(&mut self, every: i64, now: i64) -> bool {
        if self.round == 0 && self.may_begin(every, now) {
            self.round = self.queue.len();
            self.begun = Some(now);
        }
        self.round > 0
    }

    /// An old update was said: that was the first round, if there has been none.
    pub fn began_with_old(&mut self, now: i64) {
        self.begun.get_or_insert(now);
    }

    /// The next one of this round.
    pub fn next(&mut self) -> Option<EntryId> {
        self.round = self.round.checked_sub(1)?;
        let next = self.queue.pop_front()?;
        self.bytes -= PLACE + next.1.len();
        Some(next)
    }
}
