//! What both benchmarks stand on: a broker made for load, topics, the program under test. Called by them.
//! Invariant: all of it ends with its value, or with this process if that dies first.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill_harness::process::{self, Process, Start};

/// One broker with the compiler and the heap of a real one, and a scratch directory for everything.
pub struct Rig {
    pub bootstrap: String,
    pub scratch: tempfile::TempDir,
    program: PathBuf,
    topology: PathBuf,
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/kafka-cluster"))
}

impl Rig {
    /// `$TIDEMILL_PROGRAM`, else the program that was built with the same profile as this one.
    fn program() -> Result<PathBuf, String> {
        if let Some(given) = std::env::var_os("TIDEMILL_PROGRAM") {
            return Ok(given.into());
        }
        let beside = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("tidemill");
        match beside.exists() {
            true => Ok(beside),
            false => Err(format!("{} does not exist: build it, or set TIDEMILL_PROGRAM", beside.display())),
        }
    }

    /// Starts the broker and writes the topology, in which `BROKERS` and `STATE` stand for the rig's own.
    pub fn start(topology: &str) -> Result<Rig, String> {
        let program = Rig::program()?;
        let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut start = script();
        start.arg("start").arg(scratch.path().join("kafka")).arg("--load");
        start.args(["--watch", &std::process::id().to_string()]);
        let output = start.output().map_err(|e| format!("kafka-cluster: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let env = String::from_utf8_lossy(&output.stdout).into_owned();
        let bootstrap = env.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP="));
        let bootstrap = bootstrap.ok_or("kafka-cluster did not print KAFKA_BOOTSTRAP")?.to_owned();
        let path = scratch.path().join("topology.yaml");
        let state = scratch.path().join("state");
        let text = topology.replace("BROKERS", &bootstrap).replace("STATE", &state.to_string_lossy());
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Rig { bootstrap, scratch, program, topology: path })
    }

    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(|e| e.to_string())?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = futures_executor::block_on(admin.create_topics([&topic], &AdminOptions::new()));
        let made = made.map_err(|e| e.to_string())?.into_iter().next().ok_or("no answer to CreateTopics")?;
        made.map(|_| ()).map_err(|(name, code)| format!("topic {name}: {code}"))
    }

    /// A command of the program on the topology, to its end; what it printed.
    pub fn tidemill(&self, command: &[&str], more: &[&str]) -> Result<String, String> {
        let file = self.topology.to_string_lossy().into_owned();
        let args: Vec<&str> = command.iter().copied().chain([file.as_str()]).chain(more.iter().copied()).collect();
        process::run(&self.program, &args, &[])
    }

    /// The topology at work; its log goes to `log` in the scratch directory.
    pub fn run(&self, log: &str) -> Result<Process, String> {
        Process::start(&Start {
            program: self.program.clone(),
            args: ["run", &self.topology.to_string_lossy(), "--instance", "bench"].map(str::to_owned).to_vec(),
            env: vec![("TIDEMILL_LOG".to_owned(), "tidemill=debug".to_owned())],
            log: self.log(log),
        })
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn profile(&self) -> String {
        let folder = self.program.parent().and_then(Path::file_name);
        folder.map_or_else(String::new, |f| f.to_string_lossy().into_owned())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(script().arg("stop").arg(self.scratch.path().join("kafka")).status());
    }
}

/// Runnable threads of the machine, averaged over the last minute.
pub fn load() -> f64 {
    let mut averages = [0.0; 3];
    // SAFETY: the array has the three places that are asked for.
    unsafe { libc::getloadavg(averages.as_mut_ptr(), 3) };
    (averages[0] * 100.0_f64).round() / 100.0
}
