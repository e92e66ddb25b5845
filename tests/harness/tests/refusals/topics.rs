//! Topics that are missing, made otherwise, or changed under the state.
//! Invariant: each line names its topic and what to type.

use super::app::{App, PARTITIONS, command_refused, text};
use super::world::World;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidemill_harness::process::Line;

pub fn missing(world: &World) {
    let app = App::new(world, "missing");
    let says = ["topic missing-out is missing; run 'tidemill topics create'", &app.changelog(), "missing-dead-letters"];
    assert_eq!(app.refused(78, &says).causes.len(), 3);
    assert_eq!(command_refused(&app.cli(&["topics", "check"]), 78, &says).len(), 3);
    assert_eq!(command_refused(&app.cli(&["check", "--live"]), 78, &says).len(), 3);

    let bad = doctor(&app);
    assert_eq!(bad.len(), 3, "{bad:?}");
    assert!(
        bad.iter().all(|line| line.contains("  topics  ")) && bad[0].contains("run 'tidemill topics create'"),
        "{bad:?}"
    );

    let printed = text(&app.cli(&["-o", "json", "topics", "print"]).stdout);
    let plan: Vec<Value> = printed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let changelog = plan.iter().find(|p| p["role"] == "changelog").unwrap();
    assert_eq!(
        (changelog["name"].as_str().unwrap(), &changelog["config"]["cleanup.policy"]),
        (&*app.changelog(), &"compact".into())
    );

    app.make_topics();
    let again = app.cli(&["topics", "create"]);
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), "all topics are there\n".to_owned()));
    assert_eq!(app.cli(&["topics", "check"]).status.code(), Some(0));
    assert_eq!(app.cli(&["check", "--live"]).status.code(), Some(0));
    assert_eq!(doctor(&app), [""; 0]);
    app.feed(20);
    app.run_through();

    app.edit(&[("INPUT", "nowhere")]);
    let says = ["topic nowhere of source 'events' is not there; create it, or correct the source's topic"];
    assert_eq!(app.refused(78, &says).causes.len(), 1);
    command_refused(&app.cli(&["topics", "create"]), 78, &says);
}

/// What a doctor finds bad; how full the disk of this machine is does not matter here.
pub fn doctor(app: &App) -> Vec<String> {
    let said = app.cli(&["doctor"]);
    let lines: Vec<String> = text(&said.stdout).lines().map(str::to_owned).collect();
    assert!(lines.iter().any(|line| line.contains("  brokers  ")), "{lines:?} {}", text(&said.stderr));
    let bad: Vec<String> = lines.into_iter().filter(|line| line.starts_with("BAD")).collect();
    assert_eq!(said.status.code(), Some(if bad.is_empty() { 0 } else { 78 }), "{bad:?}");
    bad.into_iter().filter(|line| !line.contains("  disk  ")).collect()
}

pub fn wrong_changelog(world: &World) {
    let app = App::new(world, "wrong");
    let changelog = app.changelog();
    world.create_topic(&changelog, 2, &[("cleanup.policy", "delete"), ("message.timestamp.type", "CreateTime")]);
    app.make_topics();
    let policy = format!("topic {changelog} has cleanup.policy=delete, not compact; run kafka-configs --alter");
    let says =
        [&*policy, "--add-config cleanup.policy=compact", "message.timestamp.type=CreateTime, not LogAppendTime"];
    assert_eq!(app.refused(78, &says).causes.len(), 2);
    assert_eq!(command_refused(&app.cli(&["topics", "check"]), 78, &says).len(), 2);
    world.set_topic(&changelog, &[("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")]);
    app.feed(20);
    app.run_through();

    let other = App::new(world, "wide");
    world.create_topic(&other.changelog(), 3, &[]);
    other.make_topics();
    let refusal =
        other.refused(78, &[&format!("topic {} has 3 partitions, its input wide-input 2", other.changelog())]);
    assert_eq!(refusal.causes.len(), 1);
}

/// Brokers delete by the time that a record bears, and the result of an old event bears the event's: that is said, once.
pub fn old_results(world: &World) {
    const SAID: &str = "results are older than their topic keeps: the broker deletes them";
    let long_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - 30 * Duration::from_secs(86_400);
    let fed = |name: &str, keep: &str| {
        let input = format!("{name}-input");
        world.create_topic(&input, PARTITIONS, &[("retention.ms", "-1")]);
        let app = App::on(world, name, &input);
        app.edit(&[("min_insync_replicas: 1", &format!("min_insync_replicas: 1{keep}"))]);
        app.make_topics();
        app.feed_of(20, long_ago);
        app
    };
    let said = |lines: &[Line]| lines.iter().filter(|line| line.message == SAID).count();

    // What is left of the results is up to the broker, so nobody looks at them.
    for keep in ["", ", keep: 29d"] {
        let app = fed(&format!("aged{}", keep.len()), keep);
        let process = app.start();
        let line = process.wait_message(SAID, Duration::from_secs(30)).expect("it is said");
        assert!(line.text("remedy").unwrap().contains("retention.ms=-1"), "{line:?}");
        app.stop(process);
    }
    for keep in [", keep: forever", ", keep: 31d"] {
        let app = fed(&format!("kept{}", keep.len()), keep);
        assert_eq!(said(&app.run_through()), 0, "{keep}");
    }
}

/// Keys have moved, so no state is right any more: it is kept as it is, and nothing runs.
pub fn partition_count(world: &World) {
    let app = App::ready(world, "widened", 20);
    app.run_through();
    let before = app.cli(&["state", "dump"]).stdout;
    world.widen_topic(&app.input, 3);
    let says = ["its input widened-input 3", "keys have moved", "a new app"];
    assert_eq!(app.refused(78, &says).causes.len(), 1);
    // Somebody makes the changelog fit by hand.
    world.widen_topic(&app.changelog(), 3);
    let says = ["topic widened-input had 2 partitions and has 3, so keys have moved", "start a new app"];
    assert_eq!(app.refused(78, &says).causes.len(), 1);
    assert_eq!(text(&app.cli(&["state", "dump"]).stdout), text(&before));
    app.exact();
}
