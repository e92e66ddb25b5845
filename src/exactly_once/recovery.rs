//! RECOVER(task): start, takeover and unknown outcome, all the same; the decision table as a value.
//!
//! The driver (`kafka/recovery.rs`, the simulation) carries out one [`Action`], gives its [`Answer`], and gets the next.
//! Knows neither Kafka nor RocksDB.
//! Invariant: nothing is served before the state's checkpoint and the group's committed offsets agree.

use super::Protections;
use std::time::Duration;
use tidemill_state::Meta;
use tidemill_topology::{Checkpoint, Start, TaskId};

const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What is known of a task before its log is asked.
#[derive(Debug, Clone)]
pub struct Facts {
    pub task: TaskId,
    /// The name in its checkpoints.
    pub name: String,
    /// Partitions of the input topic now.
    pub partitions: i32,
    pub start: Start,
    /// A stage without state has no changelog: its committed offset is all there is.
    pub stateful: bool,
    /// `delete.retention.ms` of the changelog: how long the broker keeps tombstones.
    pub delete_retention_ms: i64,
    /// Wall clock, ms since 1970.
    pub now: i64,
    /// For a task that has never run: the id that its store gets.
    pub new_store: u128,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Step 2: the group's committed offset of the input partition, as a stable read.
    CommittedOffset,
    /// Step 3: first and end offset of the changelog partition, as a read_uncommitted handle sees them.
    ChangelogEnds,
    /// Step 4: the end as a read_committed handle sees it.
    LastStableOffset,
    /// Step 5: open the store in this task's folder and read its meta.
    OpenStore,
    /// Step 6: read committed records from `from` to the end, into the store, or into a new one beside it (`rebuild`),
    /// which is swapped in when all is read.
    RollForward {
        from: i64,
        end: i64,
        rebuild: bool,
    },
    /// A first start: the offset of the input that the configured start stands for.
    InputStart(Start),
    /// Then answer [`Answer::Waited`].
    Wait(Duration),
    /// Step 8: open the task on this and run.
    Ready(Ready),
    Halt(Halt),
}

impl Action {
    /// For the log.
    pub fn name(&self) -> &'static str {
        match self {
            Action::CommittedOffset => "committed offset",
            Action::ChangelogEnds => "changelog ends",
            Action::LastStableOffset => "last stable offset",
            Action::OpenStore => "open store",
            Action::RollForward { .. } => "roll forward",
            Action::InputStart(_) => "input start",
            Action::Wait(_) => "wait",
            Action::Ready(_) => "ready",
            Action::Halt(_) => "halt",
        }
    }
}

/// What the driver found.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Offset(Option<i64>),
    /// Offsets of a transaction that is not over.
    OffsetPending,
    Ends {
        start: i64,
        end: i64,
    },
    StableEnd(i64),
    /// A store that opened clean, and its meta if it ever had a transaction.
    Store(Option<Meta>),
    NoStore,
    Corrupt(String),
    /// The last checkpoint among the records that were read, and how many were read.
    Rolled {
        checkpoint: Option<Checkpoint>,
        records: u64,
    },
    Waited,
}

/// A recovered task.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// The next input offset.
    pub position: i64,
    pub checkpoint: Option<Checkpoint>,
    pub store: u128,
    pub why: Why,
    /// Changelog records read.
    pub records: u64,
}

/// What recovery had to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// Nobody had ever run it.
    FirstStart,
    /// The store on this disk was rolled forward.
    Restored,
    /// There was no store on this disk.
    FirstTimeHere,
    /// A store was found, could not be used, and was replaced.
    Rebuilt(String),
}

/// A state of affairs that must not be mended silently.
#[derive(Debug, Clone, PartialEq)]
pub struct Halt {
    /// One line: what, where, what to do.
    pub cause: String,
    /// A setting or a topic is the remedy (exit code 78).
    pub configuration: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Offset,
    Ends { offset: Option<i64> },
    Stable { offset: Option<i64>, start: i64, end: i64 },
    Store { offset: Option<i64>, start: i64, end: i64 },
    Roll { offset: Option<i64>, known: Option<Checkpoint>, why: Why },
    SecondLook { offset: Option<i64>, checkpoint: Option<Checkpoint>, why: Why, records: u64 },
    InputStart { why: Why },
    Over,
}

/// RECOVER of one task, from the first question to [`Action::Ready`] or [`Action::Halt`].
#[derive(Debug, Clone)]
pub struct Recovery {
    facts: Facts,
    phase: Phase,
    /// The question to ask again after a wait.
    waiting_for: Option<Action>,
    /// Step 3 asked before step 2 (only where a control has turned the order round).
    early_ends: Option<(i64, i64)>,
    protections: Protections,
}

impl Recovery {
    pub fn new(facts: Facts, protections: Protections) -> Recovery {
        Recovery { facts, phase: Phase::Offset, waiting_for: None, early_ends: None, protections }
    }

    /// The first question.
    pub fn begin(&mut self) -> Action {
        self.phase = Phase::Offset;
        self.early_ends = None;
        let turned = self.facts.stateful && !self.protections.on("order");
        if turned { Action::ChangelogEnds } else { Action::CommittedOffset }
    }

    /// The next question, given the answer to the last.
    ///
    /// # Panics
    /// On an answer to a question that was not asked.
    pub fn answer(&mut self, answer: Answer) -> Action {
        if answer == Answer::Waited {
            return self.waiting_for.take().expect("a wait follows a question");
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match (phase, answer) {
            (phase @ (Phase::Offset | Phase::SecondLook { .. }), Answer::OffsetPending) => {
                self.wait(phase, Action::CommittedOffset)
            }
            (Phase::Offset, Answer::Offset(offset)) => self.have_offset(offset),
            (Phase::Offset, Answer::Ends { start, end }) => {
                self.early_ends = Some((start, end));
                self.ask(Phase::Offset, Action::CommittedOffset)
            }
            (Phase::Ends { offset }, Answer::Ends { start, end }) => self.have_ends(offset, start, end),
            (Phase::Stable { offset, start, end }, Answer::StableEnd(stable)) => {
                if stable >= end {
                    return self.ask(Phase::Store { offset, start, end }, Action::OpenStore);
                }
                self.wait(Phase::Stable { offset, start, end }, Action::LastStableOffset)
            }
            (Phase::Store { offset, start, end }, found) => self.have_store(offset, (start, end), found),
            (Phase::Roll { offset, known, why }, Answer::Rolled { checkpoint, records }) => {
                self.rolled(offset, known, (checkpoint, records), why)
            }
            (Phase::SecondLook { offset, checkpoint, why, records }, Answer::Offset(again)) => {
                if again != offset {
                    return self.begin();
                }
                self.settled(offset, checkpoint, why, records)
            }
            (Phase::InputStart { why }, Answer::Offset(Some(at))) => self.ready(at, None, why, 0),
            (phase, answer) => panic!("recovery of {} in {phase:?} got {answer:?}", self.facts.task),
        }
    }

    fn ask(&mut self, phase: Phase, action: Action) -> Action {
        self.phase = phase;
        action
    }

    fn wait(&mut self, phase: Phase, then: Action) -> Action {
        self.phase = phase;
        self.waiting_for = Some(then);
        Action::Wait(ASK_AGAIN)
    }

    fn have_offset(&mut self, offset: Option<i64>) -> Action {
        if !self.facts.stateful {
            return match offset {
                Some(at) => self.ready(at, None, Why::Restored, 0),
                None => self.first_start(Why::FirstStart),
            };
        }
        match self.early_ends.take() {
            Some((start, end)) => self.have_ends(offset, start, end),
            None => self.ask(Phase::Ends { offset }, Action::ChangelogEnds),
        }
    }

    fn have_ends(&mut self, offset: Option<i64>, start: i64, end: i64) -> Action {
        if !self.protections.on("wait_lso") {
            return self.ask(Phase::Store { offset, start, end }, Action::OpenStore);
        }
        self.ask(Phase::Stable { offset, start, end }, Action::LastStableOffset)
    }

    /// Step 5: go on from the store, rebuild it, or halt.
    fn have_store(&mut self, offset: Option<i64>, (start, end): (i64, i64), found: Answer) -> Action {
        let rebuild = |why| (start, None, why, true);
        let (from, known, why, rebuild) = match found {
            Answer::NoStore => rebuild(Why::FirstTimeHere),
            Answer::Corrupt(cause) => rebuild(Why::Rebuilt(cause)),
            Answer::Store(None) => rebuild(Why::FirstTimeHere),
            Answer::Store(Some(meta)) => match self.judge(&meta, start, end) {
                Err(halt) => return Action::Halt(halt),
                Ok((_, Some(reason))) => rebuild(Why::Rebuilt(reason)),
                Ok((checkpoint, None)) => (meta.position, Some(checkpoint), Why::Restored, false),
            },
            other => panic!("recovery of {} asked for its store and got {other:?}", self.facts.task),
        };
        self.ask(Phase::Roll { offset, known, why }, Action::RollForward { from, end, rebuild })
    }

    /// The store's own checkpoint, and why it must be rebuilt all the same.
    fn judge(&self, meta: &Meta, start: i64, end: i64) -> Result<(Checkpoint, Option<String>), Halt> {
        let checkpoint = Checkpoint::decode(&meta.checkpoint).map_err(|e| {
            self.halt(
                &format!("its store has a checkpoint that this version cannot read ({e})"),
                "run the newer version",
            )
        })?;
        self.same_task(&checkpoint)?;
        if meta.position > end {
            let what = format!("its store stands at {} of a changelog that ends at {end}", meta.position);
            return Err(
                self.halt(&what, "the changelog was deleted or is another cluster's; restore it, or use a new app")
            );
        }
        let age = self.facts.now - meta.append_time;
        let reason = if meta.position < start {
            Some(format!("its position {} is before the changelog's first record {start}", meta.position))
        } else if age > self.facts.delete_retention_ms / 2 {
            Some(format!("it is {age} ms old, more than half of delete.retention.ms: deleted keys could come back"))
        } else {
            None
        };
        Ok((checkpoint, reason))
    }

    fn same_task(&self, checkpoint: &Checkpoint) -> Result<(), Halt> {
        if checkpoint.task != self.facts.name {
            let what = format!("the state found is that of {}", checkpoint.task);
            return Err(self.halt(&what, "move that folder away, and the task builds its own from its changelog"));
        }
        if checkpoint.partitions != self.facts.partitions {
            let (was, now) = (checkpoint.partitions, self.facts.partitions);
            let what =
                format!("topic {} had {was} partitions and has {now}, so keys have moved", self.facts.task.topic);
            let remedy = format!("make a topic with {was} partitions again, or start a new app on this one");
            return Err(Halt { configuration: true, ..self.halt(&what, &remedy) });
        }
        Ok(())
    }

    /// Step 7, first look.
    fn rolled(
        &mut self,
        offset: Option<i64>,
        known: Option<Checkpoint>,
        (found, records): (Option<Checkpoint>, u64),
        why: Why,
    ) -> Action {
        if let (Some(known), Some(found)) = (&known, &found)
            && known.store != found.store
        {
            let what = format!("its store has id {:032x} and its changelog {:032x}", known.store, found.store);
            return Action::Halt(
                self.halt(&what, "the store belongs to another app or cluster; give it its own directory"),
            );
        }
        let checkpoint = found.or(known);
        if let Some(Err(halt)) = checkpoint.as_ref().map(|c| self.same_task(c)) {
            return Action::Halt(halt);
        }
        let position = checkpoint.as_ref().and_then(|c| self.position(c));
        if !self.protections.on("step7")
            && let Some(at) = offset.or(position)
        {
            return self.ready(at, checkpoint, why, records);
        }
        if offset.is_some() && offset == position {
            return self.settled(offset, checkpoint, why, records);
        }
        self.ask(Phase::SecondLook { offset, checkpoint, why, records }, Action::CommittedOffset)
    }

    /// Step 7, when the committed offset has been read for good.
    fn settled(&mut self, offset: Option<i64>, checkpoint: Option<Checkpoint>, why: Why, records: u64) -> Action {
        let position = checkpoint.as_ref().and_then(|c| self.position(c));
        match (offset, position) {
            (Some(at), Some(stands)) if at == stands => self.ready(at, checkpoint, why, records),
            (None, Some(stands)) => self.ready(stands, checkpoint, why, records),
            (None, None) => self.first_start(if why == Why::FirstTimeHere { Why::FirstStart } else { why }),
            (Some(at), None) if self.facts.start == Start::Committed => self.ready(at, None, Why::FirstStart, records),
            (Some(at), None) => {
                let what = format!("the group has committed offset {at}, but the changelog has no checkpoint");
                Action::Halt(
                    self.halt(&what, "set 'start: committed' to adopt another program's offsets, or use a new group"),
                )
            }
            (Some(at), Some(stands)) => {
                let what = format!("its state stands for offset {stands} of the input, the group has committed {at}");
                Action::Halt(self.halt(&what, "somebody moved the group's offsets or the state; put one of them back"))
            }
        }
    }

    fn first_start(&mut self, why: Why) -> Action {
        self.ask(Phase::InputStart { why }, Action::InputStart(self.facts.start))
    }

    fn ready(&mut self, position: i64, checkpoint: Option<Checkpoint>, why: Why, records: u64) -> Action {
        self.phase = Phase::Over;
        let store = checkpoint.as_ref().map_or(self.facts.new_store, |c| c.store);
        Action::Ready(Ready { position, checkpoint, store, why, records })
    }

    fn position(&self, checkpoint: &Checkpoint) -> Option<i64> {
        checkpoint.position(&self.facts.task.topic, self.facts.task.partition)
    }

    fn halt(&self, what: &str, remedy: &str) -> Halt {
        Halt { cause: format!("task {}: {what}; {remedy}", self.facts.task), configuration: false }
    }
}
