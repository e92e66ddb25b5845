//! Each protection taken away must show what it protects from: a violation, a halt or a deadlock with the known count
//! (or, for the three that `MODEL.md` says are not needed, that nothing breaks).
//!
//! Knows only verdicts. Called by `cargo test`. Invariant: every protection has a control here.

use tidemill_model::suite::{CONTROLS, Run};
use tidemill_model::{Verdict, protections};

fn controls_of(protection: &str) -> Vec<&'static Run> {
    CONTROLS.iter().filter(|run| run.removes() == Some(protection)).collect()
}

fn without(protection: &str) {
    let runs = controls_of(protection);
    assert!(!runs.is_empty(), "{protection} has no control");
    all_as_expected(&runs);
}

fn all_as_expected(runs: &[&Run]) {
    for run in runs {
        if let Err(why) = run.show() {
            panic!("{why}");
        }
    }
}

macro_rules! controls {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                without(stringify!($name));
            }
        )*

        #[test]
        fn every_protection_has_a_control() {
            assert_eq!(protections(), [$(stringify!($name)),*]);
        }
    };
}

controls! {
    recycle_error recycle_abort verify wait_lso raw_end order stable step7 frozen_meta atomic_snapshot incarnation
    filter_lost unknown_recovers unknown_commits publish_empty newer_than_used real_member init_first let_go
    unbroken
}

#[test]
fn second_look() {
    let runs: Vec<&Run> = CONTROLS.iter().filter(|run| run.removes().is_none()).collect();
    assert_eq!(runs.len(), 1);
    all_as_expected(&runs);
}

#[test]
fn three_break_nothing_that_this_model_can_see() {
    let needed = |name: &&str| controls_of(name).iter().any(|run| run.verdict != Verdict::Holds);
    let spare: Vec<&str> = protections().iter().copied().filter(|name| !needed(name)).collect();
    assert_eq!(spare, ["step7", "init_first", "let_go"]);
}
