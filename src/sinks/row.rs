//! A record's JSON as cells of a table: texts that PostgreSQL casts, so that digits stay as they were written.
//!
//! Called by `batch.rs`. Knows a column's name, field and kind, and nothing of connections.
//! Invariant: a number never becomes a float, and a cell that cannot be one is a reason, without the value in it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use tidemill_topology::Record;
use tidemill_topology::trace::Context;

/// What a column takes, as far as we must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Flag,
    /// With a zone or without; without one it is UTC.
    Time {
        zone: bool,
    },
    Json,
    /// A text, cast by the database.
    Other,
}

/// A column that may be written, and the field that it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// `schema.type`, quoted, without a length: a cast to `varchar(5)` would cut a text silently.
    pub cast: String,
    pub kind: Kind,
    pub path: Vec<String>,
    pub is_key: bool,
    /// Where the record has no such field, it takes the trace id of its context.
    pub traced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell {
    /// No such field: the column is left to the table.
    Absent,
    Null,
    Text(String),
}

/// One row, and which record of the slice it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub record: usize,
    pub cells: Vec<Cell>,
}

/// The row of a record.
///
/// # Errors
/// Why there is none.
pub fn row(at: usize, record: &Record<'_>, columns: &[Column], upsert: bool) -> Result<Row, String> {
    let value = record.value.ok_or("the record has no value")?;
    let document: Value = serde_json::from_slice(value).map_err(|e| {
        // The error's own text may repeat the payload.
        format!("the value is no JSON, at line {} column {}", e.line(), e.column())
    })?;
    if !document.is_object() {
        return Err("the value is no JSON object".to_owned());
    }
    let mut cells = Vec::with_capacity(columns.len());
    for column in columns {
        let cell = match field(&document, &column.path) {
            // A row that is written again by a record without a context must not keep an older one's.
            None if column.traced => trace_id(record).map_or(Cell::Null, Cell::Text),
            None => Cell::Absent,
            Some(Value::Null) => Cell::Null,
            Some(value) => Cell::Text(text(value, column)?),
        };
        if upsert && column.is_key && !matches!(cell, Cell::Text(_)) {
            return Err(format!("column \"{}\" is part of the key and has no value", column.name));
        }
        cells.push(cell);
    }
    let mut of_record = cells.iter().zip(columns).filter(|(_, column)| !column.traced);
    if of_record.all(|(cell, _)| *cell == Cell::Absent) {
        return Err("no field of the record is a column of the table".to_owned());
    }
    Ok(Row { record: at, cells })
}

fn trace_id(record: &Record<'_>) -> Option<String> {
    Context::of(record.headers).map(|context| context.trace_id())
}

fn field<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |at, name| match at {
        Value::Object(map) => map.get(name),
        Value::Array(list) => name.parse::<usize>().ok().and_then(|i| list.get(i)),
        _ => None,
    })
}

fn text(value: &Value, column: &Column) -> Result<String, String> {
    let is = |what: &str| format!("column \"{}\": the field is {what}", column.name);
    let text = match (column.kind, value) {
        (Kind::Json, other) => return Ok(other.to_string()),
        (Kind::Number, Value::Number(number)) => number.to_string(),
        (Kind::Number, Value::String(text)) if is_number(text) => text.clone(),
        (Kind::Number, _) => return Err(is("no number")),
        (Kind::Flag, Value::Bool(flag)) => flag.to_string(),
        (Kind::Flag, Value::String(text)) => text.clone(),
        (Kind::Flag, _) => return Err(is("neither true nor false")),
        (Kind::Time { zone }, Value::String(text)) => time(text, zone).ok_or_else(|| is("no RFC 3339 time"))?,
        (Kind::Time { .. }, _) => return Err(is("no RFC 3339 time")),
        (Kind::Text | Kind::Other, Value::String(text)) => text.clone(),
        (Kind::Text | Kind::Other, other) => other.to_string(),
    };
    if text.contains('\0') {
        return Err(is("a text with NUL, which PostgreSQL cannot hold"));
    }
    Ok(text)
}

/// Digits, as in JSON: `NaN` and `Infinity` are no values of ours, though PostgreSQL takes them.
fn is_number(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
}

/// In one form, so that equal keys are equal texts.
fn time(text: &str, zone: bool) -> Option<String> {
    let utc = match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::UTC).datetime(),
        // Without a zone it is UTC; a zone that did not parse must not be dropped.
        Err(_) if !text.ends_with(['Z', 'z']) => text.parse::<DateTime>().ok().filter(|_| text.len() > 10)?,
        Err(_) => return None,
    };
    Some(if zone { format!("{utc}Z") } else { utc.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_topology::Batch;

    fn column(name: &str, kind: Kind) -> Column {
        let path = name.split('.').map(str::to_owned).collect();
        Column { name: name.to_owned(), cast: "text".to_owned(), kind, path, is_key: false, traced: false }
    }

    fn cell(json: &str, path: &str, kind: Kind) -> Result<Cell, String> {
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 0, None, Some(json.as_bytes()));
        let record = batch.iter().next().expect("one record");
        row(0, &record, &[column(path, kind)], false).map(|mut row| row.cells.remove(0))
    }

    fn as_text(text: &str) -> Result<Cell, String> {
        Ok(Cell::Text(text.to_owned()))
    }

    #[test]
    fn digits_stay_as_they_were_written() {
        for digits in ["0.1", "123456789012345678901234567890.123456789012345678", "1e-7", "10.50", "-0.00"] {
            assert_eq!(cell(&format!("{{\"a\":{digits}}}"), "a", Kind::Number), as_text(digits));
            let inner = format!("{{\"b\":{digits}}}");
            assert_eq!(cell(&format!("{{\"a\":{inner}}}"), "a", Kind::Json), as_text(&inner));
            assert_eq!(cell(&format!("{{\"a\":{inner}}}"), "a.b", Kind::Text), as_text(digits));
        }
    }

    #[test]
    fn times_become_utc_whatever_their_zone() {
        let time = |text: &str, zone| cell(&format!("{{\"t\":\"{text}\"}}"), "t", Kind::Time { zone });
        assert_eq!(time("2026-01-01T12:00:00+02:00", false), as_text("2026-01-01T10:00:00"));
        assert_eq!(time("2026-01-01T10:00:00.123456Z", false), as_text("2026-01-01T10:00:00.123456"));
        assert_eq!(time("2026-01-01T10:00:00", false), as_text("2026-01-01T10:00:00"));
        assert_eq!(time("2026-01-01T10:00:00Z", true), as_text("2026-01-01T10:00:00Z"));
        for wrong in ["now", "infinity", "2026-01-01", "yesterday", "2026-13-01T00:00:00Z", ""] {
            assert!(time(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_cell_is_a_reason_without_the_value() {
        for (json, kind, says) in [
            ("{\"a\":\"secret\"}", Kind::Number, "no number"),
            ("{\"a\":\"NaN\"}", Kind::Number, "no number"),
            ("{\"a\":7}", Kind::Time { zone: false }, "no RFC 3339 time"),
            ("{\"a\":\"x\\u0000secret\"}", Kind::Text, "NUL"),
            ("[1]", Kind::Text, "no JSON object"),
            ("{\"a\":secret}", Kind::Text, "no JSON, at line 1 column"),
        ] {
            let reason = cell(json, "a", kind).expect_err(json);
            assert!(reason.contains(says) && !reason.contains("secret"), "{json}: {reason}");
        }
        assert!(cell(&"[".repeat(1 << 20), "a", Kind::Json).is_err(), "brackets without end");
    }

    #[test]
    fn absent_is_not_null() {
        assert_eq!(cell("{\"a\":null}", "a", Kind::Text), Ok(Cell::Null));
        assert!(cell("{}", "a", Kind::Text).expect_err("no column").contains("no field"));
        let columns = [column("a", Kind::Text), column("b.c", Kind::Text)];
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 0, None, Some(b"{\"a\":null,\"b\":1}"));
        let record = batch.iter().next().expect("one record");
        assert_eq!(row(0, &record, &columns, false).map(|row| row.cells), Ok(vec![Cell::Null, Cell::Absent]));
    }
}
