//! The names of the headers that the engine writes, and the two that say where a record came from.
//!
//! Used by copies, aggregate results and dead letters. Invariant: these names are part of the wire format.

use std::io::Write;

/// `topic/partition/offset` of the record that a copy or a dead letter was made from.
pub const SOURCE: &str = "tidemill-source";
/// `task/sequence` of the transaction that an aggregate result belongs to.
pub const TASK: &str = "tidemill-task";
/// `code: text`: why a record is a dead letter.
pub const REASON: &str = "tidemill-reason";
/// How many times the record was tried: 1, and one more for each replay.
pub const ATTEMPT: &str = "tidemill-attempt";
/// `xxh3=<128 bits, hex> length=<bytes>` of a value of which only the beginning is there, or nothing.
pub const TRUNCATED: &str = "tidemill-truncated";
/// The samples of trace contexts that a bundle of partials brings along; see `trace/`.
pub const TRACES: &str = "tidemill-traces";
/// Names of the fields that were taken out of the value of a dead letter.
pub const REDACTED: &str = "tidemill-redacted";

/// Whether the engine writes this header into dead letters, so that an older one of the name is left out.
pub(crate) fn of_dead_letter(name: &[u8]) -> bool {
    [SOURCE, REASON, ATTEMPT, TRUNCATED, REDACTED].iter().any(|ours| ours.as_bytes() == name)
}

/// The value of [`SOURCE`], into a buffer that is used again.
pub(crate) fn write_source(topic: &str, partition: i32, offset: i64, out: &mut Vec<u8>) {
    out.clear();
    write!(out, "{topic}/{partition}/{offset}").expect("memory takes every byte");
}
