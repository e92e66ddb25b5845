//! A key or a value, read once and asked often.
//!
//! Made by [`Format::read`](super::Format::read); asked by expressions, groupings and outputs. Knows nothing of the
//! format that it came from. Invariant: asking never fails and never parses again; what is missing is null.

use super::Datum;
use serde_json::Value;

/// What a record's key or value says.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a>(Content<'a>);

#[derive(Debug, Clone, PartialEq)]
enum Content<'a> {
    Json(Value),
    Plain(Datum<'a>),
}

impl<'a> Document<'a> {
    /// Of a record without a key, or of a tombstone.
    pub const NULL: Document<'static> = Document(Content::Plain(Datum::Null));

    pub fn from_json(value: Value) -> Document<'a> {
        Document(Content::Json(value))
    }

    pub fn from_datum(datum: Datum<'a>) -> Document<'a> {
        Document(Content::Plain(datum))
    }

    /// The field at `path`: a name for each object on the way, a number for each list. Missing is null, and so is
    /// every field of what is no document. An empty path is the whole.
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Datum<'_> {
        let root = match &self.0 {
            Content::Json(value) => value,
            Content::Plain(Datum::Json(value)) => value.as_ref(),
            Content::Plain(datum) if path.is_empty() => return datum.as_borrowed(),
            Content::Plain(_) => return Datum::Null,
        };
        path.iter().try_fold(root, |value, name| child(value, name.as_ref())).map_or(Datum::Null, Datum::from_json)
    }

    pub fn whole(&self) -> Datum<'_> {
        self.get::<&str>(&[])
    }

    /// The JSON document, if it is one, to be changed.
    pub(crate) fn json_mut(&mut self) -> Option<&mut Value> {
        match &mut self.0 {
            Content::Json(value) => Some(value),
            Content::Plain(Datum::Json(value)) => Some(value.to_mut()),
            Content::Plain(_) => None,
        }
    }

    /// The JSON document, if it is one.
    pub fn json(&self) -> Option<&Value> {
        match &self.0 {
            Content::Json(value) => Some(value),
            Content::Plain(Datum::Json(value)) => Some(value),
            Content::Plain(_) => None,
        }
    }
}

fn child<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}
