//! Some fields of many JSON texts, as they are spelled there.
//!
//! For whoever hands values on and does not calculate with them: sinks. Knows nothing of records. Invariant: what is JSON and
//! which field is which, serde_json and the scanner say alike; what is borrowed is a part of the text.

use super::document::value_at;
use super::scan::{Scratch, Slot, Wanted, scan};
use super::{FormatError, json};
use crate::expr::Path;
use serde_json::Value;
use std::borrow::Cow;

/// Which fields, by the place of their paths.
#[derive(Debug)]
pub struct Fields {
    paths: Vec<Path>,
    /// None: more paths than one pass takes, or oddly named ones; each text is then parsed whole.
    wanted: Option<Wanted>,
}

/// A field's value, with the digits that it was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelled<'t> {
    /// No such field.
    Missing,
    Null,
    Flag(bool),
    Number(Cow<'t, str>),
    /// Without quotes and escapes.
    Text(Cow<'t, str>),
    /// An object or a list, as JSON.
    Json(Cow<'t, str>),
}

impl Fields {
    pub fn new(paths: Vec<Path>) -> Fields {
        let wanted = Wanted::new(&paths);
        Fields { paths, wanted }
    }

    /// For texts of one kind: it learns what they have in common.
    pub fn reader(&self) -> FieldReader<'_> {
        FieldReader { fields: self, scratch: Scratch::default() }
    }
}

/// Reads one text after another.
pub struct FieldReader<'f> {
    fields: &'f Fields,
    scratch: Scratch,
}

impl<'f> FieldReader<'f> {
    /// # Errors
    /// It is no JSON: where, and never what stands there.
    pub fn read<'t, 's>(&'s mut self, bytes: &'t [u8]) -> Result<Found<'t, 's>, FormatError>
    where
        'f: 's,
    {
        let FieldReader { fields, scratch } = self;
        if let Some(wanted) = &fields.wanted
            && let Ok(text) = str::from_utf8(bytes)
            && let Some(slots) = scan(text, wanted, scratch)
        {
            return Ok(Found { fields, content: Content::Scanned(text, wanted, slots) });
        }
        Ok(Found { fields, content: Content::Parsed(json::read(bytes)?) })
    }
}

/// A text that was read.
pub struct Found<'t, 's> {
    fields: &'s Fields,
    content: Content<'t, 's>,
}

enum Content<'t, 's> {
    Scanned(&'t str, &'s Wanted, &'s [Slot]),
    Parsed(Value),
}

impl<'t> Found<'t, '_> {
    pub fn is_object(&self) -> bool {
        match &self.content {
            Content::Scanned(text, ..) => text.trim_ascii_start().starts_with('{'),
            Content::Parsed(value) => value.is_object(),
        }
    }

    /// The field of the path at this place of the list.
    pub fn get(&self, place: usize) -> Spelled<'t> {
        let path = &self.fields.paths[place];
        match &self.content {
            Content::Scanned(text, wanted, slots) => {
                wanted.slot_of(path).map_or(Spelled::Missing, |n| slots[n].spelled(text))
            }
            Content::Parsed(value) => value_at(value, path).map_or(Spelled::Missing, spelled),
        }
    }
}

fn spelled(value: &Value) -> Spelled<'static> {
    match value {
        Value::Null => Spelled::Null,
        Value::Bool(flag) => Spelled::Flag(*flag),
        Value::Number(number) => Spelled::Number(Cow::Owned(number.to_string())),
        Value::String(text) => Spelled::Text(Cow::Owned(text.clone())),
        Value::Array(_) | Value::Object(_) => Spelled::Json(Cow::Owned(value.to_string())),
    }
}
