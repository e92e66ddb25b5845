//! Each key that a file may have has its word in Rust: the list is what the sections ask for, not a second one by hand.

use super::super::fields::asked;
use super::{App, DeadLetters, Http, Output, Postgres, Sink, Source, Step};

/// What a program says in Rust anyway, with `Tester`.
const ELSEWHERE: &[&str] = &["the topology: tests"];

fn settings(app: App) -> App {
    [
        ("kafka.brokers", "localhost:9092"),
        ("kafka.group", "g"),
        ("state", "folder"),
        ("lanes", "2"),
        ("memory", "1GiB"),
        ("shutdown", "20s"),
        ("max_record", "1MiB"),
        ("commit.interval", "100ms"),
        ("commit.bytes", "16MiB"),
        ("topics.replication", "3"),
        ("topics.min_insync_replicas", "2"),
        ("topics.keep", "forever"),
        ("alerts.error_rate", "0.05"),
        ("alerts.objective", "0.99"),
        ("alerts.dead_letters", "0.1"),
        ("alerts.consumer_lag", "1000"),
        ("alerts.processing_latency", "5s"),
        ("alerts.freshness", "60s"),
        ("alerts.restore", "5m"),
        ("alerts.clock_skew", "2s"),
        ("alerts.sink_stalled", "60s"),
    ]
    .into_iter()
    .fold(app, |app, (path, value)| app.set(path, value))
    .property("security.protocol", "plaintext")
}

fn stages(app: App, schema: &str) -> App {
    let source = Source::topic("in").format("json").key_format("string").time_field("at").unit("ms").zone("UTC");
    let source = source.max_ahead("5m").start("earliest").idle("1m").keys("scattered").max_record("1MiB");
    let clean = Step::from("events").validate([("id", "text")]).validate_schema_formats(schema, true);
    let clean = clean.filter("amount > 0").dedupe_named("seen", ("id", "1h"), 1_000).set([("big", "amount > 9")]);
    let hours = Step::from("clean").group_by_named([("kind", "data.kind")]).tumbling("1h").grace("10m");
    let hours = hours.aggregate("n", "count_distinct(id)").at_most(1_000).updates("5s").on_close();
    let last = Step::from("clean").group_by(["record.key"]).hopping("1h").every("10m").aggregate("n", "count()");
    app.source("events", source)
        .step("clean", clean.redact(["card"]))
        .step("hours", hours)
        .step("last", last.on_close())
        .output("clean", Output::from("clean").key("id").key_format("string").fields(["id", "big"]).partitions(3))
        .output("hours", Output::from("hours").format("json"))
        .output("last", Output::from("last"))
}

fn outside(app: App) -> App {
    let table = Postgres::upsert("hours").key(["at", "kind"]).column("at", "window.start");
    let table = table.host("h").port(5432).dbname("d").user("u").sslmode("verify-full").sslrootcert("ca.pem");
    let table = table.sslcert("own.pem").sslkey("own.key").min_connections(1).max_connections(4);
    let table = table.connect_timeout("5s").statement_timeout("30s").lock_timeout("5s").idle_timeout("60s");
    let by_parts = table.metrics("m").metrics_enabled(true).migrate(true);
    let sink = |table| Sink::from("hours").enabled(true).rows(100).interval("1s").postgres(table);
    let log = || Postgres::insert("log");
    app.sink("given", sink(by_parts.clone().password("p")))
        .sink("filed", sink(by_parts.password_file("p.txt")))
        .sink("url", sink(log().url("postgres://u@h/d")))
        .sink("url-file", sink(log().url_file("url.txt")))
        .http(Http::listen("0.0.0.0:8002").token_file("token").peers(["dns:mill:8002"]))
        .dead_letters(DeadLetters::topic("dead").late(true).keep("14d").redact(["card"]))
}

#[test]
fn every_key_of_a_file_has_its_word_in_rust() {
    let schema = tempfile::NamedTempFile::new().expect("a file for a schema");
    std::fs::write(schema.path(), r#"{"type": "object"}"#).expect("it can be written");
    asked::take();
    let app = outside(stages(settings(App::new("all")), &schema.path().display().to_string()));
    let loaded = app.build().unwrap_or_else(|e| panic!("{e}"));
    let [asked, used] = asked::take();
    let missing: Vec<_> =
        asked.iter().filter(|key| !used.contains(*key) && !ELSEWHERE.contains(&key.as_str())).collect();
    assert!(missing.is_empty(), "keys without a word in Rust, or one that this test does not say: {missing:#?}");
    assert!(asked.len() > 90 && ELSEWHERE.iter().all(|key| asked.contains(*key)), "{} keys: {asked:#?}", asked.len());
    let operators = format!("{:?}", loaded.topology.stages[0]);
    for word in super::super::operators::NAMES {
        let variant = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
        assert!(operators.contains(&variant), "no word in Rust for the operator {word}");
    }
    assert_eq!((loaded.sinks.len(), loaded.settings.http.is_some()), (4, true));
}

#[test]
fn emit_every_has_its_word() {
    let step = Step::from("s").group_by(["record.key"]).aggregate("n", "count()").on_every_record();
    let app = App::new("x").set("kafka.brokers", "b").source("s", Source::topic("t").time("record.timestamp"));
    let app = app.step("n", step).output("o", Output::from("n")).build();
    assert!(app.is_ok(), "{app:?}");
}
