//! Two owners of one partition: one that was thought dead comes back and is refused. Invariant: the younger epoch wins.

use super::app::{App, LOG, LONG, exact, ids, reach, said};
use super::world::World;
use std::time::Duration;
use tidemill_harness::postgres::Db;
use tidemill_harness::process::Line;

fn sink(port: u16, database: &str) -> String {
    let reach = reach(port, database);
    format!(
        "batch: {{ rows: 1000, interval: 5s }}\npostgres: {{ {reach}, table: log, mode: insert, migrate: true, \
         timeouts: {{ idle: 2s, lock: 1s }} }}"
    )
}

/// A write that the database's row forbade. What is said of it afterwards may be cut short: the group tells the first owner
/// at the same time that it has lost the partition.
fn is_refused(line: &Line) -> bool {
    line.message == "sink's transaction ended" && line.text("ended") == Some("Refused")
}

/// The first owner holds records that it has not written, and is stopped; the second takes over and writes them; the
/// first wakes up, and writes what it holds.
fn two_owners(world: &World, name: &str, control: &[&str]) -> (Db, usize) {
    let db = world.postgres.create(name);
    db.run(LOG);
    let app = App::new(world, name, 1, &sink(world.postgres.port, name));
    let mut first = app.start_with("tidemill-controls", control, "one");
    first.wait_message("sink writes", LONG).expect("it takes the partition");
    app.feed(1, ids(0..100));
    db.until("SELECT count(*) FROM log", "100", LONG);
    app.feed(1, ids(100..200));
    // Read, and not due for seconds.
    std::thread::sleep(Duration::from_secs(2));
    first.stop();
    assert_eq!(db.one("SELECT count(*) FROM log"), "100");
    let second = app.start_with("tidemill-controls", control, "two");
    let taken = second.wait_message("sink writes", LONG).expect("it takes over when the session has ended");
    assert_eq!((taken.number("position"), taken.number("epoch")), (Some(101), Some(2)));
    db.until("SELECT count(*) FROM log", "200", LONG);
    first.cont();
    // With a control nothing comes, and the time is that for the doubled rows.
    let patience = if control.is_empty() { LONG } else { Duration::from_secs(7) };
    first.wait_line(patience, is_refused);
    let refused = first.journal(|j| j.lines.iter().filter(|l| is_refused(l)).count());
    app.feed(1, ids(200..300));
    db.until("SELECT count(DISTINCT id) FROM log", "300", LONG);
    assert_eq!(said(&second, "sink waits"), 0);
    drop((first, second));
    (db, refused)
}

pub fn a_stale_owner_is_refused(world: &World) {
    let (db, refused) = two_owners(world, "owners", &[]);
    assert_eq!(refused, 1);
    exact(&db, 300);
}

/// Neither offset nor epoch asked for: the stale owner writes again what its successor wrote.
pub fn without_the_row_a_stale_owner_writes(world: &World) {
    let (db, refused) = two_owners(world, "stale", &["TIDEMILL_SINK_CONTROL=offset,epoch,resume"]);
    let doubled: i64 = db.one("SELECT count(*) - count(DISTINCT id) FROM log").parse().unwrap();
    assert!(refused == 0 && doubled > 0, "{refused} {doubled}");
}

/// Two processes write one table: the second takes half of the partitions in the middle of the feed, then the first is
/// killed and the second takes the rest, then the first comes back for its half.
pub fn two_processes(world: &World) {
    const PARTITIONS: i32 = 4;
    let db = world.postgres.create("two");
    db.run(LOG);
    let small = sink(world.postgres.port, "two").replace("rows: 1000, interval: 5s", "rows: 20, interval: 20ms");
    let app = App::new(world, "two", PARTITIONS, &small);
    let owners = |wanted: &str| {
        let sql = "SELECT string_agg(n::text, ',' ORDER BY n) FROM (SELECT count(*) AS n FROM tidemill_sink_offsets \
            GROUP BY split_part(owner, '/', 1)) AS of";
        db.until(sql, wanted, LONG);
    };
    let mut fed = 0;
    let mut feed = |rows: i64| {
        app.feed(PARTITIONS, ids(fed..fed + rows));
        fed += rows;
        fed
    };
    let mut first = app.start_with("tidemill", &[], "one");
    feed(4_000);
    db.until("SELECT count(*) > 500 FROM log", "t", LONG);
    let second = app.start_with("tidemill", &[], "two");
    feed(4_000);
    owners("2,2");
    feed(2_000);
    first.kill();
    feed(2_000);
    owners("4");
    first = app.start_with("tidemill", &[], "one");
    owners("2,2");
    let all = feed(2_000);
    db.until("SELECT count(*) FROM log", &all.to_string(), LONG);
    app.no_lag();
    let rows = [app.stop(first), app.stop(second)].map(|last| last["rows"].as_i64().unwrap());
    assert!(rows.iter().all(|rows| *rows > 0), "each of them wrote: {rows:?}");
    exact(&db, all);
}
