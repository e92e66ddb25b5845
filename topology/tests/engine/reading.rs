//! How a value is read changes nothing: a stage that finds its fields in the text says what one that parses whole says.

use crate::given::*;
use tidemill_topology::{Tester, tester::Message};

/// The same steps twice; `also` makes the stage one that needs whole documents.
fn job(also: bool) -> Tester {
    let whole = "  other: { from: events, do: [ { set: { a.b.c: \"1\" } }, { filter: \"false\" } ] }\n";
    let (step, output) = if also { (whole, "  other: { from: other }\n") } else { ("", "") };
    Tester::new(topology(&format!(
        "sources:\n  events: {{ topic: in, key_format: string, time: at }}\nsteps:\n  clean:\n    from: events\n    do:\n      \
         - validate: {{ id: \"text >= 1 chars\", kind: \"text in ['a', 'b', 'é']\", x: \"number? <= 100\" }}\n      \
         - dedupe: {{ name: seen, by: id, within: 1h }}\n      - filter: \"inner.deep != 'no' && x != 13\"\n  \
         rich: {{ from: clean, do: [ {{ set: {{ big: \"x > 5\", x: \"x * 2\", new: \"big\" }} }}, {{ filter: \"new || x < 7\" }} ] }}\n  \
         hours: {{ from: rich, group_by: [kind, inner.deep], window: {{ tumbling: 1h, grace: 10m }}, aggregate: {{ n: count(), s: sum(x), u: count_distinct(big) }}, emit: {{ updates: 0s }} }}\n{step}\
         outputs:\n  out: {{ from: hours }}\n  copies: {{ from: rich }}\n  keyed: {{ from: rich, key: kind }}\n{output}"
    )))
}

#[test]
fn fields_found_in_the_text_are_those_of_the_document() {
    let mut seed = 11u64;
    let mut dice = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut messages = Vec::new();
    for index in 0..1_500 {
        let id = dice(900);
        let kind = ["\"a\"", "\"b\"", "\"\\u0061\"", "\"é\"", "\"c\"", "null", "7"][dice(7) as usize];
        let x =
            ["1", "5.50", "7e0", "101", "null", "\"text\"", "13", "0.1", "12345678901234567890123"][dice(9) as usize];
        let inner = ["{\"deep\":\"yes\"}", "{\"deep\":\"no\"}", "{}", "null", "[1]", "{\"deep\":1,\"deep\":\"yes\"}"]
            [dice(6) as usize];
        let big = ["", ",\"big\":1", ",\"new\" : { } "][dice(3) as usize];
        let at = TEN + index * 1_000;
        let text = match dice(40) {
            0 => "{\"id\":".to_owned(),
            1 => "[]".to_owned(),
            _ => format!(" {{\"id\":\"{id}\",\"kind\":{kind}, \"x\":{x},\"inner\":{inner},\"at\":{at}{big}}}"),
        };
        messages.push(Message::new("k", &text));
    }
    let said = |also: bool| {
        let mut t = job(also);
        for message in messages.clone() {
            t.feed("in", message);
        }
        for _ in 0..3 {
            t.process().unwrap();
            t.commit().unwrap();
            t.advance(1_000);
        }
        ["out", "copies", "keyed", "dead"].map(|topic| t.take(topic))
    };
    let scanned = said(false);
    assert!(scanned.iter().all(|topic| topic.len() > 2), "{:?}", scanned.each_ref().map(Vec::len));
    let other = said(true);
    assert_eq!(scanned, other);
}
