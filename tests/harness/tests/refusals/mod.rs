//! The cases, by what is wrong. Each has an application, an input topic and a state directory of its own.
//! Called by `refusals.rs`. Invariant: a case leaves alone what it did not make, for they run side by side.

pub mod app;
mod brokers;
mod damage;
mod disk;
mod ending;
mod files;
mod offsets;
mod topics;
pub mod world;

use world::World;

type Case = (&'static str, fn(&World));

/// The longest first.
pub const CASES: &[Case] = &[
    ("no broker", brokers::nobody_there),
    ("offsets moved, then deleted", offsets::moved_then_deleted),
    ("damaged stores", damage::each_kind_of_damage),
    ("a damaged block, met at work", damage::a_block_that_is_read_late),
    ("a broker that does not verify", brokers::one_that_does_not_verify),
    ("passwords", brokers::passwords),
    ("no rights", brokers::no_rights),
    ("full disk", disk::full),
    ("no space", disk::out_of_space),
    ("second signal, budget", ending::a_drain_that_cannot_end),
    ("signals", ending::signals_drain),
    ("state beside a process", ending::state_is_read_beside_a_process),
    ("changelog shrunk", damage::a_changelog_that_was_made_again),
    ("stores of others", disk::stores_of_others),
    ("directory", disk::held_newer_and_unusable),
    ("partition count", topics::partition_count),
    ("old results", topics::old_results),
    ("topics missing", topics::missing),
    ("changelog settings", topics::wrong_changelog),
    ("command line", files::command_line),
    ("topology files", files::mistakes),
    ("names", files::names_that_look_like_truth_values),
];
