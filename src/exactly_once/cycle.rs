//! The lane's cycle: one set of sealed values from SEAL until it is applied, left out, or given up.
//!
//! Driven by a committer thread, and step by step by the simulation. Knows nothing of time but the lengths that it asks
//! to wait.
//! Invariant: the values are sent again unchanged until they are committed or no longer ours; nothing else can happen.

use super::{Assignment, Landed, Outcome, Protections, Refusal};
use std::sync::Arc;
use std::time::Duration;
use tidemill_topology::{Sealed, TaskId};

const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// One transaction's worth of values on its way.
///
/// ```text
///   Send --Committed--> Apply --applied--> Done
///    | \--Unknown--> Recover          (memory of the lane's tasks is dropped)
///    |  \--Fenced, Fatal--> Exit
///    Aborted
///    v
///   Await(newer snapshot) or Backoff --send_again--> Send, or Done when nothing is ours any more
/// ```
#[derive(Debug)]
pub struct Cycle {
    assignment: Arc<Assignment>,
    sealed: Vec<Sealed>,
    left_out: Vec<TaskId>,
    tries: u32,
    protections: Protections,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Commit [`Cycle::sealed`] under [`Cycle::assignment`], then [`Cycle::outcome`].
    Send,
    /// Wait for a snapshot newer than this version, then [`Cycle::send_again`].
    Await { newer_than: u64 },
    /// Wait this long, then [`Cycle::send_again`] with the newest snapshot.
    Backoff(Duration),
    /// Put the values into the stores, one [`Landed`] for each of [`Cycle::sealed`].
    Apply(Vec<Landed>),
    /// Nothing is left to do.
    Done,
    /// The outcome is unknown: drop the memory of every task of the lane and RECOVER each.
    Recover(String),
    /// The process cannot go on. `configuration`: a setting or a topic is the remedy.
    Exit { cause: String, configuration: bool },
}

impl Cycle {
    /// SEAL is over: these values go out under this snapshot.
    pub fn new(assignment: Arc<Assignment>, sealed: Vec<Sealed>, protections: Protections) -> Cycle {
        Cycle { assignment, sealed, left_out: Vec::new(), tries: 0, protections }
    }

    pub fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    pub fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// Tasks whose values were dropped because they are not ours any more, or not under the same number.
    pub fn left_out(&self) -> &[TaskId] {
        &self.left_out
    }

    /// The decision after COMMIT, the only place where an outcome is matched.
    pub fn outcome(&mut self, outcome: Outcome) -> Step {
        self.tries += 1;
        match outcome {
            Outcome::Committed(landed) => Step::Apply(landed),
            Outcome::Aborted(Refusal::GroupMoved(_)) => Step::Await { newer_than: self.newer_than() },
            Outcome::Aborted(Refusal::Trouble(_)) => Step::Backoff(self.backoff()),
            Outcome::Unknown(cause) => self.unknown(cause),
            Outcome::Fenced(cause) => Step::Exit { cause, configuration: false },
            Outcome::Fatal(cause) => Step::Exit { cause, configuration: true },
        }
    }

    /// After an abort: leave out what the newest snapshot does not own under the same number, and send the rest again.
    pub fn send_again(&mut self, newest: Arc<Assignment>) -> Step {
        if self.protections.on("filter_lost") {
            let kept = |s: &Sealed| match self.protections.on("incarnation") {
                true => newest.owns(&s.task, s.assignment),
                false => newest.owned.contains_key(&s.task),
            };
            let (stay, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sealed).into_iter().partition(kept);
            self.sealed = stay;
            self.left_out.extend(lost.into_iter().map(|s| s.task));
        }
        self.assignment = newest;
        if self.sealed.is_empty() { Step::Done } else { Step::Send }
    }

    /// Newer than the snapshot that was *used*: the next one from here on may never come.
    fn newer_than(&self) -> u64 {
        if self.protections.on("newer_than_used") { self.assignment.version } else { self.assignment.version + 1 }
    }

    fn unknown(&mut self, cause: String) -> Step {
        if !self.protections.on("unknown_recovers") {
            return Step::Backoff(self.backoff());
        }
        if !self.protections.on("unknown_commits") {
            return Step::Apply(vec![Landed::default(); self.sealed.len()]);
        }
        Step::Recover(cause)
    }

    fn backoff(&self) -> Duration {
        LONGEST_BACKOFF.min(FIRST_BACKOFF * 2u32.saturating_pow(self.tries.saturating_sub(1).min(10)))
    }
}
