//! The runs of `MODEL.md` that end within seconds: with every protection on nothing breaks, and the counts stay.
//!
//! Knows only verdicts. Called by `cargo test`; the long runs: `make model`. Invariant: a count that changes is a changed model.

use tidemill_model::suite::{BASE, OWNER, Run, WIDE};

fn all_as_expected(runs: &[Run]) {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.short()).collect();
    assert!(runs.len() >= 3, "too few short runs");
    for run in runs {
        if let Err(why) = run.show() {
            panic!("{why}");
        }
    }
}

#[test]
fn one_task_two_instances() {
    all_as_expected(&BASE);
}

#[test]
fn more_tasks_lanes_instances() {
    all_as_expected(&WIDE);
}

#[test]
fn without_timeouts_of_the_broker() {
    all_as_expected(&OWNER);
}
