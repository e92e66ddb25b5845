//! What a task hands over for one transaction, as plain values.
//!
//! Made by [`Task::seal`](crate::Task), sent by whoever commits, sent again unchanged after an abort.
//! Invariant: sealed values never change; committed, aborted or dropped, they are the same bytes.

use crate::checkpoint::Checkpoint;
use crate::trace::{Context, Emitted, TRACEPARENT};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tidemill_state::Changes;

/// One stage on one input partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub stage: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TaskId {
    /// The name of its folder under the state directory.
    pub fn folder(&self) -> String {
        format!("{}-{}-{}", self.stage, self.topic, self.partition)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stage, self.topic, self.partition)
    }
}

/// What one task gives to one transaction.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub task: TaskId,
    /// Number of the assignment under which the work began; only an equal one may commit it.
    pub assignment: u64,
    pub sequence: u64,
    /// Outputs and dead letters, in the order in which they are to be sent.
    pub outputs: Outputs,
    /// Changed entries, byte for byte as they go to the changelog and then to the store.
    pub changes: Changes,
    /// What the state stands for afterwards: `checkpoint.positions` are the next offsets to commit.
    pub checkpoint: Checkpoint,
    /// Name of the changelog topic; none for a stage without state. The partition is the task's.
    pub changelog: Option<Arc<str>>,
    /// The results that carry a trace context, for whoever makes spans of them once they are committed.
    pub traces: Vec<Emitted>,
}

impl Sealed {
    /// Bytes that the transaction will carry for this task, keys and values.
    pub fn bytes(&self) -> usize {
        self.outputs.bytes() + self.changes.bytes()
    }
}

/// An arena of records to be produced.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    buf: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<(Range<u32>, Option<Range<u32>>)>,
    /// What the results that are being added carry.
    context: Option<Context>,
}

#[derive(Debug, Clone)]
struct Slot {
    topic: Arc<str>,
    partition: Option<i32>,
    timestamp: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

/// One record to be produced.
#[derive(Debug)]
pub struct OutRecord<'a> {
    pub topic: &'a Arc<str>,
    /// `None`: by the key, with the partitioner of the Java clients (murmur2).
    pub partition: Option<i32>,
    /// ms since 1970, at least 1 (librdkafka takes 0 for "now").
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl Outputs {
    /// Adds one record; its headers follow through [`Outputs::push_header`].
    pub fn push(&mut self, to: (&Arc<str>, Option<i32>), timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = key.map(|b| self.keep(b));
        let value = value.map(|b| self.keep(b));
        let at = self.headers.len() as u32;
        let (topic, partition) = (to.0.clone(), to.1);
        self.slots.push(Slot { topic, partition, timestamp: timestamp.max(1), key, value, headers: at..at });
    }

    /// Adds a header to the record pushed last.
    pub fn push_header(&mut self, name: &str, value: Option<&[u8]>) {
        let name = self.keep(name.as_bytes());
        let value = value.map(|b| self.keep(b));
        self.headers.push((name, value));
        if let Some(slot) = self.slots.last_mut() {
            slot.headers.end = self.headers.len() as u32;
        }
    }

    /// The context that results carry from now on.
    pub(crate) fn carry(&mut self, context: Option<Context>) {
        self.context = context;
    }

    /// Adds that context to the record pushed last.
    pub(crate) fn push_context(&mut self) {
        if let Some(context) = self.context {
            self.push_header(TRACEPARENT, Some(&context.text()));
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.buf.len() as u32;
        self.buf.extend_from_slice(bytes);
        start..self.buf.len() as u32
    }

    fn at(&self, r: &Range<u32>) -> &[u8] {
        &self.buf[r.start as usize..r.end as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = OutRecord<'_>> {
        self.slots.iter().map(|s| OutRecord {
            topic: &s.topic,
            partition: s.partition,
            timestamp: s.timestamp,
            key: s.key.as_ref().map(|r| self.at(r)),
            value: s.value.as_ref().map(|r| self.at(r)),
            headers: self.headers[s.headers.start as usize..s.headers.end as usize]
                .iter()
                .map(|(n, v)| (str::from_utf8(self.at(n)).unwrap_or(""), v.as_ref().map(|r| self.at(r))))
                .collect(),
        })
    }

    /// Topic and key of every record, in order.
    pub fn keys(&self) -> impl Iterator<Item = (&Arc<str>, Option<&[u8]>)> {
        self.slots.iter().map(|s| (&s.topic, s.key.as_ref().map(|r| self.at(r))))
    }

    /// Topic and timestamp (ms since 1970) of every record, in order.
    pub fn times(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.slots.iter().map(|s| (&s.topic, s.timestamp))
    }

    /// Where the arena stands; [`Outputs::truncate`] goes back to it, so that a record which fails leaves nothing.
    pub fn mark(&self) -> (usize, usize, usize) {
        (self.buf.len(), self.slots.len(), self.headers.len())
    }

    pub fn truncate(&mut self, mark: (usize, usize, usize)) {
        self.buf.truncate(mark.0);
        self.slots.truncate(mark.1);
        self.headers.truncate(mark.2);
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.buf.len()
    }
}
