//! One record as expressions and aggregates see it: its value's fields, and `record.*` for what stands around them.
//!
//! Made once a record by the task. Knows nothing of steps. Invariant: key and value are parsed at most once, and
//! what one branch changed is not seen by the next.

use crate::decimal::Decimal;
use crate::event_time;
use crate::expr::{Lookup, Path};
use crate::formats::edit::Undo;
use crate::formats::splice::Edit;
use crate::formats::{Datum, Document};
use crate::record::Record;
use serde_json::Value;
use std::borrow::Cow;

/// The names behind `record.`.
pub(crate) const NAMES: [&str; 7] = ["key", "value", "timestamp", "offset", "partition", "topic", "arrived"];

pub(crate) struct View<'a> {
    pub record: Record<'a>,
    pub topic: &'a str,
    pub partition: i32,
    pub key: Document<'a>,
    pub value: Document<'a>,
    /// Event time, ms since 1970.
    pub time: i64,
    /// Wall clock at the arrival of its batch, ms since 1970.
    pub arrived: i64,
    pub changes: Changes<'a>,
}

/// What `set` and `redact` have done to the value so far, oldest first.
#[derive(Default)]
pub(crate) struct Changes<'a>(Vec<(&'a [Box<str>], Undo)>);

impl Lookup for View<'_> {
    fn get(&self, path: &Path) -> Datum<'_> {
        match path.around() {
            Some((name, rest)) => self.around(name, rest),
            None => self.value.field(path),
        }
    }
}

impl<'a> View<'a> {
    /// Writes a field of the value.
    ///
    /// # Errors
    /// The first so many names of the path lead to something that can have no field.
    pub fn set(&mut self, path: &'a Path, value: Value) -> Result<(), usize> {
        let undo = self.value.set(path, value)?;
        // An object made on the way is a change as a whole, so that it stays if the field goes again.
        self.changes.0.push((&path[..undo.depth(path)], undo));
        Ok(())
    }

    /// Removes a field of the value. It counts as a change also where there is none: the bytes may hold it still, hidden
    /// behind a later one of the same name.
    pub fn remove(&mut self, path: &'a [Box<str>]) {
        if let Some(undo) = self.value.remove(path) {
            self.changes.0.push((path, undo));
        }
    }

    /// Where the changes stand, for [`View::cut`].
    pub fn mark(&self) -> usize {
        self.changes.0.len()
    }

    /// Takes back what was changed since.
    pub fn cut(&mut self, mark: usize) {
        while self.changes.0.len() > mark {
            let Some((path, undo)) = self.changes.0.pop() else { return };
            self.value.undo(path, undo);
        }
    }

    /// What is to be done to the bytes of the value, so that they say what the value says now.
    pub fn edits(&self) -> Vec<Edit<'_>> {
        let mut paths: Vec<&[Box<str>]> = Vec::with_capacity(self.changes.0.len());
        for (path, _) in &self.changes.0 {
            if !paths.iter().any(|known| path.starts_with(known)) {
                paths.retain(|known| !known.starts_with(path));
                paths.push(path);
            }
        }
        paths.into_iter().map(|path| Edit::new(path, self.value.changed(path))).collect()
    }

    fn around(&self, name: &str, rest: &[Box<str>]) -> Datum<'_> {
        match name {
            "key" => self.key.get(rest),
            "value" => self.value.get(rest),
            "timestamp" => Datum::Number(Decimal::from_i64(self.record.timestamp)),
            "offset" => Datum::Number(Decimal::from_i64(self.record.offset)),
            "partition" => Datum::Number(Decimal::from_i64(i64::from(self.partition))),
            "topic" => Datum::Text(Cow::Borrowed(self.topic)),
            "arrived" => Datum::Text(Cow::Owned(event_time::text(self.arrived))),
            _ => Datum::Null,
        }
    }
}
