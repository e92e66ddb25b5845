//! `make seed1` in small: a few kills, fewer records. Runs the driver as people do, so that what is tested is what they
//! run. Invariant: it fails where the product or a client is missing; it never skips.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use tidemill_harness::process::program;

#[test]
fn three_kills_leave_the_hours_right_to_the_last_digit() {
    let mill = program("TIDEMILL_BIN", "tidemill");
    assert!(mill.exists(), "{}: not built; run `make binaries` first", mill.display());
    let mut seed1 = Command::new(env!("CARGO_BIN_EXE_seed1"));
    seed1.args(["--kills", "3", "--records", "12000", "--seed", "7", "--patience", "40"]).env("TIDEMILL_BIN", mill);
    let output = seed1.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let figures: serde_json::Value = serde_json::from_str(stdout.trim()).unwrap();
    let figure = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!((figure("records"), figure("kills")), (12_000, 3));
    assert!(figure("duplicates") > 300 && figure("late") > 50 && figure("broken") > 50, "{figures}");
    assert!(figures["clients"].as_str().unwrap().contains("confluent-kafka"), "{figures}");
}
