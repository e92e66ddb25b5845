//! Hopping windows against their definition: every window that a record lies in, and that is open when it comes.

use crate::given::{TEN, topology};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_topology::tester::Message;
use tidemill_topology::{Ask, Tester};

const SIZE: i64 = 60;
const HOP: i64 = 20;
const GRACE: i64 = 10;

fn text(by: &str) -> String {
    format!(
        "sources:\n  events: {{ topic: events, time: at, key_format: string }}\nsteps:\n  sliding:\n    from: events\n    group_by: {by}\n    window: {{ hopping: {SIZE}ms, every: {HOP}ms, grace: {GRACE}ms }}\n    aggregate: {{ n: count(), users: count_distinct(user), high: max(x), low: min(x), total: sum(x), mean: avg(x) }}\n    emit: {{ final: true }}\noutputs:\n  rows: {{ from: sliding }}\n"
    )
}

#[derive(Clone, Copy)]
struct Event {
    kind: i64,
    user: i64,
    at: i64,
}

/// Pseudo-random, with disorder beyond what some windows wait for.
fn events() -> Vec<Event> {
    let mut seed = 7u64;
    let mut next = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64 % below
    };
    (0..600).map(|i| Event { kind: next(3), user: next(9), at: i * 2 - next(90) }).collect()
}

/// Records, users, the highest x and the lowest, the sum, and the mean in hundredths.
type Values = [i64; 6];
type Rows = BTreeMap<(i64, String), Values>;

/// What is summed: of both signs.
fn x(event: &Event) -> i64 {
    event.user * 5 % 7 - 3
}

/// The definition.
fn expected(events: &[Event]) -> (Rows, u64) {
    all_windows(events, |closed| closed)
}

/// The windows that are closed, or those that are not.
fn all_windows(events: &[Event], wanted: impl Fn(bool) -> bool) -> (Rows, u64) {
    let (mut time, mut late) = (i64::MIN / 2, 0);
    let mut windows: BTreeMap<(i64, i64), Vec<Event>> = BTreeMap::new();
    for event in events {
        let last = event.at.div_euclid(HOP) * HOP;
        let over = (0..SIZE / HOP).map(|i| last - i * HOP).filter(|start| time < start + SIZE + GRACE);
        let over: Vec<i64> = over.collect();
        late += u64::from(over.is_empty());
        over.iter().for_each(|start| windows.entry((*start, event.kind)).or_default().push(*event));
        time = time.max(event.at);
    }
    windows.retain(|(start, _), _| wanted(time >= start + SIZE + GRACE));
    let row = |all: Vec<Event>| {
        let users: BTreeSet<i64> = all.iter().map(|e| e.user).collect();
        let (n, xs) = (all.len() as i64, all.iter().map(x));
        let (total, high, low) = (xs.clone().sum::<i64>(), xs.clone().max().unwrap(), xs.min().unwrap());
        // Half a hundredth goes away from zero.
        let mean = (total.abs() * 200 + n) / (2 * n) * total.signum();
        [n, users.len() as i64, high, low, total, mean]
    };
    (windows.into_iter().map(|((start, kind), all)| ((start, format!("k{kind}")), row(all))).collect(), late)
}

fn message(event: &Event) -> Message {
    let Event { kind, user, at } = event;
    let at = TEN + at;
    Message::new(format!("k{kind}"), format!(r#"{{"kind":"k{kind}","user":{user},"at":{at},"x":{}}}"#, x(event)))
}

fn place(row: &serde_json::Value, key: &str) -> ((i64, String), Values) {
    let start: jiff::Timestamp = row["window"]["start"].as_str().unwrap().parse().unwrap();
    let number = |name: &str| row[name].as_i64().unwrap();
    let place = (start.as_millisecond() - TEN, row[key].as_str().unwrap().to_owned());
    let mean = (row["mean"].as_f64().unwrap() * 100.0).round() as i64;
    (place, [number("n"), number("users"), number("high"), number("low"), number("total"), mean])
}

fn said(tester: &mut Tester, key: &str) -> Rows {
    let mut rows = Rows::new();
    for message in tester.take("rows") {
        let row: serde_json::Value = serde_json::from_slice(message.value.as_deref().unwrap()).unwrap();
        let (place, values) = place(&row, key);
        let twice = rows.insert(place, values);
        assert_eq!(twice, None, "a window said a group twice: {row}");
    }
    rows
}

#[test]
fn what_windows_say_is_their_definition() {
    let events = events();
    let (expected, late) = expected(&events);
    assert!(late > 10 && expected.len() > 150);
    for (by, key) in [("record.key", "key"), ("[kind]", "kind")] {
        let mut tester = Tester::new(topology(&text(by)));
        events.iter().for_each(|e| tester.feed("events", message(e)));
        tester.run().unwrap();
        assert_eq!(said(&mut tester, key), expected, "by {by}");
        assert_eq!(tester.counts("events").late, late);
    }
}

/// What is open is the definition of what is not closed yet, after any number of events, seals and crashes.
#[test]
fn what_a_query_says_is_the_definition_of_the_open_windows() {
    let events = events();
    for (by, key) in [("record.key", "key"), ("[kind]", "kind")] {
        let mut tester = Tester::new(topology(&text(by)));
        let mut seen = 0;
        for (index, event) in events.iter().enumerate() {
            tester.feed("events", message(event));
            if index % 23 != 0 {
                continue;
            }
            tester.run().unwrap();
            if index % 2 == 0 {
                tester.restart().unwrap();
            }
            let open = all_windows(&events[..=index], |closed| !closed).0;
            let parts = tester.ask(&Ask { step: "sliding", fields: &[], window: None, limit: 10_000 }).unwrap();
            let rows: Rows = parts.iter().flat_map(|p| &p.rows).map(|(_, row)| place(row, key)).collect();
            assert_eq!(rows, open, "by {by} after {index} events");
            seen += rows.len();
            let Some(((start, kind), row)) = open.first_key_value() else { continue };
            let (fields, window) = ([(key.to_owned(), kind.clone())], (TEN + start).to_string());
            let one = Ask { step: "sliding", fields: &fields, window: Some(&window), limit: 10 };
            let parts = tester.ask(&one).unwrap();
            let rows: Vec<_> = parts.iter().flat_map(|p| &p.rows).map(|(_, row)| place(row, key)).collect();
            assert_eq!(rows, [((*start, kind.clone()), *row)], "one group of one window");
        }
        assert!(seen > 100);
    }
}

#[test]
fn neither_seals_nor_slices_nor_crashes_change_it() {
    let events = events();
    let (expected, _) = expected(&events);
    for (by, key) in [("record.key", "key"), ("[kind]", "kind")] {
        for (slice, crashes) in [(2, true), (2, false), (10_000, false)] {
            let mut tester = Tester::new(topology(&text(by)));
            tester.slice(slice);
            for (index, event) in events.iter().enumerate() {
                tester.feed("events", message(event));
                match index % 7 {
                    0 => tester.process().unwrap(),
                    2 | 4 => drop(tester.process().and_then(|()| tester.commit()).unwrap()),
                    5 if crashes => tester.restart().unwrap(),
                    _ => {}
                }
            }
            tester.run().unwrap();
            assert_eq!(said(&mut tester, key), expected, "by {by}, {slice} rows a seal, crashes: {crashes}");
        }
    }
}

/// Sums too large for a decimal while panes are in a window, and small again when they are not.
#[test]
fn what_cannot_be_taken_back_is_put_together() {
    let mut tester = Tester::new(topology(&text("record.key")));
    let most = "99999999999999999999";
    let xs = [most, "1", &format!("-{most}"), most, "5", "6", "7", "8", "9"];
    for (index, x) in xs.iter().enumerate() {
        let at = TEN + index as i64 * HOP;
        tester.feed("events", Message::new("k", format!(r#"{{"kind":"k","user":1,"at":{at},"x":{x}}}"#)));
        tester.run().unwrap();
    }
    let rows = tester.take("rows");
    let rows: Vec<serde_json::Value> =
        rows.iter().map(|m| serde_json::from_slice(m.value.as_deref().unwrap()).unwrap()).collect();
    let totals: Vec<String> = rows.iter().map(|row| row["total"].to_string()).collect();
    // Windows of three panes, each a pane further on. Their panes are added from the first on, and what was too large stays so.
    assert_eq!(totals, [most, "null", "null", "1", "5", "null", "18"], "{rows:?}");
}
