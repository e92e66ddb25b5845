//! One application whose traces are followed: real Kafka and PostgreSQL, the producer, processes that can be killed. Knows
//! the command line, the topology `traces.yaml` and its tables; called by the test of traces and by `make trace`.
//! Invariant: whoever reads spans reads them elsewhere; here is only what is sent, and where results lie.

use crate::cluster::Cluster;
use crate::observed::free_port;
use crate::postgres::{Db, Postgres};
use crate::process::{Process, Start, program, run};
use crate::verdict::{Broker, Row};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub const LONG: Duration = Duration::from_secs(90);
/// What the password of the database is called here: it must stand nowhere.
pub const SECRET: &str = "planted-secret-5b1e";

pub struct World {
    pub broker: Broker,
    pub bootstrap: String,
    pub db: Db,
    topology: String,
    env: Vec<(String, String)>,
    scratch: tempfile::TempDir,
    _postgres: Postgres,
    _cluster: Cluster,
}

/// An event as the topic has it, and where it comes from.
#[derive(Debug, Clone)]
pub struct Event {
    pub row: Row,
    pub kind: Option<String>,
    pub user: Option<String>,
    /// Trace and span of its producer.
    pub origin: Option<(String, String)>,
    pub correlation: Option<String>,
}

/// A header as a text.
pub fn header(row: &Row, name: &str) -> Option<String> {
    let (_, value) = row.headers.iter().rev().find(|(n, _)| n == name)?;
    value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The trace and the span of a `traceparent`.
pub fn origin(row: &Row) -> Option<(String, String)> {
    let text = header(row, "traceparent")?;
    let parts: Vec<&str> = text.split('-').collect();
    Some(((*parts.get(1)?).to_owned(), (*parts.get(2)?).to_owned()))
}

impl World {
    /// `env` of the application: windows, and where its spans go. The table of hours has the column `trace_id`.
    pub fn start(partitions: i32, env: &[(&str, &str)]) -> World {
        let cluster = Cluster::start(1, &[], &[]);
        let postgres = Postgres::start(&[]);
        let db = postgres.create("traced");
        let mut env: Vec<(String, String)> = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        env.push(("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone()));
        env.push(("DB_PORT".to_owned(), postgres.port.to_string()));
        env.push(("DB_PASSWORD".to_owned(), SECRET.to_owned()));
        let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/traces.yaml").display().to_string();
        let (broker, bootstrap) = (Broker::new(&cluster.bootstrap), cluster.bootstrap.clone());
        let scratch = tempfile::tempdir().expect("the temporary directory takes files");
        let world = World { broker, bootstrap, db, topology, env, scratch, _postgres: postgres, _cluster: cluster };
        world.broker.create_topic("user-events", partitions, 1).expect("the source is created");
        world.cli(&["topics", "create", &world.topology], &[]);
        world.cli(&["migrate", &world.topology], &[]);
        world.db.run("ALTER TABLE hourly_aggregations ADD COLUMN trace_id TEXT");
        world
    }

    /// Runs a command of the product to its end; what it printed. Panics with its own words if it failed.
    pub fn cli(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let mut all = self.env.clone();
        all.extend(env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        run(&program("TIDEMILL_BIN", "tidemill"), args, &all).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A process of the application; it shows its metrics on `METRICS_PORT`, or somewhere.
    pub fn mill(&self, instance: &str, env: &[(&str, &str)]) -> Process {
        let state = self.scratch.path().join(instance).display().to_string();
        let args = ["run", &self.topology, "--instance", instance, "--state", &state].map(str::to_owned).into();
        let mut all = self.env.clone();
        all.push(("METRICS_PORT".to_owned(), free_port().to_string()));
        all.extend(env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        all.push(("TIDEMILL_LOG".to_owned(), "info,tidemill=debug".to_owned()));
        let (program, log) = (program("TIDEMILL_BIN", "tidemill"), self.log(instance));
        Process::start(&Start { program, args, env: all, log }).expect("it starts")
    }

    pub fn log(&self, instance: &str) -> std::path::PathBuf {
        self.scratch.path().join(format!("{instance}.log"))
    }

    /// The source, as it is now.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let read = self.broker.committed("user-events", |row| events.push(event(row)));
        read.expect("the source can be read");
        events
    }

    /// Records of a topic.
    pub fn records(&self, topic: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        self.broker.committed(topic, |row| rows.push(row.clone())).expect("the topic can be read");
        rows
    }

    /// By type: count and trace id of the hours' rows.
    pub fn rows(&self, start: &str) -> BTreeMap<String, (u64, String)> {
        let sql = format!(
            "SELECT event_type, total_events, trace_id FROM hourly_aggregations WHERE aggregation_hour = '{start}'"
        );
        let row = |row: Vec<Option<String>>| {
            let text = |at: usize| row[at].clone().unwrap_or_default();
            (text(0), (text(1).parse().unwrap_or(0), text(2)))
        };
        self.db.run(&sql).into_iter().map(row).collect()
    }
}

fn event(row: &Row) -> Event {
    let json: Option<Value> = row.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
    let text = |name: &str| json.as_ref().and_then(|json| json[name].as_str()).map(str::to_owned);
    Event {
        kind: text("event_type"),
        user: text("user_id"),
        origin: origin(row),
        correlation: header(row, "correlation_id"),
        row: row.clone(),
    }
}
