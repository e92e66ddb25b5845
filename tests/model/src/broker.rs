//! What the broker does with a request when it arrives: coordinator, data partition, offsets partition.
//!
//! Knows no client and no order of steps. The lanes call it for requests in time, `network` for those that come late.
//! Invariant: after a new epoch nothing sent under the old one has an effect.

use crate::config::Config;
use crate::state::{
    Entry, Fate, Late, Membership, Metadata, OFFSETS_PARTITION, Request, State, Status, TASKS, Txn, Work,
};
use crate::words::{Extra, Protection};

/// What the client reads out of an answer.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum Answer {
    Done,
    /// CONCURRENT_TRANSACTIONS: control records are still being written.
    Later,
    /// Generation or member are not the group's.
    GroupMoved,
    Invalid,
}

impl State {
    /// A new epoch: whatever carries the old one is fenced from here on, so it is dropped at once.
    fn new_epoch(&mut self, lane: usize) {
        self.lane[lane].current = false;
        self.txn[lane].seq = [0; TASKS];
        for late in &mut self.late {
            if late.lane as usize == lane && !matches!(late.request, Request::None | Request::InitProducerId) {
                *late = Late::default();
            }
        }
    }

    /// EndTxn.
    pub fn end(&mut self, lane: usize, commit: bool) -> Answer {
        let txn = &mut self.txn[lane];
        match (txn.status, commit) {
            (Status::Ongoing, _) => {
                txn.status = if commit { Status::PrepareCommit } else { Status::PrepareAbort };
                txn.unwritten = txn.added;
                if txn.unwritten == 0 {
                    txn.complete();
                }
                Answer::Done
            }
            (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => Answer::Later,
            (Status::CompleteCommit, true) | (Status::CompleteAbort, false) => Answer::Done,
            _ => Answer::Invalid,
        }
    }

    /// AddPartitionsToTxn, AddOffsetsToTxn.
    pub fn add(&mut self, lane: usize, partition: u8) -> Answer {
        let txn = &mut self.txn[lane];
        if txn.deciding() {
            return Answer::Later;
        }
        txn.status = Status::Ongoing;
        txn.added |= partition;
        Answer::Done
    }

    /// Produce: the position delivered, if it is accepted.
    pub fn produce(&mut self, c: &Config, lane: usize, task: usize, (seq, work): (u8, Work)) -> Option<u8> {
        let known = self.log[task].entries().iter().any(|e| e.lane as usize == lane && e.fate == Fate::Open);
        let txn = &mut self.txn[lane];
        // Verification asks the coordinator only where the partition itself knows of no open transaction.
        let open = known || (txn.status == Status::Ongoing && txn.added & (1 << task) != 0);
        if (c.keeps(Protection::Verify) && !open) || seq > txn.seq[task] {
            return None;
        }
        if seq < txn.seq[task] {
            // A duplicate: acknowledged as what was appended before.
            let before = self.log[task].entries().iter().rposition(|e| e.lane as usize == lane);
            return before.map(|at| at as u8);
        }
        txn.seq[task] += 1;
        Some(self.log[task].append(Entry { lane: lane as u8, fate: Fate::Open, work }))
    }

    /// TxnOffsetCommit.
    pub fn offsets(&mut self, c: &Config, lane: usize, metadata: Metadata, work: &[Work; TASKS]) -> Answer {
        let txn = &self.txn[lane];
        let known = txn.pending.iter().any(|p| p.to != 0);
        let added = txn.status == Status::Ongoing && txn.added & OFFSETS_PARTITION != 0;
        if c.keeps(Protection::Verify) && !known && !added {
            return Answer::Invalid;
        }
        // Generation -1 passes an empty group; without an instance id it passes any.
        let anybody = self.instance[..c.instances].iter().any(|x| x.member != Membership::No);
        let accepted = match metadata {
            Metadata::Current => true,
            Metadata::NoMember => !anybody || c.adds(Extra::Dynamic),
            Metadata::Outdated => false,
        };
        if !accepted {
            return Answer::GroupMoved;
        }
        for (pending, work) in self.txn[lane].pending.iter_mut().zip(work) {
            if work.to != 0 {
                *pending = Work { value: 0, ..*work };
            }
        }
        Answer::Done
    }

    /// InitProducerId; true when it is answered. An open transaction is aborted first, under a new epoch.
    pub fn init(&mut self, lane: usize) -> bool {
        match self.txn[lane].status {
            Status::Ongoing => {
                self.abort_by_broker(lane);
                false
            }
            Status::PrepareCommit | Status::PrepareAbort => false,
            _ => {
                self.new_epoch(lane);
                self.txn[lane].status = Status::Empty;
                true
            }
        }
    }

    /// The broker ends a transaction on its own: a timeout, or a new producer under the same id.
    pub fn abort_by_broker(&mut self, lane: usize) {
        self.new_epoch(lane);
        self.end(lane, false);
    }

    /// The control record of a decided transaction is written on one of its partitions.
    pub fn control_record(&mut self, lane: usize, partition: u8) {
        let commit = self.txn[lane].status == Status::PrepareCommit;
        if partition == OFFSETS_PARTITION {
            self.decide_offsets(lane, commit);
        } else {
            let fate = if commit { Fate::Committed } else { Fate::Aborted };
            let task = partition.trailing_zeros() as usize;
            for entry in self.log[task].entries_mut() {
                if entry.lane as usize == lane && entry.fate == Fate::Open {
                    entry.fate = fate;
                }
            }
        }
        let txn = &mut self.txn[lane];
        txn.unwritten &= !partition;
        if txn.unwritten == 0 {
            txn.complete();
        }
    }

    fn decide_offsets(&mut self, lane: usize, commit: bool) {
        for (task, pending) in self.txn[lane].pending.iter_mut().enumerate() {
            if pending.to != 0 && commit {
                self.misplaced |= pending.from != self.committed[task];
                self.committed[task] = pending.to;
            }
            *pending = Work::default();
        }
    }
}

impl Txn {
    fn complete(&mut self) {
        self.status = if self.status == Status::PrepareCommit { Status::CompleteCommit } else { Status::CompleteAbort };
        self.added = 0;
    }
}
