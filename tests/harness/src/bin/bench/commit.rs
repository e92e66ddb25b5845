//! `bench commit`: how long the transactions of one lane take when they run back to back. Called by `main.rs`.
//! Invariant: program and floor take turns on one broker, under the same input, so that a noisy machine disturbs both.

use crate::drip::{self, Drip};
use crate::figures::{Sample, header};
use crate::floor::{Floor, Timing};
use crate::rig::{self, Rig};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemill_harness::process::Process;

const TOPOLOGY: &str = r#"
app: bench
kafka: { brokers: "BROKERS" }
state: "STATE"
lanes: 1
commit: { interval: 1ms }
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  events: { topic: bench-input, key_format: string, format: json, start: earliest }
steps:
  running:
    from: events
    group_by: record.key
    aggregate: { n: count() }
    emit: { updates: 1d }
outputs:
  bench-counts: { from: running }
dead_letters: { topic: bench-dead-letters }
"#;

/// Turns that each side takes; the first is for warming up.
const TURNS: u64 = 11;
/// Pauses between the floor's transactions: none, and about what a lane rests between two.
const GAPS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(2)];
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Options {
    /// Transactions to measure, of the program and of the floor
    #[arg(long, default_value_t = 1_000)]
    n: u64,
    /// Changelog partitions that each transaction touches
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Milliseconds between two records of a partition
    #[arg(long, default_value_t = 12)]
    every: u64,
}

/// What the program's log says of one transaction, ms.
struct Committed {
    whole: f64,
    send: f64,
    wait: f64,
    offsets: f64,
    commit: f64,
    concurrent: bool,
    tasks: i64,
    records: u64,
}

pub fn run(options: &Options) -> Result<(), String> {
    let rig = Rig::start(TOPOLOGY)?;
    for topic in ["bench-input", "decoy", "floor"] {
        rig.create_topic(topic, options.partitions)?;
    }
    rig.tidemill(&["topics", "create"], &[])?;
    let load = rig::load();
    let (skip, floor) = take_turns(&rig, options)?;
    let all = read_log(&rig)?;
    let whole: Vec<&Committed> = all[skip..].iter().filter(|c| c.tasks == i64::from(options.partitions)).collect();
    let part = all.len() - skip - whole.len();
    if (whole.len() as u64) < options.n / 2 {
        return Err(format!("only {} transactions touched all partitions, {part} did not", whole.len()));
    }
    report(&rig, options, (&whole, part), &floor, load);
    Ok(())
}

/// How many of the program's transactions were warming up, and the floor's, a list for each gap.
fn take_turns(rig: &Rig, options: &Options) -> Result<(usize, [Vec<Timing>; 2]), String> {
    let mut program = rig.run("log")?;
    let drip = Drip::start(drip::Plan {
        bootstrap: rig.bootstrap.clone(),
        topics: vec!["bench-input".to_owned(), "decoy".to_owned()],
        partitions: options.partitions,
        every: Duration::from_millis(options.every),
        each: 1,
        keys: 10_000,
    });
    program.wait_message("all tasks ready", PATIENCE).ok_or("the program does not become ready")?;
    let bare = Floor::open(&rig.bootstrap, ("decoy", "floor"), options.partitions)?;
    drip.turn_to(1);
    wait_for(&mut program, |_| bare.is_reading())?;
    let (mut skip, mut floor) = (0, [Vec::new(), Vec::new()]);
    let a_turn = options.n.div_ceil(TURNS - 1);
    for turn in 0..TURNS {
        drip.turn_to(0);
        let from = program.journal(|j| j.commits);
        wait_for(&mut program, |p| p.journal(|j| j.commits) >= from + a_turn * 21 / 20 + 5)?;
        drip.turn_to(1);
        std::thread::sleep(Duration::from_millis(200));
        if turn == 0 {
            skip = program.journal(|j| j.commits) as usize;
        }
        for (gap, timings) in GAPS.iter().zip(&mut floor) {
            for _ in 0..a_turn.div_ceil(2) {
                timings.push(bare.transaction()?);
                std::thread::sleep(*gap);
            }
            if turn == 0 {
                timings.clear();
            }
        }
    }
    drip.stop()?;
    program.kill();
    Ok((skip, floor))
}

fn wait_for(program: &mut Process, mut is_so: impl FnMut(&Process) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(program) {
        if let Some(status) = program.ended() {
            return Err(format!("the program ended: {status}: {:?}", program.journal(|j| j.lines.last().cloned())));
        }
        if Instant::now() > deadline {
            return Err(format!("nothing moved for {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn read_log(rig: &Rig) -> Result<Vec<Committed>, String> {
    let text = std::fs::read_to_string(rig.log("log")).map_err(|e| e.to_string())?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let committed = lines.filter(|line| line["message"] == "committed");
    Ok(committed
        .map(|line| {
            let ms = |field: &str| line[field].as_f64().unwrap_or(f64::NAN) / 1000.0;
            Committed {
                whole: ms("us"),
                send: ms("send_us"),
                wait: ms("wait_us"),
                offsets: ms("offsets_us"),
                commit: ms("commit_us"),
                concurrent: line["concurrent"].as_u64().unwrap_or(0) > 0,
                tasks: line["tasks"].as_i64().unwrap_or(0),
                records: line["records"].as_u64().unwrap_or(0),
            }
        })
        .collect())
}

fn report(rig: &Rig, options: &Options, (whole, part): (&[&Committed], usize), floor: &[Vec<Timing>; 2], load: f64) {
    let of = |look: fn(&Committed) -> f64| Sample::new(whole.iter().map(|c| look(c)).collect());
    let phases = [("send", of(|c| c.send)), ("wait", of(|c| c.wait)), ("offsets", of(|c| c.offsets))];
    let (all, commit) = (of(|c| c.whole), of(|c| c.commit));
    println!("{}", header(&format!("{} partitions, ms", options.partitions)));
    println!("{}", all.row("transaction"));
    for (name, sample) in &phases {
        println!("{}", sample.row(&format!("  {name}")));
    }
    println!("{}", commit.row("  commit"));
    let bare = |at: usize, look: fn(&Timing) -> f64| Sample::new(floor[at].iter().map(look).collect());
    for (at, name) in ["floor, back to back", "floor, 2 ms between"].iter().enumerate() {
        println!("{}", bare(at, |t| t.whole).row(name));
        println!("{}", bare(at, |t| t.wait).row("  wait"));
        println!("{}", bare(at, |t| t.offsets).row("  offsets"));
        println!("{}", bare(at, |t| t.commit).row("  commit"));
    }
    let share = |met: usize, of: usize| (met as f64 / of.max(1) as f64 * 1000.0).round() / 1000.0;
    let concurrent = share(whole.iter().filter(|c| c.concurrent).count(), whole.len());
    let met = |at: usize| share(floor[at].iter().filter(|t| t.concurrent).count(), floor[at].len());
    let ratio = all.at(50.0) / bare(0, |t| t.whole).at(50.0);
    let records = Sample::new(whole.iter().map(|c| c.records as f64).collect()).at(50.0);
    let load = [load, rig::load()];
    println!(
        "{} transactions ({part} touched fewer partitions and are not counted), {records} records each",
        all.len()
    );
    println!("met the transaction before: {concurrent}, floor {} and {}; p50 to floor: {ratio:.2}", met(0), met(1));
    println!("profile {}, load of the machine {load:?}", rig.profile());
    let line = json!({
        "bench": "commit", "partitions": options.partitions, "transactions": all.len(), "part": part, "records": records,
        "ms": all.json(), "send_ms": phases[0].1.json(), "wait_ms": phases[1].1.json(), "offsets_ms": phases[2].1.json(),
        "commit_ms": commit.json(), "concurrent": concurrent,
        "floor_ms": bare(0, |t| t.whole).json(), "floor_concurrent": met(0),
        "floor_rested_ms": bare(1, |t| t.whole).json(), "floor_rested_concurrent": met(1),
        "ratio": (ratio * 100.0).round() / 100.0, "profile": rig.profile(), "load": load,
    });
    println!("{line}");
}
