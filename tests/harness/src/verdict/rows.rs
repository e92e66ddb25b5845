//! One record as a consumer sees it, and the forms of the product's results. Called by every judge. Invariant: a form
//! that is not exactly as documented is an error, never a guess.

use super::Tally;
use crate::oracle::{Number, Sums};
use serde_json::Value;
use std::collections::HashMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    /// ms since 1970; -1 without one.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Row {
    /// Text of the last header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(header, _)| header == name)?;
        str::from_utf8(value.as_deref()?).ok()
    }

    /// Partition and offset that `tidemill-source` names.
    pub fn source(&self, topic: &str) -> Option<(i32, i64)> {
        let (partition, offset) =
            self.header("tidemill-source")?.strip_prefix(topic)?.strip_prefix('/')?.split_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    }

    pub fn key_text(&self) -> Option<&str> {
        str::from_utf8(self.key.as_deref()?).ok()
    }
}

/// A row of an aggregate, JSON.
#[derive(Debug)]
pub struct Said {
    pub key: String,
    /// Start and end as they are written.
    pub window: Option<(String, String)>,
    pub sums: Sums,
    pub is_final: bool,
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// The four aggregates of an object; every one must be there, `null` or a number.
pub fn sums(value: &Value) -> Option<Sums> {
    let number = |field: &str| match value.get(field)? {
        Value::Null => Some(None),
        Value::Number(number) => Number::parse(&number.to_string()).map(Some),
        _ => None,
    };
    Some(Sums { n: value.get("n")?.as_u64()?, total: number("total")?, low: number("low")?, high: number("high")? })
}

impl Said {
    pub fn read(row: &Row) -> Option<Said> {
        let value: Value = serde_json::from_slice(row.value.as_deref()?).ok()?;
        let is_final = match text(&value, "result")? {
            "update" => false,
            "final" => true,
            _ => return None,
        };
        let window = match value.get("window") {
            None => None,
            Some(window) => Some((text(window, "start")?.to_owned(), text(window, "end")?.to_owned())),
        };
        Some(Said { key: text(&value, "key")?.to_owned(), window, sums: sums(&value)?, is_final })
    }
}

/// `2026-01-01T10:00:00Z`, for whole seconds.
pub fn utc(ms: i64) -> String {
    let (days, second) = (ms.div_euclid(86_400_000), ms.div_euclid(1000).rem_euclid(86_400));
    // Howard Hinnant's civil_from_days: days since 1970 to a date, by eras of 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let date = of_year - (153 * shifted_month + 2) / 5 + 1;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `tidemill-task: task/sequence`: on one partition of an output, the transactions of a task come in their order.
#[derive(Debug, Default)]
pub struct Sequences {
    last: HashMap<(String, i32), u64>,
}

impl Sequences {
    pub fn take(&mut self, topic: &str, row: &Row, tally: &mut Tally) {
        let place = || format!("{topic}/{}/{}", row.partition, row.offset);
        let header = row.header("tidemill-task").and_then(|header| header.rsplit_once('/'));
        let Some((task, Ok(sequence))) = header.map(|(task, number)| (task, number.parse::<u64>())) else {
            return tally.wrong(|| format!("{}: no header tidemill-task: task/sequence", place()));
        };
        let last = self.last.entry((task.to_owned(), row.partition)).or_default();
        if sequence < *last {
            tally.wrong(|| format!("{}: sequence {sequence} of {task} behind {last}", place()));
        }
        *last = sequence.max(*last);
    }
}
