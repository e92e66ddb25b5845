//! Event time as sources write it, and how far ahead it may be.

use crate::given::*;
use tidemill_topology::{Tester, parse, tester::Message};

/// A running count by key, of a source with this time; the clock stands at ten.
fn counting(time: &str) -> Tester {
    let text = format!(
        "sources:\n  events: {{ topic: in, key_format: string{time} }}\nsteps:\n  g: {{ from: events, group_by: record.key, window: {{ tumbling: 1h }}, aggregate: {{ n: count() }}, emit: every }}\noutputs:\n  out: {{ from: g }}\n"
    );
    let mut tester = Tester::new(topology(&text));
    tester.advance(TEN - tester.now());
    tester
}

fn becomes(time: &str, value: &str) -> String {
    let mut tester = counting(time);
    tester.feed("in", Message::new("k", value).at(TEN - 1));
    tester.run().unwrap();
    said(&mut tester).pop().unwrap_or_else(|| reasons(&mut tester).remove(0))
}

#[test]
fn a_source_says_what_its_time_is() {
    for (time, value) in [
        (", time: t", "{\"t\":1767261600000}"),
        (", time: t", "{\"t\":\"2026-01-01T10:00:00\"}"),
        (", time: { field: t, unit: ms }", "{\"t\":1767261600000}"),
        (", time: { field: t, unit: s }", "{\"t\":1767261600.5}"),
        (", time: { field: t, unit: us }", "{\"t\":1767261600000000}"),
        (", time: { field: t, unit: ns }", "{\"t\":1767261600000000000}"),
        (", time: { field: t, zone: Europe/Berlin }", "{\"t\":\"2026-01-01 11:00:00\"}"),
        (", time: { field: t, zone: \"-03:00\" }", "{\"t\":\"2026-01-01T07:00:00.25\"}"),
    ] {
        assert_eq!(becomes(time, value), "k@2026-01-01T10:00 n=1 update", "{time}");
    }
    for time in ["", ", time: record.timestamp"] {
        assert_eq!(becomes(time, "{}"), "k@2026-01-01T09:00 n=1 update", "{time}");
    }
}

#[test]
fn seconds_that_nobody_declared_are_a_dead_letter_that_says_so() {
    let said = becomes(", time: t", "{\"t\":1767261600}");
    assert!(said.starts_with("time-unreadable: time field 't' is a number too small for ms: set 'unit: s'"), "{said}");
    assert_eq!(
        becomes(", time: { field: t, unit: ms }", "{\"t\":1}"),
        "k@1970-01-01T00:00 n=1 update",
        "if it is meant"
    );
}

#[test]
fn an_event_from_the_future_is_a_dead_letter_and_moves_no_time() {
    for (most, ahead, good) in [
        ("", HOUR, true),
        ("", HOUR + 1, false),
        ("", 400 * 24 * HOUR, false),
        (", max_ahead: 5m", 5 * MINUTE, true),
        (", max_ahead: 5m", 5 * MINUTE + 1, false),
        (", max_ahead: 0s", 0, true),
        (", max_ahead: never", 400 * 24 * HOUR, true),
    ] {
        let mut t = counting(&format!(", time: t{most}"));
        t.feed("in", Message::new("k", format!("{{\"t\":{}}}", TEN + ahead)));
        t.feed("in", Message::new("k", format!("{{\"t\":{}}}", TEN - HOUR)));
        t.run().unwrap();
        let time = t.task("in", 0).unwrap().stream_time();
        if good {
            assert_eq!(time, TEN + ahead);
            continue;
        }
        let limit = if most.is_empty() { HOUR } else { 5 * MINUTE };
        let reason = format!("time-ahead: its time is further ahead of its arrival than max_ahead, {limit} ms");
        assert_eq!(reasons(&mut t), [reason], "{most}");
        assert_eq!(time, TEN - HOUR, "{most}");
        assert_eq!(said(&mut t).len(), 1, "the one behind it is not late");
        assert!(balanced(t.counts("in")));
    }
}

/// Without anything that needs a time, the record's own timestamp is nobody's concern.
#[test]
fn a_plain_copy_takes_any_timestamp() {
    let mut t = Tester::new(topology("sources:\n  events: { topic: in }\noutputs:\n  out: { from: events }\n"));
    t.advance(TEN - t.now());
    t.feed("in", Message::new("k", "{}").at(TEN + 400 * 24 * HOUR));
    t.run().unwrap();
    assert_eq!((t.take("out").len(), t.take("dead").len()), (1, 0));
    assert_eq!(t.task("in", 0).unwrap().stream_time(), i64::MIN);
}

#[test]
fn a_time_that_cannot_be_meant_is_refused_at_load() {
    for (time, what) in [
        ("time: { field: t, unit: min }", "is 'min', no unit of time; write s, ms, us or ns"),
        ("time: { field: t, zone: Europe/Berlim }", "is 'Europe/Berlim', no zone; did you mean 'Europe/Berlin'?"),
        ("time: { field: t, zone: \"+25:99\" }", "is '+25:99', no zone"),
        ("time: { unit: s }", "lacks 'field'; add it"),
        ("time: { field: record.timestamp, unit: s }", "record.timestamp is in ms"),
        ("max_ahead: soon", "or never, to take every time"),
    ] {
        let text = format!(
            "app: t\nkafka: {{ brokers: b }}\nsources:\n  events: {{ topic: in, {time} }}\noutputs:\n  out: {{ from: events }}\n"
        );
        let said = parse(&text, "t.yaml", &|_| None).unwrap_err().lines.join("\n");
        assert!(said.contains(what), "{time}: {said}");
    }
}
