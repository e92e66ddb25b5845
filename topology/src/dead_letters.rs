//! Dead letters: records that could not be processed, or came late, whole and with their reason.
//!
//! Called by the task once a record has failed, and by sinks. Knows nothing of operators. Invariant: a dead letter always fits
//! `max_record`; what had to be left out is said in a header.

use crate::expr::Path;
use crate::formats::Format;
use crate::formats::splice::{Edit, splice};
use crate::graph::DeadLetters;
use crate::headers;
use crate::record::Record;
use crate::sealed::{Outputs, TaskId};
use xxhash_rust::xxh3::xxh3_128;

/// The codes that a reason can begin with, but `late` and those of sinks.
pub const CODES: &[&str] = &[
    "division-by-zero",
    "id-missing",
    "invalid",
    "key-missing",
    "not-a-number",
    "not-an-object",
    "not-json",
    "not-utf8",
    "not-whole",
    "null",
    "number-too-large",
    "out-of-range",
    "overflow",
    "time-ahead",
    "time-missing",
    "time-unreadable",
    "too-large",
    "wrong-length",
    "wrong-type",
];

/// How much of a key or value remains when the whole does not fit.
const HEAD: usize = 64 * 1024;
/// What the engine's own headers may take beside the reason.
const OWN: usize = 1024;
/// The longest reason, bytes.
const REASON: usize = 1000;

/// Appends the dead letter of `record`.
pub fn write(
    outputs: &mut Outputs,
    letters: &DeadLetters,
    (task, limit): (&TaskId, usize),
    record: &Record<'_>,
    reason: &str,
) {
    let reason = clip(reason);
    let originals = || record.headers.iter().filter(|(name, _)| !headers::of_dead_letter(name));
    let around: usize = originals().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len)).sum();
    let key = record.key.map_or(0, <[u8]>::len);
    let redacted = redacted(record.value, &letters.redact);
    let kept = redacted.as_deref().or(record.value);
    let withheld = redacted.as_deref().is_some_and(<[u8]>::is_empty);
    let value = kept.map_or(0, <[u8]>::len);
    let whole = key + value + around + reason.len() + OWN <= limit;
    // The head must itself fit, whatever the limit is.
    let head = HEAD.min(limit / 4);
    let cut = |bytes: &'_ [u8]| if whole { bytes.len() } else { bytes.len().min(head) };
    let key_cut = record.key.map(|k| &k[..cut(k)]);
    let value_cut = kept.map(|v| &v[..cut(v)]);
    outputs.push((&letters.topic, None), record.timestamp, key_cut, value_cut);
    if whole || around <= limit / 4 {
        for (name, value) in originals() {
            outputs.push_header(&String::from_utf8_lossy(name), value);
        }
    }
    outputs.push_header(headers::REASON, Some(reason.as_bytes()));
    let mut source = Vec::new();
    headers::write_source(&task.topic, task.partition, record.offset, &mut source);
    outputs.push_header(headers::SOURCE, Some(&source));
    outputs.push_header(headers::ATTEMPT, Some(attempt(record).to_string().as_bytes()));
    if redacted.is_some() {
        let names: Vec<String> = letters.redact.iter().map(|path| path.join(".")).collect();
        outputs.push_header(headers::REDACTED, Some(names.join(",").as_bytes()));
    }
    if !whole || withheld {
        let bytes = record.value.unwrap_or_default();
        let text = format!("xxh3={:032x} length={}", xxh3_128(bytes), bytes.len());
        outputs.push_header(headers::TRUNCATED, Some(text.as_bytes()));
    }
}

/// The value without the fields that must not leave; nothing of it if it cannot be read. None: it stays as it is.
fn redacted(value: Option<&[u8]>, fields: &[Path]) -> Option<Vec<u8>> {
    let value = value.filter(|_| !fields.is_empty())?;
    let mut out = Vec::with_capacity(value.len());
    if Format::Json.read(Some(value)).is_ok() {
        let mut edits: Vec<Edit<'_>> = fields.iter().map(|path| Edit::new(path, None)).collect();
        splice(value, &mut edits, &mut out);
    }
    Some(out)
}

/// A reason may name a long filter; a header should be a line.
fn clip(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON)]
}

/// One more than the attempt that the record says it was.
fn attempt(record: &Record<'_>) -> u32 {
    let said = record.headers.iter().filter(|(name, _)| *name == headers::ATTEMPT.as_bytes()).last();
    let before = said.and_then(|(_, value)| str::from_utf8(value?).ok()?.parse::<u32>().ok());
    before.unwrap_or(0).saturating_add(1)
}
