//! The meter: once a second it looks at what the process is, and writes the gauges that say so.
//!
//! Started by `runtime`, on a thread of its own. Reads the roster, sinks and stores; asks no broker and waits for nobody, so
//! a cluster that hangs is seen and not shared.
//! Invariant: a figure that is not known is left out, never 0.

mod behind;
mod watch;

use crate::kafka::{Fault, KnownEnds};
use crate::memory::{self, Shares};
use crate::roster::{Listed, Phase, Roster};
use crate::sinks::Look;
use behind::Trail;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidemill_observability::metrics::{Limits, Metrics, Now, StoresNow, TaskNow};
use tidemill_state::RocksOptions;
use tidemill_topology::{Alerts, TaskId};
use watch::Watch;

const TICK: Duration = Duration::from_secs(1);
/// Stores are asked every so many ticks.
const STORES: u64 = 5;

/// What it looks at.
pub struct Meter {
    pub metrics: Metrics,
    pub roster: Arc<Roster>,
    pub ends: KnownEnds,
    pub sinks: Look,
    pub rocks: RocksOptions,
    pub shares: Shares,
    pub limits: Alerts,
    /// A lane that is at its transaction for longer counts as stuck.
    pub stuck: Duration,
}

/// What it remembers from one look to the next.
struct State {
    trails: BTreeMap<TaskId, (u64, Trail)>,
    stores: StoresNow,
    watch: Watch,
    ticks: u64,
}

/// Thresholds in the words of the metrics.
pub fn limits(alerts: &Alerts) -> Limits {
    Limits {
        error_rate: alerts.error_rate,
        consumer_lag: alerts.consumer_lag,
        processing_latency: alerts.processing_latency.as_secs_f64(),
        freshness: alerts.freshness.as_secs_f64(),
        objective: alerts.objective,
        restore: alerts.restore.as_secs_f64(),
        clock_skew: alerts.clock_skew.as_secs_f64(),
        sink: alerts.sink_stalled.as_secs_f64(),
        dead_letters: alerts.dead_letters,
    }
}

/// The parts of the memory setting, as bounds.
pub fn bounds(metrics: &Metrics, memory: &memory::Parts) {
    let parts = [
        ("whole", memory.whole),
        ("fetch", memory.fetch),
        ("stores", memory.rocks as u64),
        ("cache", memory.cache as u64),
        ("seen", memory.seen as u64),
        ("counted", memory.counted as u64),
        ("mailboxes", memory.mailboxes as u64),
        ("commits", memory.commits),
        ("sinks", memory.sinks),
    ];
    parts.iter().for_each(|(part, bytes)| metrics.process.limit.set(&[part], *bytes as f64));
}

impl Meter {
    /// Until the process stops.
    ///
    /// # Errors
    /// No thread.
    pub fn start(self) -> Result<(), Fault> {
        self.metrics.lanes.stuck_threshold.set(&[], self.stuck.as_secs_f64());
        self.metrics.tasks.mailbox.set(&[], crate::actors::MAILBOX as f64);
        let watch = Watch::new(self.limits);
        let mut state = State { trails: BTreeMap::new(), stores: StoresNow::default(), watch, ticks: 0 };
        let work = move || {
            while !self.roster.is_stopping() {
                self.look(&mut state, now());
                std::thread::sleep(TICK);
            }
        };
        let named = std::thread::Builder::new().name("meter".into());
        named.spawn(work).map(drop).map_err(|e| Fault::failed(format!("no thread for metrics: {e}")))
    }

    fn look(&self, state: &mut State, time: f64) {
        let listed = self.roster.list();
        state.trails.retain(|task, (number, _)| listed.iter().any(|l| l.task == *task && l.assignment == *number));
        if state.ticks.is_multiple_of(STORES) {
            state.stores = self.stores(&listed);
        }
        state.ticks += 1;
        let tasks: Vec<TaskNow> = listed.iter().map(|listed| self.task(listed, state, time)).collect();
        self.count_fresh(&tasks);
        let now = Now { time, tasks, sinks: (self.sinks)(), stores: state.stores };
        self.metrics.show(&now);
        state.watch.look(&self.metrics, &now);
        let cache = |l: &Listed| if let Phase::Running(progress) = l.phase { progress.memory } else { 0 };
        let used = &self.metrics.process.used;
        used.set(&["cache"], listed.iter().map(cache).sum::<usize>() as f64);
        used.set(&["stores"], self.rocks.usage() as f64);
        used.set(&["seen"], self.shares.rooms.seen.used() as f64);
        used.set(&["counted"], self.shares.rooms.counted.used() as f64);
        used.set(&["mailboxes"], self.shares.way.used() as f64);
    }

    fn task(&self, listed: &Listed, state: &mut State, time: f64) -> TaskNow {
        let Listed { task, assignment, phase, restore } = listed;
        let mut now = TaskNow {
            stage: task.stage.to_string(),
            topic: task.topic.to_string(),
            partition: task.partition,
            phase: phase.word(),
            ..TaskNow::default()
        };
        let Phase::Running(progress) = phase else {
            (now.restored, now.restoring) = (restore.share(), restore.began.elapsed().as_secs_f64());
            return now;
        };
        now.restored = 1.0;
        now.stream_time = (progress.stream_time > i64::MIN).then_some(progress.stream_time as f64 / 1000.0);
        let Some(end) = (self.ends)(task) else { return now };
        let (_, trail) = state.trails.entry(task.clone()).or_insert_with(|| (*assignment, Trail::default()));
        trail.note(time, end);
        now.lag = Some((end - progress.position).max(0));
        now.lag_seconds = Some(trail.behind(time, progress.position, progress.newest.map(|ms| ms as f64 / 1000.0)));
        now
    }

    fn count_fresh(&self, tasks: &[TaskNow]) {
        let (target, stuck) = (self.limits.freshness.as_secs_f64(), self.stuck.as_secs_f64());
        let is_stuck = self.metrics.lanes.busy().into_iter().any(|seconds| seconds > stuck);
        let stale =
            |task: &&TaskNow| is_stuck || task.restoring > target || task.lag_seconds.is_some_and(|s| s > target);
        self.metrics.tasks.fresh.add(&[], tasks.len() as u64);
        self.metrics.tasks.stale.add(&[], tasks.iter().filter(stale).count() as u64);
    }

    fn stores(&self, listed: &[Listed]) -> StoresNow {
        let mut sum = StoresNow { cache_bytes: self.rocks.usage() as u64, ..StoresNow::default() };
        for loan in listed.iter().filter_map(|listed| self.roster.lend(&listed.task)) {
            let figures = loan.store().figures();
            sum.disk_bytes += figures.disk_bytes;
            sum.compaction_bytes += figures.compaction_bytes;
            sum.stopped += u64::from(figures.stopped);
        }
        sum
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
