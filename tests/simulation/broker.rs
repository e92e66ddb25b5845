//! The fake cluster's logs and its transaction coordinator.
//!
//! Knows no group, no lane and no task. `world` sends it the requests of the lanes, in time or late, and writes its
//! control records one by one. The v1 protocol: the epoch moves only with InitProducerId and with a timeout.
//! Invariant: a record is open until the control record of its transaction stands in its own partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The producer identity that a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub id: usize,
    pub epoch: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// CONCURRENT_TRANSACTIONS: control records are still being written.
    Later,
    /// Another producer has this identity, or the epoch is old.
    Fenced,
    /// The request does not fit the transaction's state.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Open,
    Committed,
    Aborted,
    /// A control record: it takes an offset and nobody reads it.
    Control,
}

#[derive(Debug, PartialEq)]
pub struct Payload {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

pub struct Entry {
    pub producer: usize,
    pub fate: Fate,
    pub append_time: i64,
    pub payload: Option<Arc<Payload>>,
}

/// One partition of a topic that the stages write.
#[derive(Default)]
pub struct Log {
    pub topic: Arc<str>,
    pub partition: i32,
    pub entries: Vec<Entry>,
    epochs: BTreeMap<usize, u32>,
    sequences: BTreeMap<(usize, u32), u32>,
}

impl Log {
    pub fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// The last stable offset.
    pub fn stable_end(&self) -> i64 {
        let open = self.entries.iter().position(|e| e.fate == Fate::Open);
        open.unwrap_or(self.entries.len()) as i64
    }

    /// Committed records with their offsets.
    pub fn committed(&self) -> impl Iterator<Item = (i64, &Entry, &Arc<Payload>)> {
        let visible = |(at, e): (usize, &'_ Entry)| (e.fate == Fate::Committed).then_some(at);
        let offsets: Vec<usize> = self.entries.iter().enumerate().filter_map(visible).collect();
        offsets.into_iter().map(|at| {
            let e = &self.entries[at];
            (at as i64, e, e.payload.as_ref().expect("a committed record has a payload"))
        })
    }

    fn has_open(&self, id: usize) -> bool {
        self.entries.iter().any(|e| e.fate == Fate::Open && e.producer == id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Log(usize),
    Offsets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Empty,
    Ongoing,
    Prepare(bool),
    Complete(bool),
}

#[derive(Debug)]
pub struct Txn {
    pub epoch: u32,
    pub status: Status,
    pub parts: BTreeSet<Part>,
    /// Where the control record is not written yet.
    pub pending: BTreeSet<Part>,
}

/// Offsets of one transaction: input partition and next offset.
pub type Offsets = Vec<(i32, i64)>;

/// A Produce request.
#[derive(Clone)]
pub struct Produce {
    pub log: usize,
    pub sequence: u32,
    pub records: Vec<Arc<Payload>>,
}

pub struct Broker {
    pub logs: Vec<Log>,
    by_name: BTreeMap<(Arc<str>, i32), usize>,
    pub txns: Vec<Txn>,
    /// The group's committed offsets by input partition.
    pub offsets: BTreeMap<i32, i64>,
    /// Offsets of transactions that are not over, by transactional id.
    pub pending: BTreeMap<usize, Offsets>,
    /// KIP-890 part 1: the broker asks the coordinator before it opens a transaction on a partition.
    pub verify: bool,
}

impl Broker {
    pub fn new(ids: usize, verify: bool) -> Broker {
        let empty = || Txn { epoch: 0, status: Status::Empty, parts: BTreeSet::new(), pending: BTreeSet::new() };
        Broker {
            logs: Vec::new(),
            by_name: BTreeMap::new(),
            txns: (0..ids).map(|_| empty()).collect(),
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
            verify,
        }
    }

    /// The log of a partition, made when it is first named.
    pub fn log(&mut self, topic: &Arc<str>, partition: i32) -> usize {
        let logs = &mut self.logs;
        *self.by_name.entry((topic.clone(), partition)).or_insert_with(|| {
            logs.push(Log { topic: topic.clone(), partition, ..Log::default() });
            logs.len() - 1
        })
    }

    /// InitProducerId: settles what is open under the id, then bumps the epoch. None: ask again.
    pub fn init(&mut self, id: usize) -> Option<Producer> {
        let txn = &mut self.txns[id];
        match txn.status {
            Status::Ongoing => {
                self.time_out(id);
                None
            }
            Status::Prepare(_) => None,
            Status::Empty | Status::Complete(_) => {
                txn.epoch += 1;
                txn.status = Status::Empty;
                Some(Producer { id, epoch: txn.epoch })
            }
        }
    }

    /// The coordinator fences the producer and aborts what it has open.
    pub fn time_out(&mut self, id: usize) {
        self.txns[id].epoch += 1;
        self.prepare(id, false);
    }

    fn prepare(&mut self, id: usize, commit: bool) {
        let txn = &mut self.txns[id];
        txn.status = Status::Prepare(commit);
        txn.pending = txn.parts.clone();
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub fn add(&mut self, producer: Producer, part: Part) -> Answer {
        let txn = &mut self.txns[producer.id];
        if txn.epoch != producer.epoch {
            return Answer::Fenced;
        }
        match txn.status {
            Status::Prepare(_) => return Answer::Later,
            Status::Empty | Status::Complete(_) => txn.parts.clear(),
            Status::Ongoing => {}
        }
        txn.status = Status::Ongoing;
        txn.parts.insert(part);
        Answer::Done
    }

    /// Does the coordinator know this partition as part of the producer's transaction?
    fn verified(&self, producer: Producer, part: Part) -> bool {
        let txn = &self.txns[producer.id];
        let known = txn.epoch == producer.epoch && txn.status == Status::Ongoing && txn.parts.contains(&part);
        !self.verify || known
    }

    /// Appends the records; `Ok` gives the offset of the last.
    pub fn produce(&mut self, producer: Producer, request: &Produce, now: i64) -> Result<i64, Answer> {
        let opens = !self.logs[request.log].has_open(producer.id);
        if opens && !self.verified(producer, Part::Log(request.log)) {
            return Err(Answer::Refused);
        }
        let log = &mut self.logs[request.log];
        if log.epochs.get(&producer.id).is_some_and(|e| *e > producer.epoch) {
            return Err(Answer::Fenced);
        }
        log.epochs.insert(producer.id, producer.epoch);
        let expected = log.sequences.entry((producer.id, producer.epoch)).or_insert(0);
        if request.sequence > *expected {
            return Err(Answer::Refused);
        }
        if request.sequence == *expected {
            *expected += 1;
            log.entries.extend(request.records.iter().map(|p| Entry {
                producer: producer.id,
                fate: Fate::Open,
                append_time: now,
                payload: Some(p.clone()),
            }));
        }
        Ok(log.end() - 1)
    }

    /// TxnOffsetCommit, once the group has accepted member and generation.
    pub fn txn_offsets(&mut self, producer: Producer, offsets: &Offsets) -> Answer {
        if self.txns[producer.id].epoch != producer.epoch {
            return Answer::Fenced;
        }
        if !self.pending.contains_key(&producer.id) && !self.verified(producer, Part::Offsets) {
            return Answer::Refused;
        }
        let held = self.pending.entry(producer.id).or_default();
        held.retain(|(p, _)| offsets.iter().all(|(q, _)| p != q));
        held.extend(offsets);
        Answer::Done
    }

    /// EndTxn. One that finds its transaction complete is answered Ok: that is the hole of a late copy.
    pub fn end(&mut self, producer: Producer, commit: bool) -> Answer {
        let txn = &self.txns[producer.id];
        if txn.epoch != producer.epoch {
            return Answer::Fenced;
        }
        match txn.status {
            Status::Ongoing => {
                self.prepare(producer.id, commit);
                Answer::Done
            }
            Status::Prepare(is) if is == commit => Answer::Later,
            Status::Complete(is) if is == commit => Answer::Done,
            _ => Answer::Refused,
        }
    }

    /// Writes one control record.
    pub fn control(&mut self, id: usize, part: Part, now: i64) {
        let Status::Prepare(commit) = self.txns[id].status else { panic!("a control record without an end") };
        match part {
            Part::Log(at) => {
                let log = &mut self.logs[at];
                let fate = if commit { Fate::Committed } else { Fate::Aborted };
                for e in log.entries.iter_mut().filter(|e| e.fate == Fate::Open && e.producer == id) {
                    e.fate = fate;
                }
                log.entries.push(Entry { producer: id, fate: Fate::Control, append_time: now, payload: None });
                let epoch = log.epochs.entry(id).or_insert(0);
                *epoch = (*epoch).max(self.txns[id].epoch);
            }
            Part::Offsets => {
                let held = self.pending.remove(&id).unwrap_or_default();
                if commit {
                    self.offsets.extend(held);
                }
            }
        }
        let txn = &mut self.txns[id];
        txn.pending.remove(&part);
        if txn.pending.is_empty() {
            txn.status = Status::Complete(commit);
        }
    }

    /// Whether a stable read of this partition's committed offset must wait.
    pub fn offset_pending(&self, partition: i32) -> bool {
        self.pending.values().flatten().any(|(p, _)| *p == partition)
    }
}
