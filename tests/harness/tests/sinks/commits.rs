//! COMMITs that are lost, done without an answer, or late: the sink reads how far it came, and goes on from there.
//! Invariant: the table has no key of its own, so whatever is written twice is there twice.

use super::app::{App, LOG, LONG, exact, ids, said};
use super::world::World;
use std::time::Duration;
use tidemill_harness::commits::{Commits, Spoil};
use tidemill_harness::postgres::Db;

const EACH: i64 = 200;

fn sink(port: u16, database: &str) -> String {
    let reach = super::app::reach(port, database);
    format!("batch: {{ rows: 50, interval: 50ms }}\npostgres: {{ {reach}, table: log, mode: insert, migrate: true }}")
}

fn until_done(db: &Db, app: &App<'_>, records: i64) {
    db.until("SELECT count(*) FROM log", &records.to_string(), LONG);
    app.no_lag();
}

pub fn each_outcome(world: &World) {
    let db = world.postgres.create("commits");
    db.run(LOG);
    let proxy = Commits::before(world.postgres.port);
    let app = App::new(world, "commits", 1, &sink(proxy.port, "commits"));
    let process = app.start();
    app.feed(1, ids(0..EACH));
    until_done(&db, &app, EACH);
    let late = Spoil::Late(Duration::from_millis(700));
    for (times, how) in [Spoil::Lost, Spoil::Unanswered, late, Spoil::Unanswered, Spoil::Lost].into_iter().enumerate() {
        proxy.spoil(how);
        let from = (times as i64 + 1) * EACH;
        app.feed(1, ids(from..from + EACH));
        proxy.wait(times + 1, LONG);
        until_done(&db, &app, from + EACH);
        exact(&db, from + EACH);
    }
    let resumed = process.journal(|j| {
        let lines = j.lines.iter().filter(|l| l.message == "sink resumed");
        lines.map(|l| l.fields["committed"].as_bool().unwrap()).collect::<Vec<_>>()
    });
    // A late one is waited for, since its transaction holds the row.
    assert_eq!(resumed, [false, true, true, true, false]);
    assert_eq!((said(&process, "sink waits"), said(&process, "sink goes on")), (5, 5), "once for each change");
    app.stop(process);
}

/// Memory believed and the offset not asked for: what was committed without an answer is written again.
pub fn without_the_row_they_double(world: &World) {
    let db = world.postgres.create("doubled");
    db.run(LOG);
    let proxy = Commits::before(world.postgres.port);
    let app = App::new(world, "doubled", 1, &sink(proxy.port, "doubled"));
    let process = app.start_control(&["TIDEMILL_SINK_CONTROL=resume,offset"]);
    app.feed(1, ids(0..EACH));
    until_done(&db, &app, EACH);
    proxy.spoil(Spoil::Unanswered);
    app.feed(1, ids(EACH..2 * EACH));
    db.until("SELECT count(DISTINCT id) FROM log", &(2 * EACH).to_string(), LONG);
    app.no_lag();
    drop(process);
    assert_eq!(db.lines("SELECT count(*), count(DISTINCT id) FROM log"), ["450|400"]);
}
