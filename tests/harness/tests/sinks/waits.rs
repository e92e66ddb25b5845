//! A database that cannot: the sink waits and says so once, and nobody else is held up. Invariant: nothing is lost
//! meanwhile, and the engine commits on.

use super::app::{App, LOG, LONG, exact, ids, reach, said};
use super::world::World;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};
use tidemill_harness::postgres::Postgres;

fn log_sink(port: u16, database: &str, more: &str) -> String {
    let reach = reach(port, database);
    format!(
        "batch: {{ rows: 50, interval: 50ms }}\npostgres: {{ {reach}, table: log, mode: insert, migrate: true{more} }}"
    )
}

/// While the table is locked, the engine goes on copying records into the very topic that the sink reads.
pub fn a_locked_table(world: &World) {
    let db = world.postgres.create("locked");
    db.run(LOG);
    let app = App::new(world, "locked", 2, &log_sink(world.postgres.port, "locked", ", timeouts: { lock: 500ms }"));
    let process = app.start();
    app.feed(2, ids(0..100));
    db.until("SELECT count(*) FROM log", "100", LONG);
    let locker = world.postgres.connect("locked");
    locker.run("BEGIN; LOCK TABLE log");
    let began = Instant::now();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &world.bootstrap).create().unwrap();
    for id in 100..1_100 {
        let value = format!("{{\"id\":{id}}}");
        producer
            .send(BaseRecord::to("locked-in").key("k").partition(id % 2).payload(&value))
            .map_err(|(e, _)| e)
            .unwrap();
    }
    producer.flush(LONG).unwrap();
    let mut worked = false;
    while began.elapsed() < Duration::from_secs(2) {
        let offsets = world.broker.group_offsets("locked", "locked-in").unwrap();
        worked |= offsets.values().sum::<i64>() >= 1_000;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(worked, "the engine commits while the sink waits");
    assert_eq!((said(&process, "sink waits"), said(&process, "sink goes on")), (1, 0));
    locker.run("COMMIT");
    db.until("SELECT count(*) FROM log", "1100", LONG);
    app.no_lag();
    assert_eq!((said(&process, "sink waits"), said(&process, "sink goes on")), (1, 1), "once for each change");
    app.stop(process);
    exact(&db, 1_100);
}

/// Not there at start; no table; no connection to be had; away while it works: each is waited for.
pub fn away_full_and_unfit(world: &World) {
    let postgres = Postgres::start(&[]);
    let db = postgres.create("away");
    db.run("CREATE ROLE sink LOGIN; GRANT ALL ON SCHEMA public TO sink");
    let sink = log_sink(postgres.port, "away", "").replace("user: postgres", "user: sink");
    let app = App::new(world, "away", 1, &sink);
    postgres.kill();
    app.feed(1, ids(0..100));
    let process = app.start();
    let waits = |times: usize, says: &str| {
        let mut seen = 0;
        let found = process.wait_line(LONG, |l| {
            seen += usize::from(l.message == "sink waits");
            l.message == "sink waits" && seen == times
        });
        let cause = found.expect("the sink says that it waits").text("cause").unwrap().to_owned();
        assert!(cause.contains(says), "{says}: {cause}");
    };
    waits(1, "onnect");
    process.wait_message("all tasks ready", LONG).expect("the engine starts without the database");
    postgres.restart();
    // Back, but without the table: it waits on, and need not say so again.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(said(&process, "sink goes on"), 0);
    let db = postgres.connect("away");
    db.run(&format!(
        "{LOG}; GRANT ALL ON ALL TABLES IN SCHEMA public TO sink; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO sink"
    ));
    db.until("SELECT count(*) FROM log", "100", LONG);
    process.wait_message("sink goes on", LONG).expect("it says so");
    // No connection left for it.
    db.run("ALTER ROLE sink CONNECTION LIMIT 0");
    db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sink'");
    app.feed(1, ids(100..200));
    waits(2, "");
    std::thread::sleep(Duration::from_secs(1));
    db.run("ALTER ROLE sink CONNECTION LIMIT 10");
    db.until("SELECT count(*) FROM log", "200", LONG);
    app.no_lag();
    app.stop(process);
    exact(&db, 200);
}

/// The server has become a standby, as in a failover: it takes connections and refuses to write. The rows are good, so
/// none may become a dead letter; each new connection asks again, and the first that may write does.
pub fn read_only(world: &World) {
    let postgres = Postgres::start(&[]);
    let db = postgres.create("standby");
    db.run(LOG);
    let app = App::new(world, "standby", 1, &log_sink(postgres.port, "standby", ""));
    let process = app.start();
    app.feed(1, ids(0..100));
    db.until("SELECT count(*) FROM log", "100", LONG);
    // Holds for the next transaction of every connection, as when a server changes its role.
    let turn = |to: &str| {
        db.run(&format!("ALTER SYSTEM SET default_transaction_read_only = {to}"));
        db.run("SELECT pg_reload_conf()");
    };
    turn("on");
    app.feed(1, ids(100..300));
    let waits = process.wait_message("sink waits", LONG).expect("the sink says that it waits");
    let cause = waits.text("cause").unwrap().to_owned();
    assert!(cause.contains("read-only transaction (25006)"), "{cause}");
    // Several tries, each on a connection of its own.
    let tries = "SELECT sum(xact_rollback) >= 3 FROM pg_stat_database WHERE datname = 'standby'";
    db.until(tries, "t", LONG);
    assert_eq!((db.one("SELECT count(*) FROM log").as_str(), app.dead_letters().len()), ("100", 0));
    turn("off");
    db.until("SELECT count(*) FROM log", "300", LONG);
    process.wait_message("sink goes on", LONG).expect("it says so");
    app.no_lag();
    assert_eq!(app.stop(process)["dead"], 0);
    assert!(app.dead_letters().is_empty());
    exact(&db, 300);
}

pub fn pool_bounds(world: &World) {
    let db = world.postgres.create("pool");
    db.run(LOG);
    let bounds = ", connections: { min: 2, max: 3 }";
    let app = App::new(world, "pool", 6, &log_sink(world.postgres.port, "pool", bounds));
    let process = app.start();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool-sink-table'";
    db.until(open, "3", LONG);
    app.feed(6, ids(0..6_000));
    let mut most = 0;
    while db.one("SELECT count(*) FROM log") != "6000" {
        most = most.max(db.one(open).parse::<i32>().unwrap());
    }
    assert!((2..=3).contains(&most), "{most} connections at a time");
    app.no_lag();
    let second = app.start_with("tidemill", &[], "two");
    let third = app.start_with("tidemill", &[], "three");
    // Two partitions each, on two connections or on the third that had them before: each within its bounds.
    db.until(&open.replace("count(*)", "count(*) BETWEEN 6 AND 9"), "t", LONG);
    app.feed(6, ids(6_000..9_000));
    db.until("SELECT count(*) FROM log", "9000", LONG);
    for process in [process, second, third] {
        app.stop(process);
    }
    exact(&db, 9_000);
}
