//! Tasks: where they stand, how far behind, and what became of their records.
//!
//! Gauges are written once a second by the process's meter, as a whole; counters at batches and commits.
//! Invariant: above [`SERIES`] tasks a topic has one series, `all`, and [`Tasks::aggregated`] says so.

use super::kinds::{Count, Level, Maker, NONE, Spread};
use std::collections::BTreeMap;

/// Tasks of a process that have series of their own.
pub const SERIES: usize = 200;
/// What can become of a record, beside going in.
pub const OUTCOMES: [&str; 6] = ["in", "out", "filtered", "duplicate", "late", "dead"];
pub const PHASES: [&str; 3] = ["restoring", "running", "leaving"];
/// How a task began.
pub const RESTORES: [&str; 5] = ["first-start", "restored", "first-time-here", "rebuilt", "failed"];
const RESTORING: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// One task, as it is now. What is not known is none, and has no series.
#[derive(Debug, Clone, Default)]
pub struct TaskNow {
    pub stage: String,
    pub topic: String,
    pub partition: i32,
    /// One of [`PHASES`].
    pub phase: &'static str,
    pub lag: Option<i64>,
    pub lag_seconds: Option<f64>,
    /// Seconds since 1970.
    pub stream_time: Option<f64>,
    /// Of a restore: from 0 to 1. A task that runs has 1.
    pub restored: f64,
    /// How long it has been restoring; 0 if it runs.
    pub restoring: f64,
}

#[derive(Clone)]
pub struct Tasks {
    phases: Level,
    lag: Level,
    lag_seconds: Level,
    seed_lag: Level,
    stream_time: Level,
    behind: Level,
    restored: Level,
    restoring: Level,
    aggregated: Level,
    /// By stage and outcome.
    pub records: Count,
    pub restores: Count,
    pub restore_records: Count,
    pub restore_duration: Spread,
    pub cache: Count,
    pub forgotten: Count,
    pub refused: Count,
    pub paused: Level,
    pub mailbox: Level,
    pub fresh: Count,
    pub stale: Count,
}

impl Tasks {
    pub(super) fn new(m: &mut Maker) -> Tasks {
        m.subject("Tasks and time");
        let task = &["task"];
        let tasks = Tasks {
            phases: m.level("tidemill_tasks", &["phase"], "Tasks of this process, by phase: restoring, running, leaving."),
            lag: m.level("tidemill_lag_records", task, "Offsets between a task's committed position and the end of its input, as its last fetch saw that; behind a repartition the mark of the last transaction may wait a second and counts as one. Above 200 tasks the sum of a topic."),
            lag_seconds: m.level("tidemill_lag_seconds", task, "How long the oldest offset that is not committed has been there, to a second; above 200 tasks the most of a topic."),
            seed_lag: m.level("kafka_consumer_lag", &["topic", "partition"], "As tidemill_lag_records; above 200 tasks the sum of a topic, with the partition 'all'."),
            stream_time: m.level("tidemill_stream_time_seconds", task, "Committed stream time, seconds since 1970; above 200 tasks the least of a topic."),
            behind: m.level("tidemill_stream_time_behind_seconds", task, "How far stream time is behind the clock; negative: ahead. Above 200 tasks the most of a topic."),
            restored: m.level("tidemill_restore_progress_ratio", task, "Share of the changelog that a restore has read, by offsets; 1: the task runs. Above 200 tasks the least of a topic."),
            restoring: m.level("tidemill_restoring_seconds", task, "How long a task has been restoring; 0: it runs. Above 200 tasks the most of a topic."),
            aggregated: m.level("tidemill_tasks_aggregated", NONE, "1: there are more than 200 tasks, and series by task are by topic, as STAGE/TOPIC/all."),
            records: m.count("tidemill_records_total", &["stage", "outcome"], "Records of a stage at the commit: in = out + filtered + duplicate + dead; late beside it. Behind a repartition a record is a bundle of partials."),
            restores: m.count("tidemill_restores_total", &["why"], "Tasks that became ready, or failed to: first-start, restored, first-time-here, rebuilt, failed."),
            restore_records: m.count("tidemill_restore_records_total", NONE, "Changelog records that restores have read."),
            restore_duration: m.spread("tidemill_restore_duration_seconds", NONE, RESTORING, "From a task's assignment here to its first batch."),
            cache: m.count("tidemill_cache_lookups_total", &["result"], "Entries that operators asked for: a hit was in memory, a miss asked the store."),
            forgotten: m.count("tidemill_dedupe_forgotten_total", NONE, "Buckets of ids that dedupes forgot before their time, because at_most or their share of the memory was used up: duplicates of these pass."),
            refused: m.count("tidemill_mailbox_full_total", NONE, "Batches that found a mailbox full, each try."),
            paused: m.level("tidemill_paused_partitions", &["client"], "Partitions whose batches wait for a place in a mailbox."),
            mailbox: m.level("tidemill_mailbox_batches_limit", NONE, "Batches that a task's mailbox holds."),
            fresh: m.count("tidemill_freshness_samples_total", NONE, "Looks at a task, one a second: what the freshness objective is a share of."),
            stale: m.count("tidemill_freshness_stale_samples_total", NONE, "Of these, the task was restoring, stuck, or further behind than tidemill_freshness_target_seconds."),
        };
        tasks.aggregated.set(NONE, 0.0);
        PHASES.iter().for_each(|phase| tasks.phases.set(&[phase], 0.0));
        RESTORES.iter().for_each(|why| tasks.restores.add(&[why], 0));
        ["hit", "miss"].iter().for_each(|result| tasks.cache.add(&[result], 0));
        tasks
    }

    /// All tasks, as they are at the wall time `now`, seconds since 1970. The caller holds the turn.
    pub(super) fn show(&self, all: &[TaskNow], now: f64) {
        let gauges = [&self.lag, &self.lag_seconds, &self.seed_lag, &self.stream_time];
        gauges.into_iter().chain([&self.behind, &self.restored, &self.restoring]).for_each(Level::clear);
        for phase in PHASES {
            self.phases.set(&[phase], all.iter().filter(|t| t.phase == phase).count() as f64);
        }
        let many = all.len() > SERIES;
        self.aggregated.set(NONE, f64::from(u8::from(many)));
        if many {
            return aggregate(all).iter().for_each(|task| self.show_one(task, "all", now));
        }
        for task in all {
            self.show_one(task, &task.partition.to_string(), now);
        }
    }

    fn show_one(&self, task: &TaskNow, partition: &str, now: f64) {
        let name = format!("{}/{}/{partition}", task.stage, task.topic);
        let set = |gauge: &Level, value: Option<f64>| value.into_iter().for_each(|v| gauge.set(&[&name], v));
        let lag = task.lag.map(|lag| lag as f64);
        set(&self.lag, lag);
        lag.into_iter().for_each(|lag| self.seed_lag.set(&[&task.topic, partition], lag));
        set(&self.lag_seconds, task.lag_seconds);
        set(&self.stream_time, task.stream_time);
        set(&self.behind, task.stream_time.map(|time| now - time));
        set(&self.restored, Some(task.restored));
        set(&self.restoring, Some(task.restoring));
    }
}

/// One for each topic: sums of records, else the worst.
fn aggregate(all: &[TaskNow]) -> Vec<TaskNow> {
    let mut topics: BTreeMap<&str, TaskNow> = BTreeMap::new();
    for task in all {
        let Some(sum) = topics.get_mut(&*task.topic) else {
            topics.insert(&task.topic, task.clone());
            continue;
        };
        sum.lag = join(sum.lag, task.lag, |a, b| a + b);
        sum.lag_seconds = join(sum.lag_seconds, task.lag_seconds, f64::max);
        sum.stream_time = join(sum.stream_time, task.stream_time, f64::min);
        sum.restored = sum.restored.min(task.restored);
        sum.restoring = sum.restoring.max(task.restoring);
    }
    topics.into_values().collect()
}

fn join<T: Copy>(a: Option<T>, b: Option<T>, both: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (one, other) => one.or(other),
    }
}
