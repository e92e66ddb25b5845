//! `bench restart`: SIGKILL in the middle of traffic, start again, as often as asked, on a store with many keys. Called by
//! `main.rs`. Invariant: no start is left out; a run that does not become ready fails the benchmark.

use crate::drip::{self, Drip, key};
use crate::figures::{Sample, header};
use crate::rig::{self, Rig};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemill_harness::process::Process;
use tidemill_harness::rng::Rng;

/// Filling makes transactions as large as they get; on a busy machine one may take longer than the default of 15 s.
const TOPOLOGY: &str = r#"
app: bench
kafka: { brokers: "BROKERS", properties: { transaction.timeout.ms: "60000" } }
state: "STATE"
lanes: 2
commit: { interval: INTERVAL }
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  events: { topic: bench-input, key_format: string, format: json, start: earliest }
steps:
  running:
    from: events
    group_by: record.key
    aggregate: { n: count() }
    emit: EMIT
outputs:
  bench-counts: { from: running }
dead_letters: { topic: bench-dead-letters }
"#;

const INPUT: &str = "bench-input";
const PATIENCE: Duration = Duration::from_secs(120);
/// Filling 5 million keys takes a minute or two.
const FILLING: Duration = Duration::from_secs(900);

#[derive(clap::Args)]
pub struct Options {
    /// Kills
    #[arg(long, default_value_t = 10)]
    n: usize,
    /// Keys in the stores
    #[arg(long, visible_alias = "records", default_value_t = 5_000_000)]
    keys: u64,
    /// Partitions, each with a task and a store
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// The commit interval; at 1ms most kills hit an open transaction
    #[arg(long, default_value = "100ms")]
    interval: String,
    /// What the step says: every, or { updates: 1s }
    #[arg(long, default_value = "{ updates: 1s }")]
    emit: String,
    /// Keep the log of every start in this directory
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
    /// Seed of the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One start, ms.
struct Restart {
    to_assigned: f64,
    to_ready: f64,
    whole: f64,
    first_commit: f64,
    /// Until the slowest lane had settled what its dead predecessor left open.
    settled: f64,
    /// Until the slowest task was recovered, from the assignment on.
    tasks: f64,
    /// Changelog records that a task read, the most of all tasks.
    reread: u64,
    /// Records of the last transaction before the kill, per task.
    last: f64,
    restored: bool,
}

pub fn run(options: &Options) -> Result<(), String> {
    let topology = TOPOLOGY.replace("INTERVAL", &options.interval).replace("EMIT", &options.emit);
    let rig = Rig::start(&topology)?;
    rig.create_topic(INPUT, options.partitions)?;
    rig.tidemill(&["topics", "create"], &[])?;
    let began = Instant::now();
    fill(&rig, options)?;
    let mut program = rig.run("start-0")?;
    wait_until_read(&rig, options, &mut program)?;
    eprintln!("{} keys in {:.0} s; {} bytes of state", options.keys, began.elapsed().as_secs_f64(), state_bytes(&rig));
    let load = rig::load();
    let drip = Drip::start(drip::Plan {
        bootstrap: rig.bootstrap.clone(),
        topics: vec![INPUT.to_owned()],
        partitions: options.partitions,
        every: Duration::from_millis(5),
        each: 5,
        keys: options.keys,
    });
    let (mut all, mut rng) = (Vec::new(), Rng::new(options.seed));
    for number in 1..=options.n {
        std::thread::sleep(Duration::from_millis(rng.range(1_000, 2_000)));
        program.kill();
        let last = last_transaction(&rig, number - 1)?;
        let (running, restart) = start_again(&rig, number, last)?;
        program = running;
        eprintln!("{number}: ready {:.0} ms after assignment, {:.0} after start", restart.to_ready, restart.whole);
        all.push(restart);
    }
    drip.stop()?;
    program.kill();
    let entries = count_entries(&rig)?;
    if entries < options.keys {
        return Err(format!("the stores hold {entries} entries, not {}", options.keys));
    }
    keep_logs(&rig, options)?;
    report(&rig, options, &all, (entries, load));
    Ok(())
}

/// Every key once.
fn fill(rig: &Rig, options: &Options) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.bootstrap).set("compression.type", "lz4").set("linger.ms", "20");
    config.set("queue.buffering.max.messages", "500000").set("enable.idempotence", "true");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(|e| e.to_string())?;
    for number in 0..options.keys {
        let (partition, key) = ((number % options.partitions as u64) as i32, key(number));
        let mut record = BaseRecord::to(INPUT).partition(partition).key(&key).payload("{\"n\":1}");
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(format!("input: {error}"));
            }
            std::thread::sleep(Duration::from_millis(2));
            record = back;
        }
    }
    producer.flush(PATIENCE).map_err(|e| format!("input: {e}"))
}

/// Until the group has committed the ends of the input.
fn wait_until_read(rig: &Rig, options: &Options, program: &mut Process) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.bootstrap).set("group.id", "bench");
    let watch: BaseConsumer = config.create().map_err(|e| e.to_string())?;
    let deadline = Instant::now() + FILLING;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let mut list = TopicPartitionList::new();
        list.add_partition_range(INPUT, 0, options.partitions - 1);
        let found = watch.committed_offsets(list, PATIENCE).map_err(|e| e.to_string())?;
        let offset = |o: Offset| if let Offset::Offset(at) = o { at } else { 0 };
        let read: i64 = found.elements().iter().map(|e| offset(e.offset())).sum();
        if read as u64 >= options.keys {
            return Ok(());
        }
        if program.ended().is_some() || Instant::now() > deadline {
            let last = program.journal(|j| j.lines.last().cloned());
            return Err(format!("{read} of {} records read when the program gave up: {last:?}", options.keys));
        }
    }
}

fn start_again(rig: &Rig, number: usize, last: f64) -> Result<(Process, Restart), String> {
    let began = Instant::now();
    let mut program = rig.run(&format!("start-{number}"))?;
    let Some(ready) = program.wait_message("all tasks ready", PATIENCE) else {
        let last = program.journal(|j| j.lines.last().cloned());
        return Err(format!("start {number} did not become ready: {last:?}"));
    };
    while program.journal(|j| j.commits) == 0 && program.ended().is_none() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    let first_commit = since(began, Instant::now());
    let restart = program.journal(|j| {
        let assigned = j.lines.iter().find(|l| l.message == "assigned").map_or(began, |l| l.at);
        let of = |message: &'static str| j.lines.iter().filter(move |l| l.message == message);
        let most = |message, field| of(message).filter_map(|l| l.number(field)).max().unwrap_or(0);
        Restart {
            to_assigned: since(began, assigned),
            to_ready: ready.number("ms").map_or(f64::NAN, |ms| ms as f64),
            whole: since(began, ready.at),
            first_commit,
            settled: most("transactions settled", "ms") as f64,
            tasks: most("task ready", "ms") as f64,
            reread: most("task ready", "records"),
            last,
            restored: of("task ready").all(|l| l.text("why") == Some("restored")),
        }
    });
    Ok((program, restart))
}

fn since(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}

/// Records of the last transaction that this start's log tells of, per task.
fn last_transaction(rig: &Rig, number: usize) -> Result<f64, String> {
    let text = std::fs::read_to_string(rig.log(&format!("start-{number}"))).map_err(|e| e.to_string())?;
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = lines.into_iter().find(|line| line["message"] == "committed");
    let last = last.ok_or_else(|| format!("start {number} committed nothing before it was killed"))?;
    let field = |name: &str| last[name].as_f64().unwrap_or(f64::NAN);
    Ok(field("records") / field("tasks"))
}

fn count_entries(rig: &Rig) -> Result<u64, String> {
    let text = rig.tidemill(&["state", "check"], &["-o", "json"])?;
    let tasks = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(tasks.filter_map(|task| task["entries"].as_u64()).sum())
}

fn state_bytes(rig: &Rig) -> u64 {
    let mut folders = vec![rig.log("state")];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => bytes += data.len(),
                Err(_) => {} // a file that a compaction removed meanwhile
            }
        }
    }
    bytes
}

fn keep_logs(rig: &Rig, options: &Options) -> Result<(), String> {
    let Some(keep) = &options.keep else { return Ok(()) };
    std::fs::create_dir_all(keep).map_err(|e| format!("{}: {e}", keep.display()))?;
    for number in 0..=options.n {
        let name = format!("start-{number}");
        std::fs::copy(rig.log(&name), keep.join(&name)).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn report(rig: &Rig, options: &Options, all: &[Restart], (entries, load): (u64, f64)) {
    let of = |look: fn(&Restart) -> f64| Sample::new(all.iter().map(look).collect());
    let rows = [
        ("assigned_to_ready", of(|r| r.to_ready)),
        ("lanes_settled", of(|r| r.settled)),
        ("task_recovered", of(|r| r.tasks)),
        ("start_to_assigned", of(|r| r.to_assigned)),
        ("start_to_ready", of(|r| r.whole)),
        ("start_to_commit", of(|r| r.first_commit)),
    ];
    println!("{}", header(&format!("{} kills, ms", all.len())));
    for (name, sample) in &rows {
        println!("{}", sample.row(&name.replace('_', " ")));
    }
    let (reread, last) = (of(|r| r.reread as f64), of(|r| r.last));
    println!("{}", reread.row("records read again"));
    println!("{}", last.row("records, last commit"));
    let restored = all.iter().filter(|r| r.restored).count();
    let (load, bytes) = ([load, rig::load()], state_bytes(rig));
    println!("restored {restored} of {}; {entries} entries, {} MiB; records are of one task", all.len(), bytes >> 20);
    println!("emit {}, interval {}", options.emit, options.interval);
    println!("profile {}, load of the machine {load:?}", rig.profile());
    let mut line = json!({
        "bench": "restart", "kills": all.len(), "entries": entries, "state_bytes": bytes, "partitions": options.partitions,
        "interval": options.interval, "emit": options.emit, "restored": restored, "records_read": reread.json(),
        "records_last_commit": last.json(), "profile": rig.profile(), "load": load,
    });
    for (name, sample) in &rows {
        line[format!("{name}_ms")] = sample.json();
    }
    println!("{line}");
}
