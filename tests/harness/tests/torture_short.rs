//! The tormentor in small: one broker, two processes, a few kills. Runs the program as `make torture` does, so that what
//! is tested is what people run. Invariant: it fails where the product's program is missing; it never skips.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use tidemill_harness::process::program;

#[test]
fn eight_kills_lose_double_and_change_nothing() {
    let mill = program("TIDEMILL_BIN", "tidemill");
    assert!(mill.exists(), "{}: not built; run `make binaries` first", mill.display());
    let mut torture = Command::new(env!("CARGO_BIN_EXE_torture"));
    torture.args(["--kills", "8", "--records", "20000", "--partitions", "4", "--seed", "5", "--minutes", "2"]);
    let output = torture.args(["--processes", "2", "--nodes", "1"]).env("TIDEMILL_BIN", mill).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let figures: serde_json::Value = serde_json::from_str(stdout.trim()).unwrap();
    let figure = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!((figure("lost"), figure("duplicated"), figure("wrong"), figure("rebuilds")), (0, 0, 0, 0));
    assert!(figure("kills") >= 8 && figure("records") == 20_000, "{figures}");
}
