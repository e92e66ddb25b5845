//! `tests:` blocks, the builder and the plan: the same graph from YAML and from Rust.

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test, also in its helpers")]

use tidemill_topology::builder::{App, Output, Source, Step};
use tidemill_topology::{Loaded, parse};

const HOURLY: &str = r#"
app: hourly
kafka: { brokers: localhost }
sources:
  events: { topic: user-events, time: timestamp, idle: 1m, key_format: string }
steps:
  clean:
    from: events
    do:
      - dedupe: { by: event_id, within: 1h }
      - filter: "event_type is not null"
  hourly:
    from: clean
    group_by: [event_type]
    window: { tumbling: 1h, grace: 10m }
    aggregate: { total_events: count(), unique_users: count_distinct(user_id), spent: sum(amount) }
    emit: { updates: 5s, final: true }
outputs:
  user-events-clean: { from: clean }
  hourly-aggregations: { from: hourly }
dead_letters: { topic: hourly-dead-letters, late: true }
"#;

fn with(tests: &str) -> Loaded {
    parse(&format!("{HOURLY}{tests}"), "hourly.yaml", &|_| None).unwrap_or_else(|e| panic!("{e}"))
}

/// The differences that the first test finds.
fn run(tests: &str) -> Vec<String> {
    let loaded = with(tests);
    loaded.cases[0].run(&loaded.topology).unwrap()
}

const GIVEN: &str = "
tests:
  - name: t
    given:
      - { events: { event_id: a, user_id: u1, event_type: click, timestamp: 2026-01-01T10:00:00Z, amount: 2.50 } }
      - { events: { event_id: a, user_id: u1, event_type: click, timestamp: 2026-01-01T10:00:00Z, amount: 2.50 } }
";

#[test]
fn a_case_that_holds_has_no_differences() {
    let then =
        "    then: [ { hourly-aggregations: { event_type: click, total_events: 1, unique_users: 1, spent: 2.5 } } ]\n";
    assert_eq!(run(&format!("{GIVEN}{then}")), Vec::<String>::new());
}

#[test]
fn a_difference_names_the_field_and_both_values() {
    let then = "    then: [ { hourly-aggregations: { event_type: click, total_events: 2 } } ]\n";
    assert_eq!(run(&format!("{GIVEN}{then}")), ["hourly-aggregations: total_events is 1, expected 2"]);
    let twice = "    then: [ { user-events-clean: { event_id: a } }, { user-events-clean: { event_id: a } } ]\n";
    assert_eq!(run(&format!("{GIVEN}{twice}")), [r#"user-events-clean: did not come: {"event_id":"a"}"#]);
    let none = "    then: [ { hourly-dead-letters: { event_id: a }, reason: late } ]\n";
    assert_eq!(run(&format!("{GIVEN}{none}")).len(), 1);
}

#[test]
fn a_text_in_quotes_is_no_number() {
    let tests = "
tests:
  - name: t
    given: [ { events: { event_id: '1', event_type: click, timestamp: 2026-01-01T10:00:00Z } } ]
    then: [ { user-events-clean: { event_id: 1 } } ]
";
    assert_eq!(run(tests), [r#"user-events-clean: event_id is "1", expected 1"#]);
}

#[test]
fn when_time_passes_a_silent_window_closes_and_what_comes_then_is_late() {
    let tests = "
tests:
  - name: t
    given:
      - { events: { event_id: a, event_type: click, timestamp: 2026-01-01T10:00:00Z }, key: k }
      - wait: 2h
      - { events: { event_id: b, event_type: click, timestamp: 2026-01-01T10:00:01Z } }
    then:
      - { hourly-aggregations: { total_events: 1, result: update } }
      - { hourly-aggregations: { total_events: 1, result: final }, key: { event_type: click, window_start: '2026-01-01T10:00:00Z' } }
      - { hourly-dead-letters: { event_id: b }, reason: 'late:' }
";
    assert_eq!(run(tests), Vec::<String>::new());
}

#[test]
fn mistakes_in_a_case_have_their_place_and_a_hint() {
    let tests = "tests:\n  - name: t\n    given: [ { event: {} } ]\n    then: [ { hourly-aggregation: {} } ]\n";
    let error = parse(&format!("{HOURLY}{tests}"), "h.yaml", &|_| None).unwrap_err().to_string();
    assert!(
        error.contains("h.yaml:24:14: a given record is of a source (events), or a wait; did you mean 'events'?"),
        "{error}"
    );
    assert!(error.contains("did you mean 'hourly-aggregations'?"), "{error}");
}

#[test]
fn yaml_and_rust_give_the_same_graph() {
    let built = App::new("hourly")
        .set("kafka.brokers", "localhost")
        .source("events", Source::topic("user-events").time("timestamp").idle("1m").key_format("string"))
        .step("clean", Step::from("events").dedupe("event_id", "1h").filter("event_type is not null"))
        .step(
            "hourly",
            Step::from("clean")
                .group_by(["event_type"])
                .tumbling("1h")
                .grace("10m")
                .aggregate("total_events", "count()")
                .aggregate("unique_users", "count_distinct(user_id)")
                .aggregate("spent", "sum(amount)")
                .updates("5s")
                .on_close(),
        )
        .output("user-events-clean", Output::from("clean"))
        .output("hourly-aggregations", Output::from("hourly"))
        .set("dead_letters.topic", "hourly-dead-letters")
        .set("dead_letters.late", true)
        .build()
        .unwrap();
    let written = with("");
    assert_eq!(format!("{:?}", built.topology), format!("{:?}", written.topology));
    assert_eq!(built.settings, written.settings);
}

#[test]
fn a_mistake_in_rust_has_no_line() {
    let error = App::new("x").set("kafka.brokers", "b").source("s", Source::topic("t")).build().unwrap_err();
    assert_eq!(error.lines[0], "app x: the topology lacks 'outputs'; add it");
}

#[test]
fn a_plan_names_every_topic() {
    let topology = with("").topology;
    let (json, chart) = (topology.plan_json().to_string(), topology.plan_mermaid());
    for topic in
        ["user-events", "user-events-clean", "hourly-hourly-repartition", "hourly-aggregations", "hourly-dead-letters"]
    {
        assert!(json.contains(topic) && chart.contains(topic), "{topic} in\n{json}\n{chart}");
    }
    assert!(json.contains("hourly-events-user-events-changelog") && json.contains("count_distinct(user_id)"), "{json}");
}

#[test]
fn time_and_windows_are_as_their_table_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/time.yaml");
    let loaded = tidemill_topology::load(&path).unwrap_or_else(|e| panic!("{e}"));
    let failed: Vec<String> = loaded
        .cases
        .iter()
        .map(|case| (case, case.run(&loaded.topology).unwrap()))
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(case, lines)| format!("{}\n    {}", case.name, lines.join("\n    ")))
        .collect();
    assert!(loaded.cases.len() > 15 && failed.is_empty(), "{}", failed.join("\n"));
}
