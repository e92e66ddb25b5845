//! One record as expressions and aggregates see it: its value's fields, and `record.*` for what stands around them.
//!
//! Made once a record by the task. Knows nothing of steps. Invariant: key and value are parsed at most once.

use crate::decimal::Decimal;
use crate::event_time;
use crate::expr::Lookup;
use crate::formats::{Datum, Document};
use crate::record::Record;
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
}

impl Lookup for View<'_> {
    fn get(&self, path: &[Box<str>]) -> Datum<'_> {
        match path {
            [record, name, rest @ ..] if &**record == "record" => self.around(name, rest),
            _ => self.value.get(path),
        }
    }
}

impl View<'_> {
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
