//! The hourly job as Prometheus sees it: a broker, a database, the job, the simulator, and what they show of themselves.
//!
//! Called by `tests/metrics.rs` and by the heavy runs (`bin/alerts`). Knows the command line and plain HTTP.
//! Invariant: the topology is the shipped one; everything that it starts ends with it.

mod prometheus;
mod scrape;
mod webhook;

pub use prometheus::{Alertmanager, Prometheus};
pub use scrape::{Scrape, get, promtool_finds_nothing};
pub use webhook::Webhook;

use crate::cluster::Cluster;
use crate::postgres::Postgres;
use crate::process::{Process, Start, program, run};
use crate::psql::Psql;
use crate::verdict::Broker;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const INPUT: &str = "user-events";
pub const OUTPUTS: [&str; 2] = ["user-events-clean", "hourly-aggregations"];
pub const GROUP: &str = "data-pipeline-consumer";
const DATABASE: &str = "data_pipeline";
const OWNER: &str = "pipeline_user";

/// See the module.
pub struct Observed {
    pub cluster: Cluster,
    pub postgres: Postgres,
    pub broker: Broker,
    pub psql: Psql,
    /// Of the job and of the simulator.
    pub ports: [u16; 2],
    /// A file in here, named by a point, holds a job with controls there.
    pub hold: PathBuf,
    pub scratch: tempfile::TempDir,
}

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn free_port() -> u16 {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    bound.expect("loopback has a free port").port()
}

/// Asks until it is so; panics with `what` and the last word when that takes too long.
pub fn expect<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "{what}: not within {within:?}; last: {last}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Observed {
    /// Broker, database and topics; no process of the product yet.
    pub fn build(partitions: i32) -> Result<Observed, String> {
        let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
        let cluster = Cluster::start(1, &[], &[]);
        let postgres = Postgres::start(&[]);
        let psql = Psql::of(postgres.port);
        psql.sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN; CREATE DATABASE {DATABASE} OWNER {OWNER};"))?;
        let broker = Broker::new(&cluster.bootstrap);
        broker.create_topic(INPUT, partitions, 1)?;
        let ports = [free_port(), free_port()];
        let hold = scratch.path().join("hold");
        std::fs::create_dir(&hold).map_err(|e| e.to_string())?;
        let observed = Observed { cluster, postgres, broker, psql, ports, hold, scratch };
        run(&program("TIDEMILL_BIN", "tidemill"), &["topics", "create", &observed.topology()], &observed.env())?;
        Ok(observed)
    }

    fn topology(&self) -> String {
        root().join("topology/examples/hourly.yaml").display().to_string()
    }

    fn env(&self) -> Vec<(String, String)> {
        let env = [
            ("KAFKA_BOOTSTRAP_SERVERS", self.cluster.bootstrap.clone()),
            ("DB_HOST", "127.0.0.1".to_owned()),
            ("DB_PORT", self.postgres.port.to_string()),
            ("FLUSH_INTERVAL_SECONDS", "1".to_owned()),
            ("METRICS_PORT", self.ports[0].to_string()),
            ("METRICS_PORT_PRODUCER", self.ports[1].to_string()),
            ("TIDEMILL_HOLD", self.hold.display().to_string()),
        ];
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// `program`: the product, or the same with its controls.
    pub fn job(&self, name: &str) -> Result<Process, String> {
        let state = self.scratch.path().join("state").display().to_string();
        let args = ["run", &self.topology(), "--instance", "observed", "--state", &state].map(str::to_owned).into();
        let variable = if name == "tidemill" { "TIDEMILL_BIN" } else { "TIDEMILL_CONTROLS_BIN" };
        let log = self.scratch.path().join("job.log");
        Process::start(&Start { program: program(variable, name), args, env: self.env(), log })
    }

    /// `tidemill ARGS TOPOLOGY`, for whoever looks from outside.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("TIDEMILL_BIN", "tidemill"));
        command.args(args).arg(self.topology()).envs(self.env());
        command
    }

    /// Live events, with faults, until it is stopped.
    pub fn simulator(&self, rate: u32, more: &[&str]) -> Result<Process, String> {
        let rate = rate.to_string();
        let args = ["simulate", "user-events", "--rate", &rate, "--seed", "7"];
        let args = args.iter().chain(more).map(|arg| (*arg).to_owned()).collect();
        let log = self.scratch.path().join("simulator.log");
        Process::start(&Start { program: program("TIDEMILL_BIN", "tidemill"), args, env: self.env(), log })
    }

    pub fn database(&self, sql: &str) -> Result<Vec<String>, String> {
        self.psql.sql(DATABASE, sql)
    }

    /// What the job shows now.
    pub fn scrape(&self) -> Result<Scrape, String> {
        Scrape::of(self.ports[0])
    }

    /// Offsets of the input that the group has not committed, as the broker says.
    pub fn real_lag(&self) -> Result<i64, String> {
        let (ends, done) = (self.broker.ends(INPUT, false)?, self.broker.group_offsets(GROUP, INPUT)?);
        Ok(ends.iter().map(|(partition, end)| end - done.get(partition).copied().unwrap_or(0).max(0)).sum())
    }
}
