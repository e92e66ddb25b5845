//! One application with a sink: its topology, the rows that it reads, its processes. Knows the command line and the log's
//! words. Invariant: rows are produced into the output itself, in transactions, some of which are aborted on purpose.

use super::world::World;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tidemill_harness::process::{Process, Start, program};
use tidemill_harness::verdict::Row;

pub const LONG: Duration = Duration::from_secs(60);
const TOPOLOGY: &str = r#"app: NAME
kafka:
  brokers: "BROKERS"
  properties: { session.timeout.ms: "6000", heartbeat.interval.ms: "300" }
lanes: 1
memory: 64MiB
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  given: { topic: NAME-in }
outputs:
  NAME-rows: { from: given }
sinks:
  table:
    from: NAME-rows
"#;

pub struct App<'a> {
    pub world: &'a World,
    pub name: String,
    pub dir: PathBuf,
}

impl<'a> App<'a> {
    /// With its topics. `sink`: what stands under the sink, besides `from`.
    pub fn new(world: &'a World, name: &str, partitions: i32, sink: &str) -> App<'a> {
        let dir = world.dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let app = App { world, name: name.to_owned(), dir };
        world.broker.create_topic(&format!("{name}-in"), partitions, 1).unwrap();
        app.edit(sink);
        let made = app.cli(&["topics", "create"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        app
    }

    /// Writes the topology anew.
    pub fn edit(&self, sink: &str) {
        let text = TOPOLOGY.replace("NAME", &self.name).replace("BROKERS", &self.world.bootstrap);
        let sink: String = sink.trim().lines().map(|line| format!("    {}\n", line)).collect();
        std::fs::write(self.file(), format!("{text}{sink}")).unwrap();
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("app.yaml")
    }

    pub fn topic(&self) -> String {
        format!("{}-rows", self.name)
    }

    pub fn group(&self) -> String {
        format!("{}-sink-table", self.name)
    }

    /// Adds records, all in one transaction; partitions by turns.
    pub fn feed(&self, partitions: i32, values: impl Iterator<Item = Option<String>>) {
        self.produce(partitions, values, true);
    }

    /// Adds records that nobody may see.
    pub fn feed_aborted(&self, partitions: i32, values: impl Iterator<Item = Option<String>>) {
        self.produce(partitions, values, false);
    }

    fn produce(&self, partitions: i32, values: impl Iterator<Item = Option<String>>, commit: bool) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.world.bootstrap).set("transactional.id", format!("{}-feed", self.name));
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(LONG).unwrap();
        producer.begin_transaction().unwrap();
        for (number, value) in values.enumerate() {
            let topic = self.topic();
            let mut record = BaseRecord::to(&topic).key("k").partition(number as i32 % partitions);
            if let Some(value) = &value {
                record = record.payload(value);
            }
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        match commit {
            true => producer.commit_transaction(LONG).unwrap(),
            false => {
                producer.flush(LONG).unwrap();
                producer.abort_transaction(LONG).unwrap();
            }
        }
    }

    pub fn cli(&self, args: &[&str]) -> Output {
        tidemill().args(args).arg(self.file()).output().unwrap()
    }

    pub fn start(&self) -> Process {
        self.start_with("tidemill", &[], "one")
    }

    /// As an instance, with a directory of its own; `env` as `NAME=value`.
    pub fn start_with(&self, which: &str, env: &[&str], instance: &str) -> Process {
        let (file, state) = (self.file().display().to_string(), self.dir.join(instance).display().to_string());
        let args = ["run", &file, "--instance", instance, "--state", &state].map(str::to_owned).into();
        let mut env: Vec<(String, String)> =
            env.iter().map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        env.push(("TIDEMILL_LOG".to_owned(), "info,tidemill::sinks=debug".to_owned()));
        let variable = if which == "tidemill" { "TIDEMILL_BIN" } else { "TIDEMILL_CONTROLS_BIN" };
        let start =
            Start { program: program(variable, which), args, env, log: self.dir.join(format!("{instance}.log")) };
        Process::start(&start).unwrap()
    }

    /// With the controls compiled in.
    pub fn start_control(&self, env: &[&str]) -> Process {
        self.start_with("tidemill-controls", env, "one")
    }

    /// SIGTERM; the sink's last line.
    pub fn stop(&self, mut process: Process) -> serde_json::Map<String, Value> {
        process.terminate();
        let ended = process.wait(LONG).expect("drained in time");
        assert_eq!(ended.code(), Some(0), "{}: {:?}", self.name, process.journal(|j| j.lines.last().cloned()));
        let last = process.journal(|j| j.lines.iter().find(|l| l.message == "sink stopped").cloned());
        last.expect("the sink says what it did").fields
    }

    /// Waits until Kafka's tools see no lag.
    pub fn no_lag(&self) {
        let deadline = Instant::now() + LONG;
        loop {
            let offsets = self.world.broker.group_offsets(&self.group(), &self.topic()).unwrap();
            let ends = self.world.broker.ends(&self.topic(), true).unwrap();
            let behind = |(partition, end): (&i32, &i64)| *end > 0 && offsets.get(partition) != Some(end);
            if !ends.iter().any(behind) {
                return;
            }
            assert!(Instant::now() < deadline, "{}: {offsets:?}, not {ends:?}", self.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn dead_letters(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.world.broker.committed(&format!("{}-dead-letters", self.name), |row| rows.push(row.clone())).unwrap();
        rows
    }
}

/// How a sink reaches a database of the world's server.
pub fn reach(port: u16, database: &str) -> String {
    format!("host: 127.0.0.1, port: {port}, dbname: {database}, user: postgres, sslmode: disable")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tidemill() -> Command {
    let mut command = Command::new(program("TIDEMILL_BIN", "tidemill"));
    command.env_remove("RUST_LOG").env_remove("TIDEMILL_LOG").env_remove("POD_NAME");
    command
}

/// How often the log says this.
pub fn said(process: &Process, message: &str) -> usize {
    process.journal(|j| j.lines.iter().filter(|l| l.message == message).count())
}

/// A table without a key of its own: what is written twice is there twice.
pub const LOG: &str = "CREATE TABLE log (seq BIGSERIAL PRIMARY KEY, id BIGINT NOT NULL)";

pub fn ids(range: std::ops::Range<i64>) -> impl Iterator<Item = Option<String>> {
    range.map(|id| Some(format!("{{\"id\":{id}}}")))
}

/// Every id of the range, once.
pub fn exact(db: &tidemill_harness::postgres::Db, count: i64) {
    let found = db.lines("SELECT count(*), count(DISTINCT id), coalesce(min(id), 0), coalesce(max(id), 0) FROM log");
    assert_eq!(found, [format!("{count}|{count}|0|{}", count - 1)]);
}
