//! Records: copies, filters, primitives, poison; a record goes through whole or leaves only its dead letter.

use crate::given::*;
use tidemill_topology::{Batch, Tester, tester::Message};

fn branches() -> Tester {
    Tester::new(topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  big: { from: events, do: [ { filter: \"x > 10\" } ] }\n  g: { from: events, group_by: record.key, aggregate: { n: count(), s: sum(x) }, emit: every }\noutputs:\n  copies: { from: big }\n  all: { from: events }\n  out: { from: g }\n",
    ))
}

#[test]
fn a_copy_is_the_record_as_it_came() {
    let mut t = branches();
    let mut message = event("k", TEN, "\"x\" : 11.0").at(77);
    message.headers = vec![
        ("h".into(), Some(b"1".to_vec())),
        ("h".into(), None),
        ("tidemill-source".into(), Some(b"old/0/0".to_vec())),
    ];
    t.feed("in", message.clone());
    t.run().unwrap();
    let copy = t.take("copies").remove(0);
    assert_eq!((&copy.key, &copy.value, copy.timestamp), (&message.key, &message.value, 77), "not a byte is changed");
    assert_eq!(copy.headers[..2], message.headers[..2]);
    assert_eq!(copy.headers[2..], [("tidemill-source".to_owned(), Some(b"in/0/0".to_vec()))], "of this hop alone");
}

#[test]
fn filtered_everywhere_is_filtered_and_accepted_anywhere_is_output() {
    let mut t = Tester::new(topology(
        "sources:\n  events: { topic: in }\nsteps:\n  big: { from: events, do: [ { filter: \"x > 10\" }, { filter: \"x < 20\" } ] }\n  odd: { from: events, do: [ { filter: \"odd\" } ] }\noutputs:\n  b: { from: big }\n  o: { from: odd }\n",
    ));
    for value in ["{\"x\":15}", "{\"x\":25}", "{\"x\":5,\"odd\":true}", "{\"x\":12,\"odd\":true}", "{}"] {
        t.feed("in", Message::new("k", value));
    }
    t.run().unwrap();
    assert_eq!((t.take("b").len(), t.take("o").len()), (2, 2));
    let counts = t.counts("in");
    assert_eq!((counts.input, counts.output, counts.filtered, counts.dead), (5, 3, 2, 0));
}

/// Each poison record between two good ones: what it says, and nothing else of it anywhere.
#[test]
fn poison_leaves_only_its_dead_letter() {
    let too_long = format!("{{\"at\":{TEN},\"x\":1,\"p\":\"{}\"}}", "y".repeat(70_000));
    let no_key = Message { key: None, ..event("", TEN, "\"x\":99") };
    let tombstone = Message { value: None, ..Message::new("k", "") };
    for (poison, reason) in [
        (Message::new("k", "{oops"), "not-json: value: not JSON"),
        (Message::new("k", "{\"x\":99}"), "time-missing: time field 'at' is missing"),
        (Message::new("k", "{\"at\":\"noon\",\"x\":99}"), "time-unreadable: time field 'at' is no RFC 3339 time"),
        (event("k", TEN, "\"x\":\"many\""), "not-a-number: sum(x): not a number but a text"),
        (event("k", TEN, "\"x\":99999999999999999999"), "overflow: sum(x) would have more than 20 digits"),
        (Message::new(b"\xff", format!("{{\"at\":{TEN},\"x\":99}}")), "not-utf8: key: not UTF-8"),
        (no_key, "key-missing: step 'g' groups by the key"),
        (Message::new("k", &too_long), "too-large: a copy to all takes"),
        (tombstone, "time-missing: time field 'at' is missing"),
    ] {
        let mut t = branches();
        t.feed("in", event("k", TEN, "\"x\":12"));
        t.feed("in", poison.clone());
        t.feed("in", event("k", TEN, "\"x\":13"));
        t.run().unwrap();
        let dead = t.take("dead");
        assert_eq!(dead.len(), 1, "{reason}");
        let said_reason = dead[0].header("tidemill-reason").unwrap();
        assert!(said_reason.starts_with(reason), "wanted {reason}, got {said_reason}");
        assert_eq!(dead[0].header("tidemill-source").unwrap(), "in/0/1");
        assert_eq!(dead[0].header("tidemill-attempt").unwrap(), "1");
        assert_eq!((&dead[0].key, dead[0].timestamp), (&poison.key, poison.timestamp));
        if dead[0].header("tidemill-truncated").is_none() {
            assert_eq!(dead[0].value, poison.value);
        }
        assert_eq!((t.take("all").len(), t.take("copies").len()), (2, 2), "{reason}");
        assert_eq!(said(&mut t), ["k n=1 s=12 update", "k n=2 s=25 update"], "{reason}");
        let counts = t.counts("in");
        assert!(balanced(counts) && counts.dead == 1 && counts.output == 2, "{counts:?}");
    }
}

#[test]
fn a_dead_letter_that_is_too_long_is_cut_and_says_so() {
    let mut t = branches();
    let value = "x".repeat(100_000);
    t.feed("in", Message::new("k", &value));
    t.run().unwrap();
    let dead = t.take("dead").remove(0);
    assert!(value.starts_with(&dead.value_text()) && dead.value.as_ref().unwrap().len() < 64 << 10);
    let cut = dead.header("tidemill-truncated").unwrap();
    assert!(cut.starts_with("xxh3=") && cut.ends_with(" length=100000"), "{cut}");
}

#[test]
fn a_replayed_dead_letter_counts_its_attempts() {
    let mut t = branches();
    let headers = vec![("tidemill-attempt".to_owned(), Some(b"2".to_vec())), ("h".to_owned(), None)];
    t.feed("in", Message { headers, ..Message::new("k", "{") });
    t.run().unwrap();
    let dead = t.take("dead").remove(0);
    assert_eq!(dead.header("tidemill-attempt").unwrap(), "3");
    assert_eq!(dead.headers.iter().filter(|(n, _)| n == "tidemill-attempt").count(), 1);
    assert_eq!(dead.headers[0].0, "h");
}

#[test]
fn primitives_are_read_summed_and_written() {
    let mut t = Tester::new(topology(
        "sources:\n  numbers: { topic: in, key_format: int32, format: int64 }\nsteps:\n  pos: { from: numbers, do: [ { filter: \"record.value > 0 && record.key == 7\" } ] }\n  g: { from: pos, group_by: record.key, aggregate: { s: sum(record.value), last: max(record.timestamp) }, emit: every }\noutputs:\n  sums: { from: g, key_format: int32, format: int64, fields: [s] }\n  texts: { from: g, key_format: text, format: string, fields: [last] }\n  out: { from: g }\n",
    ));
    let number = |key: i32, value: i64, at| Message::new(key.to_be_bytes(), value.to_be_bytes()).at(at);
    for message in [number(7, 40, 10), number(7, -40, 20), number(7, 2, 30), number(8, 2, 30)] {
        t.feed("in", message);
    }
    t.run().unwrap();
    let sums = t.take("sums");
    assert_eq!(sums.len(), 2);
    assert_eq!(sums[1].key.as_deref(), Some(&7i32.to_be_bytes()[..]));
    assert_eq!(sums[1].value.as_deref(), Some(&42i64.to_be_bytes()[..]));
    let texts = t.take("texts");
    assert_eq!((texts[1].key_text(), texts[1].value_text()), ("7".to_owned(), "30".to_owned()));
    assert_eq!(said(&mut t)[1], "7 s=42 last=30 update");
}

#[test]
fn a_plain_output_without_a_number_is_a_tombstone_and_one_that_does_not_fit_is_poison() {
    for emit in ["every", "{ updates: 0s }"] {
        let output = ", key_format: string, format: int32, fields: [s]";
        let mut t = Tester::new(grouping("", "s: sum(x)", emit, output));
        feed(&mut t, &[("a", TEN, "")]);
        t.run().unwrap();
        assert_eq!(t.take("out")[0].value, None);
        feed(&mut t, &[("a", TEN, "\"x\":2147483648")]);
        feed(&mut t, &[("a", TEN, "\"x\":2147483647")]);
        t.run().unwrap();
        let rows = t.take("out");
        assert_eq!(rows.len(), 1, "{emit}");
        assert_eq!(rows[0].value.as_deref(), Some(&i32::MAX.to_be_bytes()[..]));
        assert!(reasons(&mut t)[0].contains("output out, field 's'"), "{emit}: found as the record came");
    }
}

#[test]
fn keys_of_bytes_are_base64_in_json() {
    let mut t = Tester::new(topology(
        "sources:\n  events: { topic: in }\nsteps:\n  g: { from: events, group_by: record.key, aggregate: { n: count() }, emit: every }\noutputs:\n  out: { from: g }\n  t: { from: g, key_format: text }\n",
    ));
    t.feed("in", Message::new([0xff, 0], "{}"));
    t.run().unwrap();
    assert_eq!(t.take("out")[0].key_text(), r#"{"key":"/wA="}"#);
    assert_eq!(t.take("t")[0].key_text(), "/wA=");
}

#[test]
fn stages_chain_through_a_topic_of_the_user() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/counts.yaml")).unwrap();
    let topology = tidemill_topology::parse(&text, "counts.yaml", &|_| None).unwrap().topology;
    let mut t = Tester::with_partitions(topology, 3);
    let purchase = |key: &str, at: i64, amount: i64| {
        Message::new(key, format!("{{\"timestamp\":{at},\"type\":\"purchase\",\"amount\":{amount}}}"))
    };
    for (key, at, amount) in [("a", TEN, 150), ("b", TEN, 50), ("a", TEN + MINUTE, 250), ("c", TEN, 101)] {
        t.feed("user-events", purchase(key, at, amount));
    }
    for key in ["a", "b", "c"] {
        t.feed("user-events", purchase(key, TEN + 2 * HOUR, 1_000));
    }
    t.run().unwrap();
    assert_eq!(t.take("user-events-big").len(), 6);
    let mut rows: Vec<String> = t.take("big-hourly-counts").iter().map(short).collect();
    rows.sort();
    assert_eq!(
        rows,
        ["a@2026-01-01T10:00 purchases=2 amount=400 final", "c@2026-01-01T10:00 purchases=1 amount=101 final"]
    );
    assert_eq!(t.take("running-counts").len(), 7);
    assert!(balanced(t.counts("user-events")) && balanced(t.counts("user-events-big")));
    assert_eq!(t.counts("user-events-big").input, 6);
}

#[test]
fn a_task_refuses_what_does_not_begin_where_it_stands() {
    let mut t = branches();
    t.feed("in", event("k", TEN, ""));
    t.run().unwrap();
    let stage = topology("sources:\n  events: { topic: in }\noutputs:\n  all: { from: events }\n").stages[0].clone();
    assert!(stage.changelog.is_none(), "nothing to remember, no changelog");
    let setup = tidemill_topology::TaskSetup {
        partition: 2,
        partitions: 3,
        assignment: 4,
        store_id: 1,
        position: 10,
        cache_bytes: 0,
    };
    let store = std::sync::Arc::new(tidemill_state::MemoryStore::new());
    let mut task = tidemill_topology::Task::open(stage, setup, store, None).unwrap();
    let batch = |partition, assignment, from| Batch::new("in".into(), partition, assignment, from);
    for wrong in [batch(1, 4, 10), batch(2, 3, 10), batch(2, 4, 9), batch(2, 4, 11)] {
        assert!(matches!(task.process(&wrong), Err(tidemill_topology::TaskError::Refused { .. })));
    }
    assert!(!task.due(0));
    let mut empty = batch(2, 4, 10);
    empty.next = 12;
    task.process(&empty).unwrap();
    let sealed = task.seal(0).unwrap().unwrap();
    assert_eq!((sealed.sequence, sealed.checkpoint.position("in", 2), sealed.checkpoint.partitions), (1, Some(12), 3));
    assert!(sealed.outputs.is_empty() && sealed.changes.is_empty() && sealed.changelog.is_none());
    assert!(task.seal(0).unwrap().is_none());
}
