//! The sections that do not belong to the graph: `kafka`, `state`, `lanes`, `commit`, `memory`, `topics`; `http` and
//! `alerts` stand in files of their own.
//!
//! Called by [`parse`](super::parse). Knows nothing of steps. Invariant: each setting has its default here and nowhere else.

use super::alerts::{self, Alerts};
use super::fields::{Fields, Mistakes, named, scalar};
use super::http::Http;
use super::scalars;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What does not belong to the graph: where and how to run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub app: String,
    pub brokers: String,
    /// The consumer group; `app` if none is given.
    pub group: String,
    /// Passed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
    /// Root of all stores: `STATE/APP/STAGE-TOPIC-PARTITION`.
    pub state: PathBuf,
    /// None: one per core.
    pub lanes: Option<usize>,
    pub commit_interval: Duration,
    pub commit_bytes: usize,
    pub shutdown: Duration,
    /// Bytes; none: the cgroup's limit, less a fifth.
    pub memory: Option<u64>,
    /// Of topics that `topics create` makes.
    pub replication: i32,
    pub min_insync_replicas: i32,
    /// `retention.ms` of outputs that it makes, -1: forever; none: the brokers' own.
    pub keep_ms: Option<i64>,
    /// Largest record that is made, bytes.
    pub max_record: usize,
    /// Queries and status; none: off.
    pub http: Option<Http>,
    pub alerts: Alerts,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            app: String::new(),
            brokers: String::new(),
            group: String::new(),
            properties: BTreeMap::new(),
            state: "tidemill-state".into(),
            lanes: None,
            commit_interval: Duration::from_millis(100),
            commit_bytes: 16 << 20,
            shutdown: Duration::from_secs(20),
            memory: None,
            replication: 3,
            min_insync_replicas: 2,
            keep_ms: None,
            max_record: 1 << 20,
            http: None,
            alerts: Alerts::default(),
        }
    }
}

pub(super) fn read(top: &mut Fields<'_>, mistakes: &mut Mistakes) -> Settings {
    let mut s = Settings::default();
    set(&mut s.app, top.need_read("app", scalars::app, mistakes));
    kafka(&mut s, top, mistakes);
    if let Some(state) = top.read("state", scalars::text, mistakes) {
        s.state = state.into();
    }
    s.lanes = top.read("lanes", scalars::count, mistakes);
    if let Some(mut commit) = section(top, "commit", mistakes) {
        set(&mut s.commit_interval, commit.read("interval", scalars::positive_duration, mistakes));
        set(&mut s.commit_bytes, commit.read("bytes", scalars::bytes, mistakes).map(|b| b as usize));
        commit.done(mistakes);
    }
    set(&mut s.shutdown, top.read("shutdown", scalars::positive_duration, mistakes));
    s.memory = top.read("memory", scalars::bytes, mistakes);
    set(&mut s.max_record, top.read("max_record", max_record, mistakes));
    topics(&mut s, top, mistakes);
    s.http = section(top, "http", mistakes).and_then(|http| super::http::read(http, mistakes));
    set(&mut s.alerts, section(top, "alerts", mistakes).map(|fields| alerts::read(fields, mistakes)));
    s
}

fn kafka(s: &mut Settings, top: &mut Fields<'_>, mistakes: &mut Mistakes) {
    s.group = s.app.clone();
    let Some(node) = top.need("kafka", mistakes) else { return };
    let Some(mut kafka) = Fields::of(node, "kafka", mistakes) else { return };
    set(&mut s.brokers, kafka.need_read("brokers", scalars::text, mistakes));
    set(&mut s.group, kafka.read("group", scalars::text, mistakes));
    for (key, node) in named(kafka.get("properties"), "kafka.properties", mistakes) {
        let what = format!("kafka property '{}'", key.name);
        if let Some(value) = scalar(node, &what, |text| Ok(text.to_owned()), mistakes) {
            s.properties.insert(key.name.clone(), value);
        }
    }
    kafka.done(mistakes);
}

fn topics(s: &mut Settings, top: &mut Fields<'_>, mistakes: &mut Mistakes) {
    let Some(mut topics) = section(top, "topics", mistakes) else { return };
    let at = topics.at;
    set(&mut s.replication, topics.read("replication", scalars::count, mistakes).map(|n| n as i32));
    // Fewer replicas than the default asks in sync: all but one of them.
    s.min_insync_replicas = s.min_insync_replicas.min((s.replication - 1).max(1));
    let given = topics.read("min_insync_replicas", scalars::count, mistakes).map(|n| n as i32);
    set(&mut s.min_insync_replicas, given);
    s.keep_ms = topics.read("keep", keep, mistakes);
    topics.done(mistakes);
    if s.min_insync_replicas > s.replication {
        mistakes.add(at, "topics: min_insync_replicas is above replication; nothing could be written, lower it");
    }
}

/// `keep: 90d`, ms as Kafka has them.
fn keep(text: &str) -> Result<i64, String> {
    match text {
        "forever" => Ok(-1),
        text => match scalars::positive_duration(text) {
            Ok(time) => Ok(time.as_millis() as i64),
            Err(e) => Err(format!("{e}; or forever")),
        },
    }
}

/// A record must at least hold a dead letter's own headers and its cut value.
pub(super) fn max_record(text: &str) -> Result<usize, String> {
    match scalars::bytes(text)? {
        n if (16 << 10..=1 << 30).contains(&n) => Ok(n as usize),
        _ => Err(format!("is '{text}'; write 16KiB to 1GiB")),
    }
}

fn section<'n>(top: &mut Fields<'n>, key: &'static str, mistakes: &mut Mistakes) -> Option<Fields<'n>> {
    let node = top.get(key)?;
    Fields::of(node, key, mistakes)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
