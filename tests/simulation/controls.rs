//! What breaks without each protection: the same kind of schedules with that one removed.
//!
//! Knows which violations MODEL.md promises for each control, and within how many seeds one must be found.
//! Called by cargo. Invariant: a control that finds nothing fails.

use super::broker::Part;
use super::rng::Rng;
use super::run;
use super::world::{Of, Shape, Step, Violation, World};
use std::collections::BTreeMap;
use tidemill::exactly_once::{PROTECTIONS, Protections};

/// Wrong data, seen at the end.
const CORRUPTION: &[&str] = &["duplicate", "loss", "wrong", "state"];
const HALT: &[&str] = &["halt"];
const DEADLOCK: &[&str] = &["deadlock"];
const HALT_OR_CORRUPTION: &[&str] = &["halt", "duplicate", "loss", "wrong", "state"];

struct Control {
    removed: &'static [&'static str],
    /// What must be found; nothing: it is expected to hold.
    finds: &'static [&'static str],
    /// Within so many seeds.
    seeds: u64,
    /// rebalance, zombie, crash, cut, unknown, timeout.
    faults: [usize; 6],
    /// Static members; none: as the seed says.
    stat: Option<bool>,
    /// Kinds of step that come late.
    slow: &'static [(usize, Of)],
}

const fn control(removed: &'static [&'static str], finds: &'static [&'static str], faults: [usize; 6]) -> Control {
    Control { removed, finds, seeds: 4_000, faults, stat: None, slow: &[] }
}

/// A transaction whose offsets are accepted and whose end takes its time.
const SLOW_COMMIT: &[(usize, Of)] =
    &[(Step::Commit(0, 0).kind(), Of::All), (Step::Control(0, Part::Offsets).kind(), Of::All), FAULT];
/// Control records that come long after their transaction was decided.
const SLOW_MARKER: &[(usize, Of)] = &[(Step::Control(0, Part::Offsets).kind(), Of::All), FAULT];
/// An instance that recovers and closes slowly.
const SLOW_LOSER: &[(usize, Of)] =
    &[(Step::Recover(0, 0).kind(), Of::First), (Step::Close(0, 0).kind(), Of::First), FAULT];
/// An instance that is late to apply what it has committed.
const SLOW_APPLY: &[(usize, Of)] = &[(Step::Apply(0, 0).kind(), Of::First), FAULT];
/// Rebalances are rare beside everything else.
const FAULT: (usize, Of) = (Step::Wish(0, 0).kind(), Of::All);

const fn slow(slow: &'static [(usize, Of)], control: Control) -> Control {
    Control { slow, ..control }
}

const CONTROLS: &[Control] = &[
    control(&["recycle_error"], HALT_OR_CORRUPTION, [0, 0, 0, 4, 0, 0]),
    control(&["recycle_abort"], HALT_OR_CORRUPTION, [0, 0, 0, 4, 1, 0]),
    control(&["verify"], HALT_OR_CORRUPTION, [0, 0, 0, 4, 0, 0]),
    control(&["wait_lso"], HALT, [3, 1, 0, 0, 0, 0]),
    control(&["wait_lso", "step7"], CORRUPTION, [3, 1, 0, 0, 0, 0]),
    control(&["raw_end"], HALT, [3, 1, 0, 0, 0, 0]),
    slow(SLOW_MARKER, control(&["raw_end", "step7"], CORRUPTION, [4, 1, 0, 0, 0, 0])),
    slow(SLOW_LOSER, control(&["order"], HALT, [4, 1, 0, 0, 0, 0])),
    slow(SLOW_COMMIT, control(&["stable"], HALT, [4, 1, 0, 0, 0, 0])),
    slow(SLOW_COMMIT, control(&["stable", "step7"], CORRUPTION, [4, 1, 0, 0, 0, 0])),
    control(&["frozen_meta"], HALT_OR_CORRUPTION, [4, 1, 0, 0, 0, 0]),
    control(&["atomic_snapshot"], HALT_OR_CORRUPTION, [4, 1, 0, 0, 0, 0]),
    control(&["incarnation"], HALT_OR_CORRUPTION, [5, 1, 0, 0, 0, 0]),
    control(&["filter_lost"], HALT_OR_CORRUPTION, [4, 1, 0, 0, 0, 0]),
    control(&["unknown_recovers"], CORRUPTION, [0, 0, 0, 0, 3, 0]),
    control(&["unknown_commits"], CORRUPTION, [0, 0, 0, 0, 3, 0]),
    control(&["publish_empty"], DEADLOCK, [4, 1, 1, 0, 0, 0]),
    control(&["newer_than_used"], DEADLOCK, [4, 1, 0, 0, 0, 0]),
    Control { stat: Some(false), ..control(&["real_member"], HALT_OR_CORRUPTION, [4, 3, 0, 0, 0, 0]) },
    // Another must have had the tasks, and lost them, before the member without a name is back.
    control(&["unbroken"], HALT_OR_CORRUPTION, [4, 4, 3, 0, 0, 0]),
    control(&["step7"], &[], [3, 1, 1, 1, 1, 0]),
    slow(SLOW_LOSER, control(&["order", "step7"], &[], [4, 1, 0, 0, 0, 0])),
    control(&["init_first"], &[], [3, 1, 1, 1, 1, 0]),
    // The model finds nothing here: it takes two rebalances and an APPLY that is later than both. Away, committed to by
    // another, back and recovered; then the old values are applied and take the store back to the past.
    slow(SLOW_APPLY, control(&["let_go"], CORRUPTION, [6, 1, 0, 0, 0, 0])),
];

impl Control {
    fn shape(&self, seed: u64) -> Shape {
        let drawn = Shape::draw(&mut Rng::new(seed ^ 0x5a5a));
        let instances = if self.faults[0] > 0 { drawn.instances.max(2) } else { 1 };
        Shape {
            instances,
            faults: self.faults,
            stateless: false,
            stat: self.stat.unwrap_or(drawn.stat),
            slow: self.slow,
            ..drawn
        }
    }

    fn protections(&self) -> Protections {
        self.removed.iter().fold(Protections::all(), |p, name| p.without(name))
    }

    /// Every violation until one of those that are looked for; and whether that one came.
    fn search(&self) -> Result<String, String> {
        let mut others: BTreeMap<&str, (u64, u64, String)> = BTreeMap::new();
        for seed in 0..self.seeds {
            let Err(Violation { kind, what }) = run(&mut World::new(seed, self.shape(seed), self.protections())) else {
                continue;
            };
            if self.finds.contains(&kind) {
                return Ok(format!("{:?}: seed {seed}: {kind}: {what}", self.removed));
            }
            others.entry(kind).or_insert((0, seed, what)).0 += 1;
        }
        if self.finds.is_empty() && others.is_empty() {
            return Ok(format!("{:?}: holds for {} seeds", self.removed, self.seeds));
        }
        let wanted = if self.finds.is_empty() { &["nothing"] } else { self.finds };
        Err(format!("{:?}: {} seeds, wanted {wanted:?}, found {others:?}", self.removed, self.seeds))
    }
}

/// The shape of a row of the table, to show one of its runs again.
pub fn shape(row: usize, seed: u64) -> Shape {
    CONTROLS.get(row).expect("TIDEMILL_CONTROL_ROW is a row of the controls").shape(seed)
}

#[test]
fn every_protection_is_missed_when_it_is_gone() {
    let results: Vec<_> = CONTROLS.iter().map(Control::search).collect();
    for (row, r) in results.iter().enumerate() {
        let (Ok(line) | Err(line)) = r;
        println!(
            "{} row {row} {}",
            if r.is_ok() { "ok  " } else { "FAIL" },
            line.chars().take(240).collect::<String>()
        );
    }
    assert!(results.iter().all(Result::is_ok), "a control did not find what it must");
}

/// The same schedules with everything on: what a control finds is its protection's doing.
#[test]
fn with_everything_on_the_schedules_of_the_controls_hold() {
    for (row, c) in CONTROLS.iter().enumerate() {
        for seed in 0..300 {
            let outcome = run(&mut World::new(seed, c.shape(seed), Protections::all()));
            let replay = format!("TIDEMILL_CONTROL_ROW={row} TIDEMILL_SEED={seed}");
            let command = "cargo test --test simulation one_seed -- --nocapture";
            assert!(outcome.is_ok(), "{outcome:?}\n    {replay} {command}");
        }
    }
}

#[test]
fn every_protection_has_a_control() {
    for name in PROTECTIONS {
        assert!(CONTROLS.iter().any(|c| c.removed == [*name]), "no control removes '{name}'");
    }
}
