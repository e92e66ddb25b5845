//! A set of ids, for dedupe and exact distinct counts: fingerprints in buckets, all in memory; in the log one segment
//! record a bucket and seal, with the ids that were new. It must not know what an id is. Operators call it. The
//! invariant: the segments of a bucket, read together, are exactly the ids that were sealed.

use crate::{
    Changes, StateId, StateStore, StoreError, View,
    buckets::Dead,
    codec::{self, CodecError},
    ids::Ids,
    keys,
    prints::{Close, VERSION, Width, close, low, pack, unpack},
    room::{IdRoom, Share},
};
use std::collections::VecDeque;

/// Ids in one segment at most. 512 KiB at full width: half of what a broker takes by default.
const SEGMENT: usize = 32_768;

/// The 128-bit fingerprint of an id: xxh3, whose definition is published and fixed. Not for secrets.
pub fn fingerprint(id: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(id)
}

/// What an id set is; part of the shape of the state, but for the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdShape {
    /// Bits kept of each fingerprint.
    pub width: Width,
    /// Ids held at most, over all buckets; one more drops the oldest bucket, and so does a room that is full, of sets
    /// with more than their fair share of it. `usize::MAX`: nothing is dropped, and the caller asks whether there is room.
    pub at_most: usize,
}

/// Fingerprints in buckets.
pub struct IdSet {
    id: StateId,
    shape: IdShape,
    /// Ascending; mostly one or two, and the last one is the one that is asked for.
    buckets: Vec<(u64, Bucket)>,
    total: usize,
    share: Share,
    dropped: u64,
    /// Segments of dropped buckets that still need a tombstone.
    dying: VecDeque<(u64, Segment)>,
    dead: Dead,
}

struct Bucket {
    ids: Prints,
    /// In the set, in no segment yet.
    fresh: Vec<u128>,
    segments: Vec<Segment>,
    /// Bytes that the room knows of.
    counted: usize,
}

enum Prints {
    Wide(Ids<u128>),
    Close(Ids<Close>),
    Narrow(Ids<u64>),
}

/// Names a segment within its bucket: the seal that wrote it, and which part of what that seal had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    sequence: u64,
    part: u16,
}

impl IdSet {
    /// An empty set for state `id` (1 or more), which may take what memory it likes.
    pub fn new(id: StateId, shape: IdShape) -> IdSet {
        IdSet::within(id, shape, &IdRoom::default())
    }

    /// The set as `store` holds it: loads every segment.
    pub fn open(id: StateId, shape: IdShape, store: &dyn StateStore) -> Result<IdSet, StoreError> {
        IdSet::open_within(id, shape, &IdRoom::default(), store)
    }

    fn within(id: StateId, shape: IdShape, room: &IdRoom) -> IdSet {
        debug_assert_ne!(id, 0, "0 is reserved");
        let (buckets, dying) = (Vec::new(), VecDeque::new());
        IdSet { id, shape, buckets, total: 0, share: Share::of(room), dropped: 0, dying, dead: Dead::default() }
    }

    /// The same in a room that it shares with others. A bound that has become smaller drops the oldest buckets, on the
    /// way: no more is loaded than may stay.
    pub fn open_within(
        id: StateId,
        shape: IdShape,
        room: &IdRoom,
        store: &dyn StateStore,
    ) -> Result<IdSet, StoreError> {
        let mut set = IdSet::within(id, shape, room);
        let mut failed = None;
        let range = keys::state_range(id);
        store.scan(&range.start, &range.end, &mut |key, value| {
            let Some((_, bucket, rest)) = keys::split(key) else { return true };
            match set.load(bucket, rest, value) {
                Ok(()) => true,
                Err(cause) => {
                    failed = Some(StoreError::Value { id, bucket, cause });
                    false
                }
            }
        })?;
        match failed {
            Some(e) => Err(e),
            None => Ok(set),
        }
    }

    /// The ids of one bucket as a view holds them, of narrow ones the low 64 bits; `each` answers whether to go on.
    /// For who has no set of its own.
    pub fn read(
        view: &dyn View,
        (id, bucket): (StateId, u64),
        width: Width,
        each: &mut dyn FnMut(u128) -> bool,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        let range = keys::bucket_range(id, bucket);
        view.scan(&range.start, &range.end, &mut |_, value| {
            let mut go_on = true;
            let read = codec::decode_versioned(VERSION, value, |version, body| {
                unpack(width, version, body, |print| go_on = go_on && each(print))
            });
            failed = read.err().map(|cause| StoreError::Value { id, bucket, cause });
            go_on && failed.is_none()
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Adds a fingerprint; whether it was new to its bucket. Past the bound the oldest bucket is dropped, even this one.
    pub fn insert(&mut self, bucket: u64, fingerprint: u128) -> bool {
        let at = match self.find(bucket) {
            Ok(at) => at,
            Err(at) => {
                self.dead.revive(bucket);
                self.buckets.insert(at, (bucket, Bucket::new(self.shape.width)));
                at
            }
        };
        let (_, held) = &mut self.buckets[at];
        let new = held.ids.insert(fingerprint);
        if new {
            held.fresh.push(fingerprint);
            self.total += 1;
            held.count(&mut self.share);
            self.keep_bound();
        }
        new
    }

    /// Whether there is room for one more id: neither the bound nor the memory that it shares is used up.
    pub fn has_room(&self, at_most: usize) -> bool {
        self.total < at_most && !self.share.is_full()
    }

    /// Whether `bucket` holds the fingerprint.
    pub fn contains(&self, bucket: u64, fingerprint: u128) -> bool {
        self.bucket(bucket).is_some_and(|held| held.ids.contains(fingerprint))
    }

    /// Whether a bucket from `oldest` on holds the fingerprint; newest looked at first.
    pub fn contains_since(&self, oldest: u64, fingerprint: u128) -> bool {
        for (bucket, held) in self.buckets.iter().rev() {
            if *bucket < oldest {
                return false;
            }
            if held.ids.contains(fingerprint) {
                return true;
            }
        }
        false
    }

    /// Fetches what [`IdSet::contains_since`] will read for these fingerprints: together, for each alone is waited for.
    pub fn prefetch_since(&self, oldest: u64, fingerprints: &[u128]) {
        for (_, held) in self.buckets.iter().rev().take_while(|(bucket, _)| *bucket >= oldest) {
            held.ids.touch(fingerprints);
        }
    }

    /// The same for [`IdSet::insert`] and [`IdSet::contains`].
    #[inline]
    pub fn prefetch(&self, bucket: u64, fingerprint: u128) {
        if let Some(held) = self.bucket(bucket) {
            held.ids.prefetch(fingerprint);
        }
    }

    /// Every id of `bucket`, in no order; of those that memory has in part, the low bits.
    pub fn each(&self, bucket: u64, mut each: impl FnMut(u128)) {
        match self.bucket(bucket).map(|held| &held.ids) {
            Some(Prints::Wide(ids)) => ids.each(&mut each),
            Some(Prints::Close(ids)) => ids.each(|id| {
                each(id.iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte)));
            }),
            Some(Prints::Narrow(ids)) => ids.each(|id| each(u128::from(id))),
            None => {}
        }
    }

    /// How many ids `bucket` holds.
    pub fn len(&self, bucket: u64) -> usize {
        self.bucket(bucket).map_or(0, |held| held.ids.len())
    }

    /// Whether the set holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Ids over all buckets.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The memory held, in bytes: ids, and what is on its way to the log.
    pub fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Bytes that the next seal writes.
    pub fn pending_bytes(&self) -> usize {
        self.buckets.iter().map(|(_, held)| held.fresh.len()).sum::<usize>() * self.shape.width.bytes()
    }

    /// Whether the next seal has ids to write.
    pub fn is_dirty(&self) -> bool {
        self.buckets.iter().any(|(_, held)| !held.fresh.is_empty())
    }

    /// The oldest bucket held.
    pub fn oldest(&self) -> Option<u64> {
        self.buckets.first().map(|(bucket, _)| *bucket)
    }

    /// Buckets dropped for the bound since the set was made: each is a span in which a duplicate may pass.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a segment for every bucket with new ids (several if they are many). `sequence` names them and is never
    /// used twice for a set, restarts included.
    pub fn seal(&mut self, sequence: u64, out: &mut Changes) {
        for (bucket, held) in &mut self.buckets {
            let bucket = *bucket;
            for (part, ids) in held.fresh.chunks(SEGMENT).enumerate() {
                let part = u16::try_from(part).expect("2^31 ids do not come between two seals");
                let segment = Segment { sequence, part };
                held.segments.push(segment);
                let value = |arena: &mut Vec<u8>| pack(self.shape.width, ids, arena);
                out.push_with(|arena| segment.key(self.id, bucket, arena), Some(value));
            }
            held.fresh.clear();
            // A burst must not keep its memory for the life of the bucket.
            held.fresh.shrink_to(SEGMENT);
            held.count(&mut self.share);
        }
        self.dead.seal(sequence);
    }

    /// Forgets the buckets below `bucket` at once, and writes tombstones for their segments and for those of buckets
    /// dropped for the bound: at most `limit`; returns how many. Fewer than `limit`: nothing is left to write. To be
    /// called once a transaction, before its seal.
    pub fn expire_before(&mut self, bucket: u64, limit: usize, out: &mut Changes) -> usize {
        while self.oldest().is_some_and(|oldest| oldest < bucket) {
            self.drop_oldest();
        }
        let mut written = 0;
        while written < limit {
            let Some((of, segment)) = self.dying.pop_front() else { break };
            out.push_with(|arena| segment.key(self.id, of, arena), None::<fn(&mut Vec<u8>)>);
            written += 1;
            let last = self.dying.front().is_none_or(|(next, _)| *next != of);
            if last && self.find(of).is_err() {
                self.dead.add(of);
            }
        }
        written
    }

    /// The store has applied every seal up to `sequence`.
    pub fn applied(&mut self, sequence: u64) {
        self.dead.applied(sequence);
    }

    /// Gives back the space of dead buckets whose tombstones have been applied: a range delete for each.
    pub fn reclaim(&mut self, store: &dyn StateStore) -> Result<(), StoreError> {
        self.dead.reclaim(self.id, store)
    }

    fn find(&self, bucket: u64) -> Result<usize, usize> {
        match self.buckets.last() {
            Some((last, _)) if *last == bucket => Ok(self.buckets.len() - 1),
            _ => self.buckets.binary_search_by_key(&bucket, |(of, _)| *of),
        }
    }

    fn bucket(&self, bucket: u64) -> Option<&Bucket> {
        self.find(bucket).ok().map(|at| &self.buckets[at].1)
    }

    fn keep_bound(&mut self) {
        if self.shape.at_most == usize::MAX {
            return;
        }
        while self.total > self.shape.at_most || self.share.is_too_large() {
            if !self.drop_oldest() {
                break;
            }
            self.dropped += 1;
        }
    }

    fn drop_oldest(&mut self) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (bucket, held) = self.buckets.remove(0);
        self.total -= held.ids.len();
        self.share.moved(held.counted, 0);
        self.dying.extend(held.segments.into_iter().map(|s| (bucket, s)));
        true
    }

    fn load(&mut self, bucket: u64, rest: &[u8], value: &[u8]) -> Result<(), CodecError> {
        let segment = Segment::from_key(rest)?;
        let width = self.shape.width;
        let at = self.find(bucket).unwrap_or_else(|at| {
            self.buckets.insert(at, (bucket, Bucket::new(width)));
            at
        });
        let (_, held) = &mut self.buckets[at];
        held.segments.push(segment);
        let before = held.ids.len();
        codec::decode_versioned(VERSION, value, |version, body| {
            unpack(width, version, body, |print| _ = held.ids.insert(print))
        })?;
        self.total += held.ids.len() - before;
        held.count(&mut self.share);
        self.keep_bound();
        Ok(())
    }
}

impl Bucket {
    fn new(width: Width) -> Bucket {
        let ids = match width {
            Width::Wide => Prints::Wide(Ids::new()),
            Width::Close => Prints::Close(Ids::new()),
            Width::Narrow => Prints::Narrow(Ids::new()),
        };
        Bucket { ids, fresh: Vec::new(), segments: Vec::new(), counted: 0 }
    }

    /// Tells the room what has changed.
    fn count(&mut self, share: &mut Share) {
        let bytes = self.ids.bytes() + self.fresh.capacity() * size_of::<u128>();
        if bytes != self.counted {
            share.moved(self.counted, bytes);
            self.counted = bytes;
        }
    }
}

impl Prints {
    fn insert(&mut self, fingerprint: u128) -> bool {
        match self {
            Prints::Wide(ids) => ids.insert(fingerprint),
            Prints::Close(ids) => ids.insert(close(fingerprint)),
            Prints::Narrow(ids) => ids.insert(low(fingerprint)),
        }
    }

    fn contains(&self, fingerprint: u128) -> bool {
        match self {
            Prints::Wide(ids) => ids.contains(fingerprint),
            Prints::Close(ids) => ids.contains(close(fingerprint)),
            Prints::Narrow(ids) => ids.contains(low(fingerprint)),
        }
    }

    fn prefetch(&self, fingerprint: u128) {
        match self {
            Prints::Wide(ids) => ids.prefetch(fingerprint),
            Prints::Close(ids) => ids.prefetch(close(fingerprint)),
            Prints::Narrow(ids) => ids.prefetch(low(fingerprint)),
        }
    }

    fn touch(&self, fingerprints: &[u128]) {
        match self {
            Prints::Wide(ids) => fingerprints.iter().for_each(|print| ids.touch(*print)),
            Prints::Close(ids) => fingerprints.iter().for_each(|print| ids.touch(close(*print))),
            Prints::Narrow(ids) => fingerprints.iter().for_each(|print| ids.touch(low(*print))),
        }
    }

    fn len(&self) -> usize {
        match self {
            Prints::Wide(ids) => ids.len(),
            Prints::Close(ids) => ids.len(),
            Prints::Narrow(ids) => ids.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Prints::Wide(ids) => ids.bytes(),
            Prints::Close(ids) => ids.bytes(),
            Prints::Narrow(ids) => ids.bytes(),
        }
    }
}

impl Segment {
    /// The part is written only from the second on: one segment a seal is the rule.
    fn key(self, id: StateId, bucket: u64, out: &mut Vec<u8>) {
        keys::key(id, bucket, &self.sequence.to_be_bytes(), out);
        if self.part > 0 {
            out.extend_from_slice(&self.part.to_be_bytes());
        }
    }

    fn from_key(rest: &[u8]) -> Result<Segment, CodecError> {
        let malformed =
            || CodecError::Malformed { version: 0, cause: format!("a segment's key of {} bytes", rest.len()) };
        let (sequence, part) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
        let part = match part {
            [] => 0,
            &[a, b] => u16::from_be_bytes([a, b]),
            _ => return Err(malformed()),
        };
        Ok(Segment { sequence: u64::from_be_bytes(*sequence), part })
    }
}
