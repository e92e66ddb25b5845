//! The section `tests`: records that are given, and what must come of them.
//!
//! Called by [`parse`](super::parse). Knows nothing of how a case is run. Invariant: values are as they were written: a
//! number keeps its digits, a text in quotes stays a text.

use super::fields::{Fields, Mistakes, scalar, suggest};
use super::scalars;
use super::tree::{Node, What};
use crate::cases::{Case, Expected, Given, Message};
use crate::graph::Topology;
use serde::Deserialize;
use serde_json::Value;

/// Whatever the file says beside, its values have types here.
#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    tests: Value,
}

/// `text` is the whole file, in which `node` is the section.
pub(super) fn read(node: Option<&Node>, text: &str, topology: &Topology, mistakes: &mut Mistakes) -> Vec<Case> {
    let Some(node) = node else { return Vec::new() };
    let options = serde_saphyr::options! { strict_booleans: true };
    let typed = serde_saphyr::from_str_with_options::<Typed>(text, options).map_or(Value::Null, |t| t.tests);
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'tests' is {}; write a list of tests", node.kind()));
        return Vec::new();
    };
    let values = typed.as_array().cloned().unwrap_or_default();
    let both = items.iter().zip(values.iter().chain(std::iter::repeat(&Value::Null)));
    both.filter_map(|(item, value)| case(item, value, topology, mistakes)).collect()
}

fn case(node: &Node, typed: &Value, topology: &Topology, mistakes: &mut Mistakes) -> Option<Case> {
    let mut fields = Fields::of(node, "a test", mistakes)?;
    let name = fields.need_read("name", scalars::text, mistakes);
    let partitions = fields.read("partitions", scalars::count, mistakes).unwrap_or(1) as i32;
    let now = fields.read("now", time, mistakes);
    let given = fields.need("given", mistakes);
    let then = fields.need("then", mistakes);
    fields.done(mistakes);
    let name = name?;
    let (given, then) = (list(given?, "given", mistakes)?, list(then?, "then", mistakes)?);
    let given = given.iter().enumerate().map(|(i, n)| self::given(n, &typed["given"][i], topology, mistakes));
    let given: Vec<Option<Given>> = given.collect();
    let then = then.iter().enumerate().map(|(i, n)| expected(n, &typed["then"][i], topology, mistakes));
    let then: Vec<Option<Expected>> = then.collect();
    let (given, then) = (given.into_iter().collect::<Option<_>>()?, then.into_iter().collect::<Option<_>>()?);
    Some(Case { name, partitions, now, given, then })
}

fn list<'n>(node: &'n Node, key: &str, mistakes: &mut Mistakes) -> Option<&'n [Node]> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'{key}' in a test is {}; write a list", node.kind()));
        return None;
    };
    Some(items)
}

fn time(text: &str) -> Result<i64, String> {
    let read = crate::event_time::parse_text(text).or_else(|| text.parse().ok());
    read.ok_or_else(|| format!("is '{text}'; write a time as 2026-01-01T10:00:00Z, or ms since 1970"))
}

fn partition(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| format!("is '{text}'; write a number from 0"))
}

/// `{ events: {...}, key: k, partition: 0, timestamp: T }`, or `{ wait: 10m }`.
fn given(node: &Node, typed: &Value, topology: &Topology, mistakes: &mut Mistakes) -> Option<Given> {
    let mut fields = Fields::of(node, "a given record", mistakes)?;
    if let Some(wait) = fields.read("wait", scalars::duration, mistakes) {
        fields.done(mistakes);
        return Some(Given::Wait(wait.as_millis() as i64));
    }
    let sources = || topology.stages.iter().filter(|s| !s.takes_partials());
    let What::Map(entries) = &node.what else { return None };
    let named = entries.iter().find_map(|(key, value)| Some((sources().find(|s| *s.name == *key.name)?, key, value)));
    let Some((stage, key, value)) = named else {
        let known = || sources().map(|s| &*s.name);
        let hint = entries.first().and_then(|(key, _)| suggest(&key.name, known())).unwrap_or_default();
        let all = known().collect::<Vec<_>>().join(", ");
        mistakes.add(node.at, format!("a given record is of a source ({all}), or a wait{hint}"));
        return None;
    };
    let partition = fields.read("partition", partition, mistakes).unwrap_or(0);
    let timestamp = fields.read("timestamp", time, mistakes);
    let record_key = fields.get("key").map(|node| json(node, &typed["key"]));
    for (other, _) in entries {
        if !["key", "partition", "timestamp"].contains(&other.name.as_str()) && other.name != key.name {
            mistakes.add(other.at, format!("unknown key '{}' beside source '{}'", other.name, key.name));
        }
    }
    let value = json(value, &typed[&key.name]);
    Some(Given::Record(Message { stage: stage.clone(), value, key: record_key, partition, timestamp }))
}

/// `{ TOPIC: {...}, key: {...}, reason: late }`: a `null` for a record without a value.
fn expected(node: &Node, typed: &Value, topology: &Topology, mistakes: &mut Mistakes) -> Option<Expected> {
    let What::Map(entries) = &node.what else {
        mistakes.add(node.at, format!("what must come is {}; write {{ TOPIC: {{ field: value }} }}", node.kind()));
        return None;
    };
    let topics = || topology.outputs.iter().map(|o| &*o.name).chain([&*topology.dead_letters.topic]);
    let Some((topic, value)) = entries.iter().find(|(key, _)| topics().any(|t| t == key.name)) else {
        let hint = entries.first().and_then(|(key, _)| suggest(&key.name, topics())).unwrap_or_default();
        let known = topics().collect::<Vec<_>>().join(", ");
        mistakes.add(node.at, format!("what must come is of a topic that is written ({known}){hint}"));
        return None;
    };
    let (mut key, mut reason) = (None, None);
    for (other, node) in entries.iter().filter(|(k, _)| k.name != topic.name) {
        match other.name.as_str() {
            "key" => key = Some(json(node, &typed["key"])),
            "reason" => reason = scalar(node, "'reason'", scalars::text, mistakes),
            _ => mistakes.add(other.at, format!("unknown key '{}' beside topic '{}'", other.name, topic.name)),
        }
    }
    let fields = json(value, &typed[&topic.name]);
    Some(Expected { topic: topic.name.as_str().into(), fields, key, reason })
}

/// As JSON: the types that YAML found, with the digits that were written.
fn json(node: &Node, typed: &Value) -> Value {
    match &node.what {
        What::Nothing => Value::Null,
        What::Scalar(text) if typed.is_string() => Value::String(text.clone()),
        What::Scalar(text) => serde_json::from_str(text).unwrap_or_else(|_| typed.clone()),
        What::Typed(_) => typed.clone(),
        What::List(items) => items.iter().enumerate().map(|(i, item)| json(item, &typed[i])).collect(),
        What::Map(entries) => {
            Value::Object(entries.iter().map(|(k, v)| (k.name.clone(), json(v, &typed[&k.name]))).collect())
        }
    }
}
