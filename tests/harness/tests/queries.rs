//! Questions over HTTP to running processes: what is open, from whom, and what happens while tasks move. Knows the
//! product from outside. Invariant: an answer is whole and stands for what is committed, or it is refused.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "queries/mills.rs"]
mod mills;

use mills::{Asked, Mills, at_the_end, cli, expect, get};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::verdict::Broker;

const LONG: Duration = Duration::from_secs(90);
const RECORDS: u64 = 600;
/// 2026-01-01T10:00:00Z.
const TEN: i64 = 1_767_261_600_000;

/// Six hundred records: of each kind 200, by ten users.
fn expected() -> Value {
    let row = |kind: &str| {
        json!({ "window": { "start": "2026-01-01T10:00:00Z", "end": "2026-01-01T11:00:00Z" }, "kind": kind,
            "n": 200, "users": 10, "mean": 0.5, "result": "open" })
    };
    json!([row("a"), row("b"), row("c")])
}

fn sorted(body: &Value) -> Value {
    let mut rows = body["rows"].as_array().unwrap_or_else(|| panic!("{body}")).clone();
    rows.sort_by_key(|row| row["kind"].to_string());
    Value::Array(rows)
}

fn positions(body: &Value, topic: &str) -> BTreeMap<i32, i64> {
    let all = body["positions"][topic].as_object().unwrap_or_else(|| panic!("{body}"));
    all.iter().map(|(partition, at)| (partition.parse().unwrap(), at.as_i64().unwrap())).collect()
}

/// Asks until all of it is answered.
fn whole(port: u16, path: &str) -> Value {
    expect(LONG, path, || get(port, path, &[]).filter(|a| a.status == 200).map(|a| a.body))
}

/// Asks without a pause until told to stop: every answer is whole, or there is none.
fn pester(port: u16, stop: &AtomicBool) -> BTreeMap<u16, u64> {
    let mut seen = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Some(Asked { status, body }) = get(port, "/query/hourly", &[]) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        *seen.entry(status).or_default() += 1;
        match status {
            200 => assert_eq!(sorted(&body), expected(), "port {port}"),
            503 => assert!(["restoring", "busy"].contains(&body["error"].as_str().unwrap()), "{body}"),
            other => panic!("{other}: {body}"),
        }
    }
    seen
}

#[test]
fn open_windows_are_answered_by_whoever_is_asked() {
    let cluster = Cluster::start(1, &[], &[]);
    let (broker, mills) = (Broker::new(&cluster.bootstrap), Mills::new(&cluster));
    broker.create_topic("queries-input", 3, 1).unwrap();
    mills.create_topics();
    let mut first = mills.start("first", mills.ports[0]);
    expect(LONG, "/ready", || get(mills.ports[0], "/ready", &[]).filter(|a| a.status == 200));
    mills.feed(RECORDS, TEN);
    one_process(&broker, &mills);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pestering = mills.ports.map(|port| {
            scope.spawn({
                let stop = &stop;
                move || pester(port, stop)
            })
        });
        // Panics here must end the loops too.
        let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| two_processes(&broker, &mills)));
        stop.store(true, Ordering::Relaxed);
        let seen: Vec<_> = pestering.into_iter().map(|p| p.join().unwrap()).collect();
        moved.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(seen[0][&200] > 20 && seen[0][&503] > 0, "{seen:?}");
    });
    assert!(first.ended().is_none(), "the first process went on all the time");
    finished(&broker, &mills);
    first.terminate();
    assert_eq!(first.wait(LONG).unwrap().code(), Some(0));
}

fn one_process(broker: &Broker, mills: &Mills) {
    let port = mills.ports[0];
    at_the_end(broker, "queries-input");
    at_the_end(broker, "queries-hourly-repartition");
    let hourly = whole(port, "/query/hourly");
    assert_eq!(sorted(&hourly), expected());
    // A stream time that is told moves the repartition; then the two are read again.
    expect(LONG, "equal positions", || {
        let told = positions(&whole(port, "/query/hourly"), "queries-hourly-repartition");
        (told == broker.group_offsets("queries", "queries-hourly-repartition").unwrap()).then_some(())
    });
    let running = whole(port, "/query/running");
    assert_eq!(positions(&running, "queries-input"), broker.group_offsets("queries", "queries-input").unwrap());
    assert_eq!(running["rows"].as_array().unwrap().len(), 30);
    let one = whole(port, "/query/hourly?kind=b&window=2026-01-01T10:00:00Z");
    assert_eq!(one["rows"], json!([expected()[1]]));
    assert_eq!(positions(&one, "queries-hourly-repartition").len(), 1, "a group is on one partition: {one}");
    assert_eq!(whole(port, "/query/running?key=key-3")["rows"], json!([{ "key": "key-3", "n": 20, "result": "open" }]));
    assert_eq!(whole(port, "/query/running?limit=7")["truncated"], json!(true));
    wrongly_asked(port);
    // The mark of the transaction that brought partials waits up to a second for its own.
    let status = expect(LONG, "no lag", || {
        let status = whole(port, "/status");
        status["tasks"].as_array().unwrap().iter().all(|t| t["lag"] == 0).then_some(status)
    });
    let tasks = status["tasks"].as_array().unwrap();
    let of = |stage: &str, count: &str| -> u64 {
        tasks.iter().filter(|t| t["stage"] == stage).map(|t| t["counts"][count].as_u64().unwrap()).sum()
    };
    assert_eq!((tasks.len(), of("events", "in"), of("events", "dead")), (6, RECORDS, 0), "{status}");
    assert!(tasks.iter().all(|t| t["phase"] == "running"), "{status}");
    asked_by_command(mills);
}

fn wrongly_asked(port: u16) {
    for (path, status, says) in [
        ("/query/hourli", 404, "did you mean 'hourly'?"),
        ("/query/events", 404, "groups nothing"),
        ("/query/hourly?knd=a", 400, "did you mean 'kind'?"),
        ("/query/hourly?window=ten", 400, "is no time"),
        ("/query/hourly?window=2026-01-01T10:30:00Z", 400, "begins at 2026-01-01T10:00:00Z"),
        ("/query/running?window=0", 400, "has no windows"),
        ("/query/hourly?limit=0", 400, "write 1 to 10000"),
        ("/elsewhere", 404, "known are GET /query/STEP"),
    ] {
        let answer = get(port, path, &[]).unwrap();
        assert!(
            answer.status == status && answer.body["message"].as_str().unwrap().contains(says),
            "{path}: {answer:?}"
        );
    }
    let strange = get(port, "/query/hourly", &[("tidemill-passed-on", "another")]).unwrap();
    assert!(strange.status == 400 && strange.body["message"].as_str().unwrap().contains("check http.peers"));
    let long = format!("/query/hourly?kind={}", "x".repeat(9_000));
    assert_eq!(get(port, &long, &[]).unwrap().status, 400);
}

fn asked_by_command(mills: &Mills) {
    let out = cli(mills, &["query", &mills.topology, "hourly", "kind=a", "-o", "json"]).unwrap();
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["rows"], json!([expected()[0]]));
    let table = cli(mills, &["query", &mills.topology, "hourly"]).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "window start          window end            kind    n  users  mean  result", "{table}");
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[4].starts_with("as of queries-hourly-repartition 0:"), "{table}");
    let status = cli(mills, &["status", &mills.topology]).unwrap();
    assert!(status.starts_with("queries first, version ") && status.lines().next().unwrap().ends_with(": ready"));
    let refused = cli(mills, &["query", &mills.topology, "hourli"]).unwrap_err();
    assert!(refused.contains("404: there is no step 'hourli'; did you mean 'hourly'?"), "{refused}");
}

/// A second process takes half of the tasks, answers for both, dies, comes back, and leaves.
fn two_processes(broker: &Broker, mills: &Mills) {
    let [one, two] = mills.ports;
    let mut second = mills.start("second", two);
    let shared = || {
        let (a, b) = (get(one, "/status", &[])?.body, get(two, "/status", &[])?.body);
        let runs = |told: &Value| told["tasks"].as_array().unwrap().iter().filter(|t| t["phase"] == "running").count();
        (runs(&a) == 3 && runs(&b) == 3).then_some(())
    };
    expect(LONG, "three tasks each", shared);
    assert_eq!(sorted(&whole(one, "/query/hourly")), expected());
    let answers = [one, two].map(|port| whole(port, "/query/running"));
    assert_eq!(answers[0], answers[1], "whoever is asked");
    assert_eq!(positions(&answers[0], "queries-input"), broker.group_offsets("queries", "queries-input").unwrap());
    second.kill();
    let refused = get(one, "/query/hourly", &[]).unwrap();
    assert_eq!(refused.status, 503, "half of it is dead: {refused:?}");
    assert!(!refused.body["missing"].as_array().unwrap().is_empty(), "{refused:?}");
    assert!(
        refused.body["peers"].to_string().contains(&format!(":{two}: ")),
        "who did not answer is named: {refused:?}"
    );
    assert_eq!(sorted(&whole(one, "/query/hourly")), expected(), "after the session's time the first has all");
    let mut again = mills.start("again", two);
    expect(LONG, "three tasks each", shared);
    again.terminate();
    assert_eq!(again.wait(LONG).unwrap().code(), Some(0));
    let until = Instant::now() + LONG;
    while get(one, "/status", &[]).unwrap().body["tasks"].as_array().unwrap().len() < 6 {
        assert!(Instant::now() < until, "the first does not get all tasks back");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Two hours later the window is closed, and its question says where its final is.
fn finished(broker: &Broker, mills: &Mills) {
    mills.feed(90, TEN + 2 * 3_600_000);
    at_the_end(broker, "queries-input");
    let path = "/query/hourly?kind=a&window=2026-01-01T10:00:00Z";
    let gone = expect(LONG, path, || get(mills.ports[0], path, &[]).filter(|a| a.status == 404)).body;
    assert_eq!(gone["error"], "finished");
    assert!(gone["message"].as_str().unwrap().ends_with("what it came to is in topic queries-hourly"), "{gone}");
}

#[test]
fn who_can_be_reached_by_others_wants_a_token() {
    let cluster = Cluster::start(1, &[], &[]);
    let (broker, mills) = (Broker::new(&cluster.bootstrap), Mills::new(&cluster));
    broker.create_topic("queries-input", 1, 1).unwrap();
    let (port, open) = (mills.ports[0], "0.0.0.0:${PORT:-8002}");
    let without = mills.edited(&[("127.0.0.1:${PORT:-8002}", open)]);
    let refused = cli(&mills, &["check", &without]).unwrap_err();
    assert!(refused.contains("exit status: 78") && refused.contains("lacks 'token_file'"), "{refused}");
    let with = mills.edited(&[("127.0.0.1:${PORT:-8002}\"", &format!("{open}\"\n  token_file: token"))]);
    mills.create_topics();
    for (token, says) in [(None, "No such file"), (Some("short"), "holds no token")] {
        token.iter().for_each(|token| std::fs::write(mills.file("token"), token).unwrap());
        let refused = cli(&mills, &["run", &with, "--state", &mills.file("s")]).unwrap_err();
        assert!(refused.contains("exit status: 78") && refused.contains(says), "{refused}");
    }
    std::fs::write(mills.file("token"), "0123456789abcdef\n").unwrap();
    let taken = std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    let refused = cli(&mills, &["run", &with, "--state", &mills.file("s")]).unwrap_err();
    assert!(refused.contains("exit status: 78") && refused.contains("a free port"), "{refused}");
    drop(taken);
    let _process = mills.start_file("first", port, &with);
    expect(LONG, "/ready needs no token", || get(port, "/ready", &[]).filter(|a| a.status == 200));
    assert_eq!(get(port, "/live", &[]).unwrap().status, 200);
    for path in ["/status", "/query/hourly"] {
        assert_eq!(get(port, path, &[]).unwrap().status, 401, "{path}");
        assert_eq!(get(port, path, &[("authorization", "Bearer 0123456789abcdee")]).unwrap().status, 401);
        assert_eq!(get(port, path, &[("authorization", "Bearer 0123456789abcdef")]).unwrap().status, 200);
    }
    assert!(cli(&mills, &["status", &with]).unwrap().contains("running"), "the command shows the token");
}
