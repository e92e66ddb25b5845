//! Requests that come late past an abort. Called through the table in `mod.rs`.
//! Invariant: the abort is a real one: the group moves while offsets are on their way.

use super::super::abort::{HOLDS_OFFSETS, Mover, aborts};
use super::super::app::{App, LONG, PROPERTIES};
use super::super::report::Report;
use super::super::world::World;
use super::moves::go_on;
use crate::proxy::{Action, Kind, Release, Rule};
use std::time::Duration;

/// Four times as long as a forgetful broker remembers a producer.
const FORGETS: Duration = Duration::from_secs(2);

pub fn late_abort(world: &World, report: &mut Report) -> Result<(), String> {
    aborts(world, 6, report, |_| false)
}

/// The retry of the Produce was taken and aborted; its first copy comes after the broker has forgotten that, and before
/// the recycle moves the epoch.
pub fn late_produce(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, PROPERTIES)?;
    let mover = Mover::start(world, &app.place.name)?;
    for _ in 0..3 {
        world.wait_commits(world.last_seq(), 1, LONG);
        let first = Action::HoldAndCut(Release::before(Kind::InitProducerId, 1));
        let txn = app.transactional_id(0);
        let late = world.proxy.install(Rule::on(Kind::Produce, first).txn(&txn));
        world.proxy.install(Rule::on(Kind::InitProducerId, Action::Delay(FORGETS)).txn(&txn));
        let offsets = world.proxy.install(Rule::on(Kind::TxnOffsetCommit, Action::Delay(HOLDS_OFFSETS)));
        world.proxy.wait_fired(offsets, LONG).ok_or("no offsets were sent")?;
        mover.toggle();
        let seq = world.proxy.wait_fired(late, LONG).ok_or("no Produce was sent")?;
        let event = world.proxy.wait_answered(seq, LONG).ok_or("the late Produce was never answered")?;
        report.strays += 1;
        report.late(&event);
        world.proxy.remove_all();
        go_on(&mut app, "a late Produce", report)?;
    }
    drop(mover);
    app.finish(report)
}
