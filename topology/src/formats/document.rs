//! A key or a value, read once and asked often.
//!
//! Made by [`Format::read`](super::Format::read), or by [`Document::scan`] where it is known what will be asked; asked by
//! expressions, groupings and outputs. Knows nothing of the format that it came from. Invariant: asking never fails; what
//! is missing is null; a scanned text answers as the parsed one would.

use super::edit::{self, Undo};
use super::scan::{Scratch, Slot, Wanted, scan};
use super::{Datum, FormatError, json};
use crate::decimal::Decimal;
use crate::expr::Path;
use serde_json::Value;
use std::cell::{Cell, OnceCell};

/// What a record's key or value says.
#[derive(Debug, Clone)]
pub struct Document<'a>(Content<'a>);

#[derive(Debug, Clone)]
enum Content<'a> {
    Json(Value),
    Scanned(Scanned<'a>),
    Plain(Datum<'a>),
}

const NO_SLOT: usize = usize::MAX;

/// A JSON text of which only places are known.
#[derive(Debug, Clone)]
struct Scanned<'a> {
    text: &'a str,
    wanted: &'a Wanted,
    slots: &'a [Slot],
    /// The slot whose number was read last, and that number: whoever checks one mostly sums it too.
    known: Cell<usize>,
    number: Cell<Decimal>,
    /// Top-level fields that were set, which hide those of the text; the last of a name counts.
    set: Vec<(&'a Path, Value)>,
    /// The whole, should somebody ask for what nobody had announced.
    whole: OnceCell<Value>,
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

    /// JSON, of which mostly the wanted fields are asked; `scratch` is that of the stage.
    ///
    /// # Errors
    /// It is no JSON.
    pub(crate) fn scan(
        bytes: &'a [u8],
        wanted: &'a Wanted,
        scratch: &'a mut Scratch,
    ) -> Result<Document<'a>, FormatError> {
        if let Ok(text) = str::from_utf8(bytes)
            && let Some(slots) = scan(text, wanted, scratch)
        {
            let (known, number) = (Cell::new(NO_SLOT), Cell::new(Decimal::ZERO));
            let (set, whole) = (Vec::new(), OnceCell::new());
            let scanned = Scanned { text, wanted, slots, known, number, set, whole };
            return Ok(Document(Content::Scanned(scanned)));
        }
        Ok(Document::from_json(json::read(bytes)?))
    }

    /// The field at `path`: a name for each object on the way, a number for each list. Missing is null, and so is
    /// every field of what is no document. An empty path is the whole.
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Datum<'_> {
        let root = match &self.0 {
            Content::Json(value) => value,
            Content::Scanned(scanned) => scanned.whole(),
            Content::Plain(Datum::Json(value)) => value.as_ref(),
            Content::Plain(datum) if path.is_empty() => return datum.as_borrowed(),
            Content::Plain(_) => return Datum::Null,
        };
        find(root, path)
    }

    /// As [`Document::get`], without a search where the path was announced.
    pub(crate) fn field(&self, path: &Path) -> Datum<'_> {
        match &self.0 {
            Content::Scanned(scanned) => scanned.field(path),
            _ => self.get(path),
        }
    }

    pub fn whole(&self) -> Datum<'_> {
        self.get::<&str>(&[])
    }

    /// Writes a field, and objects on the way to it.
    ///
    /// # Errors
    /// The first so many names of the path lead to something that can have no field.
    pub(crate) fn set(&mut self, path: &'a Path, value: Value) -> Result<Undo, usize> {
        match &mut self.0 {
            Content::Scanned(scanned) if path.len() == 1 && scanned.text.trim_ascii_start().starts_with('{') => {
                scanned.set.push((path, value));
                scanned.whole.take();
                Ok(Undo::Uncover)
            }
            _ => edit::set(self.json_mut().ok_or(0usize)?, path, value),
        }
    }

    /// Removes a field, in every element of a list on the way.
    pub(crate) fn remove(&mut self, path: &[Box<str>]) -> Option<Undo> {
        Some(edit::remove(self.json_mut()?, path))
    }

    /// Takes back the last change that was not taken back yet.
    pub(crate) fn undo(&mut self, path: &[Box<str>], undo: Undo) {
        match (&mut self.0, undo) {
            (Content::Scanned(scanned), Undo::Uncover) => {
                scanned.set.pop();
                scanned.whole.take();
            }
            (_, undo) => {
                if let Some(root) = self.json_mut() {
                    edit::undo(root, path, undo);
                }
            }
        }
    }

    /// What a change made of the field at its path.
    pub(crate) fn changed(&self, path: &[Box<str>]) -> Option<&Value> {
        match (&self.0, path) {
            (Content::Scanned(scanned), [name]) => scanned.covered(name),
            _ => path.iter().try_fold(self.json()?, |at, name| at.get(&**name)),
        }
    }

    /// The text of a scanned one, if all that was set is new: there is nothing to be replaced in it.
    pub(crate) fn grown(&self) -> Option<&'a str> {
        let Content::Scanned(scanned) = &self.0 else { return None };
        let is_new = |path: &Path| scanned.wanted.slot_of(path).is_some_and(|slot| scanned.slots[slot].is_missing());
        scanned.set.iter().all(|(path, _)| is_new(path)).then_some(scanned.text)
    }

    /// The JSON document, if it is one, to be changed.
    fn json_mut(&mut self) -> Option<&mut Value> {
        if let Content::Scanned(scanned) = &self.0 {
            debug_assert!(scanned.set.is_empty(), "a stage that changes inner fields reads whole documents");
            self.0 = Content::Json(scanned.whole().clone());
        }
        match &mut self.0 {
            Content::Json(value) => Some(value),
            Content::Plain(Datum::Json(value)) => Some(value.to_mut()),
            Content::Plain(_) | Content::Scanned(_) => None,
        }
    }

    /// The JSON document, if it is one.
    pub fn json(&self) -> Option<&Value> {
        match &self.0 {
            Content::Json(value) => Some(value),
            Content::Scanned(scanned) => Some(scanned.whole()),
            Content::Plain(Datum::Json(value)) => Some(value),
            Content::Plain(_) => None,
        }
    }
}

impl Scanned<'_> {
    fn field(&self, path: &Path) -> Datum<'_> {
        if !self.set.is_empty()
            && let Some(value) = self.covered(&path[0])
        {
            return find(value, &path[1..]);
        }
        match self.wanted.slot_of(path) {
            Some(slot) if slot == self.known.get() => Datum::Number(self.number.get()),
            Some(slot) => self.read(slot),
            None => find(self.whole(), path),
        }
    }

    fn read(&self, slot: usize) -> Datum<'_> {
        let datum = self.slots[slot].datum(self.text);
        if let Datum::Number(number) = &datum {
            self.known.set(slot);
            self.number.set(*number);
        }
        datum
    }

    /// What a top-level field was set to.
    fn covered(&self, name: &str) -> Option<&Value> {
        self.set.iter().rev().find(|(path, _)| *path[0] == *name).map(|(_, value)| value)
    }

    #[cold]
    fn whole(&self) -> &Value {
        self.whole.get_or_init(|| {
            let text = serde_json::from_str(self.text);
            let mut value: Value = text.expect("it was scanned, and what the scanner takes serde_json takes");
            for (path, new) in &self.set {
                edit::set(&mut value, path, new.clone()).expect("only an object was set a field of");
            }
            value
        })
    }
}

fn find<'v, S: AsRef<str>>(root: &'v Value, path: &[S]) -> Datum<'v> {
    value_at(root, path).map_or(Datum::Null, Datum::from_json)
}

/// The value at `path`, if there is one.
pub(super) fn value_at<'v, S: AsRef<str>>(root: &'v Value, path: &[S]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, name| child(value, name.as_ref()))
}

fn child<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}
