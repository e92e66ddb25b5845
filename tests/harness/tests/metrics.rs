//! What a real process shows is what the document says, and true: lags are held against the broker's and the database's own
//! numbers. Knows the product from outside. Invariant: a lag is compared while nothing moves, so it must be equal.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemill_harness::observed::{GROUP, INPUT, OUTPUTS, Observed, Scrape, expect, get, promtool_finds_nothing, root};
use tidemill_harness::process::Process;

const LONG: Duration = Duration::from_secs(60);
/// The seeds' own names, of both programs.
const SEEDS: &str = "events_produced_total events_consumed_total events_processed_total events_failed_total \
    event_processing_duration_seconds event_transformation_duration_seconds aggregation_duration_seconds db_inserts_total \
    db_insert_duration_seconds db_insert_errors_total db_batch_size db_connections_active last_event_processed_unixtime \
    kafka_produce_errors_total kafka_consume_errors_total kafka_consumer_lag aggregations_created_total \
    aggregations_flushed_total dead_letter_events_total alerts_fired_total bytes_total event_size_bytes";
/// What must not come out: in the planted records, and in what the simulator makes.
const SECRETS: [&str; 3] = ["planted-user", "planted-event", "user_1"];

fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("observability/METRICS.md")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Numbers of planted events, so that none is a duplicate.
static PLANTED: AtomicU64 = AtomicU64::new(0);

/// Good events, each with an event type of its own that is no word.
fn plant(world: &Observed, records: usize) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &world.cluster.bootstrap).create().unwrap();
    let now = jiff::Timestamp::now();
    for _ in 0..records {
        let i = PLANTED.fetch_add(1, Ordering::Relaxed);
        let value = format!(
            r#"{{"event_id":"planted-event-{i}","user_id":"planted-user","event_type":"planted-event {i}","timestamp":"{now}"}}"#
        );
        let key = format!("planted-user-{i}");
        producer.send(BaseRecord::to(INPUT).key(&key).payload(&value)).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(LONG).unwrap();
}

/// Everything is read and written, and librdkafka has said something: it does every five seconds, the first time too.
fn settled(world: &Observed) -> Result<Scrape, String> {
    let (lag, scrape) = (world.real_lag()?, world.scrape()?);
    scrape.sum("tidemill_kafka_brokers_up", &[])?;
    let sinks = scrape.sum("tidemill_sink_lag_records", &[])?;
    match (lag, scrape.sum("kafka_consumer_lag", &[])?, sinks) {
        (0, 0.0, 0.0) => Ok(scrape),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn what_a_process_shows_is_documented_and_true() {
    let world = Observed::build(3).unwrap();
    let mut job = world.job("tidemill-controls").unwrap();
    let first = expect(LONG, "/ready", || match get(world.ports[0], "/ready")? {
        (200, _) => world.scrape(),
        (_, body) => Err(body),
    });
    nothing_has_happened(&first);
    let mut simulator = world.simulator(500, &["--broken", "0.1", "--late", "0.05", "--duplicates", "0.1"]).unwrap();
    let produced = expect(LONG, "events", || {
        let produced = Scrape::of(world.ports[1])?;
        match produced.sum("events_produced_total", &[])? {
            n if n >= 1000.0 => Ok(produced),
            n => Err(format!("{n} produced")),
        }
    });
    simulator.terminate();
    assert_eq!(simulator.wait(LONG).unwrap().code(), Some(0));
    plant(&world, 40);
    let scrape = expect(LONG, "no lag", || settled(&world));
    everything_is_documented(&scrape, &produced);
    counts_are_true(&world, &scrape);
    lags_are_true(&world);
    a_sinks_lag_is_true(&world);
    a_restore_is_shown(&world, &mut job);
    job.terminate();
    assert_eq!(job.wait(LONG).unwrap().code(), Some(0));
}

/// Counters stand at 0, and nothing is said that nobody knows.
fn nothing_has_happened(scrape: &Scrape) {
    let zero =
        ["events_consumed_total", "events_failed_total", "dead_letter_events_total", "tidemill_transactions_total"];
    for name in zero.iter().chain(&["db_inserts_total", "tidemill_sink_retries_total", "alerts_fired_total"]) {
        assert_eq!(scrape.sum(name, &[]), Ok(0.0), "{name}");
    }
    assert!(scrape.all("tidemill_clock_skew_seconds", &[]).is_empty(), "no checkpoint was written yet");
    assert!(scrape.all("tidemill_stream_time_seconds", &[]).is_empty(), "no record came yet");
}

fn everything_is_documented(job: &Scrape, simulator: &Scrape) {
    let shown: BTreeSet<String> = job.names().union(&simulator.names()).cloned().collect();
    let written = documented();
    assert_eq!(shown.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "shown, not documented");
    assert_eq!(written.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "documented, not shown");
    let seeds: BTreeSet<String> = SEEDS.split_whitespace().map(str::to_owned).collect();
    assert!(seeds.is_subset(&shown), "{:?}", seeds.difference(&shown));
    promtool_finds_nothing(&job.text);
    promtool_finds_nothing(&simulator.text);
    for secret in SECRETS {
        assert!(!job.text.contains(secret) && !simulator.text.contains(secret), "{secret} is in a scrape");
    }
}

fn counts_are_true(world: &Observed, scrape: &Scrape) {
    let sent: i64 = world.broker.ends(INPUT, false).unwrap().values().sum();
    let sum = |name: &str, labels: &[&str]| scrape.sum(name, labels).unwrap();
    assert_eq!(sum("events_consumed_total", &[]), sent as f64);
    let failed = sum("events_failed_total", &[]);
    assert_eq!(sum("events_processed_total", &[]) + failed, sent as f64);
    let table = |sql: &str| world.database(sql).unwrap()[0].parse::<f64>().unwrap();
    assert_eq!(sum("db_inserts_total", &["table=\"raw_events\""]), table("SELECT count(*) FROM raw_events"));
    let stage = |outcome: &str| sum("tidemill_records_total", &["stage=\"events\"", &format!("outcome=\"{outcome}\"")]);
    assert_eq!(stage("in"), stage("out") + stage("filtered") + stage("duplicate") + stage("dead"));
    assert!(stage("duplicate") > 0.0 && stage("late") > 0.0 && failed > 0.0);
    assert_eq!(sum("dead_letter_events_total", &[]), failed + stage("late"));
    assert_eq!(sum("event_processing_duration_seconds_count", &[]), sent as f64);
    assert!(sum("aggregations_created_total", &["event_type=\"click\""]) > 0.0);
    assert!(sum("aggregations_created_total", &["event_type=\"other\""]) >= 40.0, "planted types are no words");
    assert!(scrape.all("tidemill_clock_skew_seconds", &[])[0].abs() < 1.0);
}

/// A committer is held, so nothing commits: the lag is what the broker says, and as old as the wait.
fn lags_are_true(world: &Observed) {
    std::fs::write(world.hold.join("sealed"), "").unwrap();
    let began = Instant::now();
    plant(world, 500);
    let scrape = expect(LONG, "the held lag", || {
        let (real, scrape) = (world.real_lag()?, world.scrape()?);
        match scrape.sum("kafka_consumer_lag", &["topic=\"user-events\""])? {
            shown if shown == real as f64 && shown >= 500.0 && began.elapsed() > Duration::from_secs(3) => Ok(scrape),
            shown => Err(format!("{shown} shown, {real} real")),
        }
    });
    let age = scrape.all("tidemill_lag_seconds", &["task=\"events/user-events"]).into_iter().fold(0.0, f64::max);
    let most = began.elapsed().as_secs_f64();
    assert!(age >= 1.0 && age <= most + 1.0, "{age} s, of {most}");
    let busy = scrape.all("tidemill_lane_busy_seconds", &[]).into_iter().fold(0.0, f64::max);
    assert!(busy >= 1.0 && busy <= most + 1.0, "{busy} s, of {most}");
    std::fs::remove_file(world.hold.join("sealed")).unwrap();
    expect(LONG, "no lag again", || settled(world));
}

/// The database is away: what the sinks lack is what the broker has more.
fn a_sinks_lag_is_true(world: &Observed) {
    let ends = || -> i64 { OUTPUTS.iter().map(|o| world.broker.ends(o, true).unwrap().values().sum::<i64>()).sum() };
    let written = world.database("SELECT sum(next_offset) FROM tidemill_sink_offsets").unwrap();
    let written: i64 = written[0].parse().unwrap();
    world.postgres.kill();
    let bad = doctor(world);
    assert!(bad.len() == 2 && bad.iter().all(|line| line.starts_with("BAD  database  ")), "{bad:?}");
    plant(world, 300);
    let within = Duration::from_secs(30);
    expect(within, "the sinks' lag", || {
        world.broker.group_offsets(GROUP, INPUT)?;
        let (real, scrape) = (ends() - written, world.scrape()?);
        let shown = scrape.sum("tidemill_sink_lag_records", &[])?;
        let waiting = scrape.all("tidemill_sink_waiting_seconds", &[]).into_iter().all(|s| s > 0.0);
        let connections = scrape.sum("db_connections_active", &[])?;
        let refused = scrape.sum("db_insert_errors_total", &["error_type=\"connection\""])?;
        match shown == real as f64 && shown >= 300.0 && waiting && connections == 0.0 && refused > 0.0 {
            true => Ok(()),
            false => Err(format!("{shown} shown, {real} real, {connections} connections, {refused} refused")),
        }
    });
    world.postgres.restart();
    expect(LONG, "no lag of sinks", || settled(world));
}

/// What a doctor finds bad; how full the disk of this machine is does not matter here.
fn doctor(world: &Observed) -> Vec<String> {
    let said = world.command(&["doctor"]).output().unwrap();
    let lines = String::from_utf8(said.stdout).unwrap();
    let bad: Vec<String> = lines.lines().filter(|line| line.starts_with("BAD")).map(str::to_owned).collect();
    assert_eq!(said.status.code(), Some(if bad.is_empty() { 0 } else { 78 }), "{lines}");
    bad.into_iter().filter(|line| !line.contains("  disk  ")).collect()
}

/// Its state is lost, and a restore is held in the middle of a changelog: how far it is stands everywhere.
fn a_restore_is_shown(world: &Observed, job: &mut Process) {
    assert_eq!(doctor(world), [""; 0]);
    job.kill();
    std::fs::remove_dir_all(world.scratch.path().join("state")).unwrap();
    let held = world.hold.join("restore");
    std::fs::write(&held, "").unwrap();
    *job = world.job("tidemill-controls").unwrap();
    let between = |share: f64| share > 0.0 && share < 1.0;
    let told = expect(LONG, "a restore in the middle", || {
        let told: Value = serde_json::from_str(&get(world.ports[0], "/status")?.1).map_err(|e| e.to_string())?;
        let tasks = told["tasks"].as_array().ok_or("no tasks")?;
        let restores =
            |task: &&Value| task["phase"] == "restoring" && between(task["restored"].as_f64().unwrap_or(0.0));
        let task = tasks.iter().find(restores).cloned().ok_or_else(|| told.to_string());
        task.map(|task| (task["task"].as_str().unwrap_or_default().to_owned(), task["restored"].to_string()))
    });
    expect(LONG, "its metric", || {
        let shares = world.scrape()?.all("tidemill_restore_progress_ratio", &[&format!("task=\"{}\"", told.0)]);
        if shares.iter().any(|share| between(*share)) { Ok(()) } else { Err(format!("{shares:?}")) }
    });
    let bad = doctor(world);
    assert!(bad.len() == 1 && bad[0].starts_with("BAD  process   not ready: ") && bad[0].contains(&told.0), "{bad:?}");
    let mut view = View(world.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(view.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let row = lines.find(|line| line.starts_with(&told.0)).unwrap();
    assert!(row.contains("restoring") && row.contains(&told.1), "{row}, but {told:?}");
    std::fs::remove_file(&held).unwrap();
    assert!(lines.any(|line| line.ends_with(": ready")), "the view goes on, and says when it is over");
    drop(view);
    expect(LONG, "no lag after it", || settled(world));
}

/// A command that does not end by itself.
struct View(Child);

impl Drop for View {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
