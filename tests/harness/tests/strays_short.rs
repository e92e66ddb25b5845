//! The short form of `make strays`: a few commits that come late, each kind cut once, and the control that must fail.
//! Knows the parts of `tidemill_harness::strays`. Invariant: the same sweep that is clean with the product is not clean
//! without its recycling, so a sweep that met nothing cannot pass.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use tidemill_harness::process::program;
use tidemill_harness::strays::{Program, Report, World, cuts_recycle, dangerous, healthy, late_produce, run};

/// Built by `make binaries`, before any test.
fn must_be_built(variable: &str, name: &str) {
    let path: PathBuf = program(variable, name);
    assert!(path.exists(), "{} is not there: run 'make binaries' first", path.display());
}

#[test]
fn late_commits_change_nothing_and_every_cut_recycles() {
    must_be_built("TIDEMILL", "tidemill");
    must_be_built("TIDEMILL_CONTROLS", "tidemill-controls");
    let mut world = World::start(Program::product(), &[], None).unwrap();
    let mut report = Report::default();
    assert_eq!(healthy(&world, 100, &mut report).unwrap(), 0, "a recycle without a cause");
    assert_eq!(cuts_recycle(&world, &mut report).unwrap(), [""; 0]);
    // The broker's own part: it takes no Produce that comes later than the abort of its transaction.
    let verified = late_produce(&world).unwrap();
    assert!(verified.answer.is_some_and(|code| code != 0) && !verified.hangs, "{verified:?}");
    run(&world, &dangerous(3), &mut report, |_| false).unwrap();
    println!("{}", report.json());
    assert_eq!(report.violations(), 0, "{}", report.json());
    assert_eq!(report.strays, 13, "{}", report.json());
    assert_eq!(report.taken("EndTxn commit"), 0, "{}", report.json());

    // The same without the recycle: the late commit is taken, and tears a transaction.
    world.program = Program::without("recycle_error");
    let mut control = Report::default();
    run(&world, &dangerous(3), &mut control, |_| false).unwrap();
    println!("{}", control.json());
    assert!(control.taken("EndTxn commit") > 0, "{}", control.json());
    assert!(control.violations() > 0, "{}", control.json());
}
