//! Windows: what is counted where, what is late, and when a step speaks.

use crate::given::*;
use tidemill_topology::{Tester, tester::Message};

#[test]
fn every_record_speaks_at_once() {
    let mut t = hourly("every");
    feed(&mut t, &[("a", TEN, "\"x\":1.5"), ("b", TEN, "\"x\":1"), ("a", TEN + HOUR - 1, "\"x\":2")]);
    t.run().unwrap();
    let rows = t.take("out");
    assert_eq!(
        rows.iter().map(short).collect::<Vec<_>>(),
        [
            "a@2026-01-01T10:00 n=1 s=1.5 update",
            "b@2026-01-01T10:00 n=1 s=1 update",
            "a@2026-01-01T10:00 n=2 s=3.5 update"
        ]
    );
    let first = &rows[0];
    assert_eq!(
        first.value_text(),
        r#"{"window":{"start":"2026-01-01T10:00:00Z","end":"2026-01-01T11:00:00Z"},"key":"a","n":1,"s":1.5,"result":"update"}"#
    );
    assert_eq!(first.key_text(), r#"{"key":"a","window_start":"2026-01-01T10:00:00Z"}"#);
    assert_eq!(first.timestamp, TEN, "the event's own time");
    assert_eq!(first.header("tidemill-task").unwrap(), "events/in/0/1");
}

#[test]
fn a_final_is_said_once_at_the_end_and_the_grace() {
    let mut t = hourly("{ final: true }");
    feed(&mut t, &[("a", TEN, "\"x\":1"), ("a", TEN + HOUR + 10 * MINUTE - 1, "\"x\":5")]);
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0], "one ms before the grace is over");
    feed(&mut t, &[("a", TEN + 1, "\"x\":2"), ("b", TEN + HOUR + 10 * MINUTE, "\"x\":7")]);
    t.run().unwrap();
    let rows = t.take("out");
    assert_eq!(
        rows.iter().map(short).collect::<Vec<_>>(),
        ["a@2026-01-01T10:00 n=2 s=3 final"],
        "late within grace counts"
    );
    assert_eq!(rows[0].timestamp, TEN + HOUR - 1, "not beyond its window");
    t.run().unwrap();
    t.restart().unwrap();
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0], "and never again");
}

#[test]
fn a_late_record_skips_its_window_and_is_copied_to_the_dead_letters() {
    let mut t = hourly("every");
    feed(&mut t, &[("a", TEN, ""), ("a", TEN + HOUR + 10 * MINUTE, ""), ("a", TEN + 1, "")]);
    t.run().unwrap();
    assert_eq!(said(&mut t).len(), 2);
    assert_eq!(reasons(&mut t), ["late: its window is closed in step g"]);
    let counts = t.counts("in");
    assert_eq!((counts.input, counts.output, counts.late, counts.dead), (3, 3, 1, 0));
}

#[test]
fn late_is_decided_before_the_record_moves_time() {
    let mut t = hourly("every");
    // The first record closes nothing that it lies in itself.
    feed(&mut t, &[("a", TEN, ""), ("a", TEN + 9 * HOUR, "")]);
    t.run().unwrap();
    assert_eq!((said(&mut t).len(), t.counts("in").late), (2, 0));
}

#[test]
fn late_is_decided_for_each_window_step_apart_and_other_outputs_go_on() {
    let mut t = Tester::new(topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  short: { from: events, group_by: record.key, window: { tumbling: 1m }, aggregate: { n: count() }, emit: every }\n  long: { from: events, group_by: record.key, window: { tumbling: 1d }, aggregate: { n: count() }, emit: every }\noutputs:\n  s: { from: short }\n  l: { from: long }\n  c: { from: events }\n",
    ));
    feed(&mut t, &[("a", TEN + MINUTE, ""), ("a", TEN, "")]);
    t.run().unwrap();
    assert_eq!((t.take("s").len(), t.take("l").len(), t.take("c").len()), (1, 2, 2));
    assert_eq!(reasons(&mut t), ["late: its window is closed in step short"]);
}

#[test]
fn updates_coalesce_and_finals_are_the_last_word() {
    let mut t = hourly("{ updates: 5s, final: true }");
    feed(&mut t, &[("a", TEN, "\"x\":1"), ("a", TEN, "\"x\":1")]);
    t.run().unwrap();
    assert_eq!(said(&mut t), ["a@2026-01-01T10:00 n=2 s=2 update"], "the first one comes at once");
    feed(&mut t, &[("a", TEN, "\"x\":1"), ("b", TEN, "\"x\":1")]);
    t.advance(4_999);
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0]);
    assert!(!t.task("in", 0).unwrap().urgent(t.now()));
    t.advance(1);
    assert!(t.task("in", 0).unwrap().urgent(t.now()), "a due update makes a seal due");
    t.run().unwrap();
    assert_eq!(said(&mut t), ["a@2026-01-01T10:00 n=3 s=3 update", "b@2026-01-01T10:00 n=1 s=1 update"]);
    t.advance(60_000);
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0], "nothing changed, nothing said");
    feed(&mut t, &[("a", TEN, "\"x\":1"), ("c", TEN + 2 * HOUR, "")]);
    t.run().unwrap();
    let mut rows = said(&mut t);
    rows.sort();
    assert_eq!(
        rows,
        [
            "a@2026-01-01T10:00 n=4 s=4 final",
            "b@2026-01-01T10:00 n=1 s=1 final",
            "c@2026-01-01T12:00 n=1 s=null update"
        ],
        "no update for a change that the final says"
    );
}

#[test]
fn without_finals_an_owed_update_is_said_before_the_window_goes() {
    let mut t = hourly("{ updates: 1h }");
    feed(&mut t, &[("a", TEN, ""), ("b", TEN, "")]);
    t.run().unwrap();
    assert_eq!(said(&mut t).len(), 2);
    feed(&mut t, &[("a", TEN, ""), ("z", TEN + 2 * HOUR, "")]);
    t.run().unwrap();
    assert_eq!(said(&mut t), ["a@2026-01-01T10:00 n=2 s=null update"], "b owed nothing, z is not due");
}

#[test]
fn updates_of_zero_go_with_every_seal_and_hurry_none() {
    let mut t = hourly("{ updates: 0s }");
    for n in 1..=3 {
        feed(&mut t, &[("a", TEN, ""), ("a", TEN, "")]);
        t.process().unwrap();
        assert!(!t.task("in", 0).unwrap().urgent(0));
        t.commit().unwrap();
        assert_eq!(said(&mut t), [format!("a@2026-01-01T10:00 n={} s=null update", 2 * n)]);
    }
}

#[test]
fn windows_before_1970_begin_below_their_times() {
    let mut t =
        Tester::new(grouping("window: { tumbling: 1h }", "n: count()", "{ final: true }", ", key_format: text"));
    feed(&mut t, &[("a", -HOUR - 1, ""), ("a", -1, ""), ("a", 1, ""), ("a", 2 * HOUR, "")]);
    t.run().unwrap();
    let keys: Vec<String> = t.take("out").iter().map(Message::key_text).collect();
    assert_eq!(keys, ["[a@-7200000/-3600000]", "[a@-3600000/0]", "[a@0/3600000]"]);
}

#[test]
fn a_window_of_many_keys_closes_in_slices_over_restarts() {
    let mut t = hourly("{ final: true }");
    for i in 0..10_005 {
        t.feed("in", event(&format!("k{i:05}"), TEN, ""));
    }
    feed(&mut t, &[("z", TEN + 2 * HOUR, "")]);
    t.process().unwrap();
    t.commit().unwrap();
    assert_eq!(said(&mut t).len(), 10_000);
    assert!(t.task("in", 0).unwrap().urgent(0), "the rest is due at once");
    t.restart().unwrap();
    assert!(t.task("in", 0).unwrap().urgent(0), "also behind a restart");
    t.commit().unwrap();
    assert_eq!(said(&mut t).len(), 5);
    assert!(!t.task("in", 0).unwrap().due(0));
    assert!(!t.commit().unwrap(), "nothing moved, nothing sealed");
}

#[test]
fn a_window_that_closes_in_slices_says_no_update_in_between() {
    let mut t = hourly("{ updates: 5s, final: true }");
    for i in 0..10_005 {
        t.feed("in", event(&format!("k{i:05}"), TEN, ""));
    }
    feed(&mut t, &[("z", TEN + 2 * HOUR, "")]);
    t.run().unwrap();
    let rows = said(&mut t);
    assert_eq!(rows.len(), 10_006);
    assert_eq!(rows.iter().filter(|r| r.ends_with("update")).count(), 1, "z alone: its window is open");
}

#[test]
fn a_filtered_record_moves_stream_time_and_a_dead_one_does_not() {
    let mut t = Tester::new(topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  some: { from: events, do: [ { filter: \"x == 1\" } ] }\n  g: { from: some, group_by: record.key, window: { tumbling: 1h }, aggregate: { s: sum(y) }, emit: { final: true } }\noutputs:\n  out: { from: g }\n",
    ));
    feed(&mut t, &[("a", TEN, "\"x\":1"), ("a", TEN + 9 * HOUR, "\"x\":1,\"y\":\"text\"")]);
    t.run().unwrap();
    assert_eq!((said(&mut t).len(), t.counts("in").dead), (0, 1));
    feed(&mut t, &[("a", TEN + HOUR, "\"x\":2")]);
    t.run().unwrap();
    assert_eq!(said(&mut t), ["a@2026-01-01T10:00 s=null final"]);
}

#[test]
fn a_running_aggregate_lives_for_ever_and_has_no_window() {
    let mut t = Tester::new(grouping("", "n: count(), s: sum(x), lo: min(x), hi: max(x)", "{ updates: 0s }", ""));
    feed(
        &mut t,
        &[("a", TEN, "\"x\":3"), ("a", TEN + 99 * HOUR, "\"x\":-1"), ("a", TEN, "\"x\":null"), ("b", TEN, "")],
    );
    t.run().unwrap();
    let rows = t.take("out");
    assert_eq!(rows[0].value_text(), r#"{"key":"a","n":3,"s":2,"lo":-1,"hi":3,"result":"update"}"#);
    assert_eq!(rows[0].key_text(), r#"{"key":"a"}"#);
    assert_eq!(rows[1].value_text(), r#"{"key":"b","n":1,"s":null,"lo":null,"hi":null,"result":"update"}"#);
    assert_eq!(rows[0].timestamp, TEN + 99 * HOUR, "stream time");
}
