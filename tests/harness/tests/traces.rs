//! One trace from the producer's record to the sink's row, over real Kafka and PostgreSQL, read by a collector in this process:
//! over HTTP from the producer, over gRPC from the mill, with a SIGKILL in the middle of the window; and collectors that are
//! away or hang. Knows the product from outside, and the rule of the sample. Invariant: what is asserted of spans is asserted
//! against the records in Kafka and the rows in the database.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_harness::collector::{Collector, Seen};
use tidemill_harness::observed::{Scrape, expect, free_port};
use tidemill_harness::process::{Process, program};
use tidemill_harness::traced::{Event, LONG, SECRET, World, header};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

const TEN: &str = "2026-01-01 10:00:00";
const EACH: usize = 8;
const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");

fn simulate(world: &World, seed: &str, start: &str, records: &str) {
    let args = ["simulate", "user-events", "--rate", "max", "--broken", "0.1", "--span", "20m", "--seed", seed];
    let more = ["--start", start, "--records", records];
    world.cli(&[&args[..], &more].concat(), &[("OTEL_SERVICE_NAME", "shop")]);
}

fn stop(mut process: Process) {
    process.terminate();
    let began = Instant::now();
    assert_eq!(process.wait(LONG).and_then(|ended| ended.code()), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "the end waits for no collector: {:?}", began.elapsed());
}

/// What the windows were made of: by type, those of the good events with the smallest hash under the application's seed.
fn samples(events: &[Event], dead: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let seed = xxh3_128(b"traced") as u64;
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let mut ranked: BTreeMap<String, BTreeMap<u64, (String, String)>> = BTreeMap::new();
    for event in events.iter().filter(|e| !dead.contains(&place(e))) {
        let origin = event.origin.clone().expect("the producer is traced");
        let rank = xxh3_64_with_seed(&[bytes(&origin.0), bytes(&origin.1)].concat(), seed);
        ranked.entry(event.kind.clone().unwrap()).or_default().insert(rank, origin);
    }
    ranked.into_iter().map(|(kind, all)| (kind, all.into_values().take(EACH).collect())).collect()
}

fn place(event: &Event) -> String {
    format!("user-events/{}/{}", event.row.partition, event.row.offset)
}

fn ids(span: &Seen) -> (String, String) {
    (span.trace.clone(), span.id.clone())
}

fn attribute<'s>(span: &'s Seen, name: &str) -> &'s str {
    span.attributes.get(name).map_or("", String::as_str)
}

/// Waits for the rows of ten o'clock, each with the span of its final and that of the sink's transaction.
fn finals(world: &World, collector: &Collector) -> BTreeMap<String, (Seen, Seen)> {
    collector.until(LONG, |spans| {
        let rows = world.rows(TEN);
        let followed = rows.into_iter().map(|(kind, (_, trace))| {
            let of = |name: &str| spans.iter().find(|s| s.name == name && s.trace == trace).cloned();
            let said = of("send hourly-aggregations").filter(|s| attribute(s, "tidemill.result") == "final")?;
            Some((kind, (said, of("INSERT hourly_aggregations")?)))
        });
        followed.collect::<Option<BTreeMap<_, _>>>().filter(|all| all.len() > 3)
    })
}

fn check_results(world: &World, collector: &Collector, events: &[Event], dead: &BTreeSet<String>) {
    let followed = finals(world, collector);
    let spans = collector.spans();
    let producers: BTreeSet<_> = spans
        .iter()
        .filter(|s| (&*s.service, &*s.name, &*s.kind) == ("shop", "send user-events", "producer"))
        .map(ids)
        .collect();
    assert!(
        events.iter().all(|e| producers.contains(e.origin.as_ref().unwrap())),
        "each record's header is its span's"
    );
    let samples = samples(events, dead);
    assert_eq!(followed.keys().collect::<Vec<_>>(), samples.keys().collect::<Vec<_>>());
    for (kind, (said, stored)) in &followed {
        let links: BTreeSet<_> = said.links.iter().map(|l| (l.trace.clone(), l.span.clone())).collect();
        assert_eq!(links, samples[kind], "{kind}: of all its records, over the SIGKILL, those that the seed takes");
        assert_eq!((&*said.kind, &*said.parent, &*said.service), ("producer", "", "tidemill"));
        let expected = [
            ("messaging.system", "kafka"),
            ("messaging.operation.name", "send"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "hourly-aggregations"),
            ("tidemill.step", "hourly"),
            ("tidemill.window.start", "2026-01-01T10:00:00Z"),
        ];
        expected.iter().for_each(|(name, value)| assert_eq!(attribute(said, name), *value, "{name}"));
        assert!(said.nanos.0 <= said.nanos.1 && said.nanos.1 <= stored.nanos.1);
        assert_eq!((&*stored.kind, &stored.parent), ("client", &said.id), "the sink goes on in the record's trace");
        let expected = [
            ("db.system.name", "postgresql"),
            ("db.operation.name", "INSERT"),
            ("db.collection.name", "hourly_aggregations"),
            ("db.namespace", "traced"),
            ("server.address", "127.0.0.1"),
            ("tidemill.sink", "hours"),
        ];
        expected.iter().for_each(|(name, value)| assert_eq!(attribute(stored, name), *value, "{name}"));
    }
}

fn check_batches(spans: &[Seen], events: &[Event]) {
    let by_place: BTreeMap<String, &Event> = events.iter().map(|e| (place(e), e)).collect();
    let works = |topic: &str| {
        let name = format!("process {topic}");
        spans.iter().filter(|s| s.name == name && s.kind == "consumer" && !s.failed).cloned().collect::<Vec<_>>()
    };
    let batches = works("user-events");
    assert!(!batches.is_empty() && batches.iter().any(|b| !b.links.is_empty()));
    for batch in &batches {
        let expected = [
            ("messaging.system", "kafka"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "user-events"),
            ("messaging.consumer.group.name", "traced"),
        ];
        expected.iter().for_each(|(name, value)| assert_eq!(attribute(batch, name), *value, "{name}"));
        let count: usize = attribute(batch, "messaging.batch.message_count").parse().unwrap();
        assert!(batch.parent.is_empty() && batch.links.len() == count.min(8), "{count}: {}", batch.links.len());
        for link in &batch.links {
            let partition = attribute(batch, "messaging.destination.partition.id");
            let event = by_place[&format!("user-events/{partition}/{}", link.attributes["messaging.kafka.offset"])];
            assert_eq!(Some((link.trace.clone(), link.span.clone())), event.origin);
            assert_eq!(link.attributes.get("messaging.message.conversation_id"), event.correlation.as_ref());
        }
    }
    let behind = works("traced-hourly-repartition");
    assert!(behind.iter().any(|b| !b.links.is_empty()), "contexts cross the repartition");
    // A copy goes on in its record's own trace.
    let stored = spans.iter().filter(|s| s.name == "INSERT raw_events" && s.kind == "client");
    let parents: BTreeSet<_> = stored.map(|s| (s.trace.clone(), s.parent.clone())).collect();
    let origins: BTreeSet<_> = events.iter().filter_map(|e| e.origin.clone()).collect();
    assert!(parents.len() > 40 && parents.is_subset(&origins), "{} of {}", parents.len(), origins.len());
}

/// The dead letters, each with its span, its context, and its line in the log.
fn check_failures(world: &World, collector: &Collector, events: &[Event], dead: &BTreeSet<String>) {
    let log = std::fs::read_to_string(world.log("one")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(dead.len() > 3);
    for event in events.iter().filter(|e| dead.contains(&place(e))) {
        let (trace, parent) = event.origin.clone().unwrap();
        let span = collector.until(LONG, |spans| {
            spans.iter().find(|s| s.failed && s.trace == trace && s.name == "process user-events").cloned()
        });
        assert_eq!((span.parent, &*span.kind), (parent, "consumer"));
        assert_eq!(span.attributes["messaging.kafka.offset"], event.row.offset.to_string());
        assert!(!span.attributes["error.type"].is_empty());
        let line = lines.iter().find(|l| l["message"] == "dead letter" && l["trace_id"] == *trace).unwrap();
        assert_eq!(
            (line["span_id"].as_str(), line["correlation_id"].as_str()),
            (Some(&*span.id), event.correlation.as_deref())
        );
    }
    for letter in world.records("traced-dead-letters") {
        let source = header(&letter, "tidemill-source").unwrap();
        let event = events.iter().find(|e| place(e) == source).unwrap();
        assert_eq!(tidemill_harness::traced::origin(&letter), event.origin);
    }
}

fn check_nothing_leaks(world: &World, collector: &Collector, events: &[Event]) {
    let spans = format!("{:?}", collector.spans());
    let log = std::fs::read_to_string(world.log("one")).unwrap();
    let users = events.iter().filter_map(|e| e.user.clone());
    let planted = ["192.168.", "session_", SECRET].map(str::to_owned);
    for secret in users.chain(planted) {
        assert!(!spans.contains(&secret), "a span holds {secret}");
        assert!(!log.contains(&secret), "the log holds {secret}");
    }
}

fn said(process: &Process, message: &str) -> usize {
    process.journal(|j| j.lines.iter().filter(|l| l.message == message).count())
}

/// Work goes on, at 100 %, and is told of once.
fn check_collectors_that_fail(world: &World, collector: &Collector) {
    let port = free_port().to_string();
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"), ("METRICS_PORT", &port)];
    let stored = |hour: u32, count: u32| {
        let sql = format!("SELECT count(*) FROM raw_events WHERE timestamp >= '2026-01-01 {hour}:00'");
        world.db.until(&sql, &count.to_string(), LONG);
    };
    // given: nobody listens there
    let away = [&small[..], &[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]].concat();
    let process = world.mill("one", &away);
    send(world, ("8", "2026-01-01T14:00:00Z", "120"), true);
    stored(14, 120);
    process.wait_message("spans are not exported", LONG).unwrap();
    process.wait_message("spans are dropped: more than the queue holds", LONG).unwrap();
    check_spans_are_counted(port.parse().unwrap());
    assert_eq!((said(&process, "spans are not exported"), said(&process, "spans are exported again")), (1, 0));
    stop(process);
    // given: somebody listens and never answers
    collector.hang(true);
    let process = world.mill("one", &[GRPC, ("OTEL_EXPORTER_OTLP_TIMEOUT", "300")]);
    send(world, ("9", "2026-01-01T15:00:00Z", "120"), false);
    stored(15, 120);
    process.wait_message("spans are not exported", LONG).unwrap();
    // when: it answers again
    collector.hang(false);
    send(world, ("10", "2026-01-01T16:00:00Z", "20"), true);
    process.wait_message("spans are exported again", LONG).unwrap();
    assert_eq!(said(&process, "spans are not exported"), 1);
    collector.hang(true);
    send(world, ("11", "2026-01-01T16:30:00Z", "20"), false);
    stored(16, 40);
    stop(process);
    collector.hang(false);
}

/// What was made and did not leave: no more waits than was allowed, and the rest stands in the metrics.
fn check_spans_are_counted(port: u16) {
    expect(LONG, "lost spans", || {
        let scrape = Scrape::of(port)?;
        let fate = |fate: &str| scrape.sum("tidemill_trace_spans_total", &[&format!("fate=\"{fate}\"")]);
        let (dropped, failed, waiting) =
            (fate("dropped")?, fate("failed")?, scrape.sum("tidemill_trace_spans_waiting", &[])?);
        assert!(waiting <= 8.0 && fate("exported")? == 0.0, "{waiting} wait");
        if dropped > 100.0 && failed > 0.0 { Ok(()) } else { Err(format!("{dropped} dropped, {failed} failed")) }
    });
}

/// Good events: seed, start, records; by a producer that makes spans, or none.
fn send(world: &World, (seed, start, records): (&str, &str, &str), traced: bool) {
    let args = ["simulate", "user-events", "--rate", "max", "--span", "1m", "--seed", seed];
    let disabled = if traced { "false" } else { "true" };
    world.cli(&[&args[..], &["--start", start, "--records", records]].concat(), &[("OTEL_SDK_DISABLED", disabled)]);
}

/// An endpoint that is none: one line says so, and the work is done.
fn check_an_endpoint_that_is_none() {
    let mut command = std::process::Command::new(program("TIDEMILL_BIN", "tidemill"));
    command.args(["simulate", "user-events", "--print", "--records", "5"]);
    let done = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317").output().unwrap();
    let log = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), log.matches("http://HOST:PORT").count()), (Some(0), 1), "{log}");
    assert_eq!(String::from_utf8(done.stdout).unwrap().matches("event_id").count(), 5);
}

#[test]
fn one_trace_leads_from_the_producer_to_the_row() {
    check_an_endpoint_that_is_none();
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let world = World::start(
        2,
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50"), ("IDLE", "1h")],
    );
    // given: a window that is half full when the process is killed
    simulate(&world, "5", "2026-01-01T10:00:00Z", "60");
    let mut process = world.mill("one", &[GRPC]);
    world.db.until("SELECT (sum(total_events) > 40)::text FROM hourly_aggregations", "true", LONG);
    process.kill();
    simulate(&world, "6", "2026-01-01T10:20:00Z", "60");
    let (events, process) = (world.events(), world.mill("one", &[GRPC]));
    // when: the time passes its end on both partitions
    simulate(&world, "7", "2026-01-01T12:00:00Z", "40");
    // then
    finals(&world, &collector);
    let letters = world.records("traced-dead-letters");
    let dead: BTreeSet<String> = letters.iter().map(|letter| header(letter, "tidemill-source").unwrap()).collect();
    check_results(&world, &collector, &events, &dead);
    let all = world.events();
    check_failures(&world, &collector, &all, &dead);
    stop(process);
    check_batches(&collector.spans(), &all);
    check_nothing_leaks(&world, &collector, &all);
    check_collectors_that_fail(&world, &collector);
}
