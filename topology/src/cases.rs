//! The tests of a topology, without Kafka: these records given, those outputs.
//!
//! Read from the section `tests` of a file, run by `tidemill test`. Knows nothing of text. Invariant: the engine is the
//! real one; of a topic that is named in `then`, everything that came is looked at.

use crate::event_time::EventTime;
use crate::formats::{Datum, Format};
use crate::graph::{Stage, Topology};
use crate::task::TaskError;
use crate::tester::{self, Tester};
use serde_json::Value;
use std::sync::Arc;

/// One test.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Of every topic.
    pub partitions: i32,
    /// Wall clock at the start, ms since 1970; none: the latest time of what is given.
    pub now: Option<i64>,
    pub given: Vec<Given>,
    pub then: Vec<Expected>,
}

#[derive(Debug, Clone)]
pub enum Given {
    Record(Message),
    /// All that came before is worked and committed; then so many ms of wall time pass, and what that brings about too.
    Wait(i64),
}

/// A record of a source; its value and key as JSON, whatever the source's formats are.
#[derive(Debug, Clone)]
pub struct Message {
    pub stage: Arc<Stage>,
    pub value: Value,
    pub key: Option<Value>,
    pub partition: i32,
    /// ms since 1970; none: the clock.
    pub timestamp: Option<i64>,
}

/// What one output must be, as far as it is named.
#[derive(Debug, Clone)]
pub struct Expected {
    pub topic: Arc<str>,
    /// These fields; others may be there too. Null: a record without a value.
    pub fields: Value,
    pub key: Option<Value>,
    /// How the reason of a dead letter begins.
    pub reason: Option<String>,
}

impl Case {
    /// What is not as it should be, a line each; empty: it passes.
    ///
    /// # Errors
    /// A task stopped.
    pub fn run(&self, topology: &Arc<Topology>) -> Result<Vec<String>, TaskError> {
        let mut tester = Tester::with_partitions(topology.clone(), self.partitions);
        tester.advance(self.now.unwrap_or_else(|| self.latest()) - tester.now());
        for given in &self.given {
            match given {
                Given::Record(message) => match message.encode(tester.now()) {
                    Ok(encoded) => tester.feed(&message.stage.topic, encoded),
                    Err(line) => return Ok(vec![line]),
                },
                Given::Wait(ms) => {
                    tester.run()?;
                    tester.advance(*ms);
                    tester.run()?;
                }
            }
        }
        tester.run()?;
        let mut lines = Vec::new();
        let mut topics: Vec<&Arc<str>> = self.then.iter().map(|e| &e.topic).collect();
        topics.sort();
        topics.dedup();
        for topic in topics {
            self.compare(topic, tester.take(topic), &mut lines);
        }
        Ok(lines)
    }

    /// The latest event time of what is given, ms.
    fn latest(&self) -> i64 {
        let times = self.given.iter().filter_map(|given| match given {
            Given::Record(message) => message.timestamp.max(message.event_time()),
            Given::Wait(_) => None,
        });
        times.max().unwrap_or(0)
    }

    /// Each that is expected takes the first that fits; what nobody took is a surprise.
    fn compare(&self, topic: &str, mut came: Vec<tester::Message>, lines: &mut Vec<String>) {
        let mut missing = Vec::new();
        for expected in self.then.iter().filter(|e| &*e.topic == topic) {
            match came.iter().position(|message| expected.differs(message).is_none()) {
                Some(index) => drop(came.remove(index)),
                None => missing.push(expected),
            }
        }
        for (index, expected) in missing.iter().enumerate() {
            // Where as many came as should, the difference says more than both in full.
            let nearest = came.get(index).filter(|_| missing.len() == came.len());
            lines.push(match nearest.and_then(|message| expected.differs(message)) {
                Some(difference) => format!("{topic}: {difference}"),
                None => format!("{topic}: did not come: {}", expected.fields),
            });
        }
        if missing.len() != came.len() {
            lines.extend(came.iter().map(|message| format!("{topic}: came and was not expected: {}", words(message))));
        }
    }
}

fn words(message: &tester::Message) -> String {
    match message.header("tidemill-reason") {
        Some(reason) => format!("{} ({reason})", message.value_text()),
        None => message.value_text(),
    }
}

impl Expected {
    /// The first difference, if there is one.
    fn differs(&self, message: &tester::Message) -> Option<String> {
        let parsed = |bytes: Option<&[u8]>| match bytes {
            None => Value::Null,
            Some(bytes) => serde_json::from_slice(bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned())),
        };
        let value = difference("", &self.fields, &parsed(message.value.as_deref()));
        let key = || self.key.as_ref().and_then(|key| difference("key", key, &parsed(message.key.as_deref())));
        let reason = || {
            let wanted = self.reason.as_deref()?;
            let found = message.header("tidemill-reason").unwrap_or_default();
            (!found.starts_with(wanted)).then(|| format!("the reason is '{found}', expected '{wanted}'"))
        };
        value.or_else(key).or_else(reason)
    }
}

/// Where `found` is not what was `wanted`; of an object, fields that are not wanted do not matter.
fn difference(place: &str, wanted: &Value, found: &Value) -> Option<String> {
    if let (Value::Object(wanted), Value::Object(found)) = (wanted, found) {
        return wanted.iter().find_map(|(name, value)| {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            difference(&place, value, found.get(name).unwrap_or(&Value::Null))
        });
    }
    let place = if place.is_empty() { "the value" } else { place };
    (!same(wanted, found)).then(|| format!("{place} is {found}, expected {wanted}"))
}

/// Numbers by their value: 2.50 is 2.5.
fn same(wanted: &Value, found: &Value) -> bool {
    let number = |value| Datum::from_json(value).number().ok().flatten();
    match (wanted, found) {
        (Value::Number(_), Value::Number(_)) => number(wanted) == number(found),
        _ => wanted == found,
    }
}

impl Message {
    fn event_time(&self) -> Option<i64> {
        let EventTime::Field(field) = self.stage.reading()?.time.as_ref()? else { return None };
        let document = crate::formats::Document::from_json(self.value.clone());
        field.read(&document.get(&field.path)).ok()
    }

    /// As it would lie in the topic.
    fn encode(&self, now: i64) -> Result<tester::Message, String> {
        let reading = self.stage.reading();
        let format = |key: bool| reading.map_or(Format::Json, |r| if key { r.key_format } else { r.format });
        let encoded = |value: &Value, format: Format| -> Result<Option<Vec<u8>>, String> {
            // A key of no stated format is given as the text that it is.
            let format = match (format, value) {
                (Format::Bytes, Value::String(_)) => Format::String,
                (Format::Bytes, _) => Format::Json,
                (format, _) => format,
            };
            let mut bytes = Vec::new();
            match (format, value) {
                (_, Value::Null) => return Ok(None),
                // A text where a document should be is what somebody sent who does not know better.
                (Format::Json, Value::String(text)) => bytes.extend_from_slice(text.as_bytes()),
                _ => format.write(&Datum::from_json(value), &mut bytes).map_err(|e| format!("given {value}: {e}"))?,
            }
            Ok(Some(bytes))
        };
        let key = self.key.as_ref().map(|key| encoded(key, format(true))).transpose()?.flatten();
        let value = encoded(&self.value, format(false))?;
        let timestamp = self.timestamp.unwrap_or(now);
        Ok(tester::Message { partition: Some(self.partition), timestamp, key, value, headers: Vec::new() })
    }
}
