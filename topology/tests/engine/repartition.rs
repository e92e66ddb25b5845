//! Groupings by fields: partials travel, and what comes out is what one task would have said.

use crate::given::{TEN, topology};
use std::sync::Arc;
use tidemill_state::MemoryStore;
use tidemill_topology::tester::Message;
use tidemill_topology::{Batch, Task, TaskSetup, Tester};

/// Times in these tests are ms after [`TEN`].
const HOURLY: &str = "
sources:
  events: { topic: events, time: at, key_format: string }
steps:
  hourly:
    from: events
    group_by: [kind]
    window: { tumbling: 10s, grace: 5s }
    aggregate: { n: count(), users: count_distinct(user), total: sum(x), mean: avg(x), low: min(x), high: max(x) }
    emit: { final: true }
outputs:
  rows: { from: hourly }
";

fn on(partition: i32, value: String) -> Message {
    Message { partition: Some(partition), ..Message::new("k", value) }
}

fn event(user: &str, kind: &str, at: i64, x: &str) -> String {
    let at = TEN + at;
    format!(r#"{{"user":"{user}","kind":"{kind}","at":{at},"x":{x}}}"#)
}

fn rows(tester: &mut Tester) -> Vec<String> {
    let mut rows: Vec<String> = tester.take("rows").iter().map(Message::value_text).collect();
    rows.sort();
    rows
}

#[test]
fn partials_of_all_partitions_become_one_row() {
    // given: one kind, two users, on three partitions
    let mut tester = Tester::with_partitions(topology(HOURLY), 3);
    for (partition, user, x) in [(0, "u1", "1.5"), (1, "u2", "2"), (2, "u1", "4"), (0, "u1", "null")] {
        tester.feed("events", on(partition, event(user, "click", 1_000, x)));
    }
    // when: every partition's time passes the end and the grace
    for partition in 0..3 {
        tester.feed("events", on(partition, event("u9", "other", 15_000, "0")));
    }
    tester.run().unwrap();
    // then
    let row = r#"{"window":{"start":"2026-01-01T10:00:00Z","end":"2026-01-01T10:00:10Z"},"kind":"click","n":4,"users":2,"total":7.5,"mean":2.5,"low":1.5,"high":4,"result":"final"}"#;
    assert_eq!(rows(&mut tester), [row]);
}

#[test]
fn partials_are_urgent_and_the_end_of_a_transaction_behind_them_is_not() {
    let topology = topology(HOURLY);
    let behind = topology.stages.iter().find(|stage| stage.takes_partials()).unwrap().clone();
    // given: partials have come
    let mut tester = Tester::with_partitions(topology, 1);
    tester.feed("events", on(0, event("u1", "click", 1_000, "1")));
    for _ in 0..2 {
        tester.process().unwrap();
        tester.commit().unwrap();
    }
    tester.feed("events", on(0, event("u1", "click", 2_000, "1")));
    tester.process().unwrap();
    assert!(!tester.task(&behind.topic, 0).unwrap().urgent(tester.now()), "they were sealed");
    tester.commit().unwrap();
    tester.process().unwrap();
    assert!(tester.task(&behind.topic, 0).unwrap().urgent(tester.now()));
    // given: the mark that ends their transaction alone
    let setup =
        TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 1 << 20 };
    let mut task = Task::open(behind.clone(), setup, Arc::new(MemoryStore::new()), None).unwrap();
    let mut batch = Batch::new(behind.topic.clone(), 0, 1, 0);
    (batch.next, batch.at_end) = (1, true);
    task.process(&batch).unwrap();
    assert!(task.due(0) && task.may_rest(0), "its offset goes with a later seal");
}

#[test]
fn time_goes_to_all_partitions_once_a_second_and_at_once_where_it_closes_a_window_but_no_more_often() {
    let topology = topology(HOURLY);
    let behind = topology.stages.iter().find(|stage| stage.takes_partials()).unwrap().topic.clone();
    let mut tester = Tester::with_partitions(topology, 4);
    tester.advance(1_000 - tester.now().rem_euclid(1_000));
    // when: so many ms pass, and a record of this time comes; then: so many records of a partition that no partials go to
    let steps = [
        (0, 1_000, 1),
        (10, 2_000, 1),
        (10, 15_000, 2),
        (10, 16_000, 2),
        (10, 35_000, 2),
        (960, 35_000, 3),
        (5, 55_000, 3),
        (10, 75_000, 3),
    ];
    let told = |tester: &Tester| (0..4).map(|p| tester.task(&behind, p).unwrap().position()).min().unwrap();
    for (step, (passed, at, expected)) in steps.into_iter().enumerate() {
        tester.advance(passed);
        tester.feed("events", on(0, event("u1", "click", at, "1")));
        tester.run().unwrap();
        assert_eq!(told(&tester), expected, "step {step}");
    }
    // then: one that lies there alone closes nothing, and may wait for a later seal
    tester.advance(2_000);
    tester.feed("events", on(0, event("u1", "click", 75_001, "1")));
    tester.process().unwrap();
    tester.commit().unwrap();
    tester.process().unwrap();
    let rest = |p: &i32| tester.task(&behind, *p).is_some_and(|t| t.due(tester.now()) && t.may_rest(tester.now()));
    assert_eq!((0..4).filter(rest).count(), 3, "all but the one that partials came to");
}

#[test]
fn a_window_stays_open_until_the_slowest_partition_has_passed_it() {
    let mut tester = Tester::with_partitions(topology(HOURLY), 2);
    tester.feed("events", on(0, event("u1", "click", 1_000, "1")));
    tester.feed("events", on(0, event("u1", "click", 99_000, "1")));
    tester.run().unwrap();
    assert!(rows(&mut tester).is_empty(), "partition 1 has said nothing yet");
    tester.feed("events", on(1, event("u2", "click", 2_000, "1")));
    tester.run().unwrap();
    assert!(rows(&mut tester).is_empty(), "its time is within the window");
    tester.feed("events", on(1, event("u2", "click", 15_000, "1")));
    tester.run().unwrap();
    assert_eq!(rows(&mut tester).len(), 1);
    assert_eq!(tester.counts("events").late, 0);
}

#[test]
fn late_is_decided_by_the_time_of_the_partition_that_the_record_lies_on() {
    let mut tester = Tester::with_partitions(topology(HOURLY), 2);
    // given: partition 0 is far ahead, partition 1 is not
    tester.feed("events", on(0, event("u1", "click", 50_000, "1")));
    tester.feed("events", on(1, event("u1", "click", 1_000, "1")));
    // when: the same time comes on both
    tester.feed("events", on(0, event("u2", "click", 2_000, "1")));
    tester.feed("events", on(1, event("u3", "click", 2_000, "1")));
    tester.feed("events", on(1, event("u3", "click", 50_000, "1")));
    tester.run().unwrap();
    // then: on 0 it is late and a dead letter, on 1 it counts
    assert_eq!(tester.counts("events").late, 1);
    assert_eq!(tester.take("dead").len(), 1);
    let rows = rows(&mut tester);
    assert!(rows.len() == 1 && rows[0].contains(r#""n":2,"users":2"#), "{rows:?}");
}

#[test]
fn whatever_is_forgotten_between_two_commits_the_rows_are_the_same() {
    let feed = |tester: &mut Tester, from: i64, to: i64| {
        for i in from..to {
            let (user, kind) = (format!("u{}", i * 7 % 11), ["a", "b", "c"][(i % 3) as usize]);
            tester.feed("events", on((i % 4) as i32, event(&user, kind, i * 200, &i.to_string())));
        }
    };
    let mut whole = Tester::with_partitions(topology(HOURLY), 4);
    feed(&mut whole, 0, 400);
    whole.run().unwrap();
    let expected = rows(&mut whole);
    assert!(expected.len() > 15, "{expected:?}");
    let mut torn = Tester::with_partitions(topology(HOURLY), 4);
    for step in 0..40 {
        feed(&mut torn, step * 10, step * 10 + 10);
        torn.process().unwrap();
        match step % 4 {
            0 => torn.restart().unwrap(),
            1 => {
                torn.commit().unwrap();
                torn.process().unwrap();
                torn.restart().unwrap();
            }
            2 => drop(torn.commit().unwrap()),
            _ => torn.run().unwrap(),
        }
    }
    torn.run().unwrap();
    assert_eq!(rows(&mut torn), expected);
}

#[test]
fn a_partition_without_records_holds_a_window_until_it_was_idle() {
    // given: records on one of two partitions alone, and an hour in which nothing comes
    let text = HOURLY.replace("key_format: string", "key_format: string, idle: 1m");
    let mut tester = Tester::with_partitions(topology(&text), 2);
    tester.advance(TEN - tester.now());
    let begin = 0;
    tester.feed("events", on(0, event("u1", "click", begin + 1_000, "1")));
    tester.run().unwrap();
    tester.advance(59_000);
    tester.run().unwrap();
    assert!(rows(&mut tester).is_empty());
    // when: grace and idle are over behind the window's end
    let end = TEN + 10_000;
    tester.advance(end + 5_000 + 60_000 - tester.now() - 1);
    tester.run().unwrap();
    assert!(rows(&mut tester).is_empty(), "one ms early");
    tester.advance(1);
    tester.run().unwrap();
    // then: the final row, once, whatever comes later
    assert_eq!(rows(&mut tester).len(), 1);
    tester.feed("events", on(0, event("u1", "click", begin + 2_000, "1")));
    tester.advance(600_000);
    tester.run().unwrap();
    assert!(rows(&mut tester).is_empty());
    assert_eq!(tester.counts("events").late, 1);
}

#[test]
fn past_its_bound_a_distinct_count_says_that_it_is_approximate() {
    let text = HOURLY.replace("emit: { final: true }", "at_most: 100\n    emit: { final: true }");
    let mut tester = Tester::with_partitions(topology(&text), 2);
    for i in 0..2_000 {
        tester.feed("events", on(i % 2, event(&format!("u{i}"), "click", 1_000, "1")));
    }
    for partition in 0..2 {
        tester.feed("events", on(partition, event("u", "end", 15_000, "1")));
    }
    tester.run().unwrap();
    let rows = rows(&mut tester);
    let row: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    let users = row["users"].as_i64().unwrap();
    assert!((1_900..2_100).contains(&users), "{users}");
    assert_eq!(row["approximate"], serde_json::json!(["users"]));
    assert_eq!(row["n"], serde_json::json!(2_000), "what is counted stays exact");
}

#[test]
fn a_grouping_that_holds_the_partition_stays_wherever_keys_lie_and_each_partition_speaks_for_itself() {
    // given: rows for each partition, of keys that lie on several
    let by_partition = HOURLY
        .replace("group_by: [kind]", "group_by: { kind: kind, part: record.partition }")
        .replace("key_format: string", "key_format: string, keys: scattered");
    assert_eq!(topology(&by_partition).stages.len(), 1);
    let mut tester = Tester::with_partitions(topology(&by_partition), 2);
    // when: one user is on both, and the time of the first alone passes the end and the grace
    for (partition, user, at) in [(0, "u1", 1_000), (1, "u1", 1_000), (1, "u2", 2_000), (0, "u9", 15_000)] {
        tester.feed("events", on(partition, event(user, "click", at, "1")));
    }
    tester.run().unwrap();
    // then: it does not wait for the other
    let said = rows(&mut tester);
    assert!(matches!(&said[..], [row] if row.contains(r#""kind":"click","part":0,"n":1,"users":1"#)), "{said:?}");
    // when, then
    tester.feed("events", on(1, event("u9", "click", 15_000, "1")));
    tester.run().unwrap();
    let said = rows(&mut tester);
    assert!(matches!(&said[..], [row] if row.contains(r#""kind":"click","part":1,"n":2,"users":2"#)), "{said:?}");
}

#[test]
fn a_grouping_that_holds_the_record_key_stays_unless_keys_are_scattered() {
    let stays = HOURLY.replace("[kind]", "[record.key, kind]");
    assert_eq!(topology(&stays).stages.len(), 1);
    let scattered = stays.replace("key_format: string", "key_format: string, keys: scattered");
    assert_eq!(topology(&scattered).stages.len(), 2);
    assert_eq!(&*topology(HOURLY).stages[1].topic, "t-hourly-repartition");
    // and where it stays, it says the same
    let mut tester = Tester::new(topology(&stays));
    tester.feed("events", Message::new("k", event("u1", "click", 1_000, "1")));
    tester.feed("events", Message::new("k", event("u1", "click", 1_000, "2")));
    tester.feed("events", Message::new("k", event("u1", "click", 20_000, "2")));
    tester.run().unwrap();
    let rows = rows(&mut tester);
    assert!(rows[0].contains(r#""key":"k","kind":"click","n":2,"users":1,"total":3,"mean":1.5"#), "{rows:?}");
}

#[test]
fn a_result_is_as_old_as_its_window_also_while_a_partition_has_not_spoken() {
    let text = HOURLY.replace("emit: { final: true }", "emit: { updates: 0s }");
    let mut tester = Tester::with_partitions(topology(&text), 2);
    tester.feed("events", on(0, event("u1", "click", 1_000, "1")));
    tester.run().unwrap();
    assert_eq!(tester.take("rows")[0].timestamp, TEN);
    let forever = text.replace("window: { tumbling: 10s, grace: 5s }", "");
    let mut tester = Tester::with_partitions(topology(&forever), 2);
    tester.feed("events", on(0, event("u1", "click", 1_000, "1")));
    tester.run().unwrap();
    assert_eq!(tester.take("rows")[0].timestamp, TEN + 1_000);
}
