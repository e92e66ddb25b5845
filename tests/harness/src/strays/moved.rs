//! A process that is stopped while its offsets are on their way, until the group has given its tasks to another. Called
//! by the driver and the short form. Invariant: the transaction outlives the member, so only the group can refuse.

use super::app::{App, LONG};
use super::report::Report;
use super::world::World;
use crate::proxy::{Action, Event, Kind, Rule};
use std::time::{Duration, Instant};

/// The broker must allow so short a session: `group.min.session.timeout.ms`.
const PROPERTIES: &str = r#"session.timeout.ms: "2000", max.poll.interval.ms: "2000", transaction.timeout.ms: "60000""#;
/// Well beyond both.
const HOLDS_OFFSETS: Duration = Duration::from_secs(6);

/// When the first of two processes is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The two share the tasks already.
    Settled,
    /// The second is joining.
    InRebalance,
}

/// The broker's answer to the offsets of the stopped process. An error if the other never got its tasks.
pub fn moved(world: &World, when: Stopped, report: &mut Report) -> Result<Event, String> {
    let instances = if when == Stopped::Settled { 2 } else { 1 };
    let mut app = App::start_with(world, instances, PROPERTIES)?;
    let txn = app.transactional_id(0);
    let rule = world.proxy.install(Rule::on(Kind::TxnOffsetCommit, Action::Delay(HOLDS_OFFSETS)).txn(txn));
    let seq = world.proxy.wait_fired(rule, LONG).ok_or("the first process commits no offsets")?;
    if when == Stopped::InRebalance {
        app.join()?;
        joins(world, &app)?;
    }
    app.process(0).stop();
    let stopped = Instant::now();
    let is_given = |line: &crate::process::Line| line.message == "assigned" && line.at > stopped;
    let given = app.process(1).wait_line(HOLDS_OFFSETS.saturating_sub(Duration::from_millis(300)), is_given);
    let event = world.proxy.wait_answered(seq, HOLDS_OFFSETS + LONG);
    app.process(0).cont();
    world.proxy.remove_all();
    given.ok_or("the other process got no task while the first was stopped")?;
    let event = event.ok_or("the offsets were never answered")?;
    report.strays += 1;
    report.late(&event);
    let from = world.last_seq();
    app.wait(LONG, report, |world| world.wait_commits(from, 4, Duration::from_millis(50)))?;
    app.finish(report)?;
    Ok(event)
}

/// Waits until the second process has asked to join: now the group rebalances, and the first has yet to answer.
fn joins(world: &World, app: &App<'_>) -> Result<(), String> {
    let asked = world.proxy.requests(Kind::JoinGroup);
    let deadline = Instant::now() + LONG;
    while world.proxy.requests(Kind::JoinGroup) == asked {
        if Instant::now() > deadline {
            return Err(format!("{}: the second process does not join", app.place.name));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
