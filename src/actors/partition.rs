//! The partition actor: a shell around one task and its store.
//!
//! Gets batches from the consumer thread, seals when its lane says so, and lets go when told.
//! Invariant: after `Close` was answered, neither the task nor its store handle exists any more.

use super::messages::{Applied, Close, InputEnd, Seal, Work};
use super::worked::{Counted, Worked};
use crate::exactly_once::Protections;
use crate::kafka::Fault;
use crate::traces::Traces;
use crate::{clock, process, state_dir};
use actix::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tidemill_observability::metrics::Metrics;
use tidemill_state::StateStore;
use tidemill_topology::{Task, TaskError};

/// Batches that may wait: little, so that a seal is not queued behind much.
pub const MAILBOX: usize = 2;

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
    metrics: Metrics,
    /// Since the last seal.
    worked: Worked,
    /// Of the task, at the last seal.
    counted: Counted,
    /// Makes spans; none: off.
    traces: Option<Arc<Traces>>,
}

impl PartitionActor {
    pub fn new(
        (task, store): (Task, Arc<dyn StateStore>),
        pulse: Rc<Pulse>,
        protections: Protections,
        metrics: Metrics,
    ) -> PartitionActor {
        let counted = Counted::of(&task);
        let phase = Phase::Running { task: Box::new(task), store };
        PartitionActor { phase, pulse, protections, metrics, worked: Worked::default(), counted, traces: None }
    }

    pub fn traced(self, traces: Option<Arc<Traces>>) -> PartitionActor {
        PartitionActor { traces, ..self }
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

    fn handle(&mut self, Work(batch, _weight): Work, ctx: &mut Self::Context) {
        // An actor works its mailbox until it is empty, and a reader that is faster fills it meanwhile: the lane and its other
        // tasks have their turn behind each batch, or no seal would come while there is work.
        ctx.wait(tokio::task::yield_now().into_actor(self));
        let Phase::Running { task, .. } = &mut self.phase else { return };
        if batch.assignment != task.assignment() {
            tracing::debug!(task = %task.id(), "a batch of an earlier assignment");
            return;
        }
        process::working_on(task.id(), batch.from, batch.next);
        let begun = self.traces.as_ref().and_then(|traces| Some((traces, traces.begin(task, &batch)?)));
        let began = Instant::now();
        if let Err(error) = task.process(&batch) {
            return PartitionActor::fail(error);
        }
        self.worked.batch(&batch, began);
        if let Some((traces, begun)) = begun {
            traces.end(&begun, task);
        }
        if !batch.is_empty() && !task.takes_partials() {
            let (records, seeds) = (batch.len() as u64, &self.metrics.seeds);
            seeds.consumed.add(&[], records);
            seeds.bytes.add(&["in", "consumer", &batch.topic], batch.bytes() as u64);
            seeds.transformation.observe("", began.elapsed().as_secs_f64() / records as f64, records);
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
        let began = Instant::now();
        match task.seal(now) {
            Ok(sealed) => {
                self.pulse.moved.set(false);
                self.pulse.read(task, now);
                let mut worked = std::mem::take(&mut self.worked);
                worked.sealed(task, &mut self.counted, began.elapsed());
                MessageResult(sealed.map(|s| (s, store.clone(), worked)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Way;
    use crate::meter;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    use tidemill_observability::metrics::About;
    use tidemill_state::MemoryStore;
    use tidemill_topology::{Batch, TaskSetup, parse};

    const COPY: &str = "app: a\nkafka: { brokers: b }\nsources: { in: { topic: in, max_ahead: never } }\noutputs: { out: { from: in } }\n";
    /// Of a batch: enough that its making takes less than its work.
    const RECORDS: i64 = 500;

    fn actor() -> PartitionActor {
        let loaded = parse(COPY, "copy.yaml", &|_| None).expect("it is a topology");
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::default());
        let setup =
            TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 1 << 20 };
        let task =
            Task::open(loaded.topology.stages[0].clone(), setup, store.clone(), None).expect("nothing is stored");
        let [app, instance, version, librdkafka, rocksdb] = [(); 5].map(|()| String::new());
        let metrics = Metrics::new(
            &About { app, instance, version, librdkafka, rocksdb },
            &meter::limits(&loaded.settings.alerts),
        );
        PartitionActor::new((task, store), Rc::default(), Protections::all(), metrics)
    }

    fn batch(from: i64) -> Batch {
        let mut batch = Batch::new("in".into(), 0, 1, from);
        (from..from + RECORDS)
            .for_each(|offset| batch.push(offset, 1, None, Some(b"{\"a\": [1, 2, 3], \"b\": \"c\"}")));
        batch
    }

    /// As a reader that is faster than the task: there is always a batch to be worked.
    fn feed(actor: &Addr<PartitionActor>, (sent, over): (&AtomicUsize, &AtomicBool)) {
        let (way, mut next) = (Way::new(0), batch(0));
        while !over.load(Relaxed) {
            match actor.try_send(Work(next, way.weigh(0))) {
                Ok(()) => next = batch(RECORDS * (sent.fetch_add(1, Relaxed) as i64 + 1)),
                Err(SendError::Full(Work(back, _))) => next = back,
                Err(SendError::Closed(_)) => return,
            }
        }
    }

    #[test]
    fn a_mailbox_that_is_never_empty_leaves_the_others_their_turns() {
        let (sent, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, told) = (sent.clone(), over.clone());
        let most = System::new().block_on(async move {
            let actor = actor().start();
            let feeder = std::thread::spawn(move || feed(&actor, (&counted, &told)));
            let mut most = 0;
            while sent.load(Relaxed) < 500 {
                let before = sent.load(Relaxed);
                tokio::task::yield_now().await;
                most = most.max(sent.load(Relaxed) - before);
            }
            over.store(true, Relaxed);
            feeder.join().expect("it only sends");
            most
        });
        assert!(most <= 2 * MAILBOX + 2, "{most} batches were worked before anybody else had a turn");
    }
}
