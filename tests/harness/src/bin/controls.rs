//! `make controls`: each protection's schedule on a real broker, with everything on and with that protection removed.
//! Knows the table of `tidemill_harness::strays::controls`; a person or CI runs it. Invariant: one line of JSON on stdout,
//! and exit code 0 only if every run with everything on was clean and every other one found what its row says.

use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tidemill_harness::strays::controls::{self, Brokers, CONTROLS, Control, Finds};
use tidemill_harness::strays::{Report, World};

#[derive(Parser, Debug)]
#[command(name = "controls", about = "What breaks without each protection, on a real broker")]
struct Options {
    /// The rows about this protection alone; as often as wanted.
    #[arg(long = "control")]
    controls: Vec<String>,
    /// Keep logs, topologies and states here; it must be empty.
    #[arg(long)]
    keep: Option<PathBuf>,
}

type Run = (Report, Result<(), String>);

/// Clusters by kind: each is started once, and ends with this value.
struct Clusters {
    keep: Option<PathBuf>,
    worlds: BTreeMap<&'static str, World>,
}

impl Clusters {
    fn get(&mut self, brokers: Brokers) -> Result<&mut World, String> {
        let name = match brokers {
            Brokers::One => "one",
            Brokers::Three => "three",
            Brokers::Forgetful => "forgetful",
            Brokers::Unverified => "unverified",
        };
        if !self.worlds.contains_key(name) {
            self.worlds.insert(name, controls::start(brokers, self.keep.as_deref())?);
        }
        Ok(self.worlds.get_mut(name).expect("inserted above"))
    }
}

fn words(run: &Run) -> Value {
    let (report, done) = run;
    let mut line = json!({"violations": report.violations()});
    let counts = [
        ("lost", report.tally.lost),
        ("duplicated", report.tally.duplicated),
        ("wrong", report.tally.wrong),
        ("halts", report.halts),
        ("stuck", report.stuck),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        line[name] = json!(count);
    }
    if !report.exits.is_empty() {
        line["exits"] = json!(report.exits);
    }
    if !report.released.is_empty() {
        line["late"] = json!(report.released);
    }
    if let Err(error) = done {
        line["error"] = json!(error);
    }
    if let Some(example) = report.tally.examples.first() {
        line["example"] = json!(example);
    }
    line
}

/// One row: the line about it, and whether it shows what it says.
fn row(control: &Control, clusters: &mut Clusters, known: &mut BTreeMap<String, (bool, Value)>) -> (Value, bool) {
    let began = Instant::now();
    let failed = |error: String| (Report::default(), Err(error));
    let name = format!("{:?}", control.schedule_name());
    let (is_clean, with) = known.entry(name).or_insert_with(|| {
        let run = clusters.get(control.brokers).map(|world| control.with(world)).unwrap_or_else(failed);
        (Control::is_clean(&run), words(&run))
    });
    let run = clusters.get(control.brokers_without).map(|world| control.without(world)).unwrap_or_else(failed);
    let is_shown = control.is_shown(&run);
    let mut line = json!({"removed": control.removed, "events": control.events, "with": with,
        "without": words(&run), "clean": is_clean, "shown": is_shown, "seconds": began.elapsed().as_secs()});
    if let Finds::Nothing(because) = control.finds {
        line["holds"] = json!(because);
    }
    (line, *is_clean && is_shown)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let began = Instant::now();
    let is_wanted =
        |control: &&Control| options.controls.is_empty() || options.controls.iter().any(|name| control.is_about(name));
    let rows: Vec<&Control> = CONTROLS.iter().filter(is_wanted).collect();
    if rows.is_empty() {
        eprintln!("controls: no protection is called {:?}", options.controls);
        return ExitCode::from(2);
    }
    let mut clusters = Clusters { keep: options.keep.clone(), worlds: BTreeMap::new() };
    let (mut known, mut bad) = (BTreeMap::new(), Vec::new());
    for control in &rows {
        let (line, is_good) = row(control, &mut clusters, &mut known);
        eprintln!("{} {line}", if is_good { "ok  " } else { "FAIL" });
        if !is_good {
            bad.push(control.removed);
        }
    }
    println!(
        "{}",
        json!({"controls": rows.len(), "failed": bad, "seconds": began.elapsed().as_secs(), "ok": bad.is_empty()})
    );
    if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
