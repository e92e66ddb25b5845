//! Values that are late when tasks move: sealed before and sent after, sealed in between, or applied after. Called through
//! the table in `mod.rs`. Invariant: the next owner has committed before the late values go on.

use super::super::app::{App, LONG};
use super::super::report::Report;
use super::super::world::World;
use crate::process::Line;
use std::time::{Duration, Instant};

/// A thread is held for a while, and a member that left is forgotten soon.
pub const PROPERTIES: &str =
    r#"session.timeout.ms: "3000", max.poll.interval.ms: "30000", transaction.timeout.ms: "20000""#;
const SLICE: Duration = Duration::from_millis(50);
/// For what a held thread, once released, does at once.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// Every instance must commit again, or this application stands still.
pub fn go_on(app: &mut App<'_>, after: &str, report: &mut Report) -> Result<(), String> {
    let from = app.world.last_seq();
    let living = app.living();
    let all_commit =
        |world: &World| world.wait_commits(from, 6, SLICE) && living.iter().all(|txn| world.commits_of(txn, from) >= 3);
    let goes_on = app.wait(LONG, report, all_commit)?;
    app.must_go_on(goes_on, after, report);
    Ok(())
}

/// Another instance gets some of the tasks and commits.
fn next_owner(app: &mut App<'_>) -> Result<(), String> {
    app.join()?;
    app.ready()?;
    commits(app.world, 4)
}

/// Somebody commits so often.
pub fn commits(world: &World, n: usize) -> Result<(), String> {
    match world.wait_commits(world.last_seq(), n, LONG) {
        true => Ok(()),
        false => Err(format!("not {n} commits within {LONG:?}")),
    }
}

pub fn late_job(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    app.hold(0, "sealed")?;
    app.is_held(0, "sealed")?;
    next_owner(&mut app)?;
    app.release(0, "sealed");
    go_on(&mut app, "values sent late", report)?;
    app.finish(report)
}

pub fn away_and_back(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    app.hold(0, "sealed")?;
    app.is_held(0, "sealed")?;
    next_owner(&mut app)?;
    let left = Instant::now();
    app.leave(1, libc::SIGTERM)?;
    app.given(0, left)?;
    app.release(0, "sealed");
    go_on(&mut app, "values of an earlier assignment", report)?;
    app.finish(report)
}

/// Why the product holds without `atomic_snapshot`.
pub const WHY: &str = "librdkafka asks for the next generation only when it has served the empty assign behind a revoke, \
    one callback a poll, and a snapshot is published between the two: no task moves before ours no longer lists it. \
    Checked here: nobody is given the tasks while that snapshot is held back. The model and the simulation, where a \
    client may be quicker, show the duplicate";

/// A second one joins, while the first stands before a seal and then behind the rebalance that it served; since when.
pub fn join_while_held(app: &mut App) -> Result<Instant, String> {
    app.hold(0, "seal")?;
    app.is_held(0, "seal")?;
    app.hold(0, "served")?;
    let joined = Instant::now();
    app.join()?;
    app.is_held(0, "served")?;
    Ok(joined)
}

pub fn seal_in_between(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    let joined = join_while_held(&mut app)?;
    let is_given = |line: &Line| line.message == "assigned" && line.number("tasks").unwrap_or(0) > 0;
    if app.process(1).wait_line(LONG / 4, is_given).is_some() {
        return Err("the tasks moved before the snapshot without them was out".to_owned());
    }
    app.release(0, "seal");
    std::thread::sleep(A_WHILE);
    app.release(0, "served");
    app.given(1, joined)?;
    go_on(&mut app, "a seal before the snapshot", report)?;
    app.finish(report)
}

pub fn late_apply(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    app.hold(0, "commit")?;
    app.is_held(0, "commit")?;
    next_owner(&mut app)?;
    let left = Instant::now();
    app.leave(1, libc::SIGTERM)?;
    app.given(0, left)?;
    std::thread::sleep(A_WHILE);
    app.release(0, "commit");
    go_on(&mut app, "a late apply", report)?;
    app.finish(report)
}
