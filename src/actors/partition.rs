//! The partition actor: a shell around one task and its store.
//!
//! Gets batches from the consumer thread, seals when its lane says so, and lets go when told.
//! Invariant: after `Close` was answered, neither the task nor its store handle exists any more.

use super::messages::{Applied, Close, InputEnd, Seal, Work};
use crate::exactly_once::Protections;
use crate::kafka::Fault;
use crate::{clock, process, state_dir};
use actix::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tidemill_state::StateStore;
use tidemill_topology::{Task, TaskError};

/// Batches that may wait: little, so that a seal is not queued behind much.
const MAILBOX: usize = 2;

/// What the lane may see of a task without a message; both live on one arbiter.
#[derive(Default)]
pub struct Pulse {
    /// A batch came since the last seal.
    pub moved: Cell<bool>,
    /// An update or a final is due.
    pub urgent: Cell<bool>,
    /// What a seal would carry.
    pub bytes: Cell<usize>,
    /// When the end of its input should be looked at, ms of wall time.
    pub idle_check: Cell<Option<i64>>,
}

impl Pulse {
    fn read(&self, task: &Task, now: i64) {
        self.urgent.set(task.urgent(now));
        self.bytes.set(task.pending_bytes());
        self.idle_check.set(task.idle_check());
    }
}

enum Phase {
    Running { task: Box<Task>, store: Arc<dyn StateStore> },
    Closed,
}

/// What to say of a task that stops; a store that is damaged is condemned.
pub(super) fn fault(error: &TaskError) -> Fault {
    match error {
        TaskError::Store { task, cause } => Fault::failed(format!("task {task}: {}", state_dir::condemn(cause))),
        TaskError::Shape { .. } | TaskError::Output { .. } => Fault::configuration(error.to_string()),
        other => Fault::failed(other.to_string()),
    }
}

/// One task at work.
pub struct PartitionActor {
    phase: Phase,
    pulse: Rc<Pulse>,
    protections: Protections,
}

impl PartitionActor {
    pub fn new(task: Task, store: Arc<dyn StateStore>, pulse: Rc<Pulse>, protections: Protections) -> PartitionActor {
        PartitionActor { phase: Phase::Running { task: Box::new(task), store }, pulse, protections }
    }

    fn fail(error: TaskError) {
        let Fault { cause, configuration } = fault(&error);
        process::exit(&cause, configuration);
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Work> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Work(batch): Work, _: &mut Self::Context) {
        let Phase::Running { task, .. } = &mut self.phase else { return };
        if batch.assignment != task.assignment() {
            tracing::debug!(task = %task.id(), "a batch of an earlier assignment");
            return;
        }
        process::working_on(task.id(), batch.from, batch.next);
        if let Err(error) = task.process(&batch) {
            return PartitionActor::fail(error);
        }
        self.pulse.moved.set(true);
        self.pulse.read(task, batch.arrived);
    }
}

impl Handler<Seal> for PartitionActor {
    type Result = MessageResult<Seal>;

    fn handle(&mut self, Seal(snapshot): Seal, _: &mut Self::Context) -> Self::Result {
        let Phase::Running { task, store } = &mut self.phase else { return MessageResult(None) };
        let ours = match self.protections.on("incarnation") {
            true => snapshot.owns(task.id(), task.assignment()),
            false => snapshot.owned.contains_key(task.id()),
        };
        let now = clock::now();
        if !ours || !task.due(now) {
            return MessageResult(None);
        }
        match task.seal(now) {
            Ok(sealed) => {
                self.pulse.moved.set(false);
                self.pulse.read(task, now);
                MessageResult(sealed.map(|s| (s, store.clone())))
            }
            Err(error) => {
                PartitionActor::fail(error);
                MessageResult(None)
            }
        }
    }
}

impl Handler<Applied> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Applied(sequence): Applied, _: &mut Self::Context) {
        if let Phase::Running { task, .. } = &mut self.phase
            && let Err(error) = task.applied(sequence)
        {
            PartitionActor::fail(error);
        }
    }
}

impl Handler<InputEnd> for PartitionActor {
    type Result = ();

    fn handle(&mut self, InputEnd { end, asked }: InputEnd, _: &mut Self::Context) {
        let Phase::Running { task, .. } = &mut self.phase else { return };
        // No answer is no proof; any other end than the position has the task wait a while.
        if task.idle(end.unwrap_or(-1), asked) {
            tracing::debug!(task = %task.id(), time = task.stream_time(), "idle: stream time follows the clock");
        }
        self.pulse.read(task, clock::now());
    }
}

impl Handler<Close> for PartitionActor {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.phase = Phase::Closed;
        ctx.stop();
    }
}
