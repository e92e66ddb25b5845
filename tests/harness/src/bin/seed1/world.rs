//! Everything that runs: the broker, the database, the clients, the job. Invariant: the job is the shipped topology but
//! for its `idle`, with the variables of the pipeline that it replaces; a job that ends by itself is a finding.

use crate::Options;
use crate::clients::{self, Clients};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::postgres::Postgres;
use tidemill_harness::process::{Process, Start, program, run};
use tidemill_harness::psql::Psql;
use tidemill_harness::rng::Rng;
use tidemill_harness::verdict::Broker;

pub const INPUT: &str = "user-events";
pub const DEAD: &str = "hourly-dead-letters";
pub const DATABASE: &str = "data_pipeline";
const OWNER: &str = "pipeline_user";
/// Seconds for each kill, in which records come.
const BETWEEN_KILLS: f64 = 2.5;

pub struct World {
    pub options: Options,
    pub rng: Rng,
    pub broker: Broker,
    pub psql: Psql,
    pub kills: u64,
    pub versions: String,
    pub findings: Vec<String>,
    /// From the last event to the right tables.
    pub settled_ms: Option<u64>,
    pub began: Instant,
    pub state: PathBuf,
    pub file: PathBuf,
    job: Option<Process>,
    fed: Option<Receiver<Result<u64, String>>>,
    outcome: Option<Result<u64, String>>,
    seed: u64,
    mill: PathBuf,
    log: PathBuf,
    env: Vec<(String, String)>,
    _cluster: Cluster,
    _postgres: Postgres,
}

impl World {
    pub fn build(options: Options, seed: u64, scratch: &Path) -> Result<World, String> {
        let mill = program("TIDEMILL_BIN", "tidemill");
        run(&mill, &["--version"], &[]).map_err(|e| format!("{e}; build it with `make binaries`"))?;
        let file = shipped(scratch)?;
        // Event times are old, and results carry them: the broker must not delete them by age.
        let cluster = Cluster::start_in(&scratch.join("kafka"), 1, &[], &[]);
        let postgres = Postgres::start(&[]);
        let psql = Psql::of(postgres.port);
        psql.sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN; CREATE DATABASE {DATABASE} OWNER {OWNER};"))?;
        let broker = Broker::new(&cluster.bootstrap);
        broker.create_topic(INPUT, options.partitions, 1)?;
        let port = free_port()?;
        let env = [
            ("KAFKA_BOOTSTRAP_SERVERS", cluster.bootstrap.clone()),
            ("DB_HOST", "127.0.0.1".to_owned()),
            ("DB_PORT", postgres.port.to_string()),
            ("METRICS_PORT_CONSUMER", port.to_string()),
            ("FLUSH_INTERVAL_SECONDS", "1".to_owned()),
            ("TIDEMILL_LOG", "info,tidemill=debug".to_owned()),
        ];
        let env: Vec<(String, String)> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        run(&mill, &["topics", "create", &file.display().to_string()], &env)?;
        Ok(World {
            rng: Rng::new(seed ^ 0x006b_696c_6c73),
            broker,
            psql,
            kills: 0,
            versions: String::new(),
            findings: Vec::new(),
            settled_ms: None,
            began: Instant::now(),
            state: scratch.join("state"),
            file,
            job: None,
            fed: None,
            outcome: None,
            seed,
            mill,
            log: scratch.join("job.log"),
            env,
            _cluster: cluster,
            _postgres: postgres,
            options,
        })
    }

    pub fn say(&self, text: &str) {
        if self.options.verbose {
            eprintln!("{:8.1} {text}", self.began.elapsed().as_secs_f64());
        }
    }

    /// A command of the product that ends by itself.
    pub fn mill(&self, args: &[&str]) -> Result<String, String> {
        run(&self.mill, args, &self.env)
    }

    /// Begins to send.
    pub fn feed(&mut self) -> Result<(), String> {
        let lines = clients::lines(&self.mill, self.options.records, self.seed)?;
        let clients = Clients::start(&self.env[0].1, INPUT)?;
        self.versions.clone_from(&clients.versions);
        self.say(&format!("{} records, sent by {}", lines.len(), clients.versions));
        let rate = lines.len() as f64 / (self.options.kills.max(1) as f64 * BETWEEN_KILLS);
        let (tell, fed) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(clients.send(&lines, rate)));
        self.fed = Some(fed);
        Ok(())
    }

    /// How the sending ended, if it has.
    pub fn is_fed(&mut self) -> Option<Result<u64, String>> {
        if self.outcome.is_none()
            && let Some(fed) = &self.fed
        {
            self.outcome = match fed.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err("the thread of the clients is gone".to_owned())),
            };
        }
        self.outcome.clone()
    }

    pub fn start(&mut self) -> Result<(), String> {
        let (file, state) = (self.file.display().to_string(), self.state.display().to_string());
        let args = ["run", &file, "--instance", "seed1", "--state", &state].map(str::to_owned).into();
        let start = Start { program: self.mill.clone(), args, env: self.env.clone(), log: self.log.clone() };
        self.job = Some(Process::start(&start)?);
        Ok(())
    }

    /// Notes a job that ended by itself, and starts it again.
    pub fn watch(&mut self) -> Result<(), String> {
        let Some(status) = self.job.as_mut().and_then(Process::ended) else { return Ok(()) };
        let said = self.job.as_ref().and_then(|job| job.wait_message("exit", Duration::ZERO));
        let cause = said.as_ref().and_then(|line| line.text("cause")).unwrap_or("without a word").to_owned();
        self.findings.push(format!("the job ended by itself with {status}: {cause}"));
        if self.findings.len() > 5 {
            return Err("the job ends again and again".to_owned());
        }
        self.start()
    }

    pub fn kill(&mut self) -> Result<(), String> {
        if let Some(mut job) = self.job.take() {
            job.kill();
            self.kills += 1;
            self.say(&format!("kill {}", self.kills));
        }
        self.start()
    }

    /// SIGTERM, which drains.
    pub fn stop(&mut self) {
        let Some(mut job) = self.job.take() else { return };
        job.terminate();
        match job.wait(Duration::from_secs(25)) {
            Some(status) if status.success() => {}
            Some(status) => self.findings.push(format!("after SIGTERM the job ended with {status}")),
            None => self.findings.push("the job did not end within 25 s of SIGTERM".to_owned()),
        }
    }
}

/// The shipped topology in a folder of its own, with what it refers to. Its `idle` is longer than the run: event times
/// are old, and a silence must not make what is in time late.
fn shipped(scratch: &Path) -> Result<PathBuf, String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology/examples");
    let read = |name: &str| {
        let path = examples.join(name);
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let text = read("hourly.yaml")?;
    let changed = text.replace("idle: 1m", "idle: 6h");
    if changed == text {
        return Err("hourly.yaml has no 'idle: 1m' any more: correct this driver".to_owned());
    }
    let failed = |e: std::io::Error| format!("{}: {e}", scratch.display());
    std::fs::create_dir_all(scratch.join("schemas")).map_err(failed)?;
    std::fs::write(scratch.join("schemas/user-event.json"), read("schemas/user-event.json")?).map_err(failed)?;
    let file = scratch.join("hourly.yaml");
    std::fs::write(&file, changed).map_err(failed)?;
    Ok(file)
}

fn free_port() -> Result<u16, String> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    taken.map(|address| address.port()).map_err(|e| format!("no free port: {e}"))
}
