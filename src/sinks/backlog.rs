//! What one partition has to write: batches behind the position that the database has.
//!
//! Owned by a writer. Knows nothing of databases. Invariant: it holds every record from its position on, up to where it
//! ends, and takes no batch but the one that begins there.

use std::collections::VecDeque;
use std::time::Instant;
use tidemill_topology::{Batch, Record};

/// Bytes of one database transaction; a record above it goes alone.
const SLICE_BYTES: usize = 8 << 20;

pub struct Backlog {
    batches: VecDeque<Batch>,
    position: i64,
    end: i64,
    rows: usize,
    /// When the first batch that is not written came.
    since: Option<Instant>,
}

/// Records for one database transaction.
pub struct Slice<'a> {
    pub records: Vec<Record<'a>>,
    pub from: i64,
    pub next: i64,
}

impl Backlog {
    pub fn at(position: i64) -> Backlog {
        Backlog { batches: VecDeque::new(), position, end: position, rows: 0, since: None }
    }

    /// Takes a batch if it is the next one; another is of an earlier life of this partition.
    pub fn take(&mut self, batch: Batch, now: Instant) {
        if batch.from != self.end || batch.next == batch.from {
            return;
        }
        self.end = batch.next;
        self.rows += batch.len();
        self.since.get_or_insert(now);
        self.batches.push_back(batch);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Batch::bytes).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether everything from `position` on is here.
    pub fn reaches(&self, position: i64) -> bool {
        (self.position..=self.end).contains(&position)
    }

    /// The first `rows` records, or fewer if they are large.
    pub fn slice(&self, rows: usize) -> Slice<'_> {
        let mut records = Vec::with_capacity(rows.min(self.rows));
        let mut bytes = 0;
        for batch in &self.batches {
            for record in batch.iter().filter(|r| r.offset >= self.position) {
                let size = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
                if records.len() == rows || (bytes + size > SLICE_BYTES && !records.is_empty()) {
                    let next = records.last().map_or(self.position, |r: &Record<'_>| r.offset + 1);
                    return Slice { records, from: self.position, next };
                }
                bytes += size;
                records.push(record);
            }
        }
        Slice { records, from: self.position, next: self.end }
    }

    /// Everything before `position` is written.
    pub fn done(&mut self, position: i64, now: Instant) {
        self.position = position;
        while self.batches.front().is_some_and(|b| b.next <= position) {
            self.batches.pop_front();
        }
        let left = |b: &Batch| b.iter().filter(|r| r.offset >= position).count();
        self.rows = self.batches.iter().map(left).sum();
        self.since = (!self.batches.is_empty()).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(from: i64, offsets: &[i64], next: i64) -> Batch {
        let mut batch = Batch::new("t".into(), 0, 1, from);
        offsets.iter().for_each(|at| batch.push(*at, 0, None, Some(b"{}")));
        batch.next = next;
        batch
    }

    #[test]
    fn slices_are_cut_between_records_and_end_behind_control_records() {
        let now = Instant::now();
        let mut backlog = Backlog::at(10);
        backlog.take(batch(10, &[10, 12, 13], 14), now);
        backlog.take(batch(14, &[14], 17), now);
        backlog.take(batch(12, &[12], 13), now);
        assert_eq!(backlog.rows(), 4);
        let slice = backlog.slice(2);
        assert_eq!((slice.records.len(), slice.from, slice.next), (2, 10, 13));
        backlog.done(13, now);
        assert_eq!((backlog.rows(), backlog.reaches(17), backlog.reaches(12)), (2, true, false));
        let slice = backlog.slice(100);
        assert_eq!((slice.records.len(), slice.from, slice.next), (2, 13, 17));
        backlog.done(17, now);
        assert!(backlog.is_empty() && backlog.since().is_none());
    }
}
