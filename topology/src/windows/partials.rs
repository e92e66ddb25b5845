//! Folds on their way to another partition: what a task has folded since its last seal for the stage behind.
//!
//! Called by the task with each accepted record, and drained at its seal. Knows nothing of what was sent before: partials
//! merge. Invariant: nothing of it outlives a seal, so there is nothing to restore.

use super::aggregate::Value;
use super::bundle::Filling;
use super::group::{Group, Id};
use crate::headers;
use crate::sealed::Outputs;
use crate::trace::{Parts, Sample, encode_many};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of one bundle, about; a larger seal sends several.
const BUNDLE: usize = 128 * 1024;
/// Ids of one partial at most, so that a bundle stays near its size.
const IDS: usize = BUNDLE / 16;
/// What an entry takes beside its key and ids.
const ENTRY: usize = 160;
/// Stream time is told at most so often, ms of wall time, and as one of these begins, so that all tasks do so in one transaction. One that
/// closes a window is told at once, but no more often than that either: while a backlog is worked, hours pass in a second.
const TELL: i64 = 1_000;

/// Where a grouping's partials go.
#[derive(Debug)]
pub(crate) struct Hop {
    pub group: Arc<Group>,
    /// `<app>-<step>-repartition`
    pub topic: Arc<str>,
}

/// See the module. What entries have lies side by side, one after the other, and its memory is kept from seal to seal.
pub(crate) struct Partials {
    /// Indexes into `cells`, by window and key.
    places: HashTable<u32>,
    hasher: RandomState,
    /// In the order of their first record, so that the same input gives the same bytes.
    cells: Vec<Cell>,
    keys: Vec<u8>,
    /// As many for each entry as there are aggregates.
    values: Vec<Value>,
    /// One for each entry and distinct count, and some that wait to be one.
    ids: Vec<Ids>,
    /// Aggregates of the group, and the slots of those that are distinct counts.
    aggregates: usize,
    distinct: Box<[usize]>,
    bytes: usize,
    told: Option<Told>,
}

/// What everybody behind knows.
#[derive(Clone, Copy)]
struct Told {
    stream_time: i64,
    /// When they were told, ms of wall time.
    at: i64,
    /// When they were last told of one that had closed a window; `i64::MIN`: never.
    closed_at: i64,
}

struct Cell {
    start: i64,
    /// In `keys`.
    key: Range<usize>,
}

/// What a seal says in every bundle.
pub(crate) struct Sender<'a> {
    pub partition: i32,
    /// Partitions of the repartition topic: those of the source.
    pub partitions: i32,
    pub stream_time: i64,
    /// Wall clock, ms.
    pub now: i64,
    /// The value of the header that says which seal it was.
    pub task: &'a [u8],
    /// Where the partials come from, if somebody wants to know.
    pub traces: Option<&'a Parts>,
}

impl Partials {
    pub fn new(group: &Group) -> Partials {
        Partials {
            places: HashTable::new(),
            hasher: RandomState::default(),
            cells: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            ids: Vec::new(),
            aggregates: group.aggregates.len(),
            distinct: group.distinct().map(|(slot, _)| slot).collect(),
            bytes: 0,
            told: None,
        }
    }

    /// Where the entry is, for as long as nothing is sealed, and what it has come to.
    pub fn get(&self, start: i64, key: &[u8]) -> Option<(usize, &[Value])> {
        let hash = hash(&self.hasher, start, key);
        let is_of = |&at: &u32| {
            let cell = &self.cells[at as usize];
            cell.start == start && self.keys[cell.key.clone()] == *key
        };
        let index = *self.places.find(hash, is_of)? as usize;
        Some((index, &self.values[index * self.aggregates..][..self.aggregates]))
    }

    fn enter(&mut self, start: i64, key: &[u8], values: &[Value]) -> usize {
        self.bytes += ENTRY + 2 * key.len();
        let (index, from) = (self.cells.len(), self.keys.len());
        self.keys.extend_from_slice(key);
        self.cells.push(Cell { start, key: from..self.keys.len() });
        self.values.extend_from_slice(values);
        let ids = self.cells.len() * self.distinct.len();
        self.ids.resize_with(self.ids.len().max(ids), Ids::default);
        let (cells, keys, hasher) = (&self.cells, &self.keys, &self.hasher);
        let rehash = |&at: &u32| hash(hasher, cells[at as usize].start, &keys[cells[at as usize].key.clone()]);
        let at = u32::try_from(index).expect("a seal has fewer entries than 2^32");
        self.places.insert_unique(hash(hasher, start, key), at, rehash);
        index
    }

    /// Sets what a record made of an entry, and adds the ids that it had. `found`: what [`Partials::get`] said of it.
    pub fn put(&mut self, (found, start, key): (Option<usize>, i64, &[u8]), values: &[Value], ids: &[Id]) {
        let index = match found {
            Some(index) => {
                self.values[index * self.aggregates..][..self.aggregates].copy_from_slice(values);
                index
            }
            None => self.enter(start, key, values),
        };
        for id in ids {
            let at = self.distinct.iter().position(|slot| *slot == id.slot).expect("ids are of distinct counts");
            self.ids[index * self.distinct.len() + at].add(id.print, &mut self.bytes);
        }
    }

    /// About how many bytes the next seal carries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the stream time must travel, be there partials or not: it has closed a window, or it is time for news.
    pub fn must_tell(&self, group: &Group, stream_time: i64, now: i64) -> bool {
        if group.window.is_none() || stream_time == i64::MIN {
            return false;
        }
        let Some(told) = self.told else { return true };
        let anew = now < told.at || now.div_euclid(TELL) > told.at.div_euclid(TELL);
        let at_once = || now.saturating_sub(told.closed_at) >= TELL && closes(group, told.stream_time, stream_time);
        told.stream_time < stream_time && (anew || at_once())
    }

    /// Sends everything, and the stream time to whom it concerns.
    pub fn seal(&mut self, hop: &Hop, sender: &Sender<'_>, outputs: &mut Outputs) {
        let everybody = self.must_tell(&hop.group, sender.stream_time, sender.now);
        let mut to = self.post(hop, sender, outputs);
        self.clear();
        if everybody {
            to.extend(
                (0..sender.partitions.max(1))
                    .filter(|p| !to.contains_key(p))
                    .map(|p| (p, Post::default()))
                    .collect::<Vec<_>>(),
            );
            let closed = self.told.is_some_and(|t| closes(&hop.group, t.stream_time, sender.stream_time));
            let closed_at = if closed { sender.now } else { self.told.map_or(i64::MIN, |t| t.closed_at) };
            self.told = Some(Told { stream_time: sender.stream_time, at: sender.now, closed_at });
        }
        for (partition, mut post) in to {
            let time = Some(sender.stream_time).filter(|time| *time > i64::MIN);
            post.send(hop, sender, (partition, time), outputs);
        }
    }

    /// What is left of each partition's post, once full bundles are sent.
    fn post(&mut self, hop: &Hop, sender: &Sender<'_>, outputs: &mut Outputs) -> BTreeMap<i32, Post> {
        let mut to: BTreeMap<i32, Post> = BTreeMap::new();
        let (mut packed, initial) = (Packed::default(), hop.group.initial().collect::<Vec<_>>());
        for (index, cell) in self.cells.iter().enumerate() {
            let key = &self.keys[cell.key.clone()];
            let values = &self.values[index * self.aggregates..][..self.aggregates];
            let ids = &mut self.ids[index * self.distinct.len()..][..self.distinct.len()];
            ids.iter_mut().for_each(Ids::order);
            let partition = partition_of(hop.group.bare(key), sender.partitions);
            let post = to.entry(partition).or_default();
            // Mostly one partial; where there are very many ids it is several, and the first of them has the values.
            let rounds = ids.iter().map(|ids| ids.all.len().div_ceil(IDS)).max().unwrap_or(0).max(1);
            for round in 0..rounds {
                packed.fill(ids.iter().map(|ids| ids.all.chunks(IDS).nth(round).unwrap_or_default()));
                if post.is_full(key.len() + packed.bytes.len()) {
                    post.send(hop, sender, (partition, None), outputs);
                }
                post.note(sender, (cell.start, key));
                let values = if round == 0 { values } else { &initial };
                post.filling.push(cell.start, key, values, packed.each());
            }
        }
        to
    }

    /// Nothing is left. What lists of ids were not needed this time are given back.
    fn clear(&mut self) {
        self.ids.truncate(self.cells.len() * self.distinct.len());
        self.ids.iter_mut().for_each(Ids::clear);
        self.places.clear();
        self.cells.clear();
        self.keys.clear();
        self.values.clear();
        self.bytes = 0;
    }
}

/// Whether a window closes on the way from one stream time to another.
fn closes(group: &Group, from: i64, to: i64) -> bool {
    group.window.is_some_and(|window| window.next_close(from) <= to)
}

/// Where the partials of a group go, and its windows live.
pub(crate) fn partition_of(group_key: &[u8], partitions: i32) -> i32 {
    (xxh3_64(group_key) % partitions.max(1) as u64) as i32
}

/// The ids of one entry: those before `ordered` in order, each once, and behind them some as they came.
#[derive(Default)]
struct Ids {
    all: Vec<u64>,
    ordered: usize,
}

impl Ids {
    /// Ids that lie about unordered at least, before they are looked through.
    const FEW: usize = 64;

    fn add(&mut self, id: u64, bytes: &mut usize) {
        if self.all.len() >= 2 * self.ordered + Self::FEW {
            let before = self.all.len();
            self.order();
            *bytes -= 8 * (before - self.all.len());
        }
        self.all.push(id);
        *bytes += 8;
    }

    fn order(&mut self) {
        self.all.sort_unstable();
        self.all.dedup();
        self.ordered = self.all.len();
    }

    fn clear(&mut self) {
        self.all.clear();
        self.ordered = 0;
    }
}

/// The ids of one partial as they travel: 8 bytes each, of one distinct count after the other.
#[derive(Default)]
struct Packed {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    fn fill<'a>(&mut self, ids: impl Iterator<Item = &'a [u64]>) {
        self.bytes.clear();
        self.ends.clear();
        for ids in ids {
            self.bytes.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
            self.ends.push(self.bytes.len());
        }
    }

    fn each(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let from = |at: usize| if at == 0 { 0 } else { self.ends[at - 1] };
        self.ends.iter().enumerate().map(move |(at, end)| &self.bytes[from(at)..*end])
    }
}

/// The bundle that is being filled for one partition.
#[derive(Default)]
struct Post {
    filling: Filling,
    /// Samples of its partials by their place in it.
    origins: Vec<(u32, Sample)>,
}

impl Post {
    fn is_full(&self, more: usize) -> bool {
        self.filling.len() > 0 && self.filling.bytes() + ENTRY + more > BUNDLE
    }

    /// The next partial may be where somebody's traces led.
    fn note(&mut self, sender: &Sender<'_>, (start, key): (i64, &[u8])) {
        if let Some(sample) = sender.traces.and_then(|parts| parts.of(start, key)) {
            self.origins.push((self.filling.len(), sample.clone()));
        }
    }

    fn send(&mut self, hop: &Hop, sender: &Sender<'_>, (partition, time): (i32, Option<i64>), outputs: &mut Outputs) {
        let value = self.filling.finish(sender.partition as u32, time);
        // The broker deletes nothing here by time, so the record's own says when it was sent.
        outputs.push((&hop.topic, Some(partition)), sender.now, None, Some(&value));
        outputs.push_header(headers::TASK, Some(sender.task));
        if !self.origins.is_empty() {
            let mut origins = Vec::new();
            encode_many(&self.origins, &mut origins);
            outputs.push_header(headers::TRACES, Some(&origins));
            self.origins.clear();
        }
    }
}

fn hash(hasher: &RandomState, start: i64, key: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write_i64(start);
    hash.write(key);
    hash.finish()
}
