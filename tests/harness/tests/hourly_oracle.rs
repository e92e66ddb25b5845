//! The oracle of `make seed1` tested by itself: SQL over the bytes of `tidemill simulate --print` must come to what the
//! simulator says of them, and must see every kind of error that it is there for. PostgreSQL alone, no Kafka, no engine.
//! Invariant: both answers come from code that shares nothing.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::Command;
use tidemill_harness::hourly::Judge;
use tidemill_harness::postgres::Postgres;
use tidemill_harness::process::program;
use tidemill_harness::psql::Psql;
use tidemill_harness::verdict::Row;

const DATABASE: &str = "postgres";
const TABLES: &str = "
    CREATE TABLE hourly_aggregations (aggregation_hour timestamp, event_type text, total_events bigint,
        unique_users bigint, total_duration_seconds numeric(10, 2), avg_duration_seconds numeric(10, 2));
    CREATE TABLE raw_events (event_id text, user_id text, event_type text, timestamp timestamp, event_data jsonb,
        duration_seconds numeric(10, 2));";

/// Records as they would lie in three partitions, their kinds, and what the simulator expects of them.
fn simulated() -> (Vec<Row>, Vec<String>, Value) {
    let mut simulate = Command::new(program("TIDEMILL_BIN", "tidemill"));
    simulate.args(["simulate", "user-events", "--print", "-o", "json", "--records", "3000", "--seed", "21"]);
    simulate.args(["--start", "2026-01-01T10:00:00Z", "--span", "6h", "--duplicates", "0.05", "--disorder", "0.05"]);
    let output = simulate.args(["--late", "0.03", "--broken", "0.03"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut rows, mut kinds, mut next) = (Vec::new(), Vec::new(), [0; 3]);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let partition = text("key").bytes().map(usize::from).sum::<usize>() % 3;
        rows.push(Row {
            partition: partition as i32,
            offset: next[partition],
            timestamp: record["timestamp"].as_i64().unwrap(),
            key: Some(text("key").into_bytes()),
            value: Some(text("value").into_bytes()),
            headers: Vec::new(),
        });
        next[partition] += 1;
        kinds.push(text("kind"));
    }
    (rows, kinds, serde_json::from_slice(&output.stderr).unwrap())
}

/// The tables as the simulator's own words would fill them.
fn fill(psql: &Psql, rows: &[Row], kinds: &[String], expected: &Value) {
    psql.sql(DATABASE, TABLES).unwrap();
    let sql = |value: &Value| if value.is_null() { "NULL".to_owned() } else { value.to_string().replace('"', "'") };
    let hours = expected["hours"].as_array().unwrap().iter().map(|h| {
        let fields = ["aggregation_hour", "event_type", "total_events", "unique_users", "total_duration_seconds"];
        let values: Vec<String> = fields.iter().chain(&["avg_duration_seconds"]).map(|f| sql(&h[f])).collect();
        format!("({})", values.join(","))
    });
    let hours: Vec<String> = hours.collect();
    psql.sql(DATABASE, &format!("INSERT INTO hourly_aggregations VALUES {}", hours.join(","))).unwrap();
    let good = rows.iter().zip(kinds).filter(|(_, kind)| ["plain", "disordered", "late"].contains(&kind.as_str()));
    let good = good.map(|(row, _)| {
        let event: Value = serde_json::from_slice(row.value.as_ref().unwrap()).unwrap();
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        let data = event["event_data"].to_string().replace('\\', "\\\\");
        let duration = event.get("duration_seconds").map_or("\\N".to_owned(), Value::to_string);
        let time = text("timestamp");
        format!("{}\t{}\t{}\t{time}\t{data}\t{duration}", text("event_id"), text("user_id"), text("event_type"))
    });
    psql.copy(DATABASE, "raw_events", good).unwrap();
}

/// A dead letter for each record that must be one.
fn dead(rows: &[Row], kinds: &[String]) -> Vec<Row> {
    let due = rows.iter().zip(kinds).filter(|(_, kind)| ["late", "broken"].contains(&kind.as_str()));
    let letter = |(row, kind): (&Row, &String)| {
        let reason = if kind == "late" { "late: an hour too late" } else { "not-json: nothing that can be read" };
        let source = format!("user-events/{}/{}", row.partition, row.offset);
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let headers = vec![header("tidemill-source", &source), header("tidemill-reason", reason)];
        Row { headers, ..row.clone() }
    };
    due.map(letter).collect()
}

#[test]
fn sql_and_the_simulator_agree_and_every_error_is_seen() {
    let (rows, kinds, expected) = simulated();
    let server = Postgres::start(&[]);
    let psql = Psql::of(server.port);
    fill(&psql, &rows, &kinds, &expected);
    let judge = Judge::open(&psql, DATABASE).unwrap();
    judge.fill_input(&rows).unwrap();
    let letters = dead(&rows, &kinds);
    judge.fill_dead(&letters, "user-events").unwrap();
    assert_eq!(judge.findings().unwrap(), Vec::<String>::new());

    let census = judge.census().unwrap();
    let said = |name: &str| expected[name].as_u64().unwrap();
    assert_eq!((census.records, census.good, census.late), (said("sent"), said("good"), said("late")));
    assert_eq!((census.duplicates, census.broken), (said("duplicates"), said("broken")));
    assert!(census.late > 20 && census.broken > 50 && census.duplicates > 100, "{census:?}");

    for (damage, seen_by) in [
        (
            "UPDATE hourly_aggregations SET avg_duration_seconds = avg_duration_seconds + 0.01 WHERE event_type = 'click'",
            "hourly",
        ),
        ("DELETE FROM hourly_aggregations WHERE event_type = 'login'", "hourly"),
        ("UPDATE hourly_aggregations SET unique_users = unique_users + 1", "hourly"),
        ("INSERT INTO hourly_aggregations VALUES ('2026-01-01 03:00', 'click', 1, 1, 1, 1)", "hourly"),
        ("DELETE FROM raw_events WHERE event_id = (SELECT min(event_id) FROM raw_events)", "raw_events"),
        ("INSERT INTO raw_events SELECT * FROM raw_events LIMIT 1", "raw_events"),
        ("UPDATE raw_events SET duration_seconds = duration_seconds + 0.01 WHERE event_type = 'click'", "raw_events"),
        ("DELETE FROM oracle.dead WHERE reason LIKE 'late%'", "dead letter"),
        ("UPDATE oracle.dead SET reason = 'late: not at all'", "dead letter"),
        ("INSERT INTO oracle.dead SELECT * FROM oracle.dead LIMIT 1", "dead letter"),
        ("UPDATE oracle.dead SET value = 'x'", "dead letter"),
        ("UPDATE oracle.parsed SET partition = partition + record_offset % 2", "another partition"),
        ("UPDATE oracle.events SET is_late = NOT is_late WHERE duration IS NULL", "by its order"),
    ] {
        let found = asked_with(&psql, damage);
        assert!(found.iter().any(|f| f.contains(seen_by)), "{damage}: {found:?}");
    }
    assert_eq!(judge.findings().unwrap(), Vec::<String>::new(), "the damage was mended each time");
}

/// The findings with this damage done, which is mended afterwards from copies.
fn asked_with(psql: &Psql, damage: &str) -> Vec<String> {
    let tables = ["hourly_aggregations", "raw_events", "oracle.dead", "oracle.parsed", "oracle.events"];
    let copy = |t: &str| format!("copy_of_{}", t.replace('.', "_"));
    let keep: String = tables.iter().map(|t| format!("CREATE TABLE {} AS SELECT * FROM {t};", copy(t))).collect();
    psql.sql(DATABASE, &format!("{keep} {damage};")).unwrap();
    let found = Judge::again(psql, DATABASE).findings().unwrap();
    let mend = |t: &&str| format!("TRUNCATE {t}; INSERT INTO {t} SELECT * FROM {0}; DROP TABLE {0};", copy(t));
    psql.sql(DATABASE, &tables.iter().map(mend).collect::<String>()).unwrap();
    found
}
