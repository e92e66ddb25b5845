//! Records as the engine sees them: a batch is one buffer and offsets into it.
//!
//! Made by the Kafka edge, by the tester and by tests; read by [`Task`](crate::Task). Knows nothing of formats.
//! Invariant: records stand in offset order, and a batch says where it begins and where the next one must.

use std::ops::Range;
use std::sync::Arc;

/// A run of records of one input partition, in offset order, possibly empty.
///
/// `from` is the position that the receiver must stand at; `next` is its position afterwards. Offsets need not be
/// contiguous (control records and compaction leave holes), which is why both are said and neither is derived.
/// An empty batch moves the position over control records at the end of a partition.
#[derive(Debug, Clone)]
pub struct Batch {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Number of the assignment under which it was read (never used twice in a process).
    pub assignment: u64,
    pub from: i64,
    pub next: i64,
    /// Wall clock at arrival, ms since 1970.
    pub arrived: i64,
    /// Whether the partition ended behind it, when it was read.
    pub at_end: bool,
    buf: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<HeaderSlot>,
}

#[derive(Debug, Clone)]
struct Slot {
    offset: i64,
    timestamp: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

#[derive(Debug, Clone)]
struct HeaderSlot {
    name: Range<u32>,
    value: Option<Range<u32>>,
}

/// One record, borrowed from its batch. Absent and empty are different: a `None` value is a tombstone.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub offset: i64,
    /// ms since 1970, as the broker gave it; -1 when it has none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of one record, in their order; names may repeat.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    buf: &'a [u8],
    slots: &'a [HeaderSlot],
}

impl Batch {
    /// An empty batch that begins at `from`.
    pub fn new(topic: Arc<str>, partition: i32, assignment: u64, from: i64) -> Batch {
        Batch {
            topic,
            partition,
            assignment,
            from,
            next: from,
            arrived: 0,
            at_end: false,
            buf: Vec::new(),
            slots: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Room for so many records more, of so many bytes in all. Nothing but a hint.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.slots.reserve(records);
        self.buf.reserve(bytes);
    }

    /// Adds one record; its headers follow through [`Batch::push_header`]. Moves `next` behind it.
    pub fn push(&mut self, offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        debug_assert!(offset >= self.next, "records come in offset order");
        let key = key.map(|b| self.keep(b));
        let value = value.map(|b| self.keep(b));
        let at = self.headers.len() as u32;
        self.slots.push(Slot { offset, timestamp, key, value, headers: at..at });
        self.next = offset + 1;
    }

    /// Adds a header to the record pushed last.
    pub fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let name = self.keep(name);
        let value = value.map(|b| self.keep(b));
        self.headers.push(HeaderSlot { name, value });
        if let Some(slot) = self.slots.last_mut() {
            slot.headers.end = self.headers.len() as u32;
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.buf.len() as u32;
        self.buf.extend_from_slice(bytes);
        start..self.buf.len() as u32
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The timestamp of the last record, ms since 1970.
    pub fn newest(&self) -> Option<i64> {
        self.slots.last().map(|s| s.timestamp)
    }

    /// Whether any record has a header.
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// The headers of this name, each with its place among all of the batch. Looks at no record.
    pub(crate) fn headers_named<const N: usize>(
        &self,
        name: &'static [u8; N],
    ) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        // Most names differ in their length, which costs nothing to see.
        let named = |h: &HeaderSlot| {
            let start = h.name.start as usize;
            h.name.end as usize == start + N && self.buf[start..].first_chunk() == Some(name)
        };
        let of = |range: &Range<u32>| &self.buf[range.start as usize..range.end as usize];
        let named = self.headers.iter().enumerate().filter(move |(_, h)| named(h));
        named.map(move |(at, h)| (at, h.value.as_ref().map(of)))
    }

    /// The place of the record that has the header at this place.
    pub(crate) fn owner(&self, header: usize) -> usize {
        self.slots.partition_point(|slot| slot.headers.end as usize <= header)
    }

    /// Bytes held: keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.slots.iter().map(|s| self.record(s))
    }

    /// The record at this place in the batch.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.slots.get(index).map(|s| self.record(s))
    }

    /// The value of the record at this place; `None` where there is none.
    pub(crate) fn value(&self, index: usize) -> Option<&[u8]> {
        let range = self.slots.get(index)?.value.as_ref()?;
        Some(&self.buf[range.start as usize..range.end as usize])
    }

    fn record(&self, s: &Slot) -> Record<'_> {
        Record {
            offset: s.offset,
            timestamp: s.timestamp,
            key: s.key.as_ref().map(|r| &self.buf[r.start as usize..r.end as usize]),
            value: s.value.as_ref().map(|r| &self.buf[r.start as usize..r.end as usize]),
            headers: Headers { buf: &self.buf, slots: &self.headers[s.headers.start as usize..s.headers.end as usize] },
        }
    }
}

impl<'a> Headers<'a> {
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let buf = self.buf;
        self.slots.iter().map(move |h| {
            (
                &buf[h.name.start as usize..h.name.end as usize],
                h.value.as_ref().map(|r| &buf[r.start as usize..r.end as usize]),
            )
        })
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_pushed() {
        let mut b = Batch::new("t".into(), 3, 1, 10);
        b.push(12, 99, Some(b"k"), None);
        b.push(15, 100, None, Some(b""));
        b.push_header(b"h", Some(b"1"));
        b.push_header(b"h", None);
        assert_eq!((b.from, b.next, b.len()), (10, 16, 2));
        let all: Vec<_> = b.iter().collect();
        assert_eq!((all[0].offset, all[0].key, all[0].value), (12, Some(&b"k"[..]), None));
        assert_eq!((all[1].key, all[1].value), (None, Some(&b""[..])));
        assert!(all[0].headers.is_empty());
        let headers: Vec<_> = all[1].headers.iter().collect();
        assert_eq!(headers, vec![(&b"h"[..], Some(&b"1"[..])), (&b"h"[..], None)]);
    }
}
