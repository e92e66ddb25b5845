//! JSON (RFC 8259): one document a key or value, numbers with all their digits.
//!
//! Called by [`Format`](super::Format). A name that stands twice in an object: the last one counts. Invariant: depth is
//! bounded, and a message says where, never what stands there (the parser's own messages may quote).

use super::{Datum, FormatError, base64, put};
use serde_json::Value;
use serde_json::error::Category;

pub(super) fn read(bytes: &[u8]) -> Result<Value, FormatError> {
    serde_json::from_slice(bytes).map_err(|e| {
        let what = match e.classify() {
            _ if bytes.starts_with(b"\xef\xbb\xbf") => "it begins with a byte order mark; write UTF-8 without one",
            _ if bytes.starts_with(b"\x1f\x8b") => {
                "it is gzip; let the producer compress (compression.type), for the client unpacks that, not each value"
            }
            Category::Eof => "it ends too early",
            _ if e.to_string().starts_with("recursion limit") => "nested too deep",
            _ => "wrong syntax",
        };
        FormatError::new("not-json", format!("not JSON: {what}, at line {} column {}", e.line(), e.column()))
    })
}

pub(super) fn write(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    match datum {
        Datum::Null => out.extend_from_slice(b"null"),
        Datum::Bool(b) => put(out, b),
        Datum::Number(n) => n.write(out),
        Datum::Digits(text) => out.extend_from_slice(text.as_bytes()),
        Datum::Double(x) if x.is_finite() => write_value(x, out),
        Datum::Double(_) => return Err(FormatError::new("not-a-number", "NaN and infinity have no digits")),
        Datum::Text(text) => write_value(text, out),
        Datum::Bytes(bytes) => {
            out.push(b'"');
            base64::write(bytes, out);
            out.push(b'"');
        }
        Datum::Json(value) => write_value(value, out),
    }
    Ok(())
}

/// The document that [`write`] would write.
pub(super) fn value(datum: Datum<'_>) -> Result<Value, FormatError> {
    Ok(match datum {
        Datum::Null => Value::Null,
        Datum::Bool(b) => Value::Bool(b),
        Datum::Text(text) => Value::String(text.into_owned()),
        Datum::Json(value) => value.into_owned(),
        other => {
            let mut out = Vec::new();
            write(&other, &mut out)?;
            read(&out)?
        }
    })
}

fn write_value(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes every byte, and names are texts");
}
