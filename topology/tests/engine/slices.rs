//! Slices: a seal speaks of so many entries at most, and looks at so many of what the store owes of old. Whatever the
//! place of a crash between them, every update is said, and no word follows a final.

use crate::given::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_topology::{Tester, Topology, tester::Message};

const KEYS: [&str; 8] = ["d", "a", "h", "c", "b", "g", "f", "e"];

fn sliced(emit: &str, slice: usize) -> Tester {
    let mut t = hourly(emit);
    t.slice(slice);
    t
}

fn feed_all(t: &mut Tester) {
    KEYS.iter().for_each(|key| feed(t, &[(key, TEN, "")]));
}

/// The keys of what was said since the last call, in order, each with its count.
fn words(t: &mut Tester) -> Vec<String> {
    let short = |row: String| row.replace("@2026-01-01T10:00", "").replace(" s=null", "").replace(" n=", "");
    said(t).into_iter().map(short).collect()
}

fn urgent(t: &Tester) -> bool {
    t.task("in", 0).unwrap().urgent(t.now())
}

#[test]
fn updates_come_a_slice_a_seal_in_the_order_of_their_first_change() {
    let mut t = sliced("{ updates: 5s, final: true }", 3);
    feed_all(&mut t);
    t.process().unwrap();
    t.commit().unwrap();
    assert_eq!(words(&mut t), ["d1 update", "a1 update", "h1 update"]);
    assert!(urgent(&t), "the rest is due at once, not in 5 s");
    // One that was said and one that was not.
    feed(&mut t, &[("d", TEN, ""), ("c", TEN, "")]);
    t.process().unwrap();
    t.commit().unwrap();
    assert_eq!(words(&mut t), ["c2 update", "b1 update", "g1 update"]);
    t.run().unwrap();
    assert_eq!(words(&mut t), ["f1 update", "e1 update"], "what was said waits for the next round");
    assert!(!urgent(&t));
    t.advance(5_000);
    t.run().unwrap();
    assert_eq!(words(&mut t), ["d2 update"]);
}

#[test]
fn a_full_slice_of_zero_seconds_is_urgent_and_survives_a_restart() {
    let mut t = sliced("{ updates: 0s }", 3);
    feed_all(&mut t);
    t.process().unwrap();
    assert!(!urgent(&t));
    t.commit().unwrap();
    assert!(urgent(&t), "the rest");
    t.restart().unwrap();
    assert!(urgent(&t), "still");
    t.run().unwrap();
    let mut all = words(&mut t);
    all.sort();
    assert_eq!(all.len(), 8);
    all.dedup();
    assert_eq!(all.len(), 8, "each once");
}

#[test]
fn a_window_that_closes_between_slices_has_finals_and_no_update_behind_them() {
    for crash in [false, true] {
        let mut t = sliced("{ updates: 5s, final: true }", 3);
        feed_all(&mut t);
        t.process().unwrap();
        t.commit().unwrap();
        assert_eq!(words(&mut t).len(), 3);
        t.advance(5_000);
        feed(&mut t, &[("z", TEN + 2 * HOUR, "")]);
        t.process().unwrap();
        let (mut rows, mut seals) = (Vec::new(), 0);
        while t.commit().unwrap() {
            seals += 1;
            let slice = words(&mut t);
            assert!(slice.len() <= 3, "{slice:?}");
            rows.extend(slice);
            // A restart is followed by a search, so by a seal: five of them, then an end.
            if crash && seals <= 5 {
                t.restart().unwrap();
                t.process().unwrap();
            }
        }
        let z = rows.iter().position(|r| r.starts_with('z')).unwrap();
        assert_eq!(rows.remove(z), "z@2026-01-01T12:001 update");
        let finals: Vec<String> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|k| format!("{k}1 final")).into();
        assert_eq!(rows, finals, "crash: {crash}");
    }
}

#[test]
fn a_window_that_closes_between_slices_says_what_it_owes_where_there_are_no_finals() {
    for crash in [false, true] {
        let mut t = sliced("{ updates: 5s }", 3);
        feed_all(&mut t);
        t.process().unwrap();
        t.commit().unwrap();
        assert_eq!(words(&mut t), ["d1 update", "a1 update", "h1 update"]);
        if crash {
            t.restart().unwrap();
        }
        feed(&mut t, &[("z", TEN + 2 * HOUR, "")]);
        t.run().unwrap();
        let mut rows = words(&mut t);
        rows.retain(|r| !r.starts_with('z'));
        assert_eq!(rows, ["b1 update", "c1 update", "e1 update", "f1 update", "g1 update"], "crash: {crash}");
    }
}

#[test]
fn behind_a_restart_what_is_owed_is_looked_for_in_slices_and_changes_need_not_wait_for_it() {
    let mut t = sliced("{ updates: 5s }", 4);
    feed_all(&mut t);
    t.run().unwrap();
    assert_eq!(words(&mut t).len(), 8);
    feed_all(&mut t);
    t.run().unwrap();
    t.restart().unwrap();
    assert!(urgent(&t), "it may owe something");
    // The last one of the search owes and changes; one that is new comes in front of it.
    feed(&mut t, &[("h", TEN, ""), ("h", TEN, ""), ("aa", TEN, "")]);
    t.process().unwrap();
    t.commit().unwrap();
    assert_eq!(words(&mut t), ["a2 update", "b2 update", "h4 update", "aa1 update"], "half of the slice each");
    assert!(urgent(&t));
    // Said already and changed again: not before its 5 s, although the search has yet to pass it.
    feed(&mut t, &[("h", TEN, "")]);
    t.run().unwrap();
    assert_eq!(words(&mut t), ["c2 update", "d2 update", "e2 update", "f2 update", "g2 update"]);
    assert!(!urgent(&t));
    t.advance(5_000);
    t.run().unwrap();
    assert_eq!(words(&mut t), ["h5 update"]);
}

#[test]
fn what_has_no_room_in_memory_is_owed_all_the_same_and_said_once_in_its_turn() {
    for (emit, every) in [("{ updates: 5s }", 5_000), ("{ updates: 0s }", 0)] {
        // given: a round behind us, after which memory is held to its bound; far more keys than have room in it
        let mut t = sliced(emit, 700);
        feed(&mut t, &[("first", TEN, "")]);
        t.run().unwrap();
        said(&mut t);
        let keys: Vec<String> = (0..6_000).map(|k| format!("k{k:05}")).collect();
        for round in 1..4 {
            // when: all change, and while that is said a part of them once more, from both ends
            keys.iter().for_each(|key| feed(&mut t, &[(key, TEN, "")]));
            t.advance(every);
            t.process().unwrap();
            t.commit().unwrap();
            let early = said(&mut t).len();
            assert!(early > 0, "{emit}: the round begins");
            assert!(
                t.task("in", 0).unwrap().memory_bytes() < 100_000,
                "{emit}: {}",
                t.task("in", 0).unwrap().memory_bytes()
            );
            let more = [&keys[..50], &keys[5_950..]].concat();
            more.iter().for_each(|key| feed(&mut t, &[(key, TEN, "")]));
            t.run().unwrap();
            t.advance(every);
            t.run().unwrap();
            assert!(!urgent(&t), "{emit}: nothing is left");
            // then: nobody was forgotten
            let (rows, latest) = last_counts(&mut t);
            let expected = |at: usize| if !(50..5_950).contains(&at) { 2 * round } else { round };
            let missing: Vec<&String> = keys
                .iter()
                .enumerate()
                .skip(early)
                .filter(|(at, key)| latest.get(*key) != Some(&expected(*at)))
                .map(|(_, key)| key)
                .collect();
            assert!(missing.is_empty(), "{emit}, round {round}: {} of {}: {missing:?}", missing.len(), keys.len());
            assert!(rows + early <= keys.len() + 2 * more.len(), "{emit}, round {round}: {rows} rows");
        }
    }
}

/// How many rows were said since the last call, and the last count of each key.
fn last_counts(t: &mut Tester) -> (usize, BTreeMap<String, usize>) {
    let words = words(t);
    let count = |word: &String| word.strip_suffix(" update").map(|w| (w[..6].to_owned(), w[6..].parse().unwrap()));
    (words.len(), words.iter().filter_map(count).collect())
}

#[test]
fn what_is_owed_outlasts_a_configuration_without_updates() {
    let named = |emit: &str| grouping(WINDOW, "n: count(), s: sum(x)", emit, "");
    let mut t = sliced("{ updates: 5s }", 3);
    feed_all(&mut t);
    t.process().unwrap();
    t.commit().unwrap();
    assert_eq!(words(&mut t).len(), 3);
    t.restart_as(named("{ final: true }")).unwrap();
    feed(&mut t, &[("b", TEN, "")]);
    t.run().unwrap();
    assert_eq!(words(&mut t), [""; 0]);
    t.restart_as(named("{ updates: 5s }")).unwrap();
    t.run().unwrap();
    assert_eq!(words(&mut t), ["b2 update", "c1 update", "e1 update", "f1 update", "g1 update"]);
}

/// Two steps that share a slice, one with finals, one without.
fn two() -> Arc<Topology> {
    topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  g: { from: events, group_by: record.key, window: { tumbling: 1h, grace: 10m }, aggregate: { n: count() }, emit: { updates: 5s, final: true } }\n  r: { from: events, group_by: record.key, aggregate: { n: count() }, emit: { updates: 5s } }\noutputs:\n  windows: { from: g }\n  running: { from: r }\n",
    )
}

/// Records in rounds over four hours, from a fixed sequence.
fn rounds() -> Vec<Vec<Message>> {
    let mut seed = 11u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut one = |round: i64| event(KEYS[random(8) as usize], TEN + round * 24 * MINUTE + random(20) as i64, "");
    (0..10).map(|round| (0..9).map(|_| one(round)).collect()).collect()
}

/// Topic and key, then its rows in order: value and time.
type Words = BTreeMap<(String, String), Vec<(String, i64)>>;

/// A whole run; `crash` says behind which seals memory is lost. With `drained`, a round begins when the one before has
/// nothing left to say; else each round has one seal, so that remainders and news mix.
fn run(slice: usize, drained: bool, crash: impl Fn(usize) -> bool) -> (Words, usize) {
    let mut t = Tester::new(two());
    t.slice(slice);
    let (mut seals, mut words) = (0, Words::new());
    let last = rounds().len() - 1;
    for (index, round) in rounds().into_iter().enumerate() {
        round.into_iter().for_each(|message| t.feed("in", message));
        t.advance(5_000);
        loop {
            t.process().unwrap();
            if !t.commit().unwrap() {
                break;
            }
            let mut rows = 0;
            for topic in ["windows", "running"] {
                for message in t.take(topic) {
                    rows += 1;
                    let word = (message.value_text(), message.timestamp);
                    words.entry((topic.into(), message.key_text())).or_default().push(word);
                }
            }
            assert!(rows <= slice, "{rows} rows in a slice of {slice}");
            if crash(seals) {
                t.restart().unwrap();
            }
            seals += 1;
            assert!(seals < 3_000, "it does not come to an end");
            if !drained && index != last {
                break;
            }
        }
    }
    (words, seals)
}

#[test]
fn with_slices_a_crash_at_any_seal_changes_nothing() {
    for slice in [1, 2, 3] {
        let (whole, seals) = run(slice, true, |_| false);
        let rows: usize = whole.values().map(Vec::len).sum();
        assert!(seals > 30 && rows > 100, "{seals} seals, {rows} rows");
        assert_eq!(run(usize::MAX, true, |_| false).0, whole, "slices of {slice} against none");
        for at in 0..seals {
            // One loss of memory, then three in a row. Behind every seal for ever would be a search that never ends.
            assert_eq!(run(slice, true, |seal| seal == at).0, whole, "slices of {slice}, behind seal {at}");
            assert_eq!(run(slice, true, |seal| (at..at + 3).contains(&seal)).0, whole, "slices of {slice}, from {at}");
        }
    }
}

/// The count of each row of one key: they only grow, none is said twice, and a final is the last word.
fn check(words: &Words, whole: &Words) {
    assert_eq!(words.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, rows) in words {
        let count = |(row, _): &(String, i64)| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            (row["n"].as_u64().unwrap(), row["result"] == "final")
        };
        let counts: Vec<(u64, bool)> = rows.iter().map(count).collect();
        for pair in counts.windows(2) {
            assert!(!pair[0].1, "{name:?}: a word behind the final: {counts:?}");
            assert!(pair[1].0 > pair[0].0 || pair[1].1, "{name:?}: said again: {counts:?}");
        }
        let last = whole[name].last().map(count);
        assert_eq!(counts.last().copied(), last, "{name:?}: the last word");
    }
}

#[test]
fn where_remainders_and_news_mix_every_key_has_its_last_word_once() {
    let (whole, _) = run(usize::MAX, true, |_| false);
    for slice in [1, 2, 3, 5] {
        let (words, seals) = run(slice, false, |_| false);
        check(&words, &whole);
        for at in 0..seals {
            check(&run(slice, false, |seal| seal == at).0, &whole);
        }
    }
}
