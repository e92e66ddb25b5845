//! Results as records: keys and values of aggregates, in the form that an output asks for.
//!
//! Called where a grouping speaks. Knows nothing of state. Invariant: names are encoded once, at load; a row that does
//! not fit its form or `max_record` is a failure, never a shorter row.

use super::aggregate::{Aggregate, Value};
use super::by::{By, KeyField};
use crate::event_time;
use crate::failure::Failure;
use crate::formats::{Datum, Format, FormatError};
use crate::headers;
use crate::sealed::Outputs;
use std::io::Write;
use std::sync::Arc;

/// One output of a grouping.
#[derive(Debug)]
pub(crate) struct RowOutput {
    pub topic: Arc<str>,
    pub key: KeyForm,
    pub value: ValueForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// `{"key":...}`, or the fields by their names; with `window_start` where there are windows.
    Json,
    /// `[key@start/end]` in ms where there are windows, else the key; fields with commas between.
    Text,
    /// The record key, or the one field, in this format; without windows only.
    Plain(Format),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ValueForm {
    /// Window, key, these aggregates (indexes and their names as JSON), result.
    Json(Vec<(usize, String)>),
    /// One aggregate; null is a record without a value.
    Plain(Format, usize),
}

/// Why a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Update,
    Final,
    /// Somebody asked.
    Open,
}

impl Moment {
    pub fn word(self) -> &'static str {
        match self {
            Moment::Update => "update",
            Moment::Final => "final",
            Moment::Open => "open",
        }
    }
}

/// What a row says.
pub(crate) struct Row<'a> {
    /// Start and end, ms since 1970.
    pub window: Option<(i64, i64)>,
    pub key: KeyParts<'a>,
    pub aggregates: &'a [Aggregate],
    pub values: &'a [Value],
    pub moment: Moment,
}

/// The key of a group, as results say it.
pub(crate) enum KeyParts<'a> {
    /// The record key, under the name `key`.
    Whole(Datum<'a>),
    /// Fields, and their values as JSON.
    Fields(&'a [KeyField], Vec<&'a [u8]>),
}

impl<'a> KeyParts<'a> {
    /// `key`: as in a table; `whole`: what it says, where it is the record key.
    pub fn of(by: &'a By, key: &'a [u8], whole: Datum<'a>) -> KeyParts<'a> {
        match by {
            By::RecordKey => KeyParts::Whole(whole),
            By::Fields(fields) => KeyParts::Fields(fields, by.parts(key)),
        }
    }

    /// `"name":value`, with commas between.
    fn json(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            KeyParts::Whole(datum) => {
                out.extend_from_slice(b"\"key\":");
                Format::Json.write(datum, out)?;
            }
            KeyParts::Fields(fields, values) => {
                for (index, (field, value)) in fields.iter().zip(values).enumerate() {
                    out.extend_from_slice(if index == 0 { b"" } else { b"," });
                    out.extend_from_slice(field.json.as_bytes());
                    out.push(b':');
                    out.extend_from_slice(value);
                }
            }
        }
        Ok(())
    }

    fn text(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            KeyParts::Whole(datum) => plain_text(datum, out),
            KeyParts::Fields(_, values) => values.iter().enumerate().try_for_each(|(index, value)| {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                plain_text(&Format::Json.read(Some(value))?.whole(), out)
            }),
        }
    }

    fn plain(&self, format: Format, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            KeyParts::Whole(datum) => format.write(datum, out),
            KeyParts::Fields(_, values) => {
                let only = values.first().copied().unwrap_or(b"null");
                format.write(&Format::Json.read(Some(only))?.whole(), out)
            }
        }
    }
}

/// Digits of a number, braces, times and quotes around one field, generously.
const PER_FIELD: usize = 64;
const AROUND: usize = 512;

impl RowOutput {
    /// Whether every row with a key of so many bytes fits, so that it need not be encoded to know. `whole`: what the key says,
    /// where it is the record key.
    pub fn surely_fits(&self, (key_bytes, whole): (usize, Option<&Datum<'_>>), max_record: usize) -> bool {
        let ValueForm::Json(fields) = &self.value else { return false };
        let has_form = match self.key {
            KeyForm::Json | KeyForm::Text => true,
            KeyForm::Plain(format) => format == Format::String && matches!(whole, Some(Datum::Text(_))),
        };
        let names: usize = fields.iter().map(|(_, name)| name.len() + PER_FIELD).sum();
        // A byte of a text is at most six in JSON, and the key stands twice.
        has_form && key_bytes.saturating_mul(12) + names + AROUND <= max_record
    }

    /// Writes key and value over what the two buffers held.
    pub fn encode(&self, row: &Row<'_>, (key, value): (&mut Vec<u8>, &mut Vec<u8>), max: usize) -> Result<(), Failure> {
        let failed = |e| Failure::format(format_args!("output {}", self.topic), &e);
        key.clear();
        value.clear();
        match self.key {
            KeyForm::Json => row.json_key(key).map_err(failed)?,
            KeyForm::Text => row.text_key(key).map_err(failed)?,
            KeyForm::Plain(format) => row.key.plain(format, key).map_err(failed)?,
        }
        match &self.value {
            ValueForm::Json(fields) => row.json(fields, value).map_err(failed)?,
            ValueForm::Plain(format, index) => match row.aggregates[*index].function.datum(&row.values[*index]) {
                Datum::Null => {}
                datum => format.write(&datum, value).map_err(|e| {
                    let name = &row.aggregates[*index].name;
                    Failure::format(format_args!("output {}, field '{name}'", self.topic), &e)
                })?,
            },
        }
        let size = key.len() + value.len() + AROUND;
        match size > max {
            false => Ok(()),
            true => Err(Failure::new(
                "too-large",
                format!("a result for {} takes {size} bytes, max_record is {max}", self.topic),
            )),
        }
    }

    /// Puts an encoded row into the arena. Without bytes, a plain value is null.
    pub fn push(&self, outputs: &mut Outputs, (key, value): (&[u8], &[u8]), time: i64, task: &[u8]) {
        let absent = value.is_empty() && matches!(self.value, ValueForm::Plain(..));
        outputs.push((&self.topic, None), time, Some(key), (!absent).then_some(value));
        outputs.push_header(headers::TASK, Some(task));
        outputs.push_context();
    }
}

impl Row<'_> {
    fn json_key(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        out.push(b'{');
        self.key.json(out)?;
        if let Some((start, _)) = self.window {
            out.extend_from_slice(b",\"window_start\":\"");
            event_time::write(start, out);
            out.push(b'"');
        }
        out.push(b'}');
        Ok(())
    }

    fn text_key(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let Some((start, end)) = self.window else { return self.key.text(out) };
        out.push(b'[');
        self.key.text(out)?;
        write!(out, "@{start}/{end}]").expect("memory takes every byte");
        Ok(())
    }

    pub fn json(&self, fields: &[(usize, String)], out: &mut Vec<u8>) -> Result<(), FormatError> {
        out.push(b'{');
        if let Some((start, end)) = self.window {
            out.extend_from_slice(b"\"window\":{\"start\":\"");
            event_time::write(start, out);
            out.extend_from_slice(b"\",\"end\":\"");
            event_time::write(end, out);
            out.extend_from_slice(b"\"},");
        }
        self.key.json(out)?;
        for (index, name) in fields {
            out.push(b',');
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            Format::Json.write(&self.aggregates[*index].function.datum(&self.values[*index]), out)?;
        }
        self.doubts("approximate", Value::is_approximate, fields, out);
        self.doubts("overflow", |value| *value == Value::Overflow, fields, out);
        out.extend_from_slice(match self.moment {
            Moment::Update => &b",\"result\":\"update\"}"[..],
            Moment::Final => b",\"result\":\"final\"}",
            Moment::Open => b",\"result\":\"open\"}",
        });
        Ok(())
    }
}

impl Row<'_> {
    /// `,"approximate":["unique_users"]`: the fields that are not what they should be, if there are any.
    fn doubts(&self, word: &str, is: impl Fn(&Value) -> bool, fields: &[(usize, String)], out: &mut Vec<u8>) {
        let mut first = true;
        for (_, name) in fields.iter().filter(|(index, _)| is(&self.values[*index])) {
            match std::mem::take(&mut first) {
                true => write!(out, ",\"{word}\":[{name}"),
                false => write!(out, ",{name}"),
            }
            .expect("memory takes every byte");
        }
        out.extend_from_slice(if first { b"" } else { b"]" });
    }
}

/// A text as it is, anything else as in JSON; bytes as base64, without quotes.
fn plain_text(key: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    if let Datum::Text(text) = key {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let from = out.len();
    Format::Json.write(key, out)?;
    if matches!(key, Datum::Bytes(_)) {
        out.pop();
        out.remove(from);
    }
    Ok(())
}
