//! `torture`: runs Tidemill on a real Kafka, kills and stops and cuts by a seeded schedule, then compares all that was
//! committed with an oracle. Knows the product from outside only. Invariant: it prints one JSON line, and exits with 0
//! only if nothing was found.

mod faults;
mod finish;
mod ledger;
mod options;
mod seat;
mod world;

use clap::Parser;
use finish::Bounds;
use options::Options;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_harness::verdict::Tally;
use world::World;

/// Records a second that the slowest machine we know works off under faults, with a debug build.
const RATE: u64 = 2_000;
/// Seconds between kills that the schedule comes to by itself, about.
const BETWEEN_KILLS: u64 = 4;

/// What a run shows once all is still.
#[derive(Default)]
struct Found {
    tally: Tally,
    bounds: Bounds,
    hidden: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = options.seed.unwrap_or_else(clock);
    let scratch = match tempfile::Builder::new().prefix("tidemill-torture-").tempdir() {
        Ok(scratch) => scratch,
        Err(e) => {
            eprintln!("torture: no scratch folder: {e}");
            return ExitCode::FAILURE;
        }
    };
    let (figures, is_clean) = torture(&options, seed, scratch.path());
    println!("{figures}");
    if is_clean && !options.keep {
        return ExitCode::SUCCESS;
    }
    eprintln!("scratch folder: {}", scratch.keep().display());
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The figures, and whether all is well.
fn torture(options: &Options, seed: u64, scratch: &Path) -> (Value, bool) {
    let mut world = match World::build(options.clone(), seed, scratch) {
        Ok(world) => world,
        Err(error) => return (json!({ "seed": seed, "error": error }), false),
    };
    let mut error = None;
    let mut found = Found::default();
    if let Err(e) = run(&mut world, seed).and_then(|()| found.look(&mut world)) {
        error = Some(e);
    }
    for example in found.tally.examples.iter().chain(&found.hidden) {
        eprintln!("{example}");
    }
    for violation in world.violations.iter().chain(&world.ledger.rebuilds).chain(&error) {
        eprintln!("violation: {violation}");
    }
    let is_clean =
        found.tally.is_clean() && world.violations.is_empty() && world.ledger.rebuilds.is_empty() && error.is_none();
    (figures(&world, &found, error, seed), is_clean)
}

fn run(world: &mut World, seed: u64) -> Result<(), String> {
    world.feed(seed);
    for index in 0..world.seats.len() {
        world.start_seat(index)?;
    }
    let (kills, records) = (world.options.kills, world.options.records);
    let deadline = Instant::now() + Duration::from_secs(60 * world.options.minutes);
    // The gaps grow where the records would take longer than the faults.
    let stretch = (records * 1000 / (RATE * BETWEEN_KILLS * kills.max(1))).clamp(1_000, 20_000);
    let mut next = Instant::now() + Duration::from_secs(5);
    while world.killed() < kills && Instant::now() < deadline {
        let share = records * (world.killed() + 1) / kills.max(1);
        let by_time = world.began.elapsed().as_millis() as u64 * records / (kills.max(1) * BETWEEN_KILLS * stretch);
        if let Some(feeder) = &world.feeder {
            feeder.pace.allow(by_time.max(records / 50).min(share));
        }
        world.tick()?;
        if Instant::now() >= next {
            let gap = if world.torment()? { gap(world) * stretch / 1000 } else { 100 };
            next = Instant::now() + Duration::from_millis(gap);
        }
    }
    world.heal()?;
    world.work_off()?;
    world.terminate_all();
    Ok(())
}

/// Milliseconds until the next fault: sometimes in the middle of what the last one began.
fn gap(world: &mut World) -> u64 {
    match world.rng.below(100) {
        0..25 => world.rng.range(50, 500),
        25..75 => world.rng.range(500, 3_000),
        _ => world.rng.range(3_000, 6_000),
    }
}

impl Found {
    fn look(&mut self, world: &mut World) -> Result<(), String> {
        self.hidden = world.hidden()?;
        self.tally = world.judge()?;
        self.bounds = world.check_bounds()?;
        Ok(())
    }
}

fn figures(world: &World, found: &Found, error: Option<String>, seed: u64) -> Value {
    let (ledger, tally, bounds) = (&world.ledger, &found.tally, &found.bounds);
    json!({
        "records": world.options.records,
        "kills": world.killed(),
        "kills_by_kind": world.kills,
        "other_faults": world.other_faults,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "wrong": tally.wrong,
        "hidden_by_brokers": found.hidden.len(),
        "rebuilds": ledger.rebuilds.len(),
        "first_times": ledger.first_times,
        "restores": ledger.restored,
        "restored_records": ledger.restored_records,
        "restores_after_kill": bounds.checked,
        "largest_restore_after_kill": bounds.largest_restore,
        "largest_transaction": bounds.largest_transaction,
        "slowest_ready_ms": ledger.slowest_ready_ms,
        "aborted": ledger.aborted,
        "unknown": ledger.unknown,
        "recycled": ledger.recycled,
        "exits": ledger.exits,
        "fenced_exit_ms": world.fenced_exit_ms,
        "violations": world.violations,
        "control": world.options.control,
        "error": error,
        "duration_s": world.began.elapsed().as_secs(),
        "seed": seed,
    })
}
