//! Restoring: whatever the place of a crash, what is said is what an uninterrupted run says.

use crate::given::*;
use std::sync::Arc;
use tidemill_topology::{TaskError, Tester, Topology, tester::Message};

const TOPICS: [&str; 4] = ["out", "every", "copies", "dead"];

fn mixed() -> Arc<Topology> {
    topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  big: { from: events, do: [ { filter: \"x > 4\" } ] }\n  g: { from: events, group_by: record.key, window: { tumbling: 1h, grace: 10m }, aggregate: { n: count(), s: sum(x) }, emit: { updates: 5s, final: true } }\n  r: { from: big, group_by: record.key, aggregate: { n: count(), hi: max(x) }, emit: every }\noutputs:\n  out: { from: g }\n  every: { from: r }\n  copies: { from: big }\n",
    )
}

/// Records in rounds: in order, out of order, late and poison, from a fixed sequence.
fn rounds() -> Vec<Vec<Message>> {
    let mut seed = 7u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut round = |index: i64| {
        (0..8)
            .map(|_| {
                let at = TEN + index * 20 * MINUTE + random(30) as i64 * MINUTE - random(2) as i64 * 2 * HOUR;
                let key = ["a", "b", "c"][random(3) as usize];
                match random(12) {
                    0 => Message::new(key, "{"),
                    1 => event(key, at, "\"x\":\"text\""),
                    x => event(key, at, &format!("\"x\":{x}")),
                }
            })
            .collect()
    };
    (0..24).map(&mut round).collect()
}

/// All outputs of a run; `crash` says behind which steps memory is lost: bit 0 before the seal, bit 1 behind it.
fn run(crash: impl Fn(usize) -> u8) -> Vec<Vec<Message>> {
    let mut t = Tester::new(mixed());
    for (index, round) in rounds().into_iter().enumerate() {
        for message in round {
            t.feed("in", message);
        }
        t.advance(5_000);
        t.process().unwrap();
        if crash(index) & 1 != 0 {
            t.restart().unwrap();
            t.process().unwrap();
        }
        t.commit().unwrap();
        if crash(index) & 2 != 0 {
            t.restart().unwrap();
        }
    }
    TOPICS
        .iter()
        .map(|topic| {
            let mut all = t.take(topic);
            // Updates of one seal come in the order of the first change; a restart forgets that order and nothing else.
            all.sort_by(|a, b| (&a.key, &a.headers, &a.value).cmp(&(&b.key, &b.headers, &b.value)));
            all
        })
        .collect()
}

#[test]
fn a_crash_at_any_seal_changes_nothing() {
    let whole = run(|_| 0);
    assert!(whole.iter().all(|topic| topic.len() > 5), "{:?}", whole.iter().map(Vec::len).collect::<Vec<_>>());
    for at in 0..24 {
        assert_eq!(run(|i| u8::from(i == at)), whole, "before seal {at}");
        assert_eq!(run(|i| 2 * u8::from(i == at)), whole, "behind seal {at}");
    }
    assert_eq!(run(|_| 3), whole, "at every seal, before and behind");
}

#[test]
fn an_owed_update_survives_and_is_not_repeated() {
    let mut t = hourly("{ updates: 5s }");
    feed(&mut t, &[("a", TEN, ""), ("b", TEN, "")]);
    t.run().unwrap();
    assert_eq!(said(&mut t).len(), 2);
    feed(&mut t, &[("a", TEN, "")]);
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0]);
    t.restart().unwrap();
    assert!(t.task("in", 0).unwrap().urgent(t.now()), "still owed");
    t.run().unwrap();
    assert_eq!(said(&mut t), ["a@2026-01-01T10:00 n=2 s=null update"], "b owes nothing");
    t.restart().unwrap();
    t.advance(60_000);
    t.run().unwrap();
    assert_eq!(said(&mut t), [""; 0]);
}

fn with_steps(steps: &[(&str, &str)]) -> Arc<Topology> {
    let list = |line: &dyn Fn(&str, &str) -> String| steps.iter().map(|(n, a)| line(n, a)).collect::<String>();
    topology(&format!(
        "sources:\n  events: {{ topic: in, key_format: string }}\nsteps:\n{}outputs:\n{}",
        list(&|n, a| format!(
            "  {n}: {{ from: events, group_by: record.key, aggregate: {{ v: {a} }}, emit: every }}\n"
        )),
        list(&|n, _| format!("  out-{n}: {{ from: {n} }}\n")),
    ))
}

#[test]
fn a_state_keeps_its_id_for_its_name_for_ever() {
    let mut t = Tester::new(with_steps(&[("one", "count()")]));
    let one = |t: &mut Tester, topic: &str| {
        t.feed("in", Message::new("k", "{}"));
        t.run().unwrap();
        short(t.take(topic).last().unwrap())
    };
    assert_eq!(one(&mut t, "out-one"), "k v=1 update");
    // The name goes and a new one comes: it begins empty.
    t.restart_as(with_steps(&[("two", "count()")])).unwrap();
    assert_eq!(one(&mut t, "out-two"), "k v=1 update");
    // It comes back, in another order: each finds its own entries.
    t.restart_as(with_steps(&[("two", "count()"), ("one", "count()")])).unwrap();
    assert_eq!(one(&mut t, "out-two"), "k v=2 update");
    assert_eq!(short(t.take("out-one").last().unwrap()), "k v=2 update");
}

#[test]
fn a_state_that_changed_its_shape_halts() {
    let mut t = Tester::new(with_steps(&[("one", "count()")]));
    t.feed("in", Message::new("k", "{}"));
    t.run().unwrap();
    let error = t.restart_as(with_steps(&[("one", "sum(x)")])).unwrap_err();
    assert!(matches!(error, TaskError::Shape { .. }));
    assert_eq!(
        error.to_string(),
        "state 'one' of task events/in/0 was 'no window: count()' and is now 'no window: sum(x)': give the step a new name, or restore the old one"
    );
}

#[test]
fn counts_stream_time_and_sequence_go_on_behind_a_restart() {
    let mut t = hourly("every");
    feed(&mut t, &[("a", TEN + 3 * HOUR, ""), ("a", TEN, "")]);
    t.run().unwrap();
    t.restart().unwrap();
    feed(&mut t, &[("a", TEN, "")]);
    t.run().unwrap();
    assert_eq!(t.task("in", 0).unwrap().stream_time(), TEN + 3 * HOUR);
    let counts = t.counts("in");
    assert_eq!((counts.input, counts.late), (3, 2), "late against the time from before");
    feed(&mut t, &[("a", TEN + 3 * HOUR, "")]);
    t.run().unwrap();
    assert_eq!(t.take("out").last().unwrap().header("tidemill-task").unwrap(), "events/in/0/3");
}
