//! Commits that come late, and commits whose outcome is unknown. Called through the table in `mod.rs`.
//! Invariant: the process runs through; nothing here moves a task.

use super::super::app::{App, LONG, PROPERTIES};
use super::super::report::Report;
use super::super::world::World;
use super::super::{dangerous, run};
use super::moves::go_on;
use std::time::{Duration, Instant};

pub fn late_commit(world: &World, report: &mut Report) -> Result<(), String> {
    run(world, &dangerous(3), report, |_| false)
}

pub fn unheard(world: &World, report: &mut Report) -> Result<(), String> {
    unknown(world, "unheard", report)
}

pub fn unsent(world: &World, report: &mut Report) -> Result<(), String> {
    unknown(world, "unsent", report)
}

/// librdkafka asks for the outcome of a commit for as long as it takes, so only a stop point brings this about.
fn unknown(world: &World, point: &str, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    app.hold(0, point)?;
    let deadline = Instant::now() + LONG;
    while app.is_armed(0, point) {
        if Instant::now() > deadline {
            return Err(format!("{}: no commit within {LONG:?}", app.place.name));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    go_on(&mut app, "an unknown outcome", report)?;
    app.finish(report)
}
