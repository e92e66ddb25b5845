//! The lane actor: the commit cycle of the tasks on one arbiter.
//!
//! Starts a seal when the interval, the bytes, or a task's due update ask for one; hands the sealed values to its
//! committer thread; tells the tasks what became of them. Told by the supervisor which tasks it has.
//! Invariant: one set of sealed values at a time; the next seal waits for it, processing does not.

use super::ends::{self, Ends};
use super::messages::{
    Adopt, Asked, Close, Drain, Drained, Finished, Handed, InputEnd, Job, LetGo, Look, Lost, Release, Totals, Work,
};
use super::pace::Pace;
use super::partition::{PartitionActor, Pulse, Turn};
use crate::clock;
use crate::exactly_once::Protections;
use crate::kafka::{ReaderHandle, Snapshots, Start};
use crate::memory::Way;
use crate::stop_points::{self, Point};
use crate::traces::Traces;
use actix::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tidemill_observability::metrics::Metrics;
use tidemill_topology::{Batch, Sealed, TaskId};

/// What is urgent waits so long: mostly more of its like is on its way, and one commit carries all.
const URGENT: Duration = Duration::from_millis(2);
/// A lane looks around so often at least.
const LOOK: Duration = Duration::from_millis(50);
/// Adoptions, releases and outcomes that may wait: far more than a process has tasks.
const MAILBOX: usize = 4_096;

/// When to commit.
#[derive(Debug, Clone, Copy)]
pub struct LaneSettings {
    pub interval: Duration,
    pub bytes: usize,
}

struct Held {
    actor: Addr<PartitionActor>,
    pulse: Rc<Pulse>,
    /// It takes partials, and is sealed as soon as some came.
    behind: bool,
}

impl Held {
    /// It sees its pulse, be it only with the next of the messages that fill its mailbox.
    fn nudge(&self) {
        drop(self.actor.try_send(Asked { in_turn: false }));
    }

    /// What it seals, if anything.
    fn asked(
        &self,
        snapshot: Arc<crate::exactly_once::Assignment>,
        turn: Turn,
    ) -> impl Future<Output = Option<Handed>> + use<> {
        let answer = self.pulse.ask(snapshot, turn);
        let told = (turn != Turn::Next).then(|| self.actor.send(Asked { in_turn: true }));
        self.nudge();
        async move {
            if let Some(told) = told {
                told.await.ok()?;
            }
            answer.await.ok().flatten()
        }
    }
}

/// Which tasks a seal asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    All,
    /// Those behind a repartition alone: else their seal would send the others' partials on, and bring on the next.
    Behind,
}

/// ```text
/// Idle --something is due--> Sealing --sealed--> Committing --Finished--> Idle
///                               \--nothing moved--> Idle
/// ```
enum Phase {
    Idle,
    Sealing,
    Committing { tasks: Vec<TaskId>, whom: Whom },
}

/// One lane.
pub struct LaneActor {
    number: usize,
    settings: LaneSettings,
    snapshots: Arc<Snapshots>,
    protections: Protections,
    reader: ReaderHandle,
    jobs: SyncSender<Job>,
    ends: Ends,
    traces: Option<Arc<Traces>>,
    supervisor: Upward,
    tasks: BTreeMap<TaskId, Held>,
    /// Closed, but a job on its way still holds the store.
    leaving: Vec<TaskId>,
    phase: Phase,
    pace: Pace,
    /// When it looks around next, beside each batch.
    alarm: Option<(Instant, SpawnHandle)>,
    draining: bool,
    /// What waits for the next seal is more than two transactions may carry: no more batches until it is sent.
    full: Arc<AtomicBool>,
    /// Of all lanes: batches that no task has worked yet.
    way: Way,
    totals: Totals,
    metrics: Metrics,
}

/// Where a lane's news go.
pub struct Upward {
    pub let_go: Recipient<LetGo>,
    pub lost: Recipient<Lost>,
    pub drained: Recipient<Drained>,
}

/// What a lane is made of.
pub struct Parts {
    pub number: usize,
    pub settings: LaneSettings,
    pub snapshots: Arc<Snapshots>,
    pub protections: Protections,
    pub reader: ReaderHandle,
    pub jobs: SyncSender<Job>,
    pub ends: Ends,
    pub traces: Option<Arc<Traces>>,
    pub supervisor: Upward,
    pub way: Way,
    pub metrics: Metrics,
}

impl LaneActor {
    pub fn new(parts: Parts) -> LaneActor {
        let Parts { number, settings, snapshots, protections, reader, .. } = parts;
        let Parts { jobs, ends, traces, supervisor, way, metrics, .. } = parts;
        LaneActor {
            number,
            settings,
            snapshots,
            protections,
            reader,
            jobs,
            ends,
            traces,
            supervisor,
            tasks: BTreeMap::new(),
            leaving: Vec::new(),
            phase: Phase::Idle,
            pace: Pace::new(settings.interval, Instant::now()),
            alarm: None,
            draining: false,
            full: Arc::default(),
            way,
            totals: Totals::default(),
            metrics,
        }
    }

    fn look_around(&mut self, ctx: &mut Context<Self>) {
        self.note_full();
        if matches!(self.phase, Phase::Idle)
            && let Some(whom) = self.due()
        {
            self.seal(whom, ctx);
        }
        self.look_for_ends();
        self.set_alarm(ctx);
    }

    fn note_full(&self) {
        self.full.store(self.waiting_bytes() >= self.settings.bytes.saturating_mul(2), Ordering::Relaxed);
    }

    fn due(&self) -> Option<Whom> {
        let all = self.draining
            || self.pace.left(Instant::now()).is_zero()
            || self.waiting_bytes() >= self.settings.bytes
            || self.is_urgent(false);
        if all { Some(Whom::All) } else { self.is_urgent(true).then_some(Whom::Behind) }
    }

    fn is_urgent(&self, behind: bool) -> bool {
        self.tasks.values().any(|t| t.behind == behind && t.pulse.urgent.get())
    }

    /// Has the lane look around when a seal will be due, as far as that is known now. A timer that went off hundreds of times a
    /// second would cost more than a thousand events do.
    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let wait = match self.phase {
            Phase::Idle if self.due().is_some() => URGENT,
            Phase::Idle => self.pace.left(Instant::now()).min(LOOK),
            // The end of either sets it again.
            Phase::Sealing | Phase::Committing { .. } => LOOK,
        };
        let at = Instant::now() + wait;
        if let Some((known, handle)) = self.alarm {
            if known <= at {
                return;
            }
            ctx.cancel_future(handle);
        }
        let rings = |lane: &mut LaneActor, ctx: &mut Context<LaneActor>| {
            lane.alarm = None;
            lane.look_around(ctx);
        };
        self.alarm = Some((at, ctx.run_later(wait, rings)));
    }

    /// Tasks that have been at the end of their input for long: is it the end still?
    fn look_for_ends(&mut self) {
        let now = clock::now();
        for (task, held) in &self.tasks {
            if held.pulse.idle_check.get().is_some_and(|at| at <= now) {
                // Until the answer has come; the actor sets the next time then.
                held.pulse.idle_check.set(None);
                let actor = held.actor.clone();
                let tell = Box::new(move |end, asked| drop(actor.try_send(InputEnd { end, asked })));
                self.ends.ask(ends::Asked { topic: task.topic.clone(), partition: task.partition, tell });
            }
        }
    }

    /// What a seal would carry now.
    fn waiting_bytes(&self) -> usize {
        self.tasks.values().map(|t| t.pulse.bytes.get()).sum()
    }

    /// SEAL: every task is asked, under the newest snapshot; those that moved hand their values over.
    fn seal(&mut self, whom: Whom, ctx: &mut Context<Self>) {
        if whom == Whom::All {
            self.pace.sealed(Instant::now());
        }
        stop_points::reached(Point::Seal);
        let snapshot = self.snapshots.for_seal(self.protections);
        let tasks = self.tasks.values().filter(|t| t.behind || whom == Whom::All);
        let turn = match whom {
            Whom::All if self.draining => Turn::Last,
            Whom::All => Turn::Next,
            // Partials are few, and come together.
            Whom::Behind => Turn::Arrived,
        };
        let asked: Vec<_> = tasks.map(|t| t.asked(snapshot.clone(), turn)).collect();
        if asked.is_empty() {
            return self.rest(turn, ctx);
        }
        self.phase = Phase::Sealing;
        let began = Instant::now();
        let answers = futures_util::future::join_all(asked).into_actor(self);
        let done = answers.map(move |answers, lane, ctx| {
            let handed: Vec<Handed> = answers.into_iter().flatten().collect();
            match handed.is_empty() {
                true => lane.rest(turn, ctx),
                false => lane.commit(snapshot, whom, handed, began),
            }
            lane.note_full();
        });
        ctx.spawn(done);
    }

    fn commit(
        &mut self,
        assignment: Arc<crate::exactly_once::Assignment>,
        whom: Whom,
        values: Vec<Handed>,
        began: Instant,
    ) {
        let stores = values.iter().map(|(s, store, _)| (s.task.clone(), store.clone())).collect();
        let (sealed, worked): (Vec<Sealed>, Vec<_>) = values.into_iter().map(|(s, _, worked)| (s, worked)).unzip();
        let worked = sealed.iter().map(|s| s.task.clone()).zip(worked).collect();
        self.phase = Phase::Committing { tasks: sealed.iter().map(|s| s.task.clone()).collect(), whom };
        if self.jobs.try_send(Job { assignment, sealed, stores, worked, seal: began.elapsed() }).is_err() {
            crate::process::exit(&format!("lane {}: its committer thread has ended", self.number), false);
        }
    }

    /// Nothing is on its way. A lane is drained if its last seal has found nothing: one that was asked before had not waited for what
    /// had arrived.
    fn rest(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        self.idle(ctx);
        if turn == Turn::Last {
            self.drained(ctx);
        }
    }

    fn idle(&mut self, ctx: &mut Context<Self>) {
        self.phase = Phase::Idle;
        for task in std::mem::take(&mut self.leaving) {
            self.let_go(task);
        }
        self.set_alarm(ctx);
    }

    fn let_go(&self, task: TaskId) {
        self.tell(&self.supervisor.let_go, LetGo(task));
    }

    fn tell<M>(&self, whom: &Recipient<M>, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
    {
        if whom.try_send(message).is_err() {
            crate::process::exit(&format!("lane {}: the supervisor does not listen", self.number), false);
        }
    }

    /// The drained lane closes its tasks; the process is about to end.
    fn drained(&mut self, ctx: &mut Context<Self>) {
        self.draining = false;
        let closing: Vec<_> = std::mem::take(&mut self.tasks).into_values().map(|t| t.actor.send(Close)).collect();
        let done = futures_util::future::join_all(closing).into_actor(self).map(|_, lane, _| {
            lane.tell(&lane.supervisor.drained, Drained(lane.number, lane.totals));
        });
        ctx.spawn(done);
    }

    /// Closes one task; its store is let go once no job holds it.
    fn close(&mut self, task: TaskId, ctx: &mut Context<Self>) {
        let Some(held) = self.tasks.remove(&task) else { return };
        let done = held.actor.send(Close).into_actor(self).map(move |_, lane, _| {
            let on_its_way = match &lane.phase {
                Phase::Idle => false,
                Phase::Sealing => true,
                Phase::Committing { tasks, .. } => tasks.contains(&task),
            };
            if on_its_way { lane.leaving.push(task) } else { lane.let_go(task) }
        });
        ctx.spawn(done);
    }
}

impl Actor for LaneActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.set_alarm(ctx);
    }
}

impl Handler<Adopt> for LaneActor {
    type Result = ();

    fn handle(&mut self, Adopt { task, store }: Adopt, ctx: &mut Self::Context) {
        let (id, assignment, position) = (task.id().clone(), task.assignment(), task.position());
        let behind = task.takes_partials();
        let pulse = Rc::new(Pulse::default());
        let actor = PartitionActor::new((*task, store), pulse.clone(), self.protections, self.metrics.clone());
        let actor = actor.traced(self.traces.clone()).of(ctx.address().recipient()).start();
        let (mailbox, full, metrics) = (actor.clone(), self.full.clone(), self.metrics.clone());
        let (way, refused) = (self.way.clone(), self.pace.refused());
        let refuse = move |batch| {
            refused.store(true, Ordering::Relaxed);
            metrics.tasks.refused.add(&[], 1);
            Err(Some(Box::new(batch)))
        };
        let sink = Box::new(move |batch: Batch| {
            if (full.load(Ordering::Relaxed) || way.is_full()) && mailbox.connected() {
                return refuse(batch);
            }
            let weight = way.weigh(batch.bytes());
            match mailbox.try_send(Work(batch, weight)) {
                Ok(()) => Ok(()),
                Err(SendError::Full(Work(batch, _))) => refuse(batch),
                Err(SendError::Closed(_)) => Err(None),
            }
        });
        self.tasks.insert(id.clone(), Held { actor, pulse, behind });
        self.reader.start(Start { task: id, assignment, position, sink });
    }
}

impl Handler<Look> for LaneActor {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        if self.pace.left(Instant::now()).is_zero() || self.waiting_bytes() >= self.settings.bytes {
            self.look_around(ctx);
        } else if self.due().is_some() {
            self.set_alarm(ctx);
        }
    }
}

impl Handler<Release> for LaneActor {
    type Result = ();

    fn handle(&mut self, Release(task): Release, ctx: &mut Self::Context) {
        self.close(task, ctx);
    }
}

impl Handler<Drain> for LaneActor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.look_around(ctx);
    }
}

impl Handler<Finished> for LaneActor {
    type Result = ();

    fn handle(&mut self, finished: Finished, ctx: &mut Self::Context) {
        if let Phase::Committing { whom: Whom::All, .. } = self.phase {
            self.pace.finished(Instant::now());
        }
        match finished {
            Finished::Applied { tasks, totals } => {
                self.totals = totals;
                for (task, sequence) in tasks {
                    if let Some(held) = self.tasks.get(&task) {
                        held.pulse.applied(sequence);
                        held.nudge();
                    }
                }
            }
            Finished::Unknown { totals } => {
                self.totals = totals;
                let lost: Vec<TaskId> = self.tasks.keys().cloned().collect();
                self.tell(&self.supervisor.lost, Lost(lost.clone()));
                for task in lost {
                    self.close(task, ctx);
                }
            }
        }
        self.idle(ctx);
    }
}
