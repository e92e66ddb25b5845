//! kill -9 of the process and of PostgreSQL, in the middle of batches. `SINK_KILLS` and `SINK_SEED` make it longer:
//! `make sink-torture`. Invariant: the table has no key of its own, so whatever is written twice is there twice.

use super::app::{App, LOG, LONG, exact, ids, reach};
use super::world::World;
use std::time::{Duration, Instant};
use tidemill_harness::postgres::{Db, Postgres};
use tidemill_harness::rng::Rng;

const PARTITIONS: i32 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn sink(port: u16, rows: usize) -> String {
    format!(
        "batch: {{ rows: {rows}, interval: 20ms }}\npostgres: {{ {}, table: log, mode: insert, migrate: true, \
         connections: {{ max: 2 }}, timeouts: {{ lock: 1s, idle: 3s }} }}",
        reach(port, "killed")
    )
}

/// Kills by turns: the process, the server, every backend at once, and a lock that lasts longer than the sink waits.
pub fn of_both(world: &World) {
    let (kills, mut rng) = (number("SINK_KILLS", 5), Rng::new(number("SINK_SEED", 1)));
    let lock = Duration::from_secs(number("SINK_LOCK", 2));
    let postgres = Postgres::start(&[]);
    postgres.create("killed").run(LOG);
    let app = App::new(world, "killed", PARTITIONS, &sink(postgres.port, 40));
    let mut process = app.start();
    let (mut fed, each) = (0, 3_000);
    for kill in 0..kills {
        app.feed(PARTITIONS, ids(fed..fed + each));
        fed += each;
        // In the middle: some batches of this feed are in, and some are not.
        let wanted = fed - each + rng.range(100, 2_500) as i64;
        let deadline = Instant::now() + LONG;
        let count = || Db::open(postgres.port, "killed").and_then(|db| db.try_run("SELECT count(*) FROM log"));
        while !count().is_ok_and(|rows| rows[0][0].as_deref().unwrap().parse::<i64>().unwrap() >= wanted) {
            assert!(Instant::now() < deadline, "kill {kill}: the table does not reach {wanted}");
        }
        match kill % 4 {
            0 => {
                process.kill();
                process = app.start();
            }
            1 => {
                postgres.kill();
                std::thread::sleep(Duration::from_millis(rng.below(500)));
                postgres.restart();
            }
            2 => {
                drop(postgres.connect("postgres").run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%-sink-%'",
                ))
            }
            _ => {
                let db = postgres.connect("killed");
                db.run("BEGIN; LOCK TABLE log");
                std::thread::sleep(lock);
                db.run("COMMIT");
            }
        }
    }
    let db = postgres.connect("killed");
    db.until("SELECT count(*) FROM log", &fed.to_string(), LONG);
    app.no_lag();
    app.stop(process);
    exact(&db, fed);
    println!("         {kills} kills, {fed} rows, none lost, none twice");
}

/// Killed just before a commit and just behind it, by the process itself.
pub fn at_commit(world: &World) {
    let db = world.postgres.create("killed");
    db.run(LOG);
    let app = App::new(world, "at-commit", 1, &sink(world.postgres.port, 100));
    app.feed(1, ids(0..1_000));
    for (at, rows) in [("SinkRows:3", 200), ("SinkCommit:3", 500), ("SinkCommit:5", 1_000)] {
        let mut process = app.start_control(&[&format!("TIDEMILL_STOP_AT={at}")]);
        process.wait(LONG).expect("it kills itself");
        exact(&db, rows);
    }
    // Nothing is left to be written, and Kafka's tools are told so.
    let process = app.start();
    app.no_lag();
    app.stop(process);
    exact(&db, 1_000);
}

/// Rows and offset in two transactions: a kill between them writes the rows again.
pub fn apart_they_double(world: &World) {
    let db = world.postgres.create("apart");
    db.run(LOG);
    let app = App::new(world, "apart", 1, &sink(world.postgres.port, 100).replace("dbname: killed", "dbname: apart"));
    app.feed(1, ids(0..300));
    let mut process = app.start_control(&["TIDEMILL_SINK_CONTROL=together", "TIDEMILL_STOP_AT=SinkCommit:2"]);
    process.wait(LONG).expect("it kills itself");
    let process = app.start();
    db.until("SELECT count(DISTINCT id) FROM log", "300", LONG);
    app.no_lag();
    app.stop(process);
    assert_eq!(db.lines("SELECT count(*), count(DISTINCT id) FROM log"), ["400|300"]);
}
