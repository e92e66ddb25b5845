//! The section `sources`: topics that are read, and how.
//!
//! Called by [`parse`](super::parse). Knows nothing of steps. Invariant: one topic has one source.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::scalars;
use super::settings;
use super::tree::{At, Node, What};
use crate::event_time::{EventTime, TimeField, Unit};
use crate::formats::Format;
use crate::graph::Start;
use jiff::tz::TimeZone;

/// Where the YAML says nothing: clocks of producers are wrong by minutes, a wrong unit by years.
const MAX_AHEAD: i64 = 3_600_000;

/// A source as it was written, with defaults.
#[derive(Debug)]
pub(super) struct Source {
    pub at: At,
    pub name: String,
    pub topic: String,
    pub key_format: Format,
    pub format: Format,
    pub time: Option<EventTime>,
    /// ms; none: a time may be as far ahead of its arrival as it likes.
    pub max_ahead: Option<i64>,
    pub start: Start,
    pub max_record: usize,
    /// Records of one key may lie on several partitions.
    pub scattered: bool,
    /// ms; none: stream time waits for records.
    pub idle: Option<i64>,
}

pub(super) fn read(node: Option<&Node>, max_record: usize, mistakes: &mut Mistakes) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for (key, node) in named(node, "sources", mistakes) {
        let named = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        scalar(&named, "the source's name", scalars::topic, mistakes);
        let Some(source) = source(key.at, &key.name, (node, max_record), mistakes) else { continue };
        if let Some(other) = sources.iter().find(|s| s.topic == source.topic) {
            let text = format!(
                "sources '{}' and '{}' both read topic {}; use one source, and steps from it",
                other.name, source.name, source.topic
            );
            mistakes.add(key.at, text);
        }
        sources.push(source);
    }
    sources
}

fn source(at: At, name: &str, (node, max_record): (&Node, usize), mistakes: &mut Mistakes) -> Option<Source> {
    let mut fields = Fields::of(node, format!("source '{name}'"), mistakes)?;
    let topic = fields.need_read("topic", scalars::topic, mistakes);
    let key_format = fields.read("key_format", scalars::format, mistakes).unwrap_or(Format::Bytes);
    let format = fields.read("format", scalars::format, mistakes).unwrap_or(Format::Json);
    let time = fields.get("time").and_then(|node| time(node, &fields.place, mistakes));
    let max_ahead = fields.read("max_ahead", max_ahead, mistakes).unwrap_or(Some(MAX_AHEAD));
    let start = fields.read("start", start, mistakes).unwrap_or(Start::Earliest);
    let max_record = fields.read("max_record", settings::max_record, mistakes).unwrap_or(max_record);
    let scattered = fields.read("keys", scattered, mistakes).unwrap_or(false);
    let idle = fields.read("idle", idle, mistakes).unwrap_or(None);
    fields.done(mistakes);
    let (name, topic) = (name.to_owned(), topic?);
    Some(Source { at, name, topic, key_format, format, time, max_ahead, start, max_record, scattered, idle })
}

/// A field, or a map of it with its unit and zone.
fn time(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<EventTime> {
    let place = format!("'time' in {place}");
    let (field, unit, zone) = match &node.what {
        What::Map(_) => {
            let mut fields = Fields::of(node, place, mistakes)?;
            let field = fields.need_read("field", scalars::path, mistakes);
            let unit = fields.read("unit", unit, mistakes);
            let zone = fields.read("zone", zone, mistakes);
            fields.done(mistakes);
            (field?, unit, zone)
        }
        _ => (scalar(node, &place, scalars::path, mistakes)?, None, None),
    };
    if matches!(&*field, [record, name] if &**record == "record" && &**name == "timestamp") {
        if unit.is_some() || zone.is_some() {
            mistakes.add(node.at, "record.timestamp is in ms and in no zone; remove 'unit' and 'zone'");
        }
        return Some(EventTime::Timestamp);
    }
    Some(EventTime::Field(TimeField { path: field, unit, zone: zone.unwrap_or(TimeZone::UTC) }))
}

fn unit(text: &str) -> Result<Unit, String> {
    let found = Unit::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, unit)| *unit).ok_or_else(|| format!("is '{text}', no unit of time; write s, ms, us or ns"))
}

/// `UTC`, `+02:00` or a name of the IANA database, which is compiled in: the same records, the same times everywhere.
pub(crate) fn zone(text: &str) -> Result<TimeZone, String> {
    let known = jiff::tz::TimeZoneDatabase::bundled();
    if text.starts_with(['+', '-']) {
        let parser = jiff::fmt::temporal::DateTimeParser::new();
        if let Ok(zone) = parser.parse_time_zone_with(&known, text) {
            return Ok(zone);
        }
    }
    known.get(text).map_err(|_| {
        let names: Vec<String> = known.available().map(|name| name.to_string()).collect();
        let hint = suggest(text, names.iter().map(String::as_str));
        format!("is '{text}', no zone{}", hint.unwrap_or_else(|| "; write UTC, +02:00 or Europe/Berlin".to_owned()))
    })
}

/// `max_ahead: 5m`, ms.
fn max_ahead(text: &str) -> Result<Option<i64>, String> {
    match text {
        "never" => Ok(None),
        text => match scalars::duration(text) {
            Ok(most) => Ok(Some(most.as_millis() as i64)),
            Err(e) => Err(format!("{e}; or never, to take every time")),
        },
    }
}

/// `keys: scattered`
fn scattered(text: &str) -> Result<bool, String> {
    match text {
        "scattered" => Ok(true),
        "partitioned" => Ok(false),
        _ => Err(format!(
            "is '{text}'; write scattered if records of one key lie on several partitions, else partitioned"
        )),
    }
}

/// `idle: 1m`, ms.
fn idle(text: &str) -> Result<Option<i64>, String> {
    match text {
        "never" => Ok(None),
        text => scalars::positive_duration(text).map(|d| Some(d.as_millis() as i64)),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        "committed" => Ok(Start::Committed),
        text => crate::event_time::parse_text(text).map(Start::At).ok_or_else(|| {
            format!("is '{text}'; write earliest, latest, committed, or a time as 2026-01-01T10:00:00Z")
        }),
    }
}
