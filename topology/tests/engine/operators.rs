//! `validate`, `set`, `redact`, and the copies behind them.

use crate::given::*;
use std::path::{Path, PathBuf};
use tidemill_topology::{Tester, parse, tester::Message};

/// A source `in`, one step with these operators, and its copy `out`.
fn step(operators: &str, output: &str) -> Tester {
    Tester::new(topology(&format!(
        "sources:\n  events: {{ topic: in, key_format: string }}\nsteps:\n  s: {{ from: events, do: [ {operators} ] }}\noutputs:\n  out: {{ from: s{output} }}\n"
    )))
}

/// What becomes of a value: the copy's, or the reason.
fn becomes(tester: &mut Tester, value: &str) -> String {
    tester.feed("in", Message::new("k", value));
    tester.run().unwrap();
    let copy = tester.take("out").pop().map(|m| m.value_text());
    copy.unwrap_or_else(|| reasons(tester).pop().unwrap_or("nothing".to_owned()))
}

fn mistakes(rest: &str) -> String {
    let text = format!("app: t\nkafka: {{ brokers: b }}\n{rest}");
    parse(&text, "t.yaml", &|_| None).err().map_or("none".to_owned(), |e| e.lines.join("\n"))
}

#[test]
fn a_record_that_breaks_a_rule_leaves_only_its_dead_letter() {
    let rules = "{ validate: { event_id: text <= 5 chars, kind: \"text in ['click', 'buy']\", event_data.amount: \"number? >= 0 <= 1000000\" } }";
    let mut t = step(rules, "");
    let good = r#"{"event_id":"a","kind":"buy","event_data":{"amount":1e6}}"#;
    assert_eq!(becomes(&mut t, good), good);
    assert_eq!(becomes(&mut t, r#"{"event_id":"a","kind":"click"}"#), r#"{"event_id":"a","kind":"click"}"#);
    for (value, reason) in [
        (r#"{"kind":"buy"}"#, "invalid: field 'event_id' is missing, its rule is: text <= 5 chars"),
        (r#"{"event_id":7,"kind":"buy"}"#, "invalid: field 'event_id' is a number, its rule is: text <= 5 chars"),
        (r#"{"event_id":"secret","kind":"buy"}"#, "invalid: field 'event_id' is out of its bounds"),
        (r#"{"event_id":"a\u0000","kind":"buy"}"#, "invalid: field 'event_id' holds a NUL character"),
        (r#"{"event_id":"a","kind":"sell"}"#, "invalid: field 'kind' is out of its bounds"),
        (
            r#"{"event_id":"a","kind":"buy","event_data":{"amount":1000000.0000000000000000000000000000000001}}"#,
            "invalid: field 'event_data.amount' is out of its bounds, its rule is: number? >= 0 <= 1000000",
        ),
        ("null", "invalid: field 'event_id' is missing"),
    ] {
        let said = becomes(&mut t, value);
        assert!(said.starts_with(reason), "{value}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(balanced(t.counts("in")) && t.counts("in").dead == 7);
}

/// A folder with a schema and a topology that names it.
fn schema(schema: &str, more: &str) -> (tempfile::TempDir, Result<Tester, String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("schemas")).unwrap();
    write(folder.path(), "schemas/e.json", schema);
    write(folder.path(), "schemas/amount.json", r#"{"type":"number","minimum":0,"maximum":99999999999999999999.01}"#);
    let yaml = format!(
        "app: t\nkafka: {{ brokers: b }}\ndead_letters: {{ topic: dead }}\nsources:\n  events: {{ topic: in }}\nsteps:\n  s: {{ from: events, do: [ {{ validate: {{ schema: schemas/e.json{more} }} }} ] }}\noutputs:\n  out: {{ from: s }}\n"
    );
    let file = write(folder.path(), "t.yaml", &yaml);
    let loaded = tidemill_topology::load(&file).map(|l| Tester::new(l.topology));
    (folder, loaded.map_err(|e| e.lines.join("\n")))
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_json_schema_decides_by_its_draft() {
    let body = r##""type":"object","required":["id"],"properties":{"id":{"$ref":"#/$defs/id"},"amount":{"$ref":"amount.json"},"at":{"format":"date-time"},"pair":PAIR},"additionalProperties":false,"$defs":{"id":{"type":"string","maxLength":3}}"##;
    let seven = r#""$schema":"http://json-schema.org/draft-07/schema#""#;
    // In draft 7 a list of items is a tuple, in 2020-12 that is prefixItems.
    for (head, tuple, more, at_counts) in [
        (seven, r#"{"items":[{"type":"integer"}]}"#, "", true),
        (r#""title":"newest""#, r#"{"prefixItems":[{"type":"integer"}]}"#, "", false),
        (r#""title":"newest""#, r#"{"prefixItems":[{"type":"integer"}]}"#, ", formats: true", true),
    ] {
        let (_folder, tester) = schema(&format!("{{{head},{}}}", body.replace("PAIR", tuple)), more);
        let mut t = tester.unwrap();
        let good = r#"{"id":"a","amount":99999999999999999999.01,"pair":[1234567890123456789012345678901234567890]}"#;
        assert_eq!(becomes(&mut t, good), good);
        for (value, reason) in [
            (r#"{}"#, "invalid: field 'id' is missing, see schemas/e.json#/required"),
            (r#"{"id":"secret"}"#, "invalid: field 'id' breaks schemas/e.json#/$defs/id/maxLength"),
            (
                r#"{"id":"a","amount":99999999999999999999.02}"#,
                "invalid: field 'amount' breaks schemas/e.json#/maximum",
            ),
            (r#"{"id":"a","pair":[1.5]}"#, "invalid: field 'pair.0' breaks schemas/e.json#/properties/pair/"),
            (r#"{"id":"a","secret":1}"#, "invalid: the value breaks schemas/e.json#/additionalProperties"),
            ("[]", "invalid: the value breaks schemas/e.json#/type"),
        ] {
            let said = becomes(&mut t, value);
            assert!(said.starts_with(reason), "{value}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
        let time = r#"{"id":"a","at":"noon"}"#;
        assert_eq!(becomes(&mut t, time) != time, at_counts, "{head}{more}");
    }
}

#[test]
fn a_schema_that_does_not_compile_is_a_mistake_with_its_place() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for (text, what) in [
        (r#"{"properties":{"a":{"type":"texd"}}}"#, "schema schemas/e.json#/properties/a/type: "),
        (r#"{"properties":{"a":{"pattern":"("}}}"#, "schema schemas/e.json#/properties/a/pattern: "),
        (r##"{"$ref":"#/$defs/none"}"##, "schema schemas/e.json#"),
        (r#"{"$ref":"https://example.com/x.json"}"#, "not from the network"),
        (r#"{"$ref":"missing.json"}"#, "schema schemas/e.json#"),
        ("{", "schema schemas/e.json: not JSON: "),
        (&deep, "schema schemas/e.json: not JSON: recursion limit"),
    ] {
        let (_folder, tester) = schema(text, "");
        let said = tester.map(|_| ()).unwrap_err();
        assert!(said.contains("t.yaml:7:") && said.contains(what), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let (folder, _) = schema("{}", "");
    std::fs::remove_file(folder.path().join("schemas/e.json")).unwrap();
    let said = tidemill_topology::load(&folder.path().join("t.yaml")).unwrap_err().lines.join("\n");
    assert!(said.contains("schema schemas/e.json: ") && said.contains("relative to this one"), "{said}");
}

#[test]
fn set_computes_in_order_and_leaves_all_else_as_it_was_written() {
    let mut t = step(
        "{ set: { double: amount * 2, big: double > 10, none: missing, user.level: \"'new'\", amount: amount } }",
        "",
    );
    for (value, wanted) in [
        (
            r#"{ "amount" : 5.50 , "x":[1.0,  "\u0041"], "n":123456789012345678901234567890123456789012 }"#,
            r#"{ "amount" : 5.5 , "x":[1.0,  "\u0041"], "n":123456789012345678901234567890123456789012 ,"big":true,"double":11,"none":null,"user":{"level":"new"}}"#,
        ),
        (
            r#"{"user":{"name":"a"},"big":"?"}"#,
            r#"{"user":{"name":"a","level":"new"},"big":null,"amount":null,"double":null,"none":null}"#,
        ),
        (r#"{"user":null}"#, r#"{"user":{"level":"new"},"amount":null,"big":null,"double":null,"none":null}"#),
        (r#"{"user":5}"#, "not-an-object: set 'user.level': field 'user' is no object, so it can have no field"),
        (r#"{"user":[]}"#, "not-an-object: set 'user.level': field 'user' is no object, so it can have no field"),
        ("[1]", "not-an-object: set 'double': the value is no object, so it can have no field"),
        (r#"{"amount":"much"}"#, "wrong-type: set 'double': column 1 of the expression: `amount` is a text"),
    ] {
        let said = becomes(&mut t, value);
        assert!(said == wanted || (!wanted.starts_with('{') && said.starts_with(wanted)), "{value}: {said}");
    }
    t.feed("in", Message { value: None, ..Message::new("k", "") });
    t.run().unwrap();
    assert_eq!(reasons(&mut t).len(), 1, "a tombstone has no fields");
}

#[test]
fn wall_time_is_the_arrival_of_the_batch() {
    let mut t = step("{ set: { processed_at: record.arrived } }", "");
    t.advance(TEN - t.now());
    assert_eq!(becomes(&mut t, "{}"), r#"{"processed_at":"2026-01-01T10:00:00Z"}"#);
    t.advance(1_500);
    assert_eq!(becomes(&mut t, "{}"), r#"{"processed_at":"2026-01-01T10:00:01.5Z"}"#);
}

#[test]
fn what_one_branch_changes_the_next_one_does_not_see() {
    let mut t = Tester::new(topology(
        "sources:\n  events: { topic: in, key_format: string }\nsteps:\n  a: { from: events, do: [ { set: { x: 1 + x, new: \"'n'\" } }, { redact: [ip, d.e] } ] }\n  b: { from: a, do: [ { set: { x: x + 1 } }, { filter: \"ip is null && d.e is null && d.f is not null\" } ] }\n  c: { from: events, do: [ { filter: \"ip is not null && d.e is not null && new is null\" } ] }\n  f: { from: events, do: [ { set: { x: 99 } }, { filter: \"false\" } ] }\n  z: { from: events, do: [ { filter: \"x == 1\" } ] }\noutputs:\n  f: { from: f }\n  a: { from: a }\n  b: { from: b }\n  c: { from: c }\n  z: { from: z }\n",
    ));
    let value = r#"{"x":1,"ip":"1.2.3.4","d":{"e":5,"f":6}}"#;
    t.feed("in", Message::new("k", value));
    t.run().unwrap();
    let of = |t: &mut Tester, topic: &str| t.take(topic).pop().map(|m| m.value_text());
    assert_eq!(of(&mut t, "a").as_deref(), Some(r#"{"x":2,"d":{"f":6},"new":"n"}"#));
    assert_eq!(of(&mut t, "b").as_deref(), Some(r#"{"x":3,"d":{"f":6},"new":"n"}"#));
    assert_eq!(of(&mut t, "c").as_deref(), Some(value));
    assert_eq!(of(&mut t, "z").as_deref(), Some(value));
}

/// Whoever reads the copy may take the first of two equal names: neither may hold what must not leave.
#[test]
fn what_is_redacted_leaves_in_no_form() {
    let mut t =
        step("{ redact: [ip, event_data.ip, items.ip] }, { filter: \"ip is null && event_data.ip is null\" }", "");
    for (value, wanted) in [
        (r#"{"ip":"9.9.9.9","a":1.0}"#, r#"{"a":1.0}"#),
        (r#"{"\u0069p":"9.9.9.9","a" : 1}"#, r#"{"a" : 1}"#),
        (r#"{"event_data":{"ip":"9.9.9.9","k":1},"event_data":{}}"#, r#"{"event_data":{"k":1},"event_data":{}}"#),
        (r#"{"items":[{"ip":"9.9.9.9"},{"i":2}],"event_data":7}"#, r#"{"items":[{},{"i":2}],"event_data":7}"#),
        (r#"[{"ip":"9.9.9.9"}]"#, "[{}]"),
        ("5", "5"),
    ] {
        assert_eq!(becomes(&mut t, value), wanted, "{value}");
    }
}

#[test]
fn dead_letters_hold_the_original_unless_redact_names_what_they_must_not() {
    let of = |letters: &str, value: &str| {
        let text = format!(
            "app: t\nkafka: {{ brokers: b }}\ndead_letters: {{ topic: dead{letters} }}\nsources:\n  events: {{ topic: in }}\nsteps:\n  s: {{ from: events, do: [ {{ redact: [ip] }}, {{ filter: \"x > 1\" }} ] }}\noutputs:\n  out: {{ from: s }}\n"
        );
        let mut t = Tester::new(parse(&text, "t.yaml", &|_| None).unwrap().topology);
        t.feed("in", Message::new("k", value));
        t.run().unwrap();
        t.take("dead").remove(0)
    };
    let value = r#"{ "ip":"9.9.9.9", "x":"?", "d":{"ua":"Mozilla","k":1} }"#;
    assert_eq!(of("", value).value_text(), value);
    let redact = ", redact: [ip, d.ua]";
    let letter = of(redact, value);
    assert_eq!(letter.value_text(), r#"{ "x":"?", "d":{"k":1} }"#);
    assert_eq!(letter.header("tidemill-redacted").unwrap(), "ip,d.ua");
    assert_eq!(letter.header("tidemill-truncated"), None);
    let letter = of(redact, "{\"ip\":\"9.9.9.9\"");
    assert_eq!(letter.value, Some(Vec::new()), "what cannot be read is kept out whole");
    assert!(letter.header("tidemill-truncated").unwrap().ends_with(" length=15"), "and its hash says which it was");
    assert!(letter.header("tidemill-reason").unwrap().starts_with("not-json"));
}

#[test]
fn a_copy_may_have_another_key_and_chosen_fields() {
    let mut t = step(
        "{ set: { user.seen: \"true\" } }",
        ", key: user.id, key_format: string, fields: [user.id, user.seen, n, no.thing]",
    );
    let messages = [
        Message::new("k", r#"{"user":{"id":7,"ip":"9.9.9.9"},"n":1.50,"x":[]}"#),
        Message { value: Some(br#"{"user":{}}"#.to_vec()), ..Message::new("k", "") },
        Message::new("k", r#"{"user":{"id":["7"]}}"#),
    ];
    messages.into_iter().for_each(|m| t.feed("in", m));
    t.run().unwrap();
    let out = t.take("out");
    let shown: Vec<_> = out.iter().map(|m| (m.key.as_deref(), m.value_text())).collect();
    assert_eq!(
        shown,
        [
            (Some(&b"7"[..]), r#"{"user":{"id":7,"seen":true},"n":1.50}"#.to_owned()),
            (None, r#"{"user":{"seen":true}}"#.to_owned()),
        ]
    );
    let reason = reasons(&mut t).remove(0);
    assert!(reason.starts_with("wrong-type: the key of a copy to out, field 'user.id': a list"), "{reason}");
    assert!(balanced(t.counts("in")));
}

#[test]
fn a_copy_that_grew_past_the_limit_is_a_dead_letter() {
    let mut t = step("{ set: { again: x } }", "");
    let value = format!("{{\"x\":\"{}\"}}", "y".repeat(40_000));
    assert!(becomes(&mut t, &value).starts_with("too-large: a copy to out takes 80"));
}

#[test]
fn what_cannot_be_meant_is_refused_at_load() {
    let text = |format: &str, operator: &str, output: &str| {
        mistakes(&format!(
            "sources:\n  events: {{ topic: in{format} }}\nsteps:\n  s: {{ from: events, do: [ {operator} ] }}\noutputs:\n  out: {{ from: s{output} }}\n"
        ))
    };
    let ok = "{ filter: \"true\" }";
    assert_eq!(text("", ok, ""), "none");
    for (format, operator, output, what) in [
        ("", "{ valdiate: {} }", "", "unknown operator 'valdiate' in step 's'; did you mean 'validate'?"),
        ("", "{ set: { x: 1 }, filter: x }", "", "must have one name"),
        ("", "{ set: { record.key: 1 } }", "", "only fields of the value can stand here"),
        ("", "{ set: { a.0: 1 } }", "", "an element of a list (0) cannot stand alone"),
        ("", "{ set: { a: 1 + } }", "", "field 'a' of 'set' in step 's' \"1 +\": column"),
        ("", "{ set: { a: record.arived } }", "", "did you mean 'arrived'?"),
        ("", "{ redact: [a.b, a] }", "", "names 'a' twice"),
        ("", "{ redact: ip }", "", "write a list of fields"),
        (
            "",
            "{ validate: { a: texd } }",
            "",
            "the rule of 'a' 'validate' in step 's' is 'texd', which begins with no type",
        ),
        (", format: string", "{ set: { a: 1 } }", "", "step 's' works on fields, which values of source 'events' lack"),
        (", format: string", ok, ", fields: [a]", "remove 'fields'"),
        ("", ok, ", key_format: string", "remove 'key_format', or add 'key'"),
        ("", ok, ", key: record.nothing", "names record.nothing, which there is not"),
        ("", ok, ", fields: [record.key]", "only fields of the value can stand here"),
    ] {
        let said = text(format, operator, output);
        assert!(said.contains(what), "{operator} {output}: {said}");
    }
}
