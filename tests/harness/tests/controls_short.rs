//! The short form of `make controls`: the rows of the table that take the least time. Knows the table of
//! `tidemill_harness::strays::controls`. Invariant: a schedule that is clean with everything on is not clean without its
//! protection, so one that meets nothing cannot pass.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::time::Instant;
use tidemill_harness::process::program;
use tidemill_harness::strays::controls::{Brokers, CONTROLS, Control, QUICK, start};

#[test]
fn the_quickest_controls_show_what_they_say() {
    // Built by `make binaries`, before any test.
    let path = program("TIDEMILL_CONTROLS", "tidemill-controls");
    assert!(path.exists(), "{} is not there: run 'make binaries' first", path.display());
    let mut world = start(Brokers::One, None).unwrap();
    for name in QUICK {
        let began = Instant::now();
        let control = CONTROLS.iter().find(|control| control.is_about(name)).unwrap();
        let with = control.with(&mut world);
        assert!(Control::is_clean(&with), "{name}, with everything on: {:?} {}", with.1, with.0.json());
        let without = control.without(&mut world);
        assert!(control.is_shown(&without), "{name}, without it: {:?} {}", without.1, without.0.json());
        println!("{name}: {:.1} s, {} violations without it", began.elapsed().as_secs_f32(), without.0.violations());
    }
}

#[test]
fn every_protection_has_a_row() {
    let words = include_str!("../../../src/exactly_once/protections.rs");
    let list = words.split_once("NAMES: &[&str] = &[").unwrap().1.split_once(']').unwrap().0;
    let names = list.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 20, "{names:?}");
    for name in names {
        assert!(CONTROLS.iter().any(|control| control.is_about(name)), "no control removes '{name}'");
    }
}
