//! Everything that runs: brokers, the proxy before them, the feeder, the seats. `tick` brings it up to date; faults and
//! the end act on it. Invariant: a process that ended is noticed with its cause, and started again unless the end is near.

use crate::ledger::{Ledger, Life};
use crate::options::Options;
use crate::seat::{Condition, Seat, Trap};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::feed::{Feeder, Plan};
use tidemill_harness::process::{Line, Process, Start, program, run};
use tidemill_harness::proxy::Proxy;
use tidemill_harness::rng::Rng;
use tidemill_harness::verdict::Broker;

pub const APP: &str = "torture";
pub const INPUT: &str = "torture-input";
pub const KEPT: &str = "torture-kept";
/// A process whose instance was started elsewhere must be gone so long after SIGCONT.
pub const FENCED_WITHIN: Duration = Duration::from_secs(10);
/// Causes for which a process may end by itself under faults; any other is a violation.
const EXPLAINED: &[&str] = &["fenced", "no longer accepts this instance", "a transaction takes too long"];
/// A restart after an exit that nobody asked for.
const RESPAWN: Duration = Duration::from_millis(300);

/// The older of two processes of one instance, stopped.
pub struct Twin {
    pub seat: usize,
    pub life: Life,
    pub process: Process,
    pub cursor: usize,
    /// When it is continued, and then when it was.
    pub cont_at: Instant,
    pub is_continued: bool,
    /// Where its directory is, if the seat goes back to it.
    pub back_to: Option<PathBuf>,
}

pub struct World {
    pub options: Options,
    pub scratch: PathBuf,
    pub cluster: Arc<Cluster>,
    pub proxy: Proxy,
    pub broker: Broker,
    pub feeder: Option<Feeder>,
    pub seats: Vec<Seat>,
    pub twins: Vec<Twin>,
    /// A broker that is being killed and brought back.
    pub failing: Option<JoinHandle<Result<(), String>>>,
    pub rng: Rng,
    pub ledger: Ledger,
    pub kills: BTreeMap<String, u64>,
    pub other_faults: BTreeMap<String, u64>,
    pub fenced_exit_ms: Vec<u64>,
    pub violations: Vec<String>,
    /// No stop point is armed any more.
    pub is_ending: bool,
    pub began: Instant,
    mill: PathBuf,
    controls: PathBuf,
}

pub fn topology() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/torture.yaml")
}

impl World {
    pub fn build(options: Options, seed: u64, scratch: &Path) -> Result<World, String> {
        let controls = program("TIDEMILL_CONTROLS_BIN", "tidemill-controls");
        let mill = if options.control.is_some() { controls.clone() } else { program("TIDEMILL_BIN", "tidemill") };
        run(&mill, &["--version"], &[]).map_err(|e| format!("{e}; build it with `make binaries`"))?;
        let bound = Proxy::bind(options.nodes).map_err(|e| format!("proxy: {e}"))?;
        let cluster = Cluster::start_in(&scratch.join("kafka"), options.nodes, &bound.ports(), &[]);
        let proxy = bound.upstream(&cluster.upstreams);
        let broker = Broker::new(&cluster.bootstrap).by(cluster.segments());
        broker.create_topic(INPUT, options.partitions, options.nodes as i32)?;
        let seats = (1..=options.processes).map(|number| Seat::new(number, scratch)).collect();
        let world = World {
            scratch: scratch.to_owned(),
            cluster: Arc::new(cluster),
            proxy,
            broker,
            feeder: None,
            seats,
            twins: Vec::new(),
            failing: None,
            rng: Rng::new(seed ^ 0x7075_7265),
            ledger: Ledger::default(),
            kills: BTreeMap::new(),
            other_faults: BTreeMap::new(),
            fenced_exit_ms: Vec::new(),
            violations: Vec::new(),
            is_ending: false,
            began: Instant::now(),
            mill,
            controls,
            options,
        };
        world.mill(&["topics", "create", &topology().display().to_string()])?;
        Ok(world)
    }

    pub fn feed(&mut self, seed: u64) {
        let plan = Plan { seed, records: self.options.records, partitions: self.options.partitions };
        self.feeder = Some(Feeder::start(&self.cluster.bootstrap, INPUT, plan));
    }

    /// A command of the product that ends by itself, straight to the brokers.
    pub fn mill(&self, args: &[&str]) -> Result<String, String> {
        run(&self.mill, args, &self.env(&self.cluster.bootstrap))
    }

    fn env(&self, bootstrap: &str) -> Vec<(String, String)> {
        let (replication, min_isr) = if self.options.nodes == 3 { ("3", "2") } else { ("1", "1") };
        let mut env = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", bootstrap),
            ("TORTURE_REPLICATION", replication),
            ("TORTURE_MIN_ISR", min_isr),
            ("TIDEMILL_LOG", "info,tidemill=debug"),
        ];
        if let Some(control) = &self.options.control {
            env.push(("TIDEMILL_CONTROL", control));
        }
        env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub fn say(&self, text: &str) {
        if self.options.verbose {
            eprintln!("{:8.1} {text}", self.began.elapsed().as_secs_f64());
        }
    }

    pub fn violation(&mut self, text: String) {
        self.say(&format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    pub fn count_kill(&mut self, kind: &str) {
        *self.kills.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn count_fault(&mut self, kind: &str) {
        *self.other_faults.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn killed(&self) -> u64 {
        self.kills.values().sum()
    }

    pub fn start_seat(&mut self, index: usize) -> Result<(), String> {
        let mut env = self.env(&self.proxy.bootstrap());
        let mut program = self.mill.clone();
        let seat = &mut self.seats[index];
        seat.trap = None;
        if !self.is_ending && self.rng.permille(300) && self.controls.exists() {
            let step = *self.rng.pick(&["SEND", "WAIT", "OFFSETS", "COMMIT", "APPLY"]);
            let trap = Trap { step, kills: self.rng.permille(800) };
            env.push(("TIDEMILL_STOP_AT".to_owned(), format!("{step}:{}", self.rng.range(1, 60))));
            env.push(("TIDEMILL_STOP_HOW".to_owned(), if trap.kills { "kill" } else { "stop" }.to_owned()));
            program = self.controls.clone();
            seat.trap = Some(trap);
        }
        let log = self.scratch.join(format!("{}.log", seat.name));
        let start = Start { program, args: Vec::new(), env, log };
        let started = seat.start(start, &topology());
        self.say(&format!("{} starts, {:?}", self.seats[index].name, self.seats[index].trap));
        started
    }

    /// Reads what was said, notices what ended, does what is due.
    pub fn tick(&mut self) -> Result<(), String> {
        self.listen();
        for index in 0..self.seats.len() {
            self.move_seat(index)?;
        }
        self.move_twins();
        if self.failing.as_ref().is_some_and(|thread| thread.is_finished()) {
            let thread = self.failing.take().expect("it was there a moment ago");
            thread.join().map_err(|_| "the broker's thread panicked".to_owned())??;
            self.say("all replicas are in sync again");
        }
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }

    pub fn listen(&mut self) {
        let mut heard: Vec<(Life, Line)> = Vec::new();
        for seat in &mut self.seats {
            let life = seat.life();
            heard.extend(seat.lines().into_iter().map(|line| (life.clone(), line)));
        }
        for twin in &mut self.twins {
            let from = twin.cursor;
            let lines = twin.process.journal(|journal| journal.lines[from..].to_vec());
            twin.cursor += lines.len();
            heard.extend(lines.into_iter().map(|line| (twin.life.clone(), line)));
        }
        heard.sort_by_key(|(_, line)| line.at);
        for (life, line) in &heard {
            self.ledger.take(life, line);
        }
    }

    fn move_seat(&mut self, index: usize) -> Result<(), String> {
        let seat = &mut self.seats[index];
        let has_stopped_itself = seat.strange().iter().any(|line| line.starts_with("stopped at"));
        let ended = seat.process.as_mut().and_then(Process::ended);
        let now = Instant::now();
        match (seat.condition, ended) {
            (Condition::Leaving(since, again), Some(status)) => {
                let text =
                    format!("{} left after SIGTERM in {:.1} s: {status}", seat.name, since.elapsed().as_secs_f64());
                self.bury(index, again);
                self.say(&text);
            }
            (_, Some(status)) => self.ended(index, status),
            (Condition::Down(until), None) if now >= until => self.start_seat(index)?,
            (Condition::Stopped(until), None) if now >= until => {
                seat.process.as_mut().expect("a stopped seat has a process").cont();
                seat.condition = Condition::Up;
                let text = format!("{} goes on", seat.name);
                self.say(&text);
            }
            (Condition::Up, None) if has_stopped_itself && seat.trap.as_ref().is_some_and(|trap| !trap.kills) => {
                let step = seat.trap.as_ref().map_or("", |trap| trap.step);
                seat.condition = Condition::Stopped(now + Duration::from_millis(self.rng.range(200, 12_000)));
                self.count_fault(&format!("stop_at_{step}"));
            }
            (Condition::Leaving(since, _), None) if since.elapsed() > Duration::from_secs(40) => {
                let name = seat.name.clone();
                self.violation(format!("{name} did not end within 40 s of SIGTERM"));
                self.kill_seat(index, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Forgets the process after its last words were heard.
    pub fn bury(&mut self, index: usize, again: Instant) {
        self.listen();
        self.seats[index].process = None;
        self.seats[index].condition = Condition::Down(again);
    }

    /// SIGKILL; started again at the given time.
    pub fn kill_seat(&mut self, index: usize, again: Instant) {
        let seat = &mut self.seats[index];
        if let Some(process) = &mut seat.process {
            process.kill();
        }
        let life = seat.life();
        self.bury(index, again);
        self.ledger.was_killed(&life);
    }

    fn ended(&mut self, index: usize, status: ExitStatus) {
        let name = self.seats[index].name.clone();
        let trap = self.seats[index].trap.clone();
        self.say(&format!("{name} ended: {status} {trap:?}"));
        let life = self.seats[index].life();
        if let (Some(libc::SIGKILL), Some(trap)) = (status.signal(), &trap) {
            self.count_kill(&format!("at_{}", trap.step));
            self.ledger.was_killed(&life);
        } else {
            let cause = self.seats[index].process.as_ref().map_or_else(String::new, last_words);
            self.ledger.exit(&cause);
            let is_explained = EXPLAINED.iter().any(|words| cause.to_lowercase().contains(words));
            if status.code() != Some(1) || !is_explained {
                self.violation(format!("{name} (start {}) ended by itself, {status}: {cause}", life.start));
            }
        }
        let delay = if self.rng.permille(800) { RESPAWN } else { Duration::from_millis(self.rng.range(1_000, 9_000)) };
        self.bury(index, Instant::now() + delay);
    }

    fn move_twins(&mut self) {
        let twins = std::mem::take(&mut self.twins);
        for mut twin in twins {
            let name = self.seats[twin.seat].name.clone();
            if !twin.is_continued {
                // The broker can only tell the older one of the younger once that has joined, and while it answers.
                let is_displaced = self.seats[twin.seat].has_joined && self.failing.is_none();
                if Instant::now() >= twin.cont_at && is_displaced {
                    (twin.cont_at, twin.is_continued) = (Instant::now(), true);
                    twin.process.cont();
                    self.say(&format!("{name}: the older of two goes on"));
                }
                self.twins.push(twin);
            } else if let Some(status) = twin.process.ended() {
                let ms = twin.cont_at.elapsed().as_millis() as u64;
                self.say(&format!("{name}: the older of two ended after {ms} ms: {status}"));
                if status.success() {
                    self.violation(format!("{name}: started elsewhere while stopped, it ended with exit code 0"));
                }
                self.fenced_exit_ms.push(ms);
                self.part(twin);
            } else if twin.cont_at.elapsed() > FENCED_WITHIN {
                let log = self.scratch.join(format!("{name}.log"));
                let text = format!(
                    "{name}: started elsewhere while stopped, it still ran 10 s after SIGCONT ({})",
                    log.display()
                );
                self.violation(text);
                twin.process.kill();
                self.part(twin);
            } else {
                self.twins.push(twin);
            }
        }
    }

    /// The older one is gone; perhaps the instance goes back to its directory.
    fn part(&mut self, twin: Twin) {
        let index = twin.seat;
        self.seats[index].has_twin = false;
        if let Some(place) = twin.back_to {
            self.kill_seat(index, Instant::now());
            self.count_kill("process");
            self.seats[index].place = place;
        }
    }
}

/// Why a process says that it ended: its line `exit`, else its last strange one.
fn last_words(process: &Process) -> String {
    process.journal(|journal| {
        let exit = journal.lines.iter().rev().find(|line| line.message == "exit");
        let cause = exit.and_then(|line| line.text("cause")).map(str::to_owned);
        cause.or_else(|| journal.strange.last().cloned()).unwrap_or_else(|| "said nothing".to_owned())
    })
}
