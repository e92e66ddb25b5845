//! Tests of the reader: what is refused, and how it is said.

use super::parse;

const GOOD: &str = "app: t
kafka: { brokers: \"${B:-localhost:9092}\" }
sources:
  events: { topic: in, key_format: string, time: at }
steps:
  big:
    from: events
    do:
      - filter: \"amount > 1\"
  hourly:
    from: big
    group_by: record.key
    window: { tumbling: 1h, grace: 10m }
    aggregate: { n: count(), total: sum(amount) }
    emit: { updates: 5s, final: true }
outputs:
  copied: { from: big }
  hours: { from: hourly }
";

fn lines(text: &str) -> Vec<String> {
    parse(text, "t.yaml", &|_| None).err().map(|e| e.lines).unwrap_or_default()
}

#[test]
fn a_good_file_has_defaults() {
    let loaded = parse(GOOD, "t.yaml", &|_| None).unwrap();
    let s = &loaded.settings;
    assert_eq!((s.app.as_str(), s.group.as_str(), s.brokers.as_str()), ("t", "t", "localhost:9092"));
    assert_eq!((s.replication, s.min_insync_replicas, s.lanes, s.max_record), (3, 2, None, 1 << 20));
    let stage = &loaded.topology.stages[0];
    assert_eq!(stage.changelog.as_deref(), Some("t-events-in-changelog"));
    assert_eq!(stage.states()[0].1, "tumbling 3600000 ms, grace 600000 ms: count(), sum(amount)");
    assert_eq!(&*loaded.topology.dead_letters.topic, "t-dead-letters");
    assert_eq!(loaded.topology.outputs.len(), 2);
}

/// What is replaced in the good file, by what, and a line that it brings.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "key_format:",
        "key_fromat:",
        "t.yaml:4:24: unknown key 'key_fromat' in source 'events'; did you mean 'key_format'?",
    ),
    ("time: at", "form: at", "t.yaml:4:44: unknown key 'form' in source 'events'; did you mean 'format'?"),
    ("app: t", "app: T", "t.yaml:1:6: 'app' in the topology is 'T'; use 1 to 100 of a-z, 0-9, '.', '_' and '-'"),
    ("app: t", "ap: t", "t.yaml:1:1: the topology lacks 'app'; add it"),
    (
        "from: hourly",
        "stuff: hourly",
        "t.yaml:18:12: unknown key 'stuff' in output 'hours'; known are from, key, key_format, format, fields, partitions",
    ),
    ("app: t", "ap: t", "t.yaml:1:1: unknown key 'ap' in the topology; did you mean 'app'?"),
    (
        "key_format: string",
        "key_format: strnig",
        "t.yaml:4:36: 'key_format' in source 'events' is 'strnig', no format; did you mean 'string'?",
    ),
    (
        "grace: 10m",
        "grace: ten",
        "t.yaml:13:36: 'grace' in the window of step 'hourly' is 'ten', no duration; write a whole number with ms, s, m, h or d",
    ),
    (
        "from: big\n    group",
        "from: bgi\n    group",
        "t.yaml:11:11: step 'hourly' is from 'bgi', which there is not; did you mean 'big'?",
    ),
    (
        "count()",
        "cuont()",
        "t.yaml:14:21: aggregate 'n' of step 'hourly' is 'cuont()'; known are count(), count_distinct(x), sum(x), avg(x), min(x) and max(x); did you mean 'count'?",
    ),
    (
        "sum(amount)",
        "sum()",
        "t.yaml:14:37: aggregate 'total' of step 'hourly' is 'sum()', without a field; write sum(x)",
    ),
    (
        "sum(amount)",
        "sum(record.vlaue)",
        "t.yaml:14:37: aggregate 'total' of step 'hourly' names record.vlaue, which there is not; did you mean 'value'?",
    ),
    (
        "{ updates: 5s, final: true }",
        "often",
        "t.yaml:15:11: 'emit' in step 'hourly' is 'often'; write every, or { updates: 5s, final: true }",
    ),
    (
        "{ from: hourly }",
        "{ from: hourly, fields: [m] }",
        "t.yaml:18:35: output 'hours': 'hourly' has no field 'm'; did you mean 'n'?",
    ),
    (
        "{ from: hourly }",
        "{ from: hourly, key_format: int64 }",
        "t.yaml:18:38: output 'hours': key_format int64 would hide the window; write json or text",
    ),
    (
        "{ from: hourly }",
        "{ from: hourly, format: int64 }",
        "t.yaml:18:34: output 'hours': format int64 holds one number; name it, as fields: [n]",
    ),
    (
        "{ from: big }",
        "{ from: big, format: json }",
        "t.yaml:17:32: output 'copied' copies records of 'big' as they are; remove 'format'",
    ),
    ("  copied:", "  in:", "t.yaml:17:3: output 'in' feeds the topic that it is made from; name another"),
    ("  hours: { from: hourly }", "", "t.yaml:10:3: step 'hourly' leads nowhere; add an output from it"),
    ("${B:-localhost:9092}", "${B}", "t.yaml:2:20: environment variable B is not set; set it, or write ${B:-default}"),
    (
        "{ topic: in, key_format: string, time: at }",
        "in",
        "t.yaml:4:11: source 'events' is a scalar; write a map of keys",
    ),
    (
        "group_by: record.key",
        "group_by: []",
        "t.yaml:12:15: 'group_by' in step 'hourly' names nothing; write record.key, or a list of fields",
    ),
    (
        "kafka: {",
        "lanes: none\nkafka: {",
        "t.yaml:2:8: 'lanes' in the topology is 'none'; write a whole number of 1 or more",
    ),
];

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let mut missing = Vec::new();
    for (from, to, want) in MISTAKES {
        assert!(GOOD.contains(from), "{from}");
        let got = lines(&GOOD.replacen(from, to, 1));
        if !got.iter().any(|l| l == want) {
            missing.push(format!("{to}: wanted\n{want}\ngot\n{}", got.join("\n")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_filter_that_does_not_parse_is_shown() {
    let got = lines(&GOOD.replacen("amount > 1", "amount = 1", 1));
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].starts_with("t.yaml:9:17: 'filter' in step 'big' \"amount = 1\": column 8:"), "{got:?}");
}

#[test]
fn text_that_is_no_yaml_is_one_line() {
    for text in ["a: [1", "a: 1\na: 2\n", "", "- 1", "a: {b: }}"] {
        let got = lines(text);
        assert!(got.len() == 1 || text.starts_with('-') || text.is_empty(), "{text}: {got:?}");
        assert!(got[0].starts_with("t.yaml:") && !got[0].contains('\n'), "{text}: {got:?}");
    }
}

#[test]
fn several_mistakes_are_all_shown() {
    let text =
        GOOD.replace("key_format", "keyformat").replace("grace: 10m", "grace: x").replace("final: true", "last: true");
    let got = lines(&text);
    assert!(got.len() >= 3, "{got:?}");
}

#[test]
fn steps_in_a_ring_are_refused() {
    let text = GOOD.replace("from: events", "from: big");
    assert!(lines(&text).iter().any(|l| l.contains("step 'big' comes from itself")), "{:?}", lines(&text));
}

#[test]
fn topics_that_feed_each_other_over_stages_are_refused() {
    let text = "app: t
kafka: { brokers: b }
sources:
  one: { topic: a }
  two: { topic: b }
outputs:
  b: { from: one }
  a: { from: two }
";
    assert_eq!(lines(text).len(), 2, "{:?}", lines(text));
}

#[test]
fn the_example_loads_and_describes_itself() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/counts.yaml");
    let loaded = super::load(std::path::Path::new(path)).unwrap();
    let text = loaded.topology.describe();
    for topic in [
        "user-events ",
        "user-events-big",
        "hourly-counts",
        "counts-events-user-events-changelog",
        "counts-dead-letters",
    ] {
        assert!(text.contains(topic), "{topic} in\n{text}");
    }
    assert_eq!(loaded.topology.stages.len(), 2);
    assert_eq!(loaded.settings.memory, Some(1 << 30));
}

#[test]
fn a_scalar_is_the_text_that_was_written() {
    let properties = "{ a.b: 007, c: 1.10, d: 1e3, e: no, f: 0x10, g: &pin 0123, h: *pin, i: ß, j: 1_000 }";
    let text = GOOD.replace("9092}\"", &format!("9092}}\", properties: {properties}"));
    let found = parse(&text, "t.yaml", &|_| None).unwrap().settings.properties;
    let found: Vec<&str> = found.values().map(String::as_str).collect();
    assert_eq!(found, ["007", "1.10", "1e3", "no", "0x10", "0123", "0123", "ß", "1_000"]);
}

#[test]
fn names_that_old_yaml_takes_for_truth_values_are_names() {
    for name in ["n", "y", "on", "off", "no", "yes"] {
        let text = GOOD
            .replace("n: count()", &format!("{name}: count()"))
            .replace("{ from: hourly }", &format!("{{ from: hourly, fields: [{name}] }}"));
        assert_eq!(lines(&text), [""; 0], "{name}");
    }
}
