//! How a process ends when it is told to, and what may be looked at meanwhile.
//! Invariant: drained or not, the next start goes on exactly.

use super::app::{App, ended, text};
use super::world::World;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_harness::process::Process;
use tidemill_harness::proxy::{Action, Kind, Release, Rule};

pub fn signals_drain(world: &World) {
    let app = App::ready(world, "signals", 2_000);
    // At once: whatever it was at, it ends in order.
    for (signal, name) in [(libc::SIGINT, "SIGINT"), (libc::SIGTERM, "SIGTERM")] {
        let process = app.start();
        process.wait_message("all tasks ready", Duration::from_secs(30)).unwrap();
        app.stop_by(process, signal, name);
        app.feed(500);
    }
    let process = app.start();
    app.settled();
    app.stop_by(process, libc::SIGINT, "SIGINT");
    app.exact();
}

/// A commit that gets no answer: the drain waits for it until it is told not to, or its budget is over.
pub fn a_drain_that_cannot_end(world: &World) {
    for (name, shutdown, second) in [("second", "20s", true), ("budget", "2s", false)] {
        let app = App::ready(world, name, 20);
        app.edit(&[("BROKERS", &world.proxy.bootstrap()), ("shutdown: 20s", &format!("shutdown: {shutdown}"))]);
        let mut process = app.start();
        app.settled();
        let hold = Rule::on(Kind::EndTxn, Action::Hold(Release::by_hand())).txn(name);
        let rule = world.proxy.install(hold);
        app.feed(20);
        world.proxy.wait_fired(rule, Duration::from_secs(20)).unwrap();
        process.terminate();
        process.wait_message("stopping", Duration::from_secs(5)).unwrap();
        end(&mut process, second);
        world.proxy.remove(rule);
        app.edit(&[]);
        app.run_through();
    }
}

fn end(process: &mut Process, second: bool) {
    let began = Instant::now();
    if second {
        assert!(process.wait(Duration::from_millis(700)).is_none(), "it waits for the answer");
        process.terminate();
        ended(process, 1, &["a second signal (SIGTERM)"]);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    } else {
        ended(process, 1, &["not drained within 2s", "uncommitted work will be done again"]);
        let took = began.elapsed().as_secs_f32();
        assert!((1.5..6.0).contains(&took), "{took} s");
    }
}

pub fn state_is_read_beside_a_process(world: &World) {
    let app = App::ready(world, "looked", 40);
    let process = app.start();
    app.settled();
    look(&app);
    app.stop(process);
    look(&app);
    std::fs::remove_dir_all(app.dir.join("state")).unwrap();
    let refused = app.cli(&["state", "check"]);
    super::app::command_refused(&refused, 78, &[&app.folder().display().to_string(), "check --state"]);
    app.feed(20);
    let why = App::why(&app.run_through());
    assert!(why.values().all(|why| why == "first time here"), "{why:?}");
    look(&app);
}

/// `state check` finds it sound, `state dump` shows the last results: at once, for a store follows its commit.
fn look(app: &App<'_>) {
    super::world::until("the stores to have what was committed", || {
        let checked = app.cli(&["state", "check"]);
        assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
        assert_eq!(text(&checked.stdout).matches("sound").count(), 2);
        (dumped(app) == app.expected_state()).then_some(())
    });
}

fn dumped(app: &App<'_>) -> BTreeMap<String, (i64, i64)> {
    let dumped = app.cli(&["-o", "json", "state", "dump"]);
    assert_eq!((dumped.status.code(), text(&dumped.stderr)), (Some(0), String::new()));
    let printed = text(&dumped.stdout);
    let lines = printed.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let entries = lines.filter(|l| l.get("state").is_some());
    let number = |v: &Value| v.as_i64().or_else(|| v.as_str()?.parse().ok()).unwrap();
    entries
        .map(|l| {
            assert_eq!((l["state"].as_str(), &l["window"]), (Some("running"), &Value::Null));
            let value = (number(&l["value"]["n"]), number(&l["value"]["total"]));
            (l["key"].as_str().unwrap().to_owned(), value)
        })
        .collect()
}
