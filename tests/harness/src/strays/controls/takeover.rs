//! A task is recovered while its last owner's transaction is not over, or while it is being lost itself. Called through the
//! table in `mod.rs`. Invariant: what is held or delayed belongs to one instance, and the other is left alone.

use super::super::app::{App, LONG};
use super::super::report::Report;
use super::super::world::World;
use super::moves::{self, commits, go_on};
use crate::process::Line;
use crate::proxy::{Action, Kind, Release, Rule};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(50);
/// The coordinator tells the leader of a partition to write a control record.
const WRITE_TXN_MARKERS: Kind = Kind::Other(27);
/// A member that is gone is forgotten before what it left is settled.
const FORGOTTEN: &str = r#"session.timeout.ms: "2000", max.poll.interval.ms: "10000", transaction.timeout.ms: "20000""#;
const SETTLED: Duration = Duration::from_secs(8);
/// A consumer thread that is held loses its tasks soon.
const LOSES: &str = r#"session.timeout.ms: "3000", max.poll.interval.ms: "3000", transaction.timeout.ms: "20000""#;
/// Another process joins and has recovered within this, were it not for the commit.
const JOINS: Duration = Duration::from_secs(6);

/// Wants three brokers: the group's offsets and the changelog have control records of their own.
pub fn late_marker(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, FORGOTTEN)?;
    let events = world.proxy.events();
    let offsets = events.iter().rev().find(|event| event.kind == Kind::TxnOffsetCommit);
    let group = offsets.ok_or("no offsets were sent")?.broker;
    let leaders = world.broker.leaders(&app.place.changelog())?;
    let leaders: Vec<usize> = leaders.into_values().map(|id| id as usize - 1).filter(|at| *at != group).collect();
    let late = |at: &usize| Rule::on(WRITE_TXN_MARKERS, Action::Delay(SETTLED)).broker(*at);
    let rules: Vec<_> = leaders.iter().map(|at| world.proxy.install(late(at))).collect();
    let fired = rules.iter().any(|rule| world.proxy.wait_fired(*rule, LONG / 4).is_some());
    if !fired {
        return Err(format!("no control record went to brokers {leaders:?}"));
    }
    // The one for the offsets is written at once.
    std::thread::sleep(Duration::from_millis(300));
    app.leave(0, libc::SIGKILL)?;
    app.join()?;
    go_on(&mut app, "a late control record", report)?;
    app.finish(report)
}

/// The consumer thread of the loser does not hear of its loss.
pub fn lost_while_recovering(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 2, LOSES)?;
    // The assignor gives the second the tasks with state.
    app.leave(1, libc::SIGTERM)?;
    let client = app.transactional_id(1);
    let never = Rule::on(Kind::OffsetFetch, Action::Hold(Release::by_hand())).times(u64::MAX);
    let rule = world.proxy.install(never.client(client.trim_end_matches('-')));
    app.hold(1, "assigned")?;
    let back = Instant::now();
    app.come_back(1)?;
    app.is_held(1, "assigned")?;
    app.given(1, back)?;
    app.given(0, back)?;
    // Recovered, and committed to.
    std::thread::sleep(Duration::from_millis(1_500));
    commits(world, 8)?;
    // A second look must not find that the offset has moved once more.
    app.hold(0, "sealed")?;
    app.is_held(0, "sealed")?;
    world.proxy.remove(rule);
    let is_over = |_: &World| {
        std::thread::sleep(SLICE);
        false
    };
    app.wait(Duration::from_secs(4), report, is_over)?;
    app.release(0, "sealed");
    app.release(1, "assigned");
    go_on(&mut app, "a task lost while it recovered", report)?;
    app.finish(report)
}

pub fn slow_commit(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, moves::PROPERTIES)?;
    let slow = Rule::on(Kind::EndTxn, Action::Delay(JOINS)).txn(app.transactional_id(0)).committed(true);
    let rule = world.proxy.install(slow);
    let seq = world.proxy.wait_fired(rule, LONG).ok_or("no commit was sent")?;
    app.join()?;
    let answer = world.proxy.wait_answered(seq, LONG).ok_or("the commit was never answered")?;
    if answer.error != Some(0) {
        return Err(format!("the slow commit was refused, so nothing can be shown: {answer:?}"));
    }
    go_on(&mut app, "a slow commit", report)?;
    app.finish(report)
}

/// What init would settle is settled late, and by the commit that it would have fenced.
pub fn own_restart(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, moves::PROPERTIES)?;
    let txn = app.transactional_id(0);
    let held = Rule::on(Kind::EndTxn, Action::Hold(Release::by_hand())).txn(&txn).committed(true);
    let rule = world.proxy.install(held);
    let seq = world.proxy.wait_fired(rule, LONG).ok_or("no commit was sent")?;
    app.leave(0, libc::SIGKILL)?;
    world.proxy.install(Rule::on(Kind::InitProducerId, Action::Delay(JOINS)).txn(&txn));
    app.come_back(0)?;
    app.process(0).wait_message("all tasks ready", JOINS / 2);
    if world.proxy.release(seq) != Some(0) {
        return Err("the late commit was refused, so nothing can be shown".to_owned());
    }
    go_on(&mut app, "its own restart", report)?;
    app.finish(report)
}

/// With everything on it halts, as it must, and has served nothing.
pub fn changelog_made_again(world: &World, report: &mut Report) -> Result<(), String> {
    let mut app = App::start_with(world, 1, FORGOTTEN)?;
    app.leave(0, libc::SIGTERM)?;
    world.broker.delete_topic(&app.place.changelog())?;
    world.make_topics(&app.place)?;
    app.join()?;
    let is_over = |line: &Line| ["all tasks ready", "exit"].contains(&&*line.message);
    match app.process(1).wait_line(LONG, is_over).ok_or("it neither runs nor ends")?.message.as_str() {
        "exit" => app.halts_rightly(1, "but the changelog has no checkpoint", report)?,
        _ => go_on(&mut app, "a changelog that was made again", report)?,
    }
    app.finish(report)
}
