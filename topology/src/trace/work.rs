//! What a task knows of traces while it works: the contexts of its batch, its samples, and what it has to report.
//!
//! Owned by a task that was told to. Knows nothing of spans. Invariant: everything here is bounded: by the batch, by the
//! seal, or by [`BYTES`](super::samples::BYTES).

use super::context::{Context, Look, NAME, correlation_of};
use super::parts::Parts;
use super::sample::{EACH, Sample, decode_many};
use super::samples::Samples;
use crate::graph::Stage;
use crate::headers;
use crate::record::{Batch, Record};
use crate::windows::{Emit, Group, Pending, Target};
use std::sync::Arc;

/// Contexts of a batch that its span links to, at most.
const LINKS: usize = EACH;
/// Results and failures of which one seal, or one batch, reports at most; the rest is counted.
const REPORTS: usize = 4_096;

/// What a batch brings along.
#[derive(Debug, Default)]
pub struct Brought {
    /// A sample of the different sampled contexts in it.
    pub origins: Vec<Origin>,
    /// Records with a sampled context.
    pub contexts: u64,
    /// No record has a context, sampled or not: [`Task::continue_in`](crate::Task::continue_in) may give them one.
    pub bare: bool,
}

/// A sampled context, and the record that had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub context: Context,
    pub offset: i64,
    pub correlation: Option<String>,
}

/// A record that became a dead letter because it could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub offset: i64,
    /// The word in front of the reason.
    pub code: &'static str,
    /// What the record came with, sampled or not.
    pub parent: Option<Context>,
    /// Made for this failure; in the parent's trace, if there is one.
    pub context: Context,
    pub correlation: Option<String>,
}

/// A result that carries a context, and what it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The first of its outputs.
    pub topic: Arc<str>,
    pub step: Arc<str>,
    pub context: Context,
    /// `emit: every`: the record that caused it.
    pub parent: Option<Context>,
    pub links: Vec<Context>,
    /// Start and end, ms since 1970.
    pub window: Option<(i64, i64)>,
    /// `update` or `final`.
    pub result: &'static str,
}

/// How much a task holds, and what it could not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Groups in windows that have a sample.
    pub samples: usize,
    pub bytes: usize,
    /// Contexts, results and failures for which there was no room.
    pub left_out: u64,
}

pub(crate) struct Traces {
    seed: u64,
    /// Of the store: no two tasks make the same contexts.
    store: u128,
    /// From and next of the batch that was looked at.
    looked: Option<(i64, i64)>,
    found: Vec<Found>,
    /// Behind a repartition: the samples in the bundle at an offset.
    bundles: Vec<(i64, Vec<(u32, Sample)>)>,
    /// The first of either that is not behind.
    at: usize,
    /// Records before this offset bring nothing, as the one at work.
    silent_until: i64,
    bare: bool,
    own: Option<Context>,
    /// Of the record at work.
    current: Option<Context>,
    /// In the order of the stage's groups.
    groups: Vec<Samples>,
    /// In the order of the stage's hops.
    hops: Vec<Parts>,
    said: Vec<Emitted>,
    failed: Vec<Failed>,
    left_out: u64,
    /// Whether a grouping speaks with every record.
    every: bool,
}

/// A record with a sampled context.
#[derive(Clone, Copy)]
struct Found {
    /// Its place in the batch.
    index: usize,
    offset: i64,
    context: Context,
}

impl Traces {
    pub fn new((seed, store): (u64, u128), groups: Vec<Samples>, stage: &Stage) -> Traces {
        Traces {
            seed,
            store,
            looked: None,
            found: Vec::new(),
            bundles: Vec::new(),
            at: 0,
            silent_until: i64::MAX,
            bare: false,
            own: None,
            current: None,
            groups,
            hops: stage.hops.iter().map(|_| Parts::default()).collect(),
            said: Vec::new(),
            failed: Vec::new(),
            left_out: 0,
            every: stage.groups.iter().any(|group| group.emit == Emit::Every),
        }
    }

    pub fn continue_in(&mut self, own: Option<Context>) {
        self.own = own.filter(|own| self.bare && own.is_sampled());
        self.listen();
    }

    /// Reads the contexts of a batch, unless that was done.
    pub fn look(&mut self, batch: &Batch, partials: bool) -> Option<Brought> {
        if self.looked == Some((batch.from, batch.next)) {
            return None;
        }
        self.looked = Some((batch.from, batch.next));
        self.found.clear();
        self.bundles.clear();
        (self.at, self.own, self.current) = (0, None, None);
        self.bare = !partials && !batch.is_empty();
        if batch.has_headers() {
            match partials {
                true => self.look_at_bundles(batch),
                false => self.look_at_records(batch),
            }
        }
        self.listen();
        let contexts = if partials { self.bundles.len() } else { self.found.len() } as u64;
        Some(Brought { origins: self.origins(batch), contexts, bare: self.bare })
    }

    /// Most records have a context that nobody keeps: of those nothing but one digit of the header is read.
    fn look_at_records(&mut self, batch: &Batch) {
        let mut bare = true;
        for (header, value) in batch.headers_named(NAME) {
            if value.is_some_and(Context::is_unsampled) {
                bare = false;
                continue;
            }
            let index = batch.owner(header);
            let known = self.found.last().is_some_and(|found| found.index == index);
            let Some(record) = batch.get(index).filter(|_| !known) else { continue };
            // All headers of the record: where there are several, the last one counts.
            match Context::look(record.headers) {
                Look::None => continue,
                Look::Unsampled => {}
                Look::Sampled(context) => self.found.push(Found { index, offset: record.offset, context }),
            }
            bare = false;
        }
        self.bare &= bare;
    }

    fn look_at_bundles(&mut self, batch: &Batch) {
        for (index, record) in batch.iter().enumerate() {
            let ours = record.headers.iter().filter(|(name, _)| *name == headers::TRACES.as_bytes());
            let Some(value) = ours.last().and_then(|(_, value)| value) else { continue };
            let samples = decode_many(value);
            let contexts = samples.iter().flat_map(|(_, sample)| sample.contexts());
            // As many as can be linked to; which of them is decided below.
            let found = contexts.map(|context| Found { index, offset: record.offset, context: *context });
            self.found.extend(found);
            self.bundles.push((record.offset, samples));
        }
    }

    /// The smallest of the different ones.
    fn origins(&mut self, batch: &Batch) -> Vec<Origin> {
        let mut ranked: Vec<(u64, usize)> =
            self.found.iter().enumerate().map(|(at, found)| (found.context.rank(self.seed), at)).collect();
        ranked.sort_unstable();
        ranked.dedup_by(|a, b| self.found[a.1].context == self.found[b.1].context);
        ranked.truncate(LINKS);
        let origin = |(_, at): &(u64, usize)| {
            let Found { index, offset, context } = self.found[*at];
            Origin { context, offset, correlation: batch.get(index).and_then(|r| correlation_of(r.headers)) }
        };
        ranked.iter().map(origin).collect()
    }

    /// Whether the record at this offset brings no context, as the one before it.
    #[inline]
    pub fn is_silent(&self, offset: i64) -> bool {
        offset < self.silent_until
    }

    /// Finds the next record that brings something, or of which it must be noted that it does not.
    fn listen(&mut self) {
        let speaks = self.current.is_some() || self.own.is_some();
        let next = self.found.get(self.at).map_or(i64::MAX, |next| next.offset);
        self.silent_until = if speaks { i64::MIN } else { next };
    }

    /// The next record is at work; what its results by `emit: every` carry.
    pub fn enter(&mut self, offset: i64) -> Option<Context> {
        while self.found.get(self.at).is_some_and(|found| found.offset < offset) {
            self.at += 1;
        }
        let here = self.found.get(self.at).filter(|found| found.offset == offset);
        self.current = here.map(|found| found.context).or(self.own);
        self.listen();
        let parent = self.current.filter(|_| self.every && self.said.len() < REPORTS)?;
        Some(Context::made(Some(&parent), &self.about(&[&offset.to_be_bytes()]), self.seed))
    }

    fn about(&self, parts: &[&[u8]]) -> Vec<u8> {
        about(self.store, parts)
    }

    /// Whether the record at work brings a context, so that [`Traces::note`] is worth its call.
    pub fn has_context(&self) -> bool {
        self.current.is_some()
    }

    /// The record at work has changed an entry.
    pub fn note(&mut self, stage: &Stage, entry: &Pending, (key, every): (&[u8], Option<Context>)) {
        let Some(context) = self.current else { return };
        match entry.target {
            Target::Entries(i) => {
                let group = &stage.groups[i];
                self.groups[i].note(group, (entry.start, key), context);
                let first = group.outputs.first().filter(|_| group.emit == Emit::Every);
                if let (Some(output), Some(own)) = (first, every) {
                    let links = self.groups[i].of(group, entry.start, group.bare(key));
                    let (topic, step) = (output.topic.clone(), group.name.clone());
                    let window = group.window.map(|w| (entry.start, w.end_of(entry.start)));
                    let parent = Some(context);
                    self.said.push(Emitted { topic, step, context: own, parent, links, window, result: "update" });
                }
            }
            Target::Partials(i) => {
                let fits = self.hops[i].note(self.seed, (entry.start, key), context);
                self.left_out += u64::from(!fits);
            }
        }
    }

    /// The partials of a bundle have been taken in: the samples that came with them.
    pub fn merge(&mut self, group: &Group, offset: i64, place: impl Fn(u32) -> Option<(i64, Vec<u8>)>) {
        let Ok(at) = self.bundles.binary_search_by_key(&offset, |(o, _)| *o) else { return };
        for (index, sample) in std::mem::take(&mut self.bundles[at].1) {
            let Some((start, key)) = place(index) else { continue };
            for context in sample.contexts().iter().filter(|c| c.is_sampled()) {
                self.groups[0].note(group, (start, &key), *context);
            }
        }
    }

    /// A record has failed; the context for its dead letter, if it has none of its own.
    pub fn failed(&mut self, record: &Record<'_>, code: &'static str) -> Option<Context> {
        let parent = Context::of(record.headers);
        let about = self.about(&[&record.offset.to_be_bytes(), b"failed"]);
        let context = Context::made(parent.as_ref(), &about, self.seed);
        if self.failed.len() == REPORTS {
            self.left_out += 1;
        } else {
            let correlation = correlation_of(record.headers);
            self.failed.push(Failed { offset: record.offset, code, parent, context, correlation });
        }
        parent.is_none().then_some(context)
    }

    pub fn take_failed(&mut self) -> Vec<Failed> {
        std::mem::take(&mut self.failed)
    }

    /// For what the group at `index` says in the transaction with this sequence.
    pub fn emission(&mut self, index: usize, sequence: u64) -> Emission<'_> {
        let Traces { groups, said, left_out, seed, store, .. } = self;
        Emission { samples: &mut groups[index], said, left_out, seed: *seed, store: *store, sequence }
    }

    /// The samples of partials, for the seal that sends them.
    pub fn parts(&self, hop: usize) -> &Parts {
        &self.hops[hop]
    }

    pub fn samples(&mut self) -> &mut [Samples] {
        &mut self.groups
    }

    /// What the seal's results link to.
    pub fn seal(&mut self) -> Vec<Emitted> {
        self.hops.iter_mut().for_each(Parts::clear);
        std::mem::take(&mut self.said)
    }

    /// About how many bytes of samples are held.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(Samples::bytes).sum::<usize>() + self.hops.iter().map(Parts::bytes).sum::<usize>()
    }

    /// For what there was no room, since the last call.
    pub fn take_left_out(&mut self) -> u64 {
        let groups = self.groups.iter_mut().map(Samples::take_left_out).sum::<u64>();
        groups + std::mem::take(&mut self.left_out)
    }

    pub fn counts(&self) -> TraceCounts {
        let samples = self.groups.iter().map(Samples::len).sum();
        let left_out = self.left_out + self.groups.iter().map(Samples::left_out).sum::<u64>();
        TraceCounts { samples, bytes: self.bytes(), left_out }
    }
}

/// What one grouping needs to say where its results come from.
pub(crate) struct Emission<'a> {
    samples: &'a mut Samples,
    said: &'a mut Vec<Emitted>,
    left_out: &'a mut u64,
    seed: u64,
    store: u128,
    sequence: u64,
}

impl Emission<'_> {
    /// The context of a result; none, if nothing is known of where it comes from. `start` and `key` are the window's and
    /// the group's.
    pub fn say(&mut self, group: &Group, (start, key): (i64, &[u8]), result: &'static str) -> Option<Context> {
        let links = self.samples.of(group, start, key);
        if links.is_empty() {
            return None;
        }
        if group.window.is_none() {
            self.samples.spoken(key);
        }
        let topic = group.outputs.first()?.topic.clone();
        if self.said.len() >= REPORTS {
            *self.left_out += 1;
            return None;
        }
        let parts: [&[u8]; 5] =
            [&self.sequence.to_be_bytes(), group.name.as_bytes(), result.as_bytes(), &start.to_be_bytes(), key];
        let context = Context::made(None, &about(self.store, &parts), self.seed);
        let window = group.window.map(|w| (start, w.end_of(start)));
        self.said.push(Emitted { topic, step: group.name.clone(), context, parent: None, links, window, result });
        Some(context)
    }
}

fn about(store: u128, parts: &[&[u8]]) -> Vec<u8> {
    let mut about = store.to_be_bytes().to_vec();
    parts.iter().for_each(|part| about.extend_from_slice(part));
    about
}
