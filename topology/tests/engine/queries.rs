//! Questions to what is committed: rows as on the wire, positions beside them, and what is asked wrongly.

use crate::given::*;
use tidemill_topology::{Ask, Part, Tester, tester::Message};

const ALL: Ask<'_> = Ask { step: "g", fields: &[], window: None, limit: 100 };

fn rows(parts: &[Part]) -> Vec<String> {
    parts.iter().flat_map(|p| &p.rows).map(|(_, row)| row.to_string()).collect()
}

fn by_fields() -> Tester {
    let mut t = Tester::with_partitions(
        topology(&format!(
            "sources:\n  events: {{ topic: in, time: at }}\nsteps:\n  g:\n    from: events\n    group_by: {{ kind: kind, of: user.id }}\n    {WINDOW}\n    aggregate: {{ n: count(), users: count_distinct(user.name), mean: avg(x), s: sum(x) }}\n    emit: {{ updates: 5s, final: true }}\noutputs:\n  out: {{ from: g, fields: [n] }}\n"
        )),
        3,
    );
    for (key, at, kind, id, name, x) in [
        ("k1", TEN, "view", "7", "anna", "1.005"),
        ("k2", TEN + 1, "view", "7.0", "berta", "2"),
        ("k3", TEN + 2, "view", "\"7\"", "anna", "3"),
        ("k4", TEN + HOUR, "view", "7", "anna", "4"),
        ("k5", TEN, "buy \u{e9}", "null", "anna", "5"),
    ] {
        let value =
            format!("{{\"at\":{at},\"kind\":\"{kind}\",\"user\":{{\"id\":{id},\"name\":\"{name}\"}},\"x\":{x}}}");
        t.feed("in", Message::new(key, value).at(5));
    }
    t
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_open_window_is_answered_from_what_is_committed_alone() {
    let mut t = hourly("{ final: true }");
    feed(&mut t, &[("a", TEN, "\"x\":1.50"), ("a", TEN + 1, "\"x\":2")]);
    t.process().unwrap();
    let before = t.ask(&ALL).unwrap();
    assert_eq!((rows(&before).len(), before[0].positions.len()), (0, 0), "worked, and not committed");
    t.commit().unwrap();
    feed(&mut t, &[("a", TEN + 2, "\"x\":100")]);
    t.process().unwrap();
    let parts = t.ask(&ALL).unwrap();
    let row = r#"{"window":{"start":"2026-01-01T10:00:00Z","end":"2026-01-01T11:00:00Z"},"key":"a","n":2,"s":3.5,"result":"open"}"#;
    assert_eq!(rows(&parts), [row]);
    assert_eq!(parts[0].positions[0].offset, 2, "the records that the rows stand for");
}

#[test]
fn groups_are_found_by_all_of_their_fields_or_by_some() {
    let mut t = by_fields();
    t.run().unwrap();
    let ask = |pairs: &[(&str, &str)], window: Option<&str>| {
        let fields = fields(pairs);
        let mut parts = t.ask(&Ask { fields: &fields, window, ..ALL }).unwrap();
        let asked = parts.len();
        parts.iter_mut().for_each(|p| p.rows.sort_by_key(|(start, _)| *start));
        let mut found: Vec<(i64, String)> = parts
            .iter()
            .flat_map(|p| &p.rows)
            .map(|(start, row)| {
                ((start - TEN) / HOUR, format!("{} {} {} {}", row["of"], row["n"], row["users"], row["mean"]))
            })
            .collect();
        found.sort();
        (asked, found.into_iter().map(|(hour, text)| format!("{hour}: {text}")).collect::<Vec<_>>())
    };
    // The number and the text are two groups; both may be meant. 7 and 7.0 are one.
    let (_, both) = ask(&[("kind", "view"), ("of", "7")], Some("2026-01-01T10:00:00Z"));
    assert_eq!(both, ["0: \"7\" 1 1 3", "0: 7 2 2 1.5"]);
    let (asked, text) = ask(&[("kind", "view"), ("of", "\"7\"")], None);
    assert_eq!((asked <= 2, text), (true, vec!["0: \"7\" 1 1 3".to_owned()]), "a group is on one partition");
    let (asked, some) = ask(&[("kind", "view")], None);
    assert_eq!((asked, some.len()), (3, 3));
    assert_eq!(ask(&[("of", "null")], None).1, ["0: null 1 1 5"]);
    assert_eq!(ask(&[("kind", "buy \u{e9}")], None).1, ["0: null 1 1 5"]);
    assert_eq!(ask(&[("kind", "sell")], None).1, [""; 0]);
    assert_eq!(ask(&[], Some(&(TEN + HOUR).to_string())).1, ["1: 7 1 1 4"]);
    assert_eq!(ask(&[], None).1.len(), 4);
}

#[test]
fn a_limit_says_that_there_is_more() {
    let mut t = hourly("every");
    feed(&mut t, &[("a", TEN, ""), ("b", TEN, ""), ("c", TEN, "")]);
    t.run().unwrap();
    let ask = |limit| t.ask(&Ask { limit, ..ALL }).map(|parts| (parts[0].rows.len(), parts[0].more)).unwrap();
    assert_eq!((ask(2), ask(3)), ((2, true), (3, false)));
}

#[test]
fn a_finished_window_is_gone_and_its_question_says_where_to() {
    let mut t = hourly("{ final: true }");
    feed(&mut t, &[("a", TEN, ""), ("a", TEN + HOUR + 10 * MINUTE, "")]);
    t.run().unwrap();
    let ask = Ask { window: Some("2026-01-01T10:00:00Z"), ..ALL };
    let parts = t.ask(&ask).unwrap();
    assert_eq!(rows(&parts), [""; 0]);
    let topology = hourly_topology();
    let question = topology.question(&ask).unwrap();
    let said = question.finished(parts[0].stream_time).unwrap();
    assert!(said.ends_with("is finished and gone from state; what it came to is in topic out"), "{said}");
    assert_eq!(question.finished(TEN + HOUR), None);
}

fn hourly_topology() -> std::sync::Arc<tidemill_topology::Topology> {
    grouping(WINDOW, "n: count(), s: sum(x)", "{ final: true }", "")
}

#[test]
fn running_aggregates_have_no_window() {
    let mut t = Tester::new(grouping("", "n: count()", "every", ""));
    feed(&mut t, &[("a", TEN, ""), ("b", TEN, ""), ("a", TEN, "")]);
    t.run().unwrap();
    assert_eq!(
        rows(&t.ask(&Ask { fields: &fields(&[("key", "a")]), ..ALL }).unwrap()),
        [r#"{"key":"a","n":2,"result":"open"}"#]
    );
    let said = t.ask(&Ask { window: Some("0"), ..ALL }).unwrap_err();
    assert!(said.contains("has no windows; leave 'window' out"), "{said}");
}

#[test]
fn record_keys_are_asked_for_in_their_format() {
    for (format, key, asked) in [
        ("string", b"7".to_vec(), "7"),
        ("int64", 7i64.to_be_bytes().to_vec(), "7"),
        ("int32", 7i32.to_be_bytes().to_vec(), "7"),
        ("json", b"\"seven\"".to_vec(), "seven"),
        ("json", b"{\"n\":7}".to_vec(), "{\"n\":7}"),
        ("bytes", vec![0xff, 0], "/wA="),
    ] {
        let text = format!(
            "sources:\n  events: {{ topic: in, key_format: {format} }}\nsteps:\n  g: {{ from: events, group_by: record.key, aggregate: {{ n: count() }}, emit: every }}\noutputs:\n  out: {{ from: g }}\n"
        );
        let mut t = Tester::new(topology(&text));
        t.feed("in", Message::new(&key, "{}"));
        t.feed("in", Message::new([b'x'; 8], "{}"));
        t.run().unwrap();
        let found = t.ask(&Ask { fields: &fields(&[("key", asked)]), ..ALL }).unwrap();
        assert_eq!(rows(&found).len(), 1, "{format}: {asked}");
    }
}

#[test]
fn what_is_asked_wrongly_is_told_what_to_write() {
    let t = by_fields();
    let (kind, twice) = (fields(&[("knd", "x")]), fields(&[("kind", "x"), ("kind", "y")]));
    for (ask, says) in [
        (Ask { step: "gg", ..ALL }, "there is no step 'gg'; did you mean 'g'?"),
        (Ask { step: "events", ..ALL }, "groups nothing"),
        (Ask { fields: &kind, ..ALL }, "step 'g' is not grouped by 'knd'; did you mean 'kind'?"),
        (Ask { fields: &twice, ..ALL }, "'kind' stands twice"),
        (Ask { window: Some("ten"), ..ALL }, "window 'ten' is no time"),
        (Ask { window: Some("2026-01-01T10:30:00Z"), ..ALL }, "the last one before it begins at 2026-01-01T10:00:00Z"),
    ] {
        let said = t.ask(&ask).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_question_that_takes_too_long_is_given_up() {
    let mut t = hourly("every");
    for i in 0..1_000 {
        t.feed("in", event(&format!("k{i}"), TEN, ""));
    }
    t.run().unwrap();
    let topology = hourly_topology();
    let question = topology.question(&Ask { limit: 10_000, ..ALL }).unwrap();
    let store = t.store("in", 0).unwrap();
    let said = question.answer(store, &|| false).unwrap_err().to_string();
    assert!(said.contains("took too long"), "{said}");
}
