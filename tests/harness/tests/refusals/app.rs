//! One application: its topology, its input, its process, and what its outputs must be. Knows the command line and the
//! log's words. Invariant: the outputs are right only if every record counted once, in order, whatever happened between.

use super::world::{World, until};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_harness::process::{Line, Process, Start, program};

pub const PARTITIONS: i32 = 2;
const KEYS: i64 = 8;
const LONG: Duration = Duration::from_secs(40);
const TOPOLOGY: &str = r#"app: NAME
kafka:
  brokers: "BROKERS"
  properties:
    # more properties
    session.timeout.ms: "SESSION"
    heartbeat.interval.ms: "300"
    transaction.timeout.ms: "5000"
state: STATE
lanes: 1
shutdown: 20s
memory: 64MiB
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  events: { topic: INPUT, key_format: string, format: json, start: earliest }
steps:
  running:
    from: events
    group_by: record.key
    aggregate: { n: count(), total: sum(amount) }
    emit: every
outputs:
  NAME-out: { from: running, key_format: string, format: json, fields: [n, total] }
"#;

pub struct App<'a> {
    world: &'a World,
    pub name: String,
    pub input: String,
    pub dir: PathBuf,
    fed: Cell<i64>,
}

/// What a process that would not run, or could not go on, has left.
pub struct Refusal {
    pub causes: Vec<String>,
    pub took: Duration,
}

impl<'a> App<'a> {
    /// Makes the input and the topology; [`App::ready`] makes the rest.
    pub fn new(world: &'a World, name: &str) -> App<'a> {
        let input = format!("{name}-input");
        world.create_topic(&input, PARTITIONS, &[]);
        App::on(world, name, &input)
    }

    /// The same on a topic that is there.
    pub fn on(world: &'a World, name: &str, input: &str) -> App<'a> {
        let dir = world.dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let app = App { world, name: name.to_owned(), input: input.to_owned(), dir, fed: Cell::new(0) };
        app.edit(&[]);
        app
    }

    /// With its topics, and this many records in the input.
    pub fn ready(world: &'a World, name: &str, records: i64) -> App<'a> {
        let app = App::new(world, name);
        app.make_topics();
        app.feed(records);
        app
    }

    pub fn make_topics(&self) {
        let made = self.cli(&["topics", "create"]);
        assert_eq!((made.status.code(), text(&made.stderr)), (Some(0), String::new()));
    }

    pub fn changelog(&self) -> String {
        format!("{}-events-{}-changelog", self.name, self.input)
    }

    /// STATE/APP.
    pub fn folder(&self) -> PathBuf {
        self.dir.join("state").join(&self.name)
    }

    pub fn store(&self, partition: i32) -> PathBuf {
        self.folder().join(format!("events-{}-{partition}", self.input))
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("app.yaml")
    }

    /// Writes the topology anew, with these words replaced.
    pub fn edit(&self, replace: &[(&str, &str)]) {
        let state = self.dir.join("state");
        let text = replace.iter().fold(TOPOLOGY.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "the topology has no '{old}'");
            text.replace(old, new)
        });
        let text = text.replace("BROKERS", &self.world.bootstrap).replace("STATE", &state.display().to_string());
        let text = text.replace("NAME", &self.name).replace("INPUT", &self.input).replace("SESSION", "6000");
        std::fs::write(self.file(), text).unwrap();
    }

    /// Adds records: every key lives in one partition.
    pub fn feed(&self, records: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.feed_of(records, now);
    }

    /// The same with records of this time, since 1970.
    pub fn feed_of(&self, records: i64, time: Duration) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.world.bootstrap).create().unwrap();
        for i in self.fed.get()..self.fed.get() + records {
            let (key, value) = (format!("k{}", i % KEYS), format!("{{\"amount\":{i}}}"));
            let record = BaseRecord::to(&self.input).partition((i % i64::from(PARTITIONS)) as i32);
            let record = record.key(&key).payload(&value).timestamp(time.as_millis() as i64);
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(LONG).unwrap();
        self.fed.set(self.fed.get() + records);
    }

    /// Both read one input.
    pub fn also_fed_by(&self, other: &App<'_>) {
        self.fed.set(other.fed.get());
    }

    /// `tidemill ARGS FILE`, to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        tidemill().args(args).arg(self.file()).output().unwrap()
    }

    pub fn start(&self) -> Process {
        self.start_as(&[])
    }

    pub fn start_as(&self, more: &[&str]) -> Process {
        let file = self.file().display().to_string();
        let args = ["run", &*file].iter().chain(more).map(|s| (*s).to_owned()).collect();
        let log = self.dir.join("log");
        Process::start(&Start { program: binary(), args, env: Vec::new(), log }).unwrap()
    }

    /// Waits until every record fed so far has its result.
    pub fn settled(&self) {
        let out = Out::open(self.world, &self.name);
        let mut rows = BTreeMap::new();
        until(&format!("{}: {} results", self.name, self.fed.get()), || {
            out.read(&mut rows);
            let count = rows.values().map(Vec::len).sum::<usize>() as i64;
            (count >= self.fed.get()).then_some(())
        });
    }

    /// Every result there is, and none that there should not be.
    pub fn exact(&self) {
        let mut rows = BTreeMap::new();
        Out::open(self.world, &self.name).read(&mut rows);
        assert_eq!(rows, self.expected(), "{}: outputs", self.name);
    }

    /// Results of each key, in order: how many, and their sum.
    fn expected(&self) -> BTreeMap<String, Vec<(i64, i64)>> {
        let mut rows: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        for i in 0..self.fed.get() {
            let of_key = rows.entry(format!("k{}", i % KEYS)).or_default();
            let (n, total) = of_key.last().copied().unwrap_or_default();
            of_key.push((n + 1, total + i));
        }
        rows
    }

    /// What `state dump` must print for each key: its last result.
    pub fn expected_state(&self) -> BTreeMap<String, (i64, i64)> {
        self.expected().into_iter().map(|(key, rows)| (key, *rows.last().unwrap())).collect()
    }

    /// Starts, waits for the results, stops in order, and looks at them. The lines of its log.
    pub fn run_through(&self) -> Vec<Line> {
        let mut process = self.start();
        let why = self.settled_in(&mut process);
        self.stop(process);
        self.exact();
        why
    }

    fn settled_in(&self, process: &mut Process) -> Vec<Line> {
        let ready = process.wait_line(LONG, |line| ["all tasks ready", "exit"].contains(&&*line.message)).unwrap();
        assert_eq!(ready.message, "all tasks ready", "{}: {ready:?}", self.name);
        self.settled();
        process.journal(|j| j.lines.clone())
    }

    /// SIGTERM: drained, said so, code 0.
    pub fn stop(&self, process: Process) {
        self.stop_by(process, libc::SIGTERM, "SIGTERM");
    }

    pub fn stop_by(&self, mut process: Process, signal: i32, name: &str) {
        process.signal(signal);
        let ended = process.wait(Duration::from_secs(20)).expect("drained within 20 s");
        assert_eq!(ended.code(), Some(0), "{}", self.name);
        process.journal(|j| {
            assert_eq!(j.strange, [""; 0], "{}: lines that are no JSON", self.name);
            let stopping = j.lines.iter().find(|l| l.message == "stopping").expect("stopping is said");
            assert_eq!(stopping.text("signal"), Some(name));
            assert_eq!(j.lines.last().map(|l| &*l.message), Some("stopped"));
        });
    }

    /// `run` must end by itself with this code and one line for each cause; each of `says` stands in some cause.
    pub fn refused(&self, code: i32, says: &[&str]) -> Refusal {
        ended(&mut self.start(), code, says)
    }

    /// What recovery did for each task, by the log.
    pub fn why(lines: &[Line]) -> BTreeMap<String, String> {
        let ready = lines.iter().filter(|l| l.message == "task ready");
        ready.map(|l| (l.text("task").unwrap().to_owned(), l.text("why").unwrap().to_owned())).collect()
    }
}

/// See [`App::refused`].
pub fn ended(process: &mut Process, code: i32, says: &[&str]) -> Refusal {
    let began = Instant::now();
    let status = process.wait(LONG);
    let took = began.elapsed();
    let (lines, strange) = process.journal(|j| (j.lines.clone(), j.strange.clone()));
    let status = status.unwrap_or_else(|| panic!("it runs on, with {says:?} expected: {lines:?}"));
    let errors = lines.iter().filter(|l| l.text("level") == Some("ERROR"));
    let causes: Vec<String> = errors.map(|l| format!("{} {}", l.message, l.text("cause").unwrap_or("-"))).collect();
    assert_eq!(status.code(), Some(code), "{causes:?} {strange:?}");
    assert_eq!(strange, [""; 0], "lines that are no JSON");
    for cause in &causes {
        assert!(cause.starts_with("exit ") && !cause.contains('\n'), "{cause}");
        println!("  {code}: {}", &cause[5..]);
    }
    for word in says {
        assert!(causes.iter().any(|c| c.contains(word)), "'{word}' is in none of {causes:#?}");
    }
    Refusal { causes, took }
}

/// The lines of a command that must end with this code, each of `says` in one of them.
pub fn command_refused(output: &Output, code: i32, says: &[&str]) -> Vec<String> {
    let lines: Vec<String> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(code), "{lines:?}");
    for word in says {
        assert!(lines.iter().any(|l| l.contains(word)), "'{word}' is in none of {lines:#?}");
    }
    lines
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn binary() -> PathBuf {
    program("TIDEMILL_BIN", "tidemill")
}

pub fn tidemill() -> Command {
    let mut command = Command::new(binary());
    command.env_remove("RUST_LOG").env_remove("TIDEMILL_LOG").env_remove("POD_NAME");
    command
}

/// A committed reader of an output.
struct Out {
    consumer: BaseConsumer,
    ends: Cell<i32>,
}

impl Out {
    fn open(world: &World, app: &str) -> Out {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &world.bootstrap).set("group.id", format!("{app}-reader"));
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&format!("{app}-out"), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Out { consumer, ends: Cell::new(0) }
    }

    /// Adds what is there now. The first read goes up to the end of each partition; a later one may stop early.
    fn read(&self, rows: &mut BTreeMap<String, Vec<(i64, i64)>>) {
        let deadline = Instant::now() + LONG;
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    let value: Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
                    let row = (value["n"].as_i64().unwrap(), value["total"].as_i64().unwrap());
                    rows.entry(text(record.key().unwrap())).or_default().push(row);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.ends.set(self.ends.get() + 1),
                Some(Err(e)) => panic!("reading the output: {e}"),
                None if self.ends.get() >= PARTITIONS => return,
                None => assert!(Instant::now() < deadline, "the end of the output is not reached"),
            }
        }
    }
}
