//! Thousands of seeded schedules of the real engine and the real protocol, and what breaks without each protection.
//!
//! ```text
//! cargo test --test simulation                                                   all seeds, all controls
//! TIDEMILL_SEED=123 cargo test --test simulation one_seed -- --nocapture         one run, every step
//! TIDEMILL_SEED=123 TIDEMILL_WITHOUT=stable cargo test --test simulation one_seed -- --nocapture
//! TIDEMILL_CONTROL_ROW=8 TIDEMILL_SEED=17 TIDEMILL_WITHOUT=stable cargo test ...   a run of that row of the controls
//! TIDEMILL_SEEDS=100000 cargo test --test simulation thousands_of_seeds          for a night
//! ```
//!
//! Knows no Kafka: what the fake cluster does is what `tests/model` does. Called by cargo.
//! Invariant: a failing seed is printed as the one command that shows it again.

#[path = "simulation/mod.rs"]
mod sim;

use sim::rng::Rng;
use sim::world::{KINDS, Shape, Violation, World};
use sim::{controls, run};
use std::sync::atomic::{AtomicU64, Ordering};
use tidemill::exactly_once::Protections;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number; give one")))
}

/// The world of a seed, before its first step. `TIDEMILL_CONTROL_ROW`: in the shape of that row of the controls.
fn world(seed: u64, protections: Protections) -> World {
    let row = number("TIDEMILL_CONTROL_ROW");
    let shape = row.map(|row| controls::shape(row as usize, seed));
    let shape = shape.unwrap_or_else(|| Shape::draw(&mut Rng::new(seed ^ 0x5a5a)));
    World::new(seed, shape, protections)
}

#[test]
fn thousands_of_seeds() {
    let many = number("TIDEMILL_SEEDS").unwrap_or(10_000);
    let (next, rebuilds, exits) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let taken: [AtomicU64; KINDS] = std::array::from_fn(|_| AtomicU64::new(0));
    let begun = std::time::Instant::now();
    let worker = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= many || failed.len() > 3 {
                return failed;
            }
            let mut world = world(seed, Protections::all());
            if let Err(violation) = run(&mut world) {
                failed.push((seed, violation));
            }
            rebuilds.fetch_add(world.rebuilds, Ordering::Relaxed);
            exits.fetch_add(world.exits, Ordering::Relaxed);
            taken.iter().zip(world.taken).for_each(|(sum, n)| {
                sum.fetch_add(n, Ordering::Relaxed);
            });
        }
    };
    let failed: Vec<(u64, Violation)> = std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().flat_map(|w| w.join().expect("a worker ends")).collect()
    });
    let time = begun.elapsed().as_secs_f64();
    let taken = taken.map(AtomicU64::into_inner);
    let (rebuilds, exits) = (rebuilds.into_inner(), exits.into_inner());
    println!(
        "{many} seeds, {:.0} a second, {} steps, {rebuilds} rebuilds, {exits} exits",
        many as f64 / time,
        taken.iter().sum::<u64>()
    );
    println!("by kind {taken:?}");
    for (seed, v) in &failed {
        println!("seed {seed}: {}: {}", v.kind, v.what);
        println!("    TIDEMILL_SEED={seed} cargo test --test simulation one_seed -- --nocapture");
    }
    assert!(failed.is_empty(), "{} seeds failed, the first is {}", failed.len(), failed[0].0);
    // A kind of step that never comes is a part of the protocol that nobody looks at.
    let never: Vec<usize> = (0..KINDS).filter(|k| many >= 1_000 && taken[*k] == 0).collect();
    assert!(never.is_empty() && (many < 1_000 || rebuilds.min(exits) > 0), "kinds of step never taken: {never:?}");
}

/// The run of `TIDEMILL_SEED` with every step; without it, that a seed is one run and no other.
#[test]
fn one_seed() {
    let seed = number("TIDEMILL_SEED");
    let without = std::env::var("TIDEMILL_WITHOUT").unwrap_or_default();
    let names = without.split(',').filter(|n| !n.is_empty());
    let protections = names.fold(Protections::all(), Protections::without);
    let mut first = world(seed.unwrap_or(11), protections);
    first.trace = seed.is_some();
    first.say(|| format!("{:?}", first.shape));
    let outcome = run(&mut first);
    println!("{} steps, {} rebuilds, {} exits: {outcome:?}", first.steps, first.rebuilds, first.exits);
    let mut second = world(seed.unwrap_or(11), protections);
    let again = run(&mut second);
    assert_eq!((first.digest, outcome.is_ok()), (second.digest, again.is_ok()), "the same seed gave another run");
    assert!(outcome.is_ok(), "{outcome:?}");
}
