//! Where results come from: contexts in, links and contexts out, and that nobody who did not ask pays for it.

use crate::given::{HOUR, MINUTE, TEN, WINDOW, event, feed, grouping, hourly, said, topology};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_state::StateStore;
use tidemill_topology::tester::Message;
use tidemill_topology::trace::{Context, Emitted, TRACEPARENT};
use tidemill_topology::{Tester, Topology};

const SEED: u64 = 7;

/// A sampled context of its own.
fn context(n: u64) -> Context {
    let mut trace = [0xaa; 16];
    trace[8..].copy_from_slice(&n.to_be_bytes());
    Context { trace, span: (n + 1).to_be_bytes(), flags: 1 }
}

fn text(context: &Context) -> String {
    String::from_utf8(context.text().to_vec()).unwrap()
}

fn traced(key: &str, at: i64, n: u64) -> Message {
    event(key, at, "").with(TRACEPARENT, &text(&context(n)))
}

fn tester(emit: &str) -> Tester {
    let mut tester = hourly(emit);
    tester.trace(SEED).unwrap();
    tester
}

/// Numbers of the contexts that a result links to.
fn links(emitted: &Emitted) -> BTreeSet<u64> {
    emitted.links.iter().map(|link| u64::from_be_bytes(link.trace[8..].try_into().unwrap())).collect()
}

/// Entries of the state that holds the samples; its number is the last one of the stage.
fn kept(tester: &Tester, topic: &str, id: u16) -> usize {
    let mut count = 0;
    let range = tidemill_state::keys::state_range(id);
    let store: &dyn StateStore = tester.store(topic, 0).unwrap();
    store
        .scan(&range.start, &range.end, &mut |_, _| {
            count += 1;
            true
        })
        .unwrap();
    count
}

#[test]
fn a_result_links_to_what_its_window_was_made_of_and_carries_a_context_of_its_own() {
    let mut tester = tester("{ updates: 0s, final: true }");
    // given: two sampled records of one group, one of another, one that nobody keeps, one without a context
    tester.feed("in", traced("a", TEN, 1));
    tester.feed("in", traced("b", TEN, 2));
    tester.feed("in", event("a", TEN, "").with(TRACEPARENT, &text(&Context { flags: 0, ..context(3) })));
    tester.feed("in", event("a", TEN, ""));
    tester.run().unwrap();
    let update = tester.take_emitted();
    tester.feed("in", traced("a", TEN + MINUTE, 4));
    // when: the window closes
    tester.feed("in", event("z", TEN + HOUR + 10 * MINUTE, ""));
    tester.run().unwrap();
    let finals = tester.take_emitted();
    // then
    assert_eq!(update.iter().map(links).collect::<Vec<_>>(), [[1].into(), [2].into()]);
    assert_eq!(finals.iter().map(links).collect::<Vec<_>>(), [[1, 4].into(), [2].into()]);
    assert!(finals.iter().all(|f| (f.result, f.window) == ("final", Some((TEN, TEN + HOUR))) && &*f.step == "g"));
    let carried: Vec<Option<String>> = tester.take("out").iter().map(|m| m.header(TRACEPARENT)).collect();
    let said: Vec<Option<String>> = update.iter().chain(&finals).map(|e| Some(text(&e.context))).collect();
    assert_eq!(carried[..4], said[..], "each row has the context of its own span");
    assert_eq!(carried[4..], [None], "of z nobody knows where it came from");
    let different: BTreeSet<_> = update.iter().chain(&finals).map(|e| e.context).collect();
    assert_eq!(different.len(), 4);
    assert_eq!(kept(&tester, "in", 2), 0, "a window that is gone keeps no sample");
}

#[test]
fn nobody_who_did_not_ask_pays_for_it() {
    let fed = |mut tester: Tester| {
        (0..50).for_each(|n| tester.feed("in", traced(&format!("k{}", n % 5), TEN + n as i64, n)));
        tester.run().unwrap();
        let records: Vec<Message> = tester.take("out");
        assert!(tester.take_emitted().is_empty() && records.iter().all(|m| m.header(TRACEPARENT).is_none()));
        let entries = entries(&tester);
        (records, entries)
    };
    // given: the same records without headers, to a task that was told to look
    let mut plain = tester("{ updates: 0s, final: true }");
    (0..50).for_each(|n| feed(&mut plain, &[(&format!("k{}", n % 5), TEN + n, "")]));
    plain.run().unwrap();
    // then
    let (records, off) = fed(hourly("{ updates: 0s, final: true }"));
    assert_eq!(records, plain.take("out"));
    assert_eq!(off, entries(&plain));
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(tester: &Tester) -> Entries {
    let mut found = Vec::new();
    let all = tidemill_state::keys::all_states();
    let store = tester.store("in", 0).unwrap();
    store
        .scan(&all.start, &all.end, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    found
}

#[test]
fn a_sample_survives_a_restart() {
    let mut tester = tester("{ final: true }");
    tester.feed("in", traced("a", TEN, 1));
    tester.run().unwrap();
    // given: one that is worked and not committed, and then everything that is in memory is lost
    tester.feed("in", traced("a", TEN, 2));
    tester.process().unwrap();
    tester.restart().unwrap();
    tester.feed("in", traced("a", TEN, 3));
    tester.run().unwrap();
    tester.restart().unwrap();
    tester.feed("in", event("z", TEN + HOUR + 10 * MINUTE, ""));
    tester.run().unwrap();
    assert_eq!(tester.take_emitted().iter().map(links).collect::<Vec<_>>(), [[1, 2, 3].into()]);
}

#[test]
fn whoever_stops_asking_has_the_same_results_and_may_ask_again() {
    let mut tester = tester("{ updates: 0s, final: true }");
    tester.feed("in", traced("a", TEN, 1));
    tester.run().unwrap();
    // given: a start without tracing; the samples stay where they are
    let mut off = Tester::new(grouping(WINDOW, "n: count(), s: sum(x)", "{ updates: 0s, final: true }", ""));
    off.feed("in", event("a", TEN, ""));
    off.run().unwrap();
    assert_eq!(said(&mut tester), said(&mut off));
    // when: it is on again, after the window has closed
    tester.restart().unwrap();
    tester.feed("in", event("z", TEN + HOUR + 10 * MINUTE, ""));
    tester.run().unwrap();
    assert_eq!(kept(&tester, "in", 2), 0);
}

const BY_KIND: &str = "
sources:
  events: { topic: events, time: at, key_format: string }
steps:
  hourly:
    from: events
    group_by: [kind]
    window: { tumbling: 10s, grace: 5s }
    aggregate: { n: count(), users: count_distinct(user) }
    emit: { final: true }
outputs:
  rows: { from: hourly }
";

fn kind(partition: i32, kind: &str, at: i64, n: Option<u64>) -> Message {
    let at = TEN + at;
    let value = format!(r#"{{"user":"u","kind":"{kind}","at":{at}}}"#);
    let message = Message { partition: Some(partition), ..Message::new("k", value) };
    match n {
        Some(n) => message.with(TRACEPARENT, &text(&context(n))),
        None => message,
    }
}

/// What the clicks of one window link to: records on these partitions, a seal after each so many, a restart after each so many.
fn sampled(seed: u64, partitions: i32, (seal, crash): (u64, u64)) -> BTreeSet<u64> {
    let mut tester = Tester::with_partitions(topology(BY_KIND), partitions);
    tester.trace(seed).unwrap();
    for n in 0..200 {
        tester.feed("events", kind((n % partitions as u64) as i32, "click", 1_000, Some(n)));
        tester.process().unwrap();
        if n % seal == 0 {
            tester.commit().unwrap();
        }
        if n % crash == crash - 1 {
            tester.restart().unwrap();
        }
    }
    (0..partitions).for_each(|p| tester.feed("events", kind(p, "other", 15_000, None)));
    tester.run().unwrap();
    let emitted = tester.take_emitted();
    assert_eq!(emitted.len(), 1, "{emitted:?}");
    links(&emitted[0])
}

#[test]
fn contexts_cross_the_repartition_and_the_same_seed_takes_the_same_sample() {
    let sample = sampled(1, 1, (1_000, 1_000));
    assert_eq!(sample.len(), 8, "a window keeps so many");
    for (partitions, seal, crash) in [(1, 3, 1_000), (3, 7, 1_000), (4, 50, 60), (2, 1, 13)] {
        assert_eq!(sampled(1, partitions, (seal, crash)), sample, "{partitions} partitions, {seal}, {crash}");
    }
    assert_ne!(sampled(2, 1, (1_000, 1_000)), sample);
}

#[test]
fn a_header_that_is_not_ours_stops_no_task() {
    let mut tester = Tester::new(topology(BY_KIND));
    tester.trace(SEED).unwrap();
    tester.feed("events", kind(0, "click", 0, Some(1)).with(TRACEPARENT, "00-zz"));
    tester.feed("events", kind(0, "other", 15_000, None));
    tester.process().unwrap();
    tester.commit().unwrap();
    let bundles = tester.take("t-hourly-repartition");
    let again = bundles.into_iter().map(|m| m.with("tidemill-traces", "\u{1}\u{7}what is this"));
    let mut other = Tester::new(topology(BY_KIND));
    other.trace(SEED).unwrap();
    again.for_each(|m| other.feed("t-hourly-repartition", m));
    other.run().unwrap();
    assert_eq!((other.take("rows").len(), other.take_emitted().len()), (1, 0));
}

#[test]
fn hopping_windows_link_to_the_records_that_they_count() {
    let steps = "sources:\n  events: { topic: in, time: at, key_format: string }\nsteps:\n  sliding:\n    from: events\n    group_by: [kind]\n    window: { hopping: 60ms, every: 20ms, grace: 10ms }\n    aggregate: { n: count() }\n    emit: { final: true }\noutputs:\n  rows: { from: sliding }\n";
    let mut tester = Tester::new(topology(steps));
    tester.trace(SEED).unwrap();
    // given: groups whose keys begin alike, and records that come when some of their windows are closed
    let (mut time, mut expected) = (i64::MIN / 2, BTreeMap::<(i64, String), (u64, BTreeSet<u64>)>::new());
    for n in 0..60u64 {
        let at = TEN + n as i64 * 7 - (n as i64 * 13) % 60;
        let kind = ["a", "ab", "b"][n as usize % 3];
        let value = format!(r#"{{"kind":"{kind}","at":{at}}}"#);
        tester.feed("in", Message::new("k", value).with(TRACEPARENT, &text(&context(n))));
        let last = at.div_euclid(20) * 20;
        for start in (0..3).map(|i| last - i * 20).filter(|start| time < start + 60 + 10) {
            let of = expected.entry((start, kind.to_owned())).or_default();
            of.0 += 1;
            of.1.insert(n);
        }
        time = time.max(at);
        tester.run().unwrap();
        if n % 9 == 0 {
            tester.restart().unwrap();
        }
    }
    tester.feed("in", Message::new("k", format!(r#"{{"kind":"z","at":{}}}"#, time + 1_000)));
    tester.run().unwrap();
    // then: small windows, so every record is in the sample
    let rows: Vec<serde_json::Value> =
        tester.take("rows").iter().map(|m| serde_json::from_slice(m.value.as_deref().unwrap()).unwrap()).collect();
    let emitted = tester.take_emitted();
    assert_eq!(emitted.len(), expected.len());
    assert!(expected.values().all(|(_, contexts)| contexts.len() <= 8));
    for (row, emitted) in rows.iter().zip(&emitted) {
        let (start, kind) = (emitted.window.unwrap().0, row["kind"].as_str().unwrap().to_owned());
        let (count, contexts) = &expected[&(start, kind.clone())];
        assert_eq!((&row["n"], &links(emitted)), (&(*count).into(), contexts), "{kind} at {}", start - TEN);
    }
    assert_eq!(kept(&tester, "t-sliding-repartition", 3), 0);
}

#[test]
fn the_same_work_gives_the_same_bytes() {
    let work = || {
        let mut tester = tester("{ updates: 0s, final: true }");
        for n in 0..40 {
            tester.feed("in", traced(&format!("k{}", n % 3), TEN + n as i64 * MINUTE * 2, n));
            tester.run().unwrap();
        }
        tester.take("out")
    };
    let first = work();
    assert!(first.iter().filter(|m| m.header(TRACEPARENT).is_some()).count() > 20);
    assert_eq!(first, work());
}

#[test]
fn what_speaks_with_every_record_goes_on_in_its_trace() {
    let mut tester = tester("every");
    tester.feed("in", traced("a", TEN, 1));
    tester.feed("in", traced("a", TEN, 2));
    tester.feed("in", event("a", TEN, ""));
    tester.run().unwrap();
    let (emitted, rows) = (tester.take_emitted(), tester.take("out"));
    assert_eq!(emitted.iter().map(|e| e.parent).collect::<Vec<_>>(), [Some(context(1)), Some(context(2))]);
    assert_eq!(emitted.iter().map(links).collect::<Vec<_>>(), [[1].into(), [1, 2].into()]);
    assert!(
        emitted.iter().all(|e| e.context.trace == e.parent.unwrap().trace && e.context.span != e.parent.unwrap().span)
    );
    let carried: Vec<_> = rows.iter().map(|m| m.header(TRACEPARENT)).collect();
    assert_eq!(carried, [Some(text(&emitted[0].context)), Some(text(&emitted[1].context)), None]);
}

#[test]
fn a_grouping_without_windows_links_to_what_came_since_it_last_spoke() {
    let mut tester = Tester::new(grouping("", "n: count()", "{ updates: 0s }", ""));
    tester.trace(SEED).unwrap();
    for (n, expected) in [(1, [1]), (2, [2])] {
        tester.feed("in", traced("a", TEN, n));
        tester.run().unwrap();
        assert_eq!(tester.take_emitted().iter().map(links).collect::<Vec<_>>(), [expected.into()]);
    }
    assert_eq!(kept(&tester, "in", 2), 0);
}

#[test]
fn a_record_that_fails_is_told_of_whatever_its_context_says() {
    let mut tester = tester("{ final: true }");
    let unsampled = Context { flags: 0, ..context(3) };
    // given: three that are no JSON: with a sampled context, with one that nobody keeps, with none
    let bad = || Message::new("a", "{secret");
    tester.feed("in", bad().with(TRACEPARENT, &text(&context(1))).with("correlation_id", "order-7"));
    tester.feed("in", bad().with(TRACEPARENT, &text(&unsampled)));
    tester.feed("in", bad());
    tester.feed("in", traced("a", TEN, 9));
    tester.run().unwrap();
    // then
    let failed = tester.take_failed();
    let parents: Vec<Option<Context>> = failed.iter().map(|f| f.parent).collect();
    assert_eq!(parents, [Some(context(1)), Some(unsampled), None]);
    assert_eq!(
        failed.iter().map(|f| (f.offset, f.correlation.as_deref())).collect::<Vec<_>>()[0],
        (0, Some("order-7"))
    );
    assert!(failed.iter().all(|f| f.context.is_sampled()));
    assert!(failed[..2].iter().all(|f| f.context.trace == f.parent.unwrap().trace));
    let carried: Vec<Option<String>> = tester.take("dead").iter().map(|m| m.header(TRACEPARENT)).collect();
    let expected = [text(&context(1)), text(&unsampled), text(&failed[2].context)];
    assert_eq!(carried, expected.map(Some), "its own context, else that of the span that tells of it");
    assert!(!format!("{failed:?}").contains("secret"));
}

#[test]
fn records_without_a_context_go_on_in_that_of_their_batch() {
    let source = "sources:\n  events: { topic: in, key_format: string }\n";
    let steps = "steps:\n  g: { from: events, group_by: record.key, aggregate: { n: count() }, emit: { updates: 0s } }\noutputs:\n  out: { from: g }\n";
    let built: std::sync::Arc<Topology> = topology(&format!("{source}{steps}"));
    let batch = |with: Option<&str>| {
        let mut batch = tidemill_topology::Batch::new("in".into(), 0, 1, 0);
        batch.push(0, 1, Some(b"a"), Some(b"{}"));
        with.iter().for_each(|value| batch.push_header(TRACEPARENT.as_bytes(), Some(value.as_bytes())));
        batch.push(1, 1, Some(b"b"), Some(b"{}"));
        batch
    };
    for (with, expected) in [(None, 2), (Some(text(&Context { flags: 0, ..context(1) })), 0)] {
        let batch = batch(with.as_deref());
        let setup = tidemill_topology::TaskSetup {
            partition: 0,
            partitions: 1,
            assignment: 1,
            store_id: 1,
            position: 0,
            cache_bytes: 0,
        };
        let store = std::sync::Arc::new(tidemill_state::MemoryStore::new());
        let task = tidemill_topology::Task::open(built.stages[0].clone(), setup, store, None).unwrap();
        let mut task = task.traced(SEED).unwrap();
        let brought = task.look(&batch).unwrap();
        assert_eq!((brought.bare, brought.contexts), (with.is_none(), 0));
        task.continue_in(Some(context(5)));
        task.process(&batch).unwrap();
        let sealed = task.seal(0).unwrap().unwrap();
        assert_eq!(sealed.traces.len(), expected, "an unsampled context is a word too");
        assert!(sealed.traces.iter().all(|e| links(e) == [5].into()));
    }
}

#[test]
fn a_hundred_thousand_open_windows_stay_under_the_cap() {
    const CAP: usize = 8 << 20;
    let mut tester = tester("{ final: true }");
    tester.slice(200_000);
    for n in 0..100_000u64 {
        tester.feed("in", traced(&format!("key-{n}"), TEN, n));
        if n % 10_000 == 9_999 {
            tester.run().unwrap();
        }
    }
    let counts = tester.task("in", 0).unwrap().trace_counts();
    assert!(counts.bytes <= CAP && counts.samples > 15_000, "{counts:?}");
    assert_eq!(counts.left_out + counts.samples as u64, 100_000);
    assert_eq!(kept(&tester, "in", 2), counts.samples, "what is in memory is in the store");
    tester.restart().unwrap();
    let again = tester.task("in", 0).unwrap().trace_counts();
    assert_eq!((again.samples, again.bytes), (counts.samples, counts.bytes));
    // when: they close, there is room again
    tester.feed("in", event("z", TEN + 2 * HOUR, ""));
    while tester.run().is_ok() && kept(&tester, "in", 2) > 1 {
        tester.feed("in", event("z", TEN + 2 * HOUR, ""));
    }
    assert_eq!(tester.task("in", 0).unwrap().trace_counts().samples, 0);
    let emitted = tester.take_emitted();
    assert!(!emitted.is_empty() && emitted.len() <= 4_096 * 100 && emitted.iter().all(|e| e.links.len() == 1));
}
