//! `make strays`: requests that come late, at every position of a transaction, against a real broker. Knows the parts of
//! `tidemill_harness::strays`; a person or CI runs it. Invariant: one line of JSON on stdout, and exit code 0 only if the
//! product kept every record once (or, with `--control`, if the broken one did not).

use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tidemill_harness::strays::{self, Program, Report, Stopped, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Commits held and cut, released later.
    Commits,
    /// Every other kind lost, unanswered, or held and cut.
    Kinds,
    /// Requests held past an abort.
    Aborts,
    /// Verification of partitions, recycles, and a process stopped while the group moves on.
    Proofs,
}

#[derive(Parser, Debug)]
#[command(name = "strays", about = "Requests that come late, against a real broker")]
struct Options {
    /// Commits that come late.
    #[arg(long, default_value_t = 500)]
    n: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Aborts with a request that comes late past each.
    #[arg(long, default_value_t = 26)]
    aborts: usize,
    /// These alone; as often as wanted.
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    /// Take these protections away (names with commas between) and stop at the first violation, which must come.
    #[arg(long)]
    control: Option<String>,
    /// Keep logs, topologies and states here; it must be empty.
    #[arg(long)]
    keep: Option<PathBuf>,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        match self.parts.is_empty() {
            true => self.control.is_none() || part == Part::Commits,
            false => self.parts.contains(&part),
        }
    }

    fn program(&self) -> Program {
        self.control.as_deref().map_or_else(Program::product, Program::without)
    }

    fn is_enough(&self, report: &Report) -> bool {
        self.control.is_some() && report.violations() > 0
    }
}

/// What the parts found.
#[derive(Default)]
struct Found {
    violations: u64,
    /// What could not be shown, or stood still.
    errors: u64,
    parts: Map<String, Value>,
}

impl Found {
    fn part(&mut self, name: &str, work: impl FnOnce(&mut Report) -> Result<Value, String>) {
        let began = Instant::now();
        eprintln!("{name}");
        let mut report = Report::default();
        let worked = work(&mut report);
        let mut line = report.json();
        line["seconds"] = json!((began.elapsed().as_secs_f64() * 10.0).round() / 10.0);
        self.violations += report.violations();
        match worked {
            Ok(Value::Null) => {}
            Ok(more) => line["found"] = more,
            Err(error) => {
                self.errors += 1;
                line["error"] = json!(error);
            }
        }
        eprintln!("{name}: {line}");
        self.parts.insert(name.to_owned(), line);
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let began = Instant::now();
    let mut found = Found::default();
    let world = match World::start(options.program(), &["group.min.session.timeout.ms=1000"], options.keep.clone()) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("strays: {error}");
            return ExitCode::FAILURE;
        }
    };
    work(&options, &world, &mut found);
    drop(world);
    if options.has(Part::Proofs) && options.control.is_none() {
        found.part("unverified", |_| unverified());
    }
    let is_good = found.errors == 0 && (found.violations > 0) == options.control.is_some();
    let seconds = began.elapsed().as_secs();
    let control = &options.control;
    println!(
        "{}",
        json!({"strays": options.n, "seed": options.seed, "control": control, "violations": found.violations, "errors": found.errors,
            "seconds": seconds, "ok": is_good, "parts": found.parts})
    );
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(options: &Options, world: &World, found: &mut Found) {
    let is_enough = |report: &Report| options.is_enough(report);
    if options.has(Part::Commits) {
        let sweep = strays::commits(options.n, options.seed);
        found.part("commits", |report| strays::run(world, &sweep, report, is_enough).map(|()| Value::Null));
    }
    if options.has(Part::Kinds) {
        found.part("kinds", |report| strays::run(world, &strays::kinds(), report, is_enough).map(|()| Value::Null));
    }
    if options.has(Part::Aborts) {
        found.part("aborts", |report| strays::aborts(world, options.aborts, report, is_enough).map(|()| Value::Null));
    }
    if options.has(Part::Proofs) {
        found.part("healthy", |report| proof_healthy(world, report));
        found.part("cuts", |report| proof_cuts(world, report));
        found.part("verified", |_| verified(world));
        for when in [Stopped::Settled, Stopped::InRebalance] {
            found.part(&format!("stopped {when:?}"), |report| proof_moved(world, when, report));
        }
    }
}

fn proof_healthy(world: &World, report: &mut Report) -> Result<Value, String> {
    match strays::healthy(world, 100, report)? {
        0 => Ok(Value::Null),
        n => Err(format!("{n} recycles in 100 transactions that nothing disturbed")),
    }
}

fn proof_cuts(world: &World, report: &mut Report) -> Result<Value, String> {
    let wrong = strays::cuts_recycle(world, report)?;
    if wrong.is_empty() { Ok(Value::Null) } else { Err(wrong.join("; ")) }
}

fn proof_moved(world: &World, when: Stopped, report: &mut Report) -> Result<Value, String> {
    match strays::moved(world, when, report)?.error {
        Some(0) => Err("the group took offsets of a member that had lost its tasks".to_owned()),
        _ => Ok(Value::Null),
    }
}

fn verified(world: &World) -> Result<Value, String> {
    let seen = strays::late_produce(world)?;
    let shown = json!({"answer": seen.answer, "hangs": seen.hangs});
    match seen.answer {
        Some(code) if code != 0 && !seen.hangs => Ok(shown),
        _ => Err(format!("a Produce past its abort was not refused: {shown}")),
    }
}

/// The other side: a broker that does not verify takes the same Produce, and `run` refuses such a broker.
fn unverified() -> Result<Value, String> {
    let off = ["transaction.partition.verification.enable=false"];
    let world = World::start(Program::product(), &off, None)?;
    let seen = strays::late_produce(&world)?;
    let refused = strays::refused_by_run(&world)?;
    let shown = json!({"answer": seen.answer, "hangs": seen.hangs, "run": refused});
    match seen.answer {
        Some(0) if seen.hangs => Ok(shown),
        _ => Err(format!("verification makes no difference: {shown}")),
    }
}
