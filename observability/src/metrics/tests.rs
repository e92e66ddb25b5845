//! Given a process, when it is scraped, then the text is bounded, escaped, and says nothing that is not known.

use super::*;
use std::time::Instant;

pub(super) fn about() -> About {
    let text = |t: &str| t.to_owned();
    About { app: text("a"), instance: text("i"), version: text("0"), librdkafka: text("2"), rocksdb: text("11") }
}

fn metrics() -> Metrics {
    let limits = Limits {
        error_rate: 0.05,
        consumer_lag: 1000.0,
        processing_latency: 5.0,
        freshness: 60.0,
        objective: 0.99,
        restore: 300.0,
        clock_skew: 5.0,
        sink: 60.0,
        dead_letters: 0.1,
    };
    Metrics::new(&about(), &limits)
}

fn tasks(count: i32) -> Vec<TaskNow> {
    let one = |partition| TaskNow {
        stage: "s".into(),
        topic: "t".into(),
        partition,
        phase: "running",
        lag: Some(2),
        lag_seconds: Some(f64::from(partition)),
        stream_time: Some(1000.0 - f64::from(partition)),
        restored: 1.0,
        restoring: 0.0,
    };
    (0..count).map(one).collect()
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line '{line}' in:\n{text}");
}

#[test]
fn a_lag_that_nobody_knows_is_not_shown() {
    let metrics = metrics();
    assert!(!metrics.text().contains("tidemill_lag_records{"));
    let mut one = tasks(1);
    one[0].lag = None;
    metrics.show(&Now { tasks: one, time: 1000.0, ..Now::default() });
    let text = metrics.text();
    assert!(!text.contains("tidemill_lag_records{") && !text.contains("kafka_consumer_lag{"));
    has(&text, "tidemill_stream_time_behind_seconds{task=\"s/t/0\"} 0");
    has(&text, "tidemill_tasks{phase=\"running\"} 1");
    metrics.show(&Now { tasks: tasks(1), time: 1000.0, ..Now::default() });
    has(&metrics.text(), "kafka_consumer_lag{partition=\"0\",topic=\"t\"} 2");
    // A task that has left is gone from the next scrape.
    metrics.show(&Now::default());
    assert!(!metrics.text().contains("kafka_consumer_lag{"));
}

#[test]
fn a_thousand_partitions_are_a_few_series_and_quick() {
    let metrics = metrics();
    let base = metrics.text().lines().count();
    let began = Instant::now();
    metrics.show(&Now { tasks: tasks(1000), time: 1000.0, ..Now::default() });
    let text = metrics.text();
    assert!(began.elapsed().as_millis() < 200, "{:?}", began.elapsed());
    assert!(text.lines().count() < base + 40, "{} lines", text.lines().count());
    has(&text, "tidemill_lag_records{task=\"s/t/all\"} 2000");
    has(&text, "tidemill_lag_seconds{task=\"s/t/all\"} 999");
    has(&text, "tidemill_stream_time_seconds{task=\"s/t/all\"} 1");
    has(&text, "tidemill_tasks_aggregated 1");
    has(&text, "tidemill_tasks{phase=\"running\"} 1000");
    metrics.show(&Now { tasks: tasks(SERIES as i32), time: 1000.0, ..Now::default() });
    let text = metrics.text();
    has(&text, "tidemill_tasks_aggregated 0");
    assert!(text.lines().count() < base + 7 * SERIES + 40 && !text.contains("\"s/t/all"));
}

#[test]
fn a_label_with_a_newline_is_one_line() {
    let metrics = metrics();
    metrics.seeds.inserts.add(&["a\nb\"c\\d"], 1);
    has(&metrics.text(), r#"db_inserts_total{table="a\nb\"c\\d"} 1"#);
}

#[test]
fn event_types_are_few_and_plain() {
    let metrics = metrics();
    assert_eq!(metrics.label_of_event_type("page_view"), "page_view");
    for odd in ["", "a b", "secret@example.org", &"x".repeat(65), "a\nb"] {
        assert_eq!(metrics.label_of_event_type(odd), "other", "{odd}");
    }
    let labels: BTreeSet<String> = (0..1000).map(|i| metrics.label_of_event_type(&format!("t{i}"))).collect();
    assert_eq!(labels.len(), EVENT_TYPES, "31 beside page_view, and other");
}

#[test]
fn many_equal_observations_count_as_many() {
    let metrics = metrics();
    metrics.seeds.transformation.observe("", 0.002, 4000);
    metrics.seeds.transformation.observe("", 100.0, 1);
    let text = metrics.text();
    has(&text, "event_transformation_duration_seconds_bucket{le=\"0.001\"} 0");
    has(&text, "event_transformation_duration_seconds_bucket{le=\"0.0025\"} 4000");
    has(&text, "event_transformation_duration_seconds_bucket{le=\"30\"} 4000");
    has(&text, "event_transformation_duration_seconds_bucket{le=\"+Inf\"} 4001");
    has(&text, "event_transformation_duration_seconds_sum 108");
    has(&text, "tidemill_commit_duration_seconds_count{phase=\"wait\"} 0");
}

#[test]
fn a_lane_is_busy_until_its_transaction_is_over() {
    let metrics = metrics();
    drop(metrics.lanes.works(1));
    let at_work = metrics.lanes.works(0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let busy = metrics.lanes.busy();
    assert!(busy[0] >= 0.02 && busy[1] == 0.0, "{busy:?}");
    drop(at_work);
    assert_eq!(metrics.lanes.busy(), [0.0, 0.0]);
}

#[test]
fn the_system_is_asked_for_this_process() {
    let text = metrics().text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..3600.0).contains(&(now - value("process_start_time_seconds") + 2.0)));
}

/// `TIDEMILL_WRITE=1 cargo test -p tidemill-observability` writes it anew.
#[test]
fn the_document_says_what_the_handles_say() {
    let text = document(metrics().described(), Simulator::new(&about()).described());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md");
    if std::env::var_os("TIDEMILL_WRITE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "observability/METRICS.md is stale: run `make metrics`");
}
