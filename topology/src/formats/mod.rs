//! Bytes to values and back: how a key or a value is written on the wire.
//!
//! Called by the engine for every record, and where outputs are made. Knows nothing of records, topics or offsets.
//! Invariant: what a format writes, it reads back as the same value; a failure never quotes the payload.

pub(crate) mod base64;
mod datum;
mod document;
pub(crate) mod edit;
mod error;
mod fields;
mod json;
mod primitive;
pub(crate) mod scan;
pub(crate) mod splice;

pub use datum::{Datum, Kind};
pub use document::Document;
pub use error::FormatError;
pub use fields::{FieldReader, Fields, Found, Spelled};

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io::Write;

/// A format of keys and values, by its name in YAML: `json`, or one of Kafka's own serdes.
///
/// ```
/// use tidemill_topology::formats::{Datum, Format};
/// let document = Format::Json.read(Some(br#"{"user":{"age":41.50}}"#)).unwrap();
/// let mut out = Vec::new();
/// Format::String.write(&document.get(&["user", "age"]), &mut out).unwrap();
/// assert_eq!(out, b"41.5");
/// assert_eq!(document.get(&["user", "name"]), Datum::Null);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    /// UTF-8.
    String,
    /// Four bytes, big-endian.
    Int32,
    /// Eight bytes, big-endian.
    Int64,
    /// Eight bytes, IEEE 754, big-endian.
    Double,
    /// As they are.
    Bytes,
}

impl Format {
    pub const ALL: [Format; 6] =
        [Format::Json, Format::String, Format::Int32, Format::Int64, Format::Double, Format::Bytes];

    /// As in YAML.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::String => "string",
            Format::Int32 => "int32",
            Format::Int64 => "int64",
            Format::Double => "double",
            Format::Bytes => "bytes",
        }
    }

    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|f| f.name() == name)
    }

    /// Reads a key or a value; an absent one is null. JSON is parsed here, once.
    pub fn read<'a>(&self, bytes: Option<&'a [u8]>) -> Result<Document<'a>, FormatError> {
        let Some(bytes) = bytes else { return Ok(Document::NULL) };
        Ok(match self {
            Format::Json => Document::from_json(json::read(bytes)?),
            Format::String => Document::from_datum(Datum::Text(Cow::Borrowed(read_text(bytes)?))),
            Format::Int32 => Document::from_datum(primitive::read_int32(bytes)?),
            Format::Int64 => Document::from_datum(primitive::read_int64(bytes)?),
            Format::Double => Document::from_datum(primitive::read_double(bytes)?),
            Format::Bytes => Document::from_datum(Datum::Bytes(Cow::Borrowed(bytes))),
        })
    }

    /// Appends `datum` to `out`; on an error `out` is as it was.
    ///
    /// Null is `null` in JSON and has no bytes in any other format: whoever calls says first what a null becomes
    /// (in Kafka, a record without a value).
    pub fn write(&self, datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Format::Json => json::write(datum, out),
            _ if datum.is_null() => Err(FormatError::new("null", format!("null has no form as {self}"))),
            Format::String => write_text(datum, out),
            Format::Int32 => primitive::write_int32(datum, out),
            Format::Int64 => primitive::write_int64(datum, out),
            Format::Double => primitive::write_double(datum, out),
            Format::Bytes => write_bytes(datum, out),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn read_text(bytes: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(bytes).map_err(|e| {
        FormatError::new("not-utf8", format!("not UTF-8 text: byte {} of {}", e.valid_up_to() + 1, bytes.len()))
    })
}

/// A text as it is; numbers and booleans as their digits and words.
fn write_text(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    match datum {
        Datum::Text(text) => out.extend_from_slice(text.as_bytes()),
        Datum::Bool(_) | Datum::Number(_) | Datum::Digits(_) | Datum::Double(_) => json::write(datum, out)?,
        other => return Err(wrong_type(other, Format::String)),
    }
    Ok(())
}

fn write_bytes(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    match datum {
        Datum::Bytes(bytes) => out.extend_from_slice(bytes),
        Datum::Text(text) => out.extend_from_slice(text.as_bytes()),
        other => return Err(wrong_type(other, Format::Bytes)),
    }
    Ok(())
}

fn wrong_type(datum: &Datum<'_>, format: Format) -> FormatError {
    FormatError::new("wrong-type", format!("{} has no form as {format}", datum.kind().article()))
}

/// Writing into memory does not fail.
fn put(out: &mut Vec<u8>, text: impl fmt::Display) {
    write!(out, "{text}").expect("memory takes every byte");
}

#[cfg(test)]
mod tests;
