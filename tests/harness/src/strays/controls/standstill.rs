//! The group moves on and our tasks stay: whoever goes on under the old generation is refused for ever. Called through the
//! table in `mod.rs`. Invariant: no task moves, only the generation.

use super::super::abort::Mover;
use super::super::app::{App, LONG, PROPERTIES};
use super::super::report::Report;
use super::super::world::World;
use crate::proxy::{Action, Kind, Rule};
use std::time::Duration;

const SLICE: Duration = Duration::from_millis(50);
/// Longer than a rebalance takes, shorter than a transaction may.
const REBALANCES: Duration = Duration::from_millis(1_500);
/// With everything on it goes on within a second.
const STANDS_STILL: Duration = Duration::from_secs(15);

pub fn generation_moves(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    let mover = Mover::start(world, &app.place.name)?;
    mover.toggle();
    std::thread::sleep(REBALANCES);
    go_on(&mut app, "a rebalance without its tasks", report)?;
    drop(mover);
    app.finish(report)
}

pub fn generation_moves_in_flight(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    let mover = Mover::start(world, &app.place.name)?;
    let offsets = world.proxy.install(Rule::on(Kind::TxnOffsetCommit, Action::Delay(REBALANCES)));
    let delayed = world.proxy.wait_fired(offsets, LONG).ok_or("no offsets were sent")?;
    mover.toggle();
    let answer = world.proxy.wait_answered(delayed, LONG).ok_or("the offsets were never answered")?;
    if answer.error.is_none_or(|code| code == 0) {
        return Err(format!("the offsets were not refused, so nothing can be shown: {answer:?}"));
    }
    go_on(&mut app, "offsets refused under the last snapshot but one", report)?;
    drop(mover);
    app.finish(report)
}

fn go_on(app: &mut App<'_>, after: &str, report: &mut Report) -> Result<(), String> {
    let from = app.world.last_seq();
    let goes_on = app.wait(STANDS_STILL, report, |world| world.wait_commits(from, 6, SLICE))?;
    app.must_go_on(goes_on, after, report);
    Ok(())
}
