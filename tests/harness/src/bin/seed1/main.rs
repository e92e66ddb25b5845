//! `seed1`: the hourly job as it is shipped, fed by two Python clients with faults in what they send, killed at random;
//! then its tables, its dead letters and its counts against SQL over the raw topic. Knows the product from outside only.
//! Invariant: it prints one JSON line, and exits with 0 only if nothing was found.

mod clients;
mod finish;
mod world;

use clap::Parser;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_harness::hourly::Census;
use world::World;

/// Runs the shipped hourly job under SIGKILL, with kafka-python and confluent-kafka as its producers, and compares all that
/// came of it with SQL. Prints one JSON line; exit code 1 if anything differs, and then the scratch folder stays.
#[derive(Clone, Debug, Parser)]
#[command(name = "seed1")]
pub struct Options {
    /// SIGKILLs of the job while events come.
    #[arg(long, default_value_t = 20)]
    pub kills: u64,
    /// Records of both clients together.
    #[arg(long, default_value_t = 200_000)]
    pub records: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=200))]
    pub partitions: i32,
    /// Default: from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seconds in which the tables must be right once the last event has come.
    #[arg(long, default_value_t = 120)]
    pub patience: u64,
    /// Keeps the scratch folder also when all is well.
    #[arg(long)]
    pub keep: bool,
    /// Says on stderr what is done when.
    #[arg(long, short)]
    pub verbose: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = options.seed.unwrap_or_else(clock);
    let scratch = match tempfile::Builder::new().prefix("tidemill-seed1-").tempdir() {
        Ok(scratch) => scratch,
        Err(e) => {
            eprintln!("seed1: no scratch folder: {e}");
            return ExitCode::FAILURE;
        }
    };
    let (figures, is_clean) = campaign(&options, seed, scratch.path());
    println!("{figures}");
    if !is_clean || options.keep {
        eprintln!("scratch folder: {}", scratch.keep().display());
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn campaign(options: &Options, seed: u64, scratch: &Path) -> (Value, bool) {
    let mut world = match World::build(options.clone(), seed, scratch) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("seed1: {error}");
            return (json!({ "seed": seed, "error": error }), false);
        }
    };
    let done = torment(&mut world).and_then(|()| world.judge());
    let (census, error) = match done {
        Ok(census) => (census, None),
        Err(error) => (Census::default(), Some(error)),
    };
    for finding in world.findings.iter().chain(&error) {
        eprintln!("{finding}");
    }
    let is_clean = error.is_none() && world.findings.is_empty();
    let figures = json!({
        "records": census.records,
        "good": census.good,
        "late": census.late,
        "duplicates": census.duplicates,
        "broken": census.broken,
        "hours": census.hours,
        "scattered_users": census.scattered,
        "kills": world.kills,
        "clients": world.versions,
        "findings": world.findings,
        "settled_ms": world.settled_ms,
        "duration_s": world.began.elapsed().as_secs(),
        "error": error,
        "seed": seed,
    });
    (figures, is_clean)
}

/// Kills the job while the clients send, and lets it go on.
fn torment(world: &mut World) -> Result<(), String> {
    world.feed()?;
    world.start()?;
    while world.kills < world.options.kills || world.is_fed().is_none() {
        let pause = if world.kills < world.options.kills { world.rng.range(300, 5_000) } else { 200 };
        let until = Instant::now() + Duration::from_millis(pause);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            world.watch()?;
        }
        if world.kills < world.options.kills {
            world.kill()?;
        }
    }
    match world.is_fed() {
        Some(Err(error)) => Err(error),
        _ => Ok(()),
    }
}
