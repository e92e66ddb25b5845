//! What becomes of a record: a row, folded, skipped, or a dead letter. Invariant: digits in the table are those that
//! were sent.

use super::app::{App, LONG, reach, text};
use super::world::World;
use serde_json::json;
use tidemill_harness::postgres::Db;

fn hour(hour: u32, kind: &str, events: u64, total: &str, average: &str) -> Option<String> {
    Some(format!(
        "{{\"window\":{{\"start\":\"2026-01-01T{hour:02}:00:00Z\",\"end\":\"x\"}},\"event_type\":\"{kind}\",\"total_events\":{events},\
         \"unique_users\":1,\"total_duration_seconds\":{total},\"avg_duration_seconds\":{average},\"result\":\"update\"}}"
    ))
}

fn hours(port: u16, database: &str, more: &str) -> String {
    format!(
        "batch: {{ rows: 100, interval: 100ms }}\npostgres: {{ {}, table: hourly_aggregations, mode: upsert, \
         key: [aggregation_hour, event_type], columns: {{ aggregation_hour: window.start }}{more} }}",
        reach(port, database)
    )
}

const HOURS: &str = "SELECT aggregation_hour, event_type, total_events, total_duration_seconds, avg_duration_seconds \
    FROM hourly_aggregations ORDER BY 1, 2";

fn until_rows(db: &Db, table: &str, count: usize) {
    db.until(&format!("SELECT count(*) FROM {table}"), &count.to_string(), LONG);
}

pub fn upsert(world: &World) {
    let db = world.postgres.create("upsert");
    let app = App::new(
        world,
        "upsert",
        1,
        &hours(world.postgres.port, "upsert", ", migrate: true, metrics: pipeline_metrics"),
    );
    app.feed_aborted(1, [hour(9, "ghost", 1, "1", "1")].into_iter());
    // One batch: the last value of each key counts, once.
    let first = [
        hour(10, "click", 1, "0.1", "0.10"),
        hour(10, "view", 5, "null", "null"),
        hour(10, "click", 3, "12345678.91", "0.335"),
    ];
    app.feed(1, first.into_iter());
    let process = app.start();
    until_rows(&db, "hourly_aggregations", 2);
    assert_eq!(db.lines(HOURS), ["2026-01-01 10:00:00|click|3|12345678.91|0.34", "2026-01-01 10:00:00|view|5|-|-"]);
    let made = db.one("SELECT created_at FROM hourly_aggregations WHERE event_type = 'click'");
    app.feed(1, [hour(10, "click", 4, "0.30", "0.075")].into_iter());
    db.until("SELECT total_events FROM hourly_aggregations WHERE event_type = 'click'", "4", LONG);
    assert_eq!(db.lines(HOURS)[0], "2026-01-01 10:00:00|click|4|0.30|0.08");
    let times = "SELECT (created_at)::text, updated_at > created_at, \
        abs(extract(epoch from updated_at - timezone('utc', now()))) < 60 FROM hourly_aggregations WHERE event_type = 'click'";
    assert_eq!(db.lines(times), [format!("{made}|t|t")]);
    app.no_lag();
    let last = app.stop(process);
    assert_eq!(
        (&last["records"], &last["folded"], &last["dead"], &last["finished"]),
        (&json!(4), &json!(1), &json!(0), &json!(true))
    );
    let measured =
        "SELECT DISTINCT metric_name, (labels->>'failed')::int FROM pipeline_metrics WHERE metric_value >= 0";
    assert_eq!(db.lines(measured), ["processing_latency_seconds|0"]);
    assert_eq!(db.one("SELECT sum((labels->>'batch_size')::int) FROM pipeline_metrics"), "4");
    let row = "SELECT sink, topic, partition, owner_epoch FROM tidemill_sink_offsets";
    assert_eq!(db.lines(row), ["upsert-sink-table|upsert-rows|0|1"]);
}

fn event(id: &str, more: &str) -> Option<String> {
    Some(format!(
        "{{\"event_id\":\"{id}\",\"event_type\":\"click\",\"timestamp\":\"2026-01-01T12:30:00.5+02:00\"{more}}}"
    ))
}

fn raw(port: u16, database: &str, more: &str) -> String {
    format!(
        "batch: {{ rows: 100, interval: 100ms }}\npostgres: {{ {}, table: raw_events, mode: insert{more} }}",
        reach(port, database)
    )
}

const RAW: &str = "SELECT event_id, user_id, event_data, duration_seconds, timestamp, \
    abs(extract(epoch from processed_at - timezone('utc', now()))) < 60 FROM raw_events ORDER BY id";

pub fn insert(world: &World) {
    let db = world.postgres.create("insert");
    let app = App::new(world, "insert", 1, &raw(world.postgres.port, "insert", ", migrate: true"));
    let data = r#","user_id":"u1","event_data":{"amount":100.010000000000000000000000000001,"a":{"b":null}},"duration_seconds":2.50"#;
    app.feed(1, [event("a", data), event("b", ""), event("a", ",\"user_id\":\"other\"")].into_iter());
    let process = app.start();
    until_rows(&db, "raw_events", 2);
    let rows = [
        "a|u1|{\"a\": {\"b\": null}, \"amount\": 100.010000000000000000000000000001}|2.50|2026-01-01 10:30:00.5|t",
        "b|-|-|-|2026-01-01 10:30:00.5|t",
    ];
    assert_eq!(db.lines(RAW), rows);
    app.feed(1, [event("b", data), event("c", "")].into_iter());
    until_rows(&db, "raw_events", 3);
    app.no_lag();
    let last = app.stop(process);
    assert_eq!((&last["rows"], &last["skipped"], &last["dead"]), (&json!(3), &json!(2), &json!(0)));
}

/// What ends a field of COPY, and what says that there is none.
const NOTE: &str = "tab\there, line\nthere\r, \\N \\. back\\slash \"é\"";
/// Each statement that writes rows is noted, if it is not taken back.
const NOTED: &str = "CREATE TABLE log (id BIGINT PRIMARY KEY, note TEXT); CREATE TABLE noted (words TEXT); \
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN INSERT INTO noted VALUES (left(current_query(), 6)); RETURN NULL; END $$; \
    CREATE TRIGGER note BEFORE INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION note()";

/// A sink that inserts does so by COPY, with the same rows, and by INSERT what COPY refuses or may not do.
pub fn by_copy(world: &World) {
    let all = |name: &str, prepare: &str, table: &str| {
        let db = world.postgres.create(name);
        db.run(NOTED);
        db.run(prepare);
        let reach = reach(world.postgres.port, name);
        let sink = format!(
            "batch: {{ rows: 500, interval: 1s }}\npostgres: {{ {reach}, table: {table}, mode: insert, migrate: true }}"
        );
        let app = App::new(world, name, 1, &sink);
        let row = |id: i64| Some(json!({ "id": id, "note": if id == 7 { Some(NOTE) } else { None } }).to_string());
        app.feed(1, (0..500).map(row));
        let process = app.start();
        until_rows(&db, "log", 500);
        // Behind a batch that COPY refused, the next ones are not tried.
        app.feed(1, (500..1000).map(row));
        until_rows(&db, "log", 1000);
        app.no_lag();
        let last = app.stop(process);
        assert_eq!(last["dead"], json!(0), "{name}");
        assert_eq!(db.lines("SELECT count(*), count(note), sum(id) FROM log"), ["1000|1|499500"], "{name}");
        assert_eq!(db.run("SELECT note FROM log WHERE id = 7")[0][0].as_deref(), Some(NOTE), "{name}");
        (last["skipped"].clone(), db.lines("SELECT DISTINCT words FROM noted ORDER BY 1"))
    };
    assert_eq!(all("copied", "SELECT 1", "log"), (json!(0), vec!["COPY \"".to_owned()]));
    let there = "INSERT INTO log (id) VALUES (0); DELETE FROM noted";
    assert_eq!(all("copy-refused", there, "log"), (json!(1), vec!["INSERT".to_owned()]));
    let policy = "ALTER TABLE log ENABLE ROW LEVEL SECURITY";
    assert_eq!(all("copy-guarded", policy, "log"), (json!(0), vec!["INSERT".to_owned()]));
    let view = "CREATE VIEW seen AS SELECT id, note FROM log";
    assert_eq!(all("copy-view", view, "seen"), (json!(0), vec!["INSERT".to_owned()]));
}

/// Ten that cannot be rows, each in its own way, among many that can.
fn mixed() -> Vec<Option<String>> {
    let mut all: Vec<_> = (0..500).map(|i| event(&format!("good-{i}"), ",\"duration_seconds\":1")).collect();
    let bad = [
        event("overflow", ",\"duration_seconds\":123456789.5"),
        event("digits", &format!(",\"duration_seconds\":{}", "9".repeat(40))),
        event("text", ",\"duration_seconds\":\"long\""),
        event("nul", ",\"user_id\":\"a\\u0000b\""),
        event("nul-json", ",\"event_data\":{\"a\":\"\\u0000\"}"),
        event(&"long".repeat(30), ""),
        Some("{\"event_id\":\"no-type\",\"timestamp\":\"2026-01-01T10:00:00Z\"}".to_owned()),
        Some("{\"event_id\":\"no-time\",\"event_type\":\"x\",\"timestamp\":\"yesterday\"}".to_owned()),
        Some("{\"event_id\":".to_owned()),
        None,
    ];
    for (i, bad) in bad.into_iter().enumerate() {
        all.insert(37 * (i + 1), bad);
    }
    all
}

pub fn bad_rows(world: &World) {
    let db = world.postgres.create("bad");
    let app = App::new(
        world,
        "bad",
        1,
        &raw(world.postgres.port, "bad", ", migrate: true").replace("rows: 100", "rows: 1000"),
    );
    app.feed(1, mixed().into_iter());
    let process = app.start();
    until_rows(&db, "raw_events", 500);
    app.no_lag();
    let last = app.stop(process);
    assert_eq!((&last["records"], &last["rows"], &last["dead"]), (&json!(510), &json!(500), &json!(10)));
    let letters = app.dead_letters();
    let header = |row: &tidemill_harness::verdict::Row, name: &str| {
        let found = row.headers.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.clone());
        text(&found.unwrap_or_default())
    };
    let reasons: Vec<String> = letters.iter().map(|l| header(l, "tidemill-reason")).collect();
    assert_eq!(letters.len(), 10, "{reasons:#?}");
    let says = [
        "numeric field overflow (22003)",
        "numeric field overflow (22003)",
        "column \"duration_seconds\": the field is no number",
        "column \"user_id\": the field is a text with NUL",
        "(22P05)",
        "value too long for type character varying(100) (22001)",
        "column \"event_type\"",
        "column \"timestamp\": the field is no RFC 3339 time",
        "the value is not JSON: it ends too early",
        "the record has no value",
    ];
    let sent = mixed();
    for (i, (letter, says)) in letters.iter().zip(says).enumerate() {
        let at = 37 * (i + 1);
        assert!(
            reasons[i].starts_with("sink-row: sink 'table': ") && reasons[i].contains(says),
            "{says}: {}",
            reasons[i]
        );
        assert_eq!(header(letter, "tidemill-source"), format!("bad-rows/0/{at}"));
        assert_eq!(header(letter, "tidemill-attempt"), "1");
        assert_eq!(letter.value.as_deref().map(text), sent[at], "the record itself");
        assert_eq!(letter.key.as_deref(), Some(&b"k"[..]));
    }
}

/// One bad row must not take its batch with it: without the protection it does.
pub fn a_batch_is_not_thrown_away(world: &World) {
    let db = world.postgres.create("thrown");
    let app = App::new(
        world,
        "thrown",
        1,
        &raw(world.postgres.port, "thrown", ", migrate: true").replace("rows: 100", "rows: 1000"),
    );
    app.feed(1, mixed().into_iter());
    let process = app.start_control(&["TIDEMILL_SINK_CONTROL=bisect"]);
    app.no_lag();
    drop(process);
    let found: usize = db.one("SELECT count(*) FROM raw_events").parse().unwrap();
    assert!(found < 500, "the control must lose rows to the dead letters, and has {found}");
}

/// As the system before us made and filled it: other names of indexes, other types, rows of its own.
const SEED: &str = "CREATE TABLE raw_events (id BIGSERIAL PRIMARY KEY, event_id VARCHAR(100) UNIQUE NOT NULL, \
      user_id VARCHAR(100) NOT NULL, event_type VARCHAR(50) NOT NULL, event_data JSONB, duration_seconds NUMERIC(10,2), \
      timestamp TIMESTAMP NOT NULL, processed_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP); \
    CREATE INDEX raw_time ON raw_events(timestamp); \
    CREATE TABLE hourly_aggregations (id BIGSERIAL PRIMARY KEY, aggregation_hour TIMESTAMP NOT NULL, \
      event_type VARCHAR(50) NOT NULL, total_events INTEGER NOT NULL DEFAULT 0, unique_users INTEGER NOT NULL DEFAULT 0, \
      total_duration_seconds NUMERIC(10,2), avg_duration_seconds NUMERIC(10,2), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, \
      updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, UNIQUE(aggregation_hour, event_type)); \
    CREATE TABLE pipeline_metrics (id BIGSERIAL PRIMARY KEY, metric_name VARCHAR(100) NOT NULL, metric_value NUMERIC(15,2), \
      metric_timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, labels JSONB); \
    INSERT INTO hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, created_at) VALUES \
      ('2026-01-01 10:00', 'click', 7, 2, '2025-12-31 00:00'), ('2026-01-01 09:00', 'click', 99, 9, '2025-12-31 00:00')";

pub fn the_seeds_database(world: &World) {
    let db = world.postgres.create("seed");
    db.run(SEED);
    let before =
        db.one("SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'raw_events'");
    let app =
        App::new(world, "seed", 1, &hours(world.postgres.port, "seed", ", migrate: true, metrics: pipeline_metrics"));
    app.feed(1, [hour(10, "click", 8, "1.5", "0.19"), hour(11, "click", 1, "1", "1")].into_iter());
    let process = app.start();
    until_rows(&db, "hourly_aggregations", 3);
    app.no_lag();
    app.stop(process);
    let rows = "SELECT aggregation_hour, total_events, created_at < '2026-01-01' FROM hourly_aggregations ORDER BY 1";
    assert_eq!(db.lines(rows), ["2026-01-01 09:00:00|99|t", "2026-01-01 10:00:00|8|t", "2026-01-01 11:00:00|1|f"]);
    let after =
        db.one("SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'raw_events'");
    assert_eq!((before, db.one("SELECT count(*) > 0 FROM pipeline_metrics")), (after, "t".to_owned()));
}

/// The seed's own table, in a database whose zone is not UTC: what the seed's default writes is UTC all the same, and a
/// row that the table lets nobody write is a dead letter.
pub fn the_seeds_raw_events(world: &World) {
    let db = world.postgres.create("seed-raw");
    db.run(SEED);
    db.run(
        "ALTER DATABASE \"seed-raw\" SET timezone TO 'America/New_York'; \
        INSERT INTO raw_events (event_id, user_id, event_type, timestamp) VALUES ('old', 'u', 'click', '2025-01-01')",
    );
    let app = App::new(world, "seed-raw", 1, &raw(world.postgres.port, "seed-raw", ", migrate: true"));
    let user = ",\"user_id\":\"u1\"";
    app.feed(1, [event("old", user), event("new", user), event("nobody", "")].into_iter());
    let process = app.start();
    until_rows(&db, "raw_events", 2);
    app.no_lag();
    let last = app.stop(process);
    assert_eq!((&last["rows"], &last["skipped"], &last["dead"]), (&json!(1), &json!(1), &json!(1)));
    let rows =
        db.lines(&format!("SET timezone = 'UTC'; {}", RAW.replace("ORDER BY", "WHERE event_id = 'new' ORDER BY")));
    assert_eq!(rows, ["new|u1|-|-|2026-01-01 10:30:00.5|t"]);
}

pub fn migrate(world: &World) {
    let db = world.postgres.create("migrate");
    let port = world.postgres.port;
    let app = App::new(world, "migrate", 1, &hours(port, "migrate", ", metrics: pipeline_metrics"));
    let missing = app.cli(&["check", "--live"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(
        text(&missing.stderr).contains("sink 'table': table hourly_aggregations is not there; run 'tidemill migrate'")
    );
    let made = app.cli(&["migrate"]);
    let all = ["tidemill_sink_offsets", "hourly_aggregations", "pipeline_metrics"];
    let lines = |how: &str| all.map(|table| how.replace("TABLE", table)).join("\n") + "\n";
    assert_eq!((text(&made.stdout), text(&made.stderr)), (lines("table: created TABLE"), String::new()));
    assert_eq!(text(&app.cli(&["migrate"]).stdout), lines("table: TABLE is there"));
    assert_eq!(db.lines("SELECT version FROM tidemill_migrations ORDER BY 1"), ["1", "3", "4"]);
    assert_eq!(app.cli(&["check", "--live"]).status.code(), Some(0));
    db.run("ALTER TABLE hourly_aggregations DROP CONSTRAINT hourly_aggregations_aggregation_hour_event_type_key");
    let unfit = text(&app.cli(&["check", "--live"]).stderr);
    assert!(unfit.contains("has no unique index on (aggregation_hour, event_type)"), "{unfit}");
    app.edit(&hours(port, "migrate", "").replace("window.start", "window.start, hours: total_events"));
    let unfit = text(&app.cli(&["check", "--live"]).stderr);
    assert!(unfit.contains("has no column 'hours' that can be written"), "{unfit}");
}
