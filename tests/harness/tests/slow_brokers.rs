//! Brokers that take requests and answer some of them too late: a lane gives the transaction up, takes a new producer and
//! sends again, and its process goes on. Knows the parts of `tidemill_harness::strays`. Invariant: no exit, and every
//! record once.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};
use tidemill_harness::proxy::{Action, Kind, Release, Rule};
use tidemill_harness::strays::{App, Program, Report, World};

/// Longer than twice `transaction.timeout.ms` of the application, for which the watchdog waits.
const SLOW: Duration = Duration::from_secs(14);

#[test]
fn records_and_aborts_without_an_answer_do_not_end_the_process() {
    let world = World::start(Program::product(), &[], None).unwrap();
    let mut report = Report::default();
    let mut app = App::start(&world, 1).unwrap();
    let txn = app.transactional_id(0);
    let recycled = app.said("producer recycled");
    let never = Action::Hold(Release::by_hand());
    world.proxy.install(Rule::on(Kind::Produce, never).txn(&txn).times(u64::MAX));
    world.proxy.install(Rule::on(Kind::EndTxn, never).committed(false).txn(&txn).times(u64::MAX));
    let until = Instant::now() + SLOW;
    while Instant::now() < until {
        app.wait(Duration::ZERO, &mut report, |_| false).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let recycled = app.said("producer recycled") - recycled;
    // What was held comes to the broker now, with epochs that are gone.
    app.finish(&mut report).unwrap();
    println!("{recycled} recycled; {}", report.json());
    assert!(recycled > 0, "{}", report.json());
    assert!(report.exits.is_empty() && report.violations() == 0, "{}", report.json());
}
