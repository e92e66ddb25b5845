//! Folds on their way to another partition: what a task has folded since its last seal for the stage behind.
//!
//! Called by the task with each accepted record, and drained at its seal. Knows nothing of what was sent before: partials
//! merge. Invariant: nothing of it outlives a seal, so there is nothing to restore.

use super::aggregate::Value;
use super::bundle::{Bundle, Partial};
use super::group::{Group, Id};
use crate::headers;
use crate::sealed::Outputs;
use crate::trace::{Parts, encode_many};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

type Ids = HashSet<u64, RandomState>;

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

/// See the module.
#[derive(Default)]
pub(crate) struct Partials {
    /// Indexes into `cells`, by window and key.
    places: HashTable<u32>,
    hasher: RandomState,
    /// In the order of their first record, so that the same input gives the same bytes.
    cells: Vec<Cell>,
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
    key: Box<[u8]>,
    values: Vec<Value>,
    /// One for each distinct count, by its slot.
    ids: Vec<(usize, Ids)>,
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
    /// Where the entry is, for as long as nothing is sealed, and what it has come to.
    pub fn get(&self, start: i64, key: &[u8]) -> Option<(usize, &[Value])> {
        let hash = hash(&self.hasher, start, key);
        let index = *self.places.find(hash, |&at| self.cells[at as usize].is_of(start, key))? as usize;
        Some((index, &self.cells[index].values))
    }

    fn enter(&mut self, group: &Group, start: i64, key: &[u8]) -> usize {
        self.bytes += ENTRY + 2 * key.len();
        let ids = group.distinct().map(|(slot, _)| (slot, Ids::default())).collect();
        self.cells.push(Cell { start, key: key.into(), values: Vec::new(), ids });
        let (index, hash) = (self.cells.len() - 1, hash(&self.hasher, start, key));
        let (cells, hasher) = (&self.cells, &self.hasher);
        let rehash = |&at: &u32| cells[at as usize].hash(hasher);
        self.places.insert_unique(hash, u32::try_from(index).expect("a seal has fewer entries than 2^32"), rehash);
        index
    }

    /// Sets what a record made of an entry, and adds the ids that it had. `found`: what [`Partials::get`] said of it.
    pub fn put(
        &mut self,
        group: &Group,
        (found, start, key): (Option<usize>, i64, &[u8]),
        values: &[Value],
        ids: &[Id],
    ) {
        let index = found.unwrap_or_else(|| self.enter(group, start, key));
        let cell = &mut self.cells[index];
        cell.values.clear();
        cell.values.extend_from_slice(values);
        for id in ids {
            let (_, set) = cell.ids.iter_mut().find(|(slot, _)| *slot == id.slot).expect("ids are of distinct counts");
            self.bytes += 8 * usize::from(set.insert(id.print));
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
        let mut to: BTreeMap<i32, Post> = BTreeMap::new();
        self.places.clear();
        self.bytes = 0;
        let cells = std::mem::take(&mut self.cells);
        for cell in cells {
            let partition = partition_of(hop.group.bare(&cell.key), sender.partitions);
            cell.partials(&hop.group, |partial, size| {
                to.entry(partition)
                    .or_default()
                    .add(partial, size, |bundle| send(hop, sender, (partition, bundle), outputs));
            });
        }
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
        for (partition, post) in to {
            let time = Some(sender.stream_time).filter(|time| *time > i64::MIN);
            send(hop, sender, (partition, Bundle { time, ..post.bundle }), outputs);
        }
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

/// The bundle that is being filled for one partition.
#[derive(Default)]
struct Post {
    bundle: Bundle,
    size: usize,
}

impl Post {
    fn add(&mut self, partial: Partial, size: usize, full: impl FnOnce(Bundle)) {
        if self.size > 0 && self.size + size > BUNDLE {
            full(std::mem::take(&mut self.bundle));
            self.size = 0;
        }
        self.size += size;
        self.bundle.partials.push(partial);
    }
}

fn hash(hasher: &RandomState, start: i64, key: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write_i64(start);
    hash.write(key);
    hash.finish()
}

impl Cell {
    fn is_of(&self, start: i64, key: &[u8]) -> bool {
        self.start == start && *self.key == *key
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hash(hasher, self.start, &self.key)
    }

    /// As partials: one, or several where there are very many ids; the first of them has the values.
    fn partials(self, group: &Group, mut each: impl FnMut(Partial, usize)) {
        let Cell { start, key, mut values, ids } = self;
        let mut sorted: Vec<Vec<u64>> = ids.into_iter().map(|(_, set)| set.into_iter().collect()).collect();
        sorted.iter_mut().for_each(|ids| ids.sort_unstable());
        let rounds = sorted.iter().map(|ids| ids.len().div_ceil(IDS)).max().unwrap_or(0).max(1);
        for round in 0..rounds {
            let chunk = |ids: &Vec<u64>| -> Vec<u8> {
                ids.iter().skip(round * IDS).take(IDS).flat_map(|id| id.to_be_bytes()).collect()
            };
            let ids: Vec<ByteBuf> = sorted.iter().map(chunk).map(ByteBuf::from).collect();
            let size = ENTRY + key.len() + ids.iter().map(|ids| ids.len()).sum::<usize>();
            let values = if round == 0 { std::mem::take(&mut values) } else { group.initial().collect() };
            each(Partial { start, key: key.to_vec(), values, ids }, size);
        }
    }
}

fn send(hop: &Hop, sender: &Sender<'_>, (partition, bundle): (i32, Bundle), outputs: &mut Outputs) {
    let origins = sender.traces.map_or(Vec::new(), |parts| origins(parts, &bundle));
    let mut value = Vec::new();
    Bundle { upstream: sender.partition as u32, ..bundle }.encode(&mut value);
    // The broker deletes nothing here by time, so the record's own says when it was sent.
    outputs.push((&hop.topic, Some(partition)), sender.now, None, Some(&value));
    outputs.push_header(headers::TASK, Some(sender.task));
    if !origins.is_empty() {
        outputs.push_header(headers::TRACES, Some(&origins));
    }
}

/// The samples of a bundle's partials, as its header has them; nothing, if there are none.
fn origins(parts: &Parts, bundle: &Bundle) -> Vec<u8> {
    let of = |(at, partial): (usize, &Partial)| Some((at as u32, parts.of(partial.start, &partial.key)?.clone()));
    let samples: Vec<_> = bundle.partials.iter().enumerate().filter_map(of).collect();
    let mut out = Vec::new();
    if !samples.is_empty() {
        encode_many(&samples, &mut out);
    }
    out
}
