//! The cases. Each has an application, topics and a database of its own. Called by `sinks.rs`.
//! Invariant: a case leaves alone what it did not make, for they run side by side.

pub mod app;
mod commits;
mod kills;
mod owners;
mod rows;
mod secrets;
mod waits;
pub mod world;

use world::World;

type Case = (&'static str, fn(&World));

/// The longest first.
pub const CASES: &[Case] = &[
    ("killed in the middle of batches", kills::of_both),
    ("stale owner", owners::a_stale_owner_is_refused),
    ("stale owner, control", owners::without_the_row_a_stale_owner_writes),
    ("two processes", owners::two_processes),
    ("killed at commit", kills::at_commit),
    ("killed at commit, control", kills::apart_they_double),
    ("spoiled commits", commits::each_outcome),
    ("spoiled commits, control", commits::without_the_row_they_double),
    ("a locked table", waits::a_locked_table),
    ("a server that is away, or refuses", waits::away_full_and_unfit),
    ("a server that takes no writes", waits::read_only),
    ("tls and secrets", secrets::tls),
    ("pool bounds", waits::pool_bounds),
    ("upsert", rows::upsert),
    ("insert", rows::insert),
    ("insert by copy", rows::by_copy),
    ("bad rows", rows::bad_rows),
    ("bad rows, control", rows::a_batch_is_not_thrown_away),
    ("the seed's database", rows::the_seeds_database),
    ("the seed's raw events", rows::the_seeds_raw_events),
    ("migrate", rows::migrate),
];
