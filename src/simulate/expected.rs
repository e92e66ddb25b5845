//! What must come out of the records that were made: each hour's row, and how many of every fault.
//!
//! Filled by the generator, printed by `cli/simulate.rs`. Counts in whole hundredths and shares no code with the engine.
//! Invariant: a cell holds each good event that is not late once, in the hour of its own time.

use super::event::{Event, EventType, number, rfc3339};
use super::generator::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

pub(super) const HOUR: i64 = 3_600_000;

/// One hour of one event type.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub total_events: u64,
    users: HashSet<u64>,
    timed: u64,
    hundredths: u64,
}

impl Cell {
    pub fn unique_users(&self) -> u64 {
        self.users.len() as u64
    }

    /// The sum of the durations; none where no event has one.
    pub fn total_duration_seconds(&self) -> Option<String> {
        (self.timed > 0).then(|| number(self.hundredths))
    }

    /// Over the events that have a duration; two digits, half away from zero.
    pub fn avg_duration_seconds(&self) -> Option<String> {
        (self.timed > 0).then(|| number((2 * self.hundredths + self.timed) / (2 * self.timed)))
    }
}

/// The sum over all records so far.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub sent: u64,
    /// Different events that are whole, late ones included.
    pub good: u64,
    pub disordered: u64,
    pub late: u64,
    pub duplicates: u64,
    pub broken: u64,
    /// Of the good ones.
    pub high_value_purchases: u64,
    /// By the start of the hour, in ms, and the type.
    pub hours: BTreeMap<(i64, EventType), Cell>,
}

impl Expected {
    pub(super) fn take(&mut self, kind: Kind, event: &Event) {
        self.sent += 1;
        match kind {
            Kind::Duplicate => self.duplicates += 1,
            Kind::Broken => self.broken += 1,
            Kind::Late => self.late += 1,
            Kind::Disordered => self.disordered += 1,
            Kind::Plain => {}
        }
        if matches!(kind, Kind::Duplicate | Kind::Broken) {
            return;
        }
        self.good += 1;
        self.high_value_purchases += u64::from(event.is_high_value);
        if kind != Kind::Late {
            let cell = self.hours.entry((event.time.div_euclid(HOUR) * HOUR, event.kind)).or_default();
            cell.total_events += 1;
            cell.users.insert(event.user);
            cell.timed += u64::from(event.duration.is_some());
            cell.hundredths += event.duration.unwrap_or(0);
        }
    }

    pub fn json(&self) -> Value {
        let exact = |text: Option<String>| text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(Value::Null);
        let row = |(&(hour, kind), cell): (&(i64, EventType), &Cell)| {
            json!({
                "aggregation_hour": hour_text(hour),
                "event_type": kind.name(),
                "total_events": cell.total_events,
                "unique_users": cell.unique_users(),
                "total_duration_seconds": exact(cell.total_duration_seconds()),
                "avg_duration_seconds": exact(cell.avg_duration_seconds()),
            })
        };
        json!({
            "sent": self.sent,
            "good": self.good,
            "disordered": self.disordered,
            "late": self.late,
            "duplicates": self.duplicates,
            "broken": self.broken,
            "high_value_purchases": self.high_value_purchases,
            "hours": self.hours.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let facts = [
            ("good events", self.good, "late ones included: rows of raw_events"),
            ("of them out of order", self.disordered, "within the grace: they count"),
            ("of them late", self.late, "in no hour; a copy in the dead letters each, where asked"),
            ("of them of high value", self.high_value_purchases, "purchases over 100"),
            ("duplicates", self.duplicates, "count nowhere"),
            ("broken", self.broken, "a dead letter each"),
        ];
        let mut lines: Vec<String> = facts.iter().map(|(n, c, w)| format!("{n:<22}{c:>9}  {w}")).collect();
        lines.push(String::new());
        let head = ["hour", "event_type", "total_events", "unique_users", "total_duration", "avg_duration"];
        lines.push(line(head.map(str::to_owned)));
        for ((hour, kind), cell) in &self.hours {
            let none = || "-".to_owned();
            lines.push(line([
                hour_text(*hour),
                kind.name().to_owned(),
                cell.total_events.to_string(),
                cell.unique_users().to_string(),
                cell.total_duration_seconds().unwrap_or_else(none),
                cell.avg_duration_seconds().unwrap_or_else(none),
            ]));
        }
        lines.join("\n")
    }
}

fn line([hour, kind, total, unique, sum, avg]: [String; 6]) -> String {
    format!("{hour:<20}  {kind:<10}  {total:>12}  {unique:>12}  {sum:>14}  {avg:>12}")
}

fn hour_text(hour: i64) -> String {
    rfc3339(hour).replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_rounded_half_away_from_zero() {
        let cell = |hundredths, timed| Cell { hundredths, timed, ..Cell::default() };
        assert_eq!(cell(1, 2).avg_duration_seconds().as_deref(), Some("0.01"));
        assert_eq!(cell(1, 3).avg_duration_seconds().as_deref(), Some("0.0"));
        assert_eq!(cell(500, 3).avg_duration_seconds().as_deref(), Some("1.67"));
        assert_eq!(cell(0, 0).avg_duration_seconds(), None);
    }
}
