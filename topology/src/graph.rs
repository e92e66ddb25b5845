//! The compiled, immutable graph: stages, the topics between them, and what each writes.
//!
//! Knows nothing of YAML text or of Kafka. Built by `yaml/`, shared by every task, printed by `tidemill check`.
//! Invariant: once built it never changes; a task may index into it for ever.

use crate::event_time::EventTime;
use crate::expr::Path;
use crate::formats::scan::{Scratch, Wanted};
use crate::formats::{Document, Format, FormatError};
use crate::operators::{Dedupe, Node};
use crate::sealed::TaskId;
use crate::windows::{Group, Hop, Target};
use std::sync::Arc;
use std::time::Duration;

/// What an application computes.
#[derive(Debug)]
pub struct Topology {
    pub app: String,
    pub stages: Vec<Arc<Stage>>,
    /// Every topic that a stage writes for its users, without the dead letters.
    pub outputs: Vec<OutputTopic>,
    /// Topics between two stages, which nobody else reads.
    pub repartitions: Vec<Repartition>,
    pub dead_letters: DeadLetters,
}

/// The part of a topology between two Kafka hops: a source and all that is computed from it, or a grouping whose partials
/// have travelled.
#[derive(Debug)]
pub struct Stage {
    /// The source's name, or the step's whose partials it takes.
    pub name: Arc<str>,
    /// The topic that it reads.
    pub topic: Arc<str>,
    pub start: Start,
    /// `<app>-<stage>-<topic>-changelog`, behind a repartition `<app>-<stage>-changelog`; none for a stage without state.
    pub changelog: Option<Arc<str>>,
    pub dead_letters: DeadLetters,
    /// Largest record that the stage makes, bytes.
    pub max_record: usize,
    pub(crate) input: Input,
    pub(crate) root: Node,
    /// Groupings whose entries are here.
    pub(crate) groups: Vec<Arc<Group>>,
    /// Groupings whose entries are behind a repartition.
    pub(crate) hops: Vec<Hop>,
    /// Ids that have been seen, by their number in the operators.
    pub(crate) dedupes: Vec<Arc<Dedupe>>,
}

/// What the records of a stage's topic are.
#[derive(Debug)]
pub(crate) enum Input {
    /// A user's records.
    Records(Reading),
    /// Bundles of partials of its one grouping.
    Partials,
}

/// A topic between two stages: as many partitions as the source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repartition {
    /// `<app>-<step>-repartition`
    pub topic: Arc<str>,
    /// The topic that the sending stage reads.
    pub source: Arc<str>,
}

/// How the bytes of the source's records are read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub key_format: Format,
    pub format: Format,
    /// Where event time stands; none: it is the record's timestamp, if it has one.
    pub time: Option<EventTime>,
    /// How far ahead of its arrival a record may be, ms; none: as far as it likes.
    pub max_ahead: Option<i64>,
    /// Whether anything asks for the key, so that one which cannot be read is a failure.
    pub key_needed: bool,
    /// The fields of a value that are asked for, where that is all that is needed of it; none: the whole document is.
    pub wanted: Option<Wanted>,
    /// How long a task has been at the end of its input, ms of wall time, when its stream time begins to follow the clock.
    pub idle: Option<i64>,
}

impl Reading {
    /// Reads a value; `scratch` is of this stage's values alone.
    pub fn value<'a>(&'a self, value: Option<&'a [u8]>, scratch: &'a mut Scratch) -> Result<Document<'a>, FormatError> {
        match (value, &self.wanted) {
            (Some(bytes), Some(wanted)) => Document::scan(bytes, wanted, scratch),
            _ => self.format.read(value),
        }
    }
}

/// Where a stage begins that has neither checkpoint nor committed offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// With the first record of this timestamp or later, ms since 1970.
    At(i64),
    /// At the offsets that the group has committed; an error if it has none.
    Committed,
}

/// A topic that a stage writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputTopic {
    pub name: Arc<str>,
    /// For `topics create`; none: as many as the input topic has.
    pub partitions: Option<i32>,
    /// The topic that the writing stage reads.
    pub input: Arc<str>,
    /// Records keep their partition number, so it needs at least as many as the input.
    pub copy: bool,
}

/// Where records go that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    pub topic: Arc<str>,
    /// Copy late records there too, with the reason `late`.
    pub late: bool,
    /// Retention of the topic, by append time.
    pub keep: Duration,
    /// Fields that must not stand in them either; none of them is within another.
    pub redact: Vec<Path>,
}

impl Topology {
    /// The stage that reads `topic`; one topic has at most one.
    pub fn stage_of(&self, topic: &str) -> Option<&Arc<Stage>> {
        self.stages.iter().find(|s| &*s.topic == topic)
    }

    /// Whether a `dedupe` remembers ids, and whether a distinct count does.
    pub fn remembers_ids(&self) -> (bool, bool) {
        let counted = |s: &Arc<Stage>| s.groups.iter().any(|group| group.distinct().next().is_some());
        (self.stages.iter().any(|s| !s.dedupes.is_empty()), self.stages.iter().any(counted))
    }
}

impl Stage {
    /// Names the task of this stage on one partition of its topic.
    pub fn task(&self, partition: i32) -> TaskId {
        TaskId { stage: self.name.clone(), topic: self.topic.clone(), partition }
    }

    /// The name that stands in a task's checkpoints: its changelog partition, which no other application has.
    pub fn checkpoint_name(&self, partition: i32) -> String {
        match &self.changelog {
            Some(changelog) => format!("{changelog}/{partition}"),
            None => self.task(partition).to_string(),
        }
    }

    /// Its named states and their shapes: of its groupings, then of its sets.
    pub fn states(&self) -> Vec<(Arc<str>, String)> {
        let groups = self.groups.iter().flat_map(|g| g.states());
        groups.chain(self.dedupes.iter().map(|d| (d.name.clone(), d.shape()))).collect()
    }

    /// Whether it takes partials: it then seals as soon as some came, so that two hops do not cost two intervals.
    pub fn takes_partials(&self) -> bool {
        matches!(self.input, Input::Partials)
    }

    pub(crate) fn reading(&self) -> Option<&Reading> {
        match &self.input {
            Input::Records(reading) => Some(reading),
            Input::Partials => None,
        }
    }

    /// The format of the record keys that its groupings by `record.key` have.
    pub(crate) fn key_format(&self) -> Format {
        self.reading().map_or(Format::Bytes, |r| r.key_format)
    }

    /// Every grouping whose windows its own stream time closes, or whose records it calls late.
    pub(crate) fn groupings(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter().chain(self.hops.iter().map(|h| &h.group))
    }

    /// The name of a grouping.
    pub(crate) fn step_of(&self, target: Target) -> &str {
        match target {
            Target::Entries(i) => &self.groups[i].name,
            Target::Partials(i) => &self.hops[i].group.name,
        }
    }

    /// Whether a record without an event time cannot be worked.
    pub(crate) fn time_needed(&self) -> bool {
        let state = self.groupings().next().is_some() || !self.dedupes.is_empty();
        state || self.reading().is_some_and(|r| r.time.is_some())
    }
}
