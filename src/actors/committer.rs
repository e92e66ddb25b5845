//! A lane's committer thread: carries the cycle out, where blocking is allowed.
//!
//! Gets sealed values from its lane actor, gives back what became of them.
//! Invariant: store handles of a job are dropped before the lane hears that it is over.

use super::messages::{Finished, Job, Totals};
use super::tally::Tally;
use super::worked::Worked;
use crate::exactly_once::{Assignment, Committer, Cycle, Landed, Outcome, Protections, Refusal, Step, apply};
use crate::kafka::{Connection, Fault, KafkaCommitter, Purge, Snapshots};
use crate::roster::Roster;
use crate::stop_points::{self, Point};
use crate::watchdog::Watchdog;
use crate::{process, state_dir, traces};
use actix::Recipient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};
use tidemill_observability::metrics::Metrics;
use tidemill_state::StateStore;
use tidemill_topology::{Sealed, TaskId};

/// An apply that fails is tried again so often; the log has it, so giving up loses nothing.
const APPLY_TRIES: u32 = 3;
/// A producer without work is heard so often.
const REST: Duration = Duration::from_secs(1);
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(1);

/// What a committer thread needs to open its producer.
pub struct Setup {
    pub lane: usize,
    pub connection: Connection,
    pub snapshots: Arc<Snapshots>,
    pub protections: Protections,
    pub watchdog: Arc<Watchdog>,
    pub purge: Arc<Purge>,
    pub roster: Arc<Roster>,
    pub metrics: Metrics,
    pub tally: Arc<Tally>,
}

type Stores = BTreeMap<TaskId, Arc<dyn StateStore>>;

struct Thread {
    setup: Setup,
    committer: KafkaCommitter,
    totals: Totals,
}

/// The thread's life: settle what an earlier incarnation left open, say so, then one job after the other.
pub fn run(setup: Setup, jobs: &Receiver<Job>, ready: impl FnOnce(), lane: &Recipient<Finished>) {
    let began = Instant::now();
    let Setup { lane: number, connection, snapshots, protections, watchdog, .. } = &setup;
    let opened = KafkaCommitter::open(connection.clone(), *number, *protections, snapshots.clone(), watchdog.clone());
    let committer = match opened {
        Ok(committer) => committer,
        Err(Fault { cause, configuration }) => return process::exit(&cause, configuration),
    };
    tracing::debug!(lane = *number, ms = began.elapsed().as_millis() as u64, "transactions settled");
    ready();
    let mut thread = Thread { setup, committer, totals: Totals::default() };
    loop {
        match jobs.recv_timeout(REST) {
            Ok(job) => {
                let finished = thread.drive(job);
                if lane.try_send(finished).is_err() {
                    return; // the lane has ended, and with it the process
                }
            }
            Err(RecvTimeoutError::Timeout) => thread.committer.rest(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Thread {
    fn drive(&mut self, job: Job) -> Finished {
        let Job { assignment, sealed, stores, worked, seal } = job;
        let _at_work = self.setup.metrics.lanes.works(self.setup.lane);
        self.setup.metrics.lanes.phases.observe("seal", seal.as_secs_f64(), 1);
        stop_points::reached(Point::Sealed);
        let tasks: Vec<_> = sealed.iter().map(|s| (s.task.clone(), s.sequence)).collect();
        let began = SystemTime::now();
        let mut cycle = Cycle::new(assignment, sealed, self.setup.protections);
        let mut step = Step::Send;
        loop {
            step = match step {
                Step::Send => self.send(&mut cycle),
                Step::Await { newer_than } => match self.setup.snapshots.newer_than(newer_than, SNAPSHOT_PATIENCE) {
                    Some(newest) => self.send_again(&mut cycle, newest),
                    None => Step::Await { newer_than },
                },
                Step::Backoff(time) => {
                    std::thread::sleep(time);
                    let newest = self.setup.snapshots.newest();
                    self.send_again(&mut cycle, newest)
                }
                Step::Apply(landed) => {
                    traces::committed(cycle.sealed(), began);
                    self.apply(&cycle, (&stores, &worked), &landed);
                    return Finished::Applied { tasks, totals: self.totals };
                }
                Step::Done => return Finished::Applied { tasks: Vec::new(), totals: self.totals },
                Step::Recover(cause) => {
                    let lane = self.setup.lane;
                    tracing::warn!(lane, cause, "outcome unknown");
                    return Finished::Unknown { totals: self.totals };
                }
                Step::Exit { cause, configuration } => {
                    process::exit(&cause, configuration);
                    Step::Await { newer_than: u64::MAX - 1 } // another thread is ending the process
                }
            }
        }
    }

    fn send(&mut self, cycle: &mut Cycle) -> Step {
        let began = Instant::now();
        let outcome = self.committer.commit(cycle.assignment(), cycle.sealed());
        let lane = self.setup.lane;
        match &outcome {
            Outcome::Committed(landed) => {
                self.totals.committed += 1;
                self.log_commit(cycle, began.elapsed());
                self.setup.tally.transaction(&self.setup.metrics, &self.committer.timings, cycle.sealed(), landed);
            }
            Outcome::Aborted(Refusal::GroupMoved(cause) | Refusal::Trouble(cause)) => {
                self.totals.aborted += 1;
                tracing::info!(lane, cause, "transaction aborted");
            }
            Outcome::Unknown(_) => self.totals.unknown += 1,
            Outcome::Fenced(_) | Outcome::Fatal(_) => {}
        }
        self.setup.tally.ended(&self.setup.metrics, &outcome, self.committer.recycled - self.totals.recycled);
        self.totals.recycled = self.committer.recycled;
        cycle.outcome(outcome)
    }

    fn log_commit(&self, cycle: &Cycle, took: Duration) {
        let t = self.committer.timings;
        let us = |d: Duration| d.as_micros() as u64;
        tracing::debug!(
            lane = self.setup.lane,
            tasks = cycle.sealed().len(),
            records = t.records,
            bytes = cycle.sealed().iter().map(Sealed::bytes).sum::<usize>(),
            us = us(took),
            send_us = us(t.send),
            wait_us = us(t.wait),
            offsets_us = us(t.offsets),
            commit_us = us(t.commit),
            concurrent = t.concurrent,
            "committed"
        );
    }

    fn send_again(&self, cycle: &mut Cycle, newest: Arc<Assignment>) -> Step {
        let before = cycle.left_out().len();
        let step = cycle.send_again(newest);
        self.setup.metrics.lanes.left_out.add(&[], (cycle.left_out().len() - before) as u64);
        for task in &cycle.left_out()[before..] {
            tracing::info!(%task, lane = self.setup.lane, "left out");
        }
        step
    }

    fn apply(&self, cycle: &Cycle, (stores, worked): (&Stores, &BTreeMap<TaskId, Worked>), landed: &[Landed]) {
        let began = Instant::now();
        for (sealed, landed) in cycle.sealed().iter().zip(landed) {
            for position in &sealed.checkpoint.positions {
                self.setup.purge.note(&position.topic, position.partition, position.offset);
            }
            if sealed.changelog.is_some() && !apply_patiently(&stores[&sealed.task], sealed, *landed) {
                return;
            }
            let worked = &worked[&sealed.task];
            let seen = (worked.memory, worked.newest);
            self.setup.roster.committed(&sealed.task, sealed.assignment, &sealed.checkpoint, seen);
            self.setup.tally.task(&self.setup.metrics, sealed, worked);
        }
        self.setup.metrics.lanes.phases.observe("apply", began.elapsed().as_secs_f64(), 1);
        stop_points::reached(Point::Apply);
    }
}

/// Whether it worked; if not, the process is ending.
fn apply_patiently(store: &Arc<dyn StateStore>, sealed: &Sealed, landed: Landed) -> bool {
    for tries in 1.. {
        match apply(store, sealed, landed) {
            Ok(()) => break,
            Err(error) if tries >= APPLY_TRIES => {
                let cause = format!("task {}: {}", sealed.task, state_dir::condemn(&error));
                process::exit(&format!("{cause}; nothing is lost, the changelog has it"), false);
                return false;
            }
            Err(error) => tracing::warn!(task = %sealed.task, %error, "applying again"),
        }
    }
    true
}
