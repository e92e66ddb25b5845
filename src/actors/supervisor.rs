//! The supervisor: which task runs where. Never on the data path.
//!
//! Hears assignments from the consumer thread, has tasks recovered on threads of their own, gives them to lanes, takes
//! them back, and ends the process in order.
//! Invariant: a task's folder is opened only after its previous owner in this process has let go of it, and every reader
//! of its store too.

use super::committer::{self, Setup};
use super::ends::Ends;
use super::lane::{LaneActor, LaneSettings, Parts, Upward};
use super::messages::{Adopt, Drain, Drained, Heard, LetGo, Lost, Release, Stop, Totals};
use super::partition::fault;
use super::tally::Tally;
use crate::exactly_once::{Facts, Protections, Ready, Why};
use crate::http::Serving;
use crate::kafka::{Connection, Event, Fault, Log, Place, Purge, ReaderHandle, Recovered, Snapshots};
use crate::memory::Shares;
use crate::roster::{self, Progress, Roster};
use crate::sinks::Sinks;
use crate::traces::Traces;
use crate::watchdog::Watchdog;
use crate::{clock, exits, process};
use actix::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidemill_observability::metrics::Metrics;
use tidemill_state::{RocksOptions, StateStore};
use tidemill_topology::{Stage, Task, TaskId, TaskSetup};

const MAILBOX: usize = 16_384;

/// Everything that a process runs with.
pub struct Plan {
    pub connection: Connection,
    pub stages: Vec<Arc<Stage>>,
    /// Partitions of each stage's topic.
    pub partitions: BTreeMap<String, i32>,
    /// `delete.retention.ms` of each changelog.
    pub delete_retention_ms: BTreeMap<String, i64>,
    /// STATE/APP, this process's own.
    pub folder: PathBuf,
    pub rocks: RocksOptions,
    pub shares: Shares,
    pub lanes: usize,
    pub settings: LaneSettings,
    pub protections: Protections,
    pub snapshots: Arc<Snapshots>,
    pub watchdog: Arc<Watchdog>,
    pub log: Arc<Log>,
    pub ends: Ends,
    pub purge: Arc<Purge>,
    pub sinks: Sinks,
    /// Makes spans; none: off.
    pub traces: Option<Arc<Traces>>,
    pub roster: Arc<Roster>,
    pub metrics: Metrics,
    pub tally: Arc<Tally>,
    /// Answers questions; none: off.
    pub http: Option<Serving>,
}

impl Plan {
    fn stage(&self, task: &TaskId) -> &Arc<Stage> {
        self.stages.iter().find(|s| s.name == task.stage).expect("assigned topics are those of stages")
    }
}

/// A recovery thread is done.
#[derive(Message)]
#[rtype(result = "()")]
struct RecoveryOver {
    task: TaskId,
    number: u64,
    outcome: Result<Option<Box<Revived>>, Fault>,
    began: Instant,
}

/// A task on its recovered state.
struct Revived {
    task: Task,
    store: Arc<dyn StateStore>,
    ready: Ready,
    /// From the first record of its changelog until all that it holds was at hand.
    restore: Duration,
}

/// ```text
/// Recovering --ready--> Running --lost--> Leaving(again) --let go--> Recovering
///     |                    \--revoked--> Leaving --let go--> gone, or Recovering under a new number
///     \--revoked--> Recovering, cancelled --over--> gone, or Recovering under a new number
/// ```
enum Phase {
    Recovering { number: u64, cancel: Arc<AtomicBool>, next: Option<u64> },
    Running { number: u64 },
    Leaving { next: Option<u64> },
}

struct Tracked {
    lane: usize,
    phase: Phase,
}

/// Opens when every lane has settled its transactions.
#[derive(Default)]
struct Gate(Mutex<usize>, Condvar);

/// See the module.
pub struct Supervisor {
    plan: Arc<Plan>,
    reader: ReaderHandle,
    lanes: Vec<Addr<LaneActor>>,
    tasks: BTreeMap<TaskId, Tracked>,
    gate: Arc<Gate>,
    assigned_at: Instant,
    drained: usize,
    totals: Totals,
    stopping: bool,
}

impl Supervisor {
    pub fn new(plan: Plan, reader: ReaderHandle) -> Supervisor {
        Supervisor {
            plan: Arc::new(plan),
            reader,
            lanes: Vec::new(),
            tasks: BTreeMap::new(),
            gate: Arc::default(),
            assigned_at: Instant::now(),
            drained: 0,
            totals: Totals::default(),
            stopping: false,
        }
    }

    /// At the first assignment, never before: all lanes, also those that get no task, settle what they left open.
    fn open_lanes(&mut self, ctx: &Context<Self>) {
        for number in 0..self.plan.lanes {
            let (jobs, work) = sync_channel(1);
            let parts = Parts {
                number,
                settings: self.plan.settings,
                snapshots: self.plan.snapshots.clone(),
                protections: self.plan.protections,
                reader: self.reader.clone(),
                jobs,
                ends: self.plan.ends.clone(),
                traces: self.plan.traces.clone(),
                supervisor: Upward {
                    let_go: ctx.address().recipient(),
                    lost: ctx.address().recipient(),
                    drained: ctx.address().recipient(),
                },
                way: self.plan.shares.way.clone(),
                metrics: self.plan.metrics.clone(),
            };
            let lane = LaneActor::start_in_arbiter(&Arbiter::new().handle(), |_| LaneActor::new(parts));
            let setup = Setup {
                lane: number,
                connection: self.plan.connection.clone(),
                snapshots: self.plan.snapshots.clone(),
                protections: self.plan.protections,
                watchdog: self.plan.watchdog.clone(),
                purge: self.plan.purge.clone(),
                roster: self.plan.roster.clone(),
                metrics: self.plan.metrics.clone(),
                tally: self.plan.tally.clone(),
            };
            let (gate, told) = (self.gate.clone(), lane.clone().recipient());
            spawn(&format!("committer-{number}"), move || committer::run(setup, &work, || gate.open(), &told));
            self.lanes.push(lane);
        }
    }

    fn assigned(&mut self, tasks: Vec<(TaskId, u64)>, ctx: &Context<Self>) {
        tracing::info!(tasks = tasks.len(), generation = self.plan.snapshots.newest().generation(), "assigned");
        self.plan.metrics.lanes.rebalances.add(&[], 1);
        self.assigned_at = Instant::now();
        if self.lanes.is_empty() {
            self.open_lanes(ctx);
        }
        for (task, number) in tasks {
            match self.tasks.get_mut(&task).map(|t| &mut t.phase) {
                Some(Phase::Leaving { next } | Phase::Recovering { next, .. })
                    if self.plan.protections.on("let_go") =>
                {
                    *next = Some(number);
                    self.plan.roster.restoring(&task, number);
                }
                _ => self.recover(task, number, ctx),
            }
        }
        self.plan.roster.joined();
    }

    fn revoked(&mut self, tasks: Vec<(TaskId, u64)>) {
        tracing::info!(tasks = tasks.len(), "revoked");
        for (task, number) in tasks {
            let Some(tracked) = self.tasks.get_mut(&task) else { continue };
            match &mut tracked.phase {
                Phase::Running { number: runs } if *runs == number => {
                    tracked.phase = Phase::Leaving { next: None };
                    let lane = tracked.lane;
                    self.plan.roster.withdraw(&task, roster::Phase::Leaving);
                    self.tell(lane, Release(task));
                }
                Phase::Recovering { number: recovers, cancel, next } => {
                    if *recovers == number {
                        cancel.store(true, Ordering::Relaxed);
                    }
                    next.take_if(|n| *n == number);
                }
                Phase::Leaving { next } => drop(next.take_if(|n| *n == number)),
                Phase::Running { .. } => {}
            }
        }
    }

    /// The lane with the fewest tasks: a task keeps its lane while it is assigned.
    fn quietest_lane(&self) -> usize {
        let tasks = |lane| self.tasks.values().filter(|t| t.lane == lane).count();
        (0..self.plan.lanes).min_by_key(|lane| tasks(*lane)).expect("at least one lane")
    }

    fn recover(&mut self, task: TaskId, number: u64, ctx: &Context<Self>) {
        if self.stopping {
            return;
        }
        let lane = self.tasks.get(&task).map_or_else(|| self.quietest_lane(), |t| t.lane);
        let cancel = Arc::new(AtomicBool::new(false));
        let phase = Phase::Recovering { number, cancel: cancel.clone(), next: None };
        self.tasks.insert(task.clone(), Tracked { lane, phase });
        self.plan.roster.restoring(&task, number);
        let (plan, gate, supervisor) = (self.plan.clone(), self.gate.clone(), ctx.address());
        let began = Instant::now();
        spawn(&format!("recover-{task}"), move || {
            let outcome = revive(&plan, &task, number, &cancel, &gate);
            let over = RecoveryOver { task, number, outcome, began };
            if supervisor.try_send(over).is_err() {
                process::exit("the supervisor does not listen", false);
            }
        });
    }

    fn run(&mut self, task: TaskId, number: u64, revived: Revived, began: Instant) {
        let Revived { task: work, store, ready, restore } = revived;
        let why = match &ready.why {
            Why::FirstStart => "first start".to_owned(),
            Why::Restored => "restored".to_owned(),
            Why::FirstTimeHere => "first time here".to_owned(),
            Why::Rebuilt(reason) => format!("rebuilt: {reason}"),
        };
        let [ms, restore_ms] = [began.elapsed(), restore].map(|time| time.as_millis() as u64);
        self.note_restore(&ready.why, ready.records, began);
        tracing::info!(%task, assignment = number, position = ready.position, why, records = ready.records, restore_ms, ms, "task ready");
        let Some(tracked) = self.tasks.get_mut(&task) else { return };
        tracked.phase = Phase::Running { number };
        let lane = tracked.lane;
        let progress = Progress::recovered(ready.checkpoint.as_ref(), ready.position);
        self.plan.roster.running(&task, number, progress, store.clone());
        self.tell(lane, Adopt { task: Box::new(work), store });
        if self.tasks.values().all(|t| matches!(t.phase, Phase::Running { .. })) {
            let ms = self.assigned_at.elapsed().as_millis() as u64;
            tracing::info!(tasks = self.tasks.len(), ms, "all tasks ready");
        }
    }

    fn note_restore(&self, why: &Why, records: u64, began: Instant) {
        let tasks = &self.plan.metrics.tasks;
        let why = match why {
            Why::FirstStart => "first-start",
            Why::Restored => "restored",
            Why::FirstTimeHere => "first-time-here",
            Why::Rebuilt(_) => "rebuilt",
        };
        tasks.restores.add(&[why], 1);
        tasks.restore_records.add(&[], records);
        tasks.restore_duration.observe("", began.elapsed().as_secs_f64(), 1);
    }

    fn tell<M>(&self, lane: usize, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        LaneActor: Handler<M>,
    {
        if self.lanes[lane].try_send(message).is_err() {
            process::exit(&format!("lane {lane} does not listen"), false);
        }
    }

    fn leave(&self) {
        self.plan.sinks.finish();
        let t = self.totals;
        let Totals { committed, aborted, unknown, recycled } = t;
        tracing::info!(committed, aborted, unknown, recycled, "stopped");
        let plan = self.plan.clone();
        // On a thread: answers on their way have a moment, and this one must not wait.
        spawn("leave", move || {
            plan.http.iter().for_each(Serving::ended);
            exits::note("done");
            process::leave(process::DONE);
        });
    }
}

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.1.notify_all();
    }

    fn wait(&self, lanes: usize) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *open < lanes {
            open = self.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// RECOVER, then step 8: the task opened on what was recovered.
fn revive(
    plan: &Plan,
    id: &TaskId,
    number: u64,
    cancel: &AtomicBool,
    gate: &Gate,
) -> Result<Option<Box<Revived>>, Fault> {
    let stage = plan.stage(id).clone();
    let folder = plan.folder.join(id.folder());
    let partitions = plan.partitions.get(&*id.topic).copied().unwrap_or(1);
    let changelog = stage.changelog.as_deref();
    let mut new_store = [0; 16];
    getrandom::fill(&mut new_store).map_err(|e| Fault::failed(format!("no randomness for a store's id: {e}")))?;
    let facts = Facts {
        task: id.clone(),
        name: stage.checkpoint_name(id.partition),
        partitions,
        start: stage.start,
        stateful: changelog.is_some(),
        delete_retention_ms: changelog.and_then(|c| plan.delete_retention_ms.get(c)).copied().unwrap_or(i64::MAX),
        now: clock::now(),
        new_store: u128::from_le_bytes(new_store),
    };
    let cancelled = || cancel.load(Ordering::Relaxed);
    if !plan.roster.wait_unread(id, &cancelled) {
        return Ok(None);
    }
    let told = |progress| plan.roster.restored(id, progress);
    let place = Place { folder: &folder, options: &plan.rocks, changelog, cancelled: &cancelled, told: &told };
    // The time that lanes take to settle their transactions is enough for both.
    let prepared = plan.log.prepare(id, &place);
    if plan.protections.on("init_first") {
        gate.wait(plan.lanes);
    }
    let Some(Recovered { ready, store, reading }) = plan.log.recover(facts, &place, prepared)? else { return Ok(None) };
    let setup = TaskSetup {
        partition: id.partition,
        partitions,
        assignment: number,
        store_id: ready.store,
        position: ready.position,
        cache_bytes: plan.shares.cache_bytes,
    };
    let began = Instant::now();
    let mut opened = Task::open_within(stage, setup, &plan.shares.rooms, store.clone(), ready.checkpoint.as_ref());
    if let Some(traces) = &plan.traces {
        opened = opened.and_then(|task| traces.open(task));
    }
    tracing::debug!(task = %id, asked = "open task", us = began.elapsed().as_micros() as u64, "recovery");
    let task = opened.map_err(|e| fault(&e))?;
    Ok(Some(Box::new(Revived { task, store, ready, restore: reading.elapsed() })))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let named = std::thread::Builder::new().name(name.to_owned());
    if let Err(e) = named.spawn(work) {
        process::exit(&format!("no thread for {name}: {e}; raise the limit of processes"), false);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Heard> for Supervisor {
    type Result = ();

    fn handle(&mut self, Heard(event): Heard, ctx: &mut Self::Context) {
        match event {
            Event::Assigned(tasks) => self.assigned(tasks, ctx),
            Event::Revoked(tasks) => self.revoked(tasks),
            Event::Fatal(fault) => process::exit(&fault.cause, fault.configuration),
            Event::Closed => self.leave(),
        }
    }
}

impl Handler<RecoveryOver> for Supervisor {
    type Result = ();

    fn handle(&mut self, over: RecoveryOver, ctx: &mut Self::Context) {
        let RecoveryOver { task, number, outcome, began } = over;
        let (cancelled, next) = match self.tasks.get(&task).map(|t| &t.phase) {
            Some(Phase::Recovering { number: n, cancel, next }) if *n == number => {
                (cancel.load(Ordering::Relaxed), *next)
            }
            _ => return,
        };
        match outcome {
            Err(fault) if !cancelled => {
                self.plan.metrics.tasks.restores.add(&["failed"], 1);
                process::exit(&fault.cause, fault.configuration);
            }
            Ok(Some(revived)) if !cancelled => self.run(task, number, *revived, began),
            _ => {
                // A revived store is dropped here, so the folder is free.
                self.tasks.remove(&task);
                self.plan.roster.gone(&task);
                if let Some(next) = next {
                    self.recover(task, next, ctx);
                }
            }
        }
    }
}

impl Handler<LetGo> for Supervisor {
    type Result = ();

    fn handle(&mut self, LetGo(task): LetGo, ctx: &mut Self::Context) {
        let Some(Phase::Leaving { next }) = self.tasks.get(&task).map(|t| &t.phase) else { return };
        match *next {
            Some(number) => self.recover(task, number, ctx),
            None => {
                self.tasks.remove(&task);
                self.plan.roster.gone(&task);
            }
        }
    }
}

impl Handler<Lost> for Supervisor {
    type Result = ();

    fn handle(&mut self, Lost(tasks): Lost, _: &mut Self::Context) {
        for task in tasks {
            if let Some(tracked) = self.tasks.get_mut(&task)
                && let Phase::Running { number } = tracked.phase
            {
                tracked.phase = Phase::Leaving { next: Some(number) };
                self.plan.roster.withdraw(&task, roster::Phase::Restoring);
            }
        }
    }
}

impl Handler<Drained> for Supervisor {
    type Result = ();

    fn handle(&mut self, Drained(_, totals): Drained, _: &mut Self::Context) {
        self.drained += 1;
        self.totals.committed += totals.committed;
        self.totals.aborted += totals.aborted;
        self.totals.unknown += totals.unknown;
        self.totals.recycled += totals.recycled;
        if self.drained == self.lanes.len() {
            self.reader.close();
        }
    }
}

impl Handler<Stop> for Supervisor {
    type Result = ();

    fn handle(&mut self, Stop(signal): Stop, _: &mut Self::Context) {
        if self.stopping {
            return;
        }
        tracing::info!(signal, "stopping");
        self.stopping = true;
        self.plan.sinks.stop();
        self.plan.roster.stopping();
        self.plan.http.iter().for_each(Serving::stop);
        self.reader.quiet();
        if self.lanes.is_empty() {
            self.reader.close();
        }
        for lane in 0..self.lanes.len() {
            self.tell(lane, Drain);
        }
    }
}
