//! The section `sources`: topics that are read, and how.
//!
//! Called by [`parse`](super::parse). Knows nothing of steps. Invariant: one topic has one source.

use super::fields::{Fields, Mistakes, named, scalar};
use super::scalars;
use super::settings;
use super::tree::{At, Node};
use crate::expr::Path;
use crate::formats::Format;
use crate::graph::Start;

/// A source as it was written, with defaults.
#[derive(Debug)]
pub(super) struct Source {
    pub at: At,
    pub name: String,
    pub topic: String,
    pub key_format: Format,
    pub format: Format,
    pub time: Option<Path>,
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
        let named = Node { at: key.at, what: super::tree::What::Scalar(key.name.clone()) };
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
    let time = fields.read("time", scalars::path, mistakes);
    let start = fields.read("start", start, mistakes).unwrap_or(Start::Earliest);
    let max_record = fields.read("max_record", settings::max_record, mistakes).unwrap_or(max_record);
    let scattered = fields.read("keys", scattered, mistakes).unwrap_or(false);
    let idle = fields.read("idle", idle, mistakes).unwrap_or(None);
    fields.done(mistakes);
    let (name, topic) = (name.to_owned(), topic?);
    Some(Source { at, name, topic, key_format, format, time, start, max_record, scattered, idle })
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
