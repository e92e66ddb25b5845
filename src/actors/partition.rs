//! The partition actor: a shell around one task and its store.
//!
//! Gets batches from the consumer thread, seals when its lane says so, and lets go when told.
//! Invariant: after `Close` was answered, neither the task nor its store handle exists any more.

use super::messages::{Asked, Close, Handed, InputEnd, Look, Work};
use super::worked::{Counted, Worked};
use crate::exactly_once::{Assignment, Protections};
use crate::kafka::Fault;
use crate::traces::Traces;
use crate::{clock, process, state_dir};
use actix::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_observability::metrics::Metrics;
use tidemill_state::StateStore;
use tidemill_topology::{Task, TaskError};
use tokio::sync::oneshot::{Receiver, Sender, channel};

/// Messages that may wait, batches most of them.
pub const MAILBOX: usize = 2;

/// So long may a task behind a repartition go without a seal while no partials come, but only the mark of a transaction: that it
/// was read is not worth a record in each interval.
const MARK: Duration = Duration::from_secs(1);

/// When a seal's turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the batches that wait.
    Next,
    /// Behind all that has arrived.
    Arrived,
    /// So, and for the last time: a mere mark, too, gets its checkpoint.
    Last,
}

/// What the lane waits for: the task's values, if the snapshot owns it and it moved.
struct Request {
    snapshot: Arc<Assignment>,
    turn: Turn,
    answer: Sender<Option<Handed>>,
}

/// What the lane and a task may see of each other without a message; both live on one arbiter.
#[derive(Default)]
pub struct Pulse {
    /// The store has what was sealed with this sequence.
    applied: Cell<Option<u64>>,
    /// A seal that is asked for, behind that.
    seal: RefCell<Option<Request>>,
    /// An update or a final is due.
    pub urgent: Cell<bool>,
    /// What a seal would carry.
    pub bytes: Cell<usize>,
    /// When the end of its input should be looked at, ms of wall time.
    pub idle_check: Cell<Option<i64>>,
}

impl Pulse {
    /// The store has what was sealed with this sequence.
    pub fn applied(&self, sequence: u64) {
        self.applied.set(Some(sequence));
    }

    /// SEAL. No answer: the actor has ended.
    pub fn ask(&self, snapshot: Arc<Assignment>, turn: Turn) -> Receiver<Option<Handed>> {
        let (answer, answered) = channel();
        self.seal.replace(Some(Request { snapshot, turn, answer }));
        answered
    }

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
    /// When the last seal was.
    sealed: Instant,
    /// Since the last seal.
    worked: Worked,
    /// Of the task, at the last seal.
    counted: Counted,
    /// Makes spans; none: off.
    traces: Option<Arc<Traces>>,
    /// Its lane, told of each batch.
    lane: Option<Recipient<Look>>,
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
        PartitionActor {
            phase,
            pulse,
            protections,
            metrics,
            sealed: Instant::now(),
            worked: Worked::default(),
            counted,
            traces: None,
            lane: None,
        }
    }

    pub fn traced(self, traces: Option<Arc<Traces>>) -> PartitionActor {
        PartitionActor { traces, ..self }
    }

    pub fn of(self, lane: Recipient<Look>) -> PartitionActor {
        PartitionActor { lane: Some(lane), ..self }
    }

    /// What the store has by now.
    fn apply(&mut self) {
        if let Phase::Running { task, .. } = &mut self.phase
            && let Some(sequence) = self.pulse.applied.take()
            && let Err(error) = task.applied(sequence)
        {
            PartitionActor::fail(error);
        }
    }

    /// The seal that is asked for, if one is and it is its turn.
    fn answer(&mut self, in_turn: bool) {
        let asked = self.pulse.seal.borrow_mut().take_if(|asked| (asked.turn != Turn::Next) == in_turn);
        if let Some(Request { snapshot, turn, answer }) = asked
            && answer.send(self.seal(&snapshot, turn)).is_err()
        {
            tracing::debug!("a lane that has ended asked for a seal");
        }
    }

    fn seal(&mut self, snapshot: &Assignment, turn: Turn) -> Option<Handed> {
        let Phase::Running { task, store } = &mut self.phase else { return None };
        let ours = match self.protections.on("incarnation") {
            true => snapshot.owns(task.id(), task.assignment()),
            false => snapshot.owned.contains_key(task.id()),
        };
        let now = clock::now();
        let began = Instant::now();
        let rests = turn != Turn::Last && task.may_rest(now) && began.duration_since(self.sealed) < MARK;
        if !ours || !task.due(now) || rests {
            return None;
        }
        self.sealed = began;
        match task.seal(now) {
            Ok(sealed) => {
                self.pulse.read(task, now);
                let mut worked = std::mem::take(&mut self.worked);
                worked.sealed(task, &mut self.counted, began.elapsed());
                sealed.map(|s| (s, store.clone(), worked))
            }
            Err(error) => {
                PartitionActor::fail(error);
                None
            }
        }
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
        self.apply();
        self.answer(false);
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
        self.pulse.read(task, batch.arrived);
        // A full mailbox is looked at anyway.
        self.lane.iter().for_each(|lane| drop(lane.try_send(Look)));
    }
}

impl Handler<Asked> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Asked { in_turn }: Asked, _: &mut Self::Context) {
        self.apply();
        self.answer(in_turn);
    }
}

impl Handler<InputEnd> for PartitionActor {
    type Result = ();

    fn handle(&mut self, InputEnd { end, asked }: InputEnd, _: &mut Self::Context) {
        self.apply();
        self.answer(false);
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
        self.pulse.seal.take();
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exactly_once::Member;
    use crate::memory::Way;
    use crate::meter;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    use tidemill_observability::metrics::About;
    use tidemill_state::MemoryStore;
    use tidemill_topology::{Batch, TaskSetup, parse};

    const COPY: &str = "app: a\nkafka: { brokers: b }\nsources: { in: { topic: in, max_ahead: never } }\noutputs: { out: { from: in } }\n";
    /// Of a batch: enough that its making takes less than its work.
    const RECORDS: i64 = 500;

    const HOURLY: &str = "app: a\nkafka: { brokers: b }\nsources: { in: { topic: in, time: at } }\n\
        steps: { hours: { from: in, group_by: kind, window: { tumbling: 1h }, aggregate: { n: count() }, emit: { final: true } } }\n\
        outputs: { out: { from: hours } }\n";

    /// One task of the stage that takes partials, or of the one that does not.
    fn actor(topology: &str, behind: bool) -> PartitionActor {
        let loaded = parse(topology, "t.yaml", &|_| None).expect("it is a topology");
        let stage = loaded.topology.stages.iter().find(|stage| stage.takes_partials() == behind).expect("it has one");
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::default());
        let setup =
            TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 1 << 20 };
        let task = Task::open(stage.clone(), setup, store.clone(), None).expect("nothing is stored");
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
            let actor = actor(COPY, false).start();
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

    fn owner(actor: &PartitionActor) -> Arc<Assignment> {
        let Phase::Running { task, .. } = &actor.phase else { unreachable!("it was just made") };
        let owned = [(task.id().clone(), 1)].into();
        let member = Member::Of { generation: 1, metadata: Arc::new(()) };
        Arc::new(Assignment { version: 1, owned, member })
    }

    /// Where a seal stands that is asked while a batch waits behind one that was worked.
    fn sealed_at(turn: Turn) -> i64 {
        System::new().block_on(async move {
            let made = actor(COPY, false);
            let snapshot = owner(&made);
            let (pulse, actor, way) = (made.pulse.clone(), made.start(), Way::new(0));
            actor.send(Work(batch(0), way.weigh(0))).await.expect("it runs");
            // Of what the lane said before, and may be there still.
            actor.try_send(Asked { in_turn: false }).expect("it has room");
            actor.try_send(Work(batch(RECORDS), way.weigh(0))).expect("it has room");
            let answer = pulse.ask(snapshot, turn);
            actor.send(Asked { in_turn: turn != Turn::Next }).await.expect("it runs");
            let (sealed, ..) = answer.await.expect("it runs").expect("it moved and is owned");
            sealed.checkpoint.positions[0].offset
        })
    }

    #[test]
    fn a_seal_does_not_wait_for_batches_but_where_all_is_to_be_worked_off() {
        assert_eq!(sealed_at(Turn::Next), RECORDS);
        assert_eq!(sealed_at(Turn::Arrived), 2 * RECORDS);
    }

    #[test]
    fn a_seal_whose_message_found_no_room_comes_before_the_next_batch() {
        let sealed = System::new().block_on(async move {
            let made = actor(COPY, false);
            let (snapshot, pulse, actor, way) = (owner(&made), made.pulse.clone(), made.start(), Way::new(0));
            actor.send(Work(batch(0), way.weigh(0))).await.expect("it runs");
            let answer = pulse.ask(snapshot, Turn::Next);
            actor.send(Work(batch(RECORDS), way.weigh(0))).await.expect("it runs");
            answer.await.expect("it runs").map(|(sealed, ..)| sealed.checkpoint.positions[0].offset)
        });
        assert_eq!(sealed, Some(RECORDS));
    }

    #[test]
    fn the_mark_of_a_transaction_waits_behind_a_repartition_and_is_not_forgotten() {
        let now = Duration::ZERO;
        let turns = [(now, Turn::Arrived, false), (MARK, Turn::Arrived, true), (now, Turn::Last, true)];
        for (since, turn, seals) in turns {
            let sealed = System::new().block_on(async move {
                let mut made = actor(HOURLY, true);
                made.sealed -= since;
                let Phase::Running { task, .. } = &made.phase else { unreachable!("it was just made") };
                let mut mark = Batch::new(task.id().topic.clone(), 0, 1, 0);
                mark.next = 1;
                let (snapshot, pulse, actor, way) = (owner(&made), made.pulse.clone(), made.start(), Way::new(0));
                actor.send(Work(mark, way.weigh(0))).await.expect("it runs");
                let answer = pulse.ask(snapshot, turn);
                actor.send(Asked { in_turn: true }).await.expect("it runs");
                answer.await.expect("it runs").map(|(sealed, ..)| sealed.checkpoint.positions[0].offset)
            });
            assert_eq!(sealed, seals.then_some(1), "{since:?} after the last seal, {turn:?}");
        }
    }

    #[test]
    fn a_lane_is_told_of_each_batch() {
        struct Lane(Arc<AtomicUsize>);
        impl Actor for Lane {
            type Context = Context<Self>;
        }
        impl Handler<Look> for Lane {
            type Result = ();
            fn handle(&mut self, _: Look, _: &mut Self::Context) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        System::new().block_on(async move {
            let lane = Lane(counted).start();
            let (actor, way) = (actor(COPY, false).of(lane.clone().recipient()).start(), Way::new(0));
            for from in [0, RECORDS] {
                actor.send(Work(batch(from), way.weigh(0))).await.expect("it runs");
            }
            actor.send(Close).await.expect("it runs");
            tokio::task::yield_now().await;
        });
        assert_eq!(looks.load(Relaxed), 2);
    }
}
