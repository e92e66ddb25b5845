//! The compiled, immutable graph: stages, the topics between them, and what each writes.
//!
//! Knows nothing of YAML text or of Kafka. Built by `yaml/`, shared by every task, printed by `tidemill check`.
//! Invariant: once built it never changes; a task may index into it for ever.

use crate::expr::Path;
use crate::formats::Format;
use crate::operators::Node;
use crate::sealed::TaskId;
use crate::windows::Group;
use std::sync::Arc;
use std::time::Duration;

/// What an application computes.
#[derive(Debug)]
pub struct Topology {
    pub app: String,
    pub stages: Vec<Arc<Stage>>,
    /// Every topic that a stage writes for its users, without the dead letters.
    pub outputs: Vec<OutputTopic>,
    pub dead_letters: DeadLetters,
}

/// The part of a topology between two Kafka hops: one source and all that is computed from it.
#[derive(Debug)]
pub struct Stage {
    /// The source's name.
    pub name: Arc<str>,
    /// The topic that it reads.
    pub topic: Arc<str>,
    pub start: Start,
    /// `<app>-<stage>-<topic>-changelog`; none for a stage without state.
    pub changelog: Option<Arc<str>>,
    pub dead_letters: DeadLetters,
    /// Largest record that the stage makes, bytes.
    pub max_record: usize,
    pub(crate) reading: Reading,
    pub(crate) root: Node,
    pub(crate) groups: Vec<Group>,
}

/// How the bytes of the source's records are read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub key_format: Format,
    pub format: Format,
    /// Where event time stands; none: it is the record's timestamp.
    pub time: Option<Path>,
    /// Whether anything asks for the key, so that one which cannot be read is a failure.
    pub key_needed: bool,
}

/// Where a stage begins that has neither checkpoint nor committed offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
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
}

impl Topology {
    /// The stage that reads `topic`; one topic has at most one.
    pub fn stage_of(&self, topic: &str) -> Option<&Arc<Stage>> {
        self.stages.iter().find(|s| &*s.topic == topic)
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

    /// Its named states and their shapes.
    pub fn states(&self) -> Vec<(Arc<str>, String)> {
        self.groups.iter().map(|g| (g.name.clone(), g.shape())).collect()
    }

    /// Whether a record without an event time cannot be worked.
    pub(crate) fn time_needed(&self) -> bool {
        self.reading.time.is_some() || !self.groups.is_empty()
    }
}
