//! A record's JSON as cells of a table: texts that PostgreSQL casts, so that digits stay as they were written.
//!
//! Called by `batch.rs`. Knows a column's name, field and kind, and nothing of connections.
//! Invariant: a number never becomes a float, and a cell that cannot be one is a reason, without the value in it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::borrow::Cow;
use tidemill_topology::Record;
use tidemill_topology::formats::{FieldReader, Fields, Spelled};
use tidemill_topology::sinks::FieldPath;
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
    pub path: FieldPath,
    pub is_key: bool,
    /// Where the record has no such field, it takes the trace id of its context.
    pub traced: bool,
}

/// Borrowed from its record, where it stands there as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell<'r> {
    /// No such field: the column is left to the table.
    Absent,
    Null,
    Text(Cow<'r, str>),
}

impl Cell<'_> {
    /// What the column gets; none: NULL, or its default.
    pub fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Absent => None,
        }
    }
}

/// One row, and which record of the slice it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'r> {
    pub record: usize,
    pub cells: Vec<Cell<'r>>,
}

/// The fields that columns take.
pub fn fields(columns: &[Column]) -> Fields {
    Fields::new(columns.iter().map(|column| column.path.clone()).collect())
}

/// Makes rows of a batch's records, one after the other.
pub struct Rows<'c> {
    columns: &'c [Column],
    /// Of those columns.
    fields: FieldReader<'c>,
    upsert: bool,
}

impl<'c> Rows<'c> {
    /// `fields`: those of `columns`, by [`fields`].
    pub fn new(columns: &'c [Column], fields: &'c Fields, upsert: bool) -> Rows<'c> {
        Rows { columns, fields: fields.reader(), upsert }
    }

    /// The row of a record.
    ///
    /// # Errors
    /// Why there is none.
    pub fn row<'r>(&mut self, at: usize, record: &Record<'r>) -> Result<Row<'r>, String> {
        let value = record.value.ok_or("the record has no value")?;
        let found = self.fields.read(value).map_err(|e| format!("the value is {e}"))?;
        if !found.is_object() {
            return Err("the value is no JSON object".to_owned());
        }
        let (mut cells, mut any) = (Vec::with_capacity(self.columns.len()), false);
        for (place, column) in self.columns.iter().enumerate() {
            let cell = match found.get(place) {
                // A row that is written again by a record without a context must not keep an older one's.
                Spelled::Missing if column.traced => trace_id(record).map_or(Cell::Null, |id| Cell::Text(id.into())),
                Spelled::Missing => Cell::Absent,
                Spelled::Null => Cell::Null,
                spelled => Cell::Text(text(spelled, column)?),
            };
            if self.upsert && column.is_key && !matches!(cell, Cell::Text(_)) {
                return Err(format!("column \"{}\" is part of the key and has no value", column.name));
            }
            any |= !column.traced && cell != Cell::Absent;
            cells.push(cell);
        }
        if !any {
            return Err("no field of the record is a column of the table".to_owned());
        }
        Ok(Row { record: at, cells })
    }
}

fn trace_id(record: &Record<'_>) -> Option<String> {
    Context::of(record.headers).map(|context| context.trace_id())
}

fn text<'r>(spelled: Spelled<'r>, column: &Column) -> Result<Cow<'r, str>, String> {
    let is = |what: &str| format!("column \"{}\": the field is {what}", column.name);
    let text = match (column.kind, spelled) {
        (Kind::Json, other) => return Ok(json(other)),
        (Kind::Number, Spelled::Number(digits)) => digits,
        (Kind::Number, Spelled::Text(text)) if is_number(&text) => text,
        (Kind::Number, _) => return Err(is("no number")),
        (Kind::Flag, Spelled::Flag(flag)) => word(flag),
        (Kind::Flag, Spelled::Text(text)) => text,
        (Kind::Flag, _) => return Err(is("neither true nor false")),
        (Kind::Time { zone }, Spelled::Text(text)) => time(text, zone).ok_or_else(|| is("no RFC 3339 time"))?,
        (Kind::Time { .. }, _) => return Err(is("no RFC 3339 time")),
        (Kind::Text | Kind::Other, Spelled::Text(text)) => text,
        (Kind::Text | Kind::Other, other) => json(other),
    };
    if text.contains('\0') {
        return Err(is("a text with NUL, which PostgreSQL cannot hold"));
    }
    Ok(text)
}

fn json(spelled: Spelled<'_>) -> Cow<'_, str> {
    match spelled {
        Spelled::Number(json) | Spelled::Json(json) => json,
        Spelled::Flag(flag) => word(flag),
        Spelled::Text(text) => Value::from(text).to_string().into(),
        Spelled::Missing | Spelled::Null => "null".into(),
    }
}

fn word(flag: bool) -> Cow<'static, str> {
    if flag { "true".into() } else { "false".into() }
}

/// Digits, as in JSON: `NaN` and `Infinity` are no values of ours, though PostgreSQL takes them.
fn is_number(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
}

/// In one form, so that equal keys are equal texts.
fn time(text: Cow<'_, str>, zone: bool) -> Option<Cow<'_, str>> {
    let utc = match text.parse::<Timestamp>() {
        Ok(_) if is_one_form(text.as_bytes()) => return Some(if zone { text } else { without_z(text) }),
        Ok(time) => time.to_zoned(TimeZone::UTC).datetime(),
        // Without a zone it is UTC; a zone that did not parse must not be dropped.
        Err(_) if !text.ends_with(['Z', 'z']) => text.parse::<DateTime>().ok().filter(|_| text.len() > 10)?,
        Err(_) => return None,
    };
    Some(if zone { format!("{utc}Z").into() } else { utc.to_string().into() })
}

/// Of a time that was read: whether it is written as we would, `2026-01-01T10:00:00Z` or with a fraction that ends in no
/// zero. A second 60 is read as 59.
fn is_one_form(text: &[u8]) -> bool {
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', b'0'..=b'5', _, rest @ ..] = text else {
        return false;
    };
    matches!(rest, [b'Z'] | [b'.', .., b'1'..=b'9', b'Z'])
}

fn without_z(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text[..text.len() - 1].into(),
        Cow::Owned(mut text) => {
            text.pop();
            text.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_topology::Batch;

    fn column(name: &str, kind: Kind) -> Column {
        let path = FieldPath::from(name.split('.').map(Box::from).collect::<Vec<_>>());
        Column { name: name.to_owned(), cast: "text".to_owned(), kind, path, is_key: false, traced: false }
    }

    fn cells(json: &str, columns: &[Column]) -> Result<Vec<Cell<'static>>, String> {
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 0, None, Some(json.as_bytes()));
        let record = batch.iter().next().expect("one record");
        let row = Rows::new(columns, &fields(columns), false).row(0, &record)?;
        let own = |cell| match cell {
            Cell::Absent => Cell::Absent,
            Cell::Null => Cell::Null,
            Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        };
        Ok(row.cells.into_iter().map(own).collect())
    }

    fn cell(json: &str, path: &str, kind: Kind) -> Result<Cell<'static>, String> {
        cells(json, &[column(path, kind)]).map(|mut cells| cells.remove(0))
    }

    fn as_text(text: &str) -> Result<Cell<'_>, String> {
        Ok(Cell::Text(text.into()))
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
        for same in [
            "2026-01-01T10:00:00.000001Z",
            "2026-01-01T10:00:00\\u005a",
            "2026-01-01T10:00:00.0Z",
            "2026-01-01T10:00:60Z",
        ] {
            let at = time(same, true);
            let Ok(Cell::Text(text)) = &at else { panic!("{same}: {at:?}") };
            assert_eq!(time(text, true), at, "{same}: its form is not the one form");
            assert_eq!(time(same, false), as_text(&text[..text.len() - 1]), "{same}");
        }
        assert_eq!(time("2026-01-01T10:00:00.500Z", false), as_text("2026-01-01T10:00:00.5"));
        assert_eq!(time("2026-01-01T10:00:60Z", true), as_text("2026-01-01T10:00:59Z"));
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
            ("{\"a\":secret}", Kind::Text, "not JSON: wrong syntax, at line 1 column"),
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
        assert_eq!(cells("{\"a\":null,\"b\":1}", &columns), Ok(vec![Cell::Null, Cell::Absent]));
    }
}
