//! What a run of strays found, as one line of JSON. Knows no component. Filled by every part, printed by the driver.
//! Invariant: a violation is counted once, and the first of them are there in words.

use crate::proxy::{Event, Kind};
use crate::verdict::Tally;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Report {
    /// Schedules that acted on a request.
    pub strays: u64,
    /// Schedules whose request never came.
    pub missed: u64,
    /// Transactions of the product that were aborted on purpose.
    pub aborted: u64,
    /// Answers of the broker to late requests: kind, then error code or what else became of it.
    pub released: BTreeMap<String, BTreeMap<String, u64>>,
    pub recycled: u64,
    pub kills: u64,
    /// Ends of the process that nobody asked for, by cause.
    pub exits: BTreeMap<String, u64>,
    /// Recovery found state and offsets apart.
    pub halts: u64,
    /// Times that nothing was committed any more.
    pub stuck: u64,
    /// Records whose outputs were compared.
    pub records: u64,
    pub tally: Tally,
}

impl Report {
    pub fn violations(&self) -> u64 {
        self.halts + self.stuck + self.tally.lost + self.tally.duplicated + self.tally.wrong
    }

    /// A late request and what the broker said.
    pub fn late(&mut self, event: &Event) {
        let answer = match (event.error, &event.failure) {
            (Some(code), _) => code.to_string(),
            (None, Some(_)) => "connection lost".to_owned(),
            (None, None) => "no answer".to_owned(),
        };
        let kind = match (event.kind, event.committed) {
            (Kind::EndTxn, Some(true)) => "EndTxn commit".to_owned(),
            (Kind::EndTxn, _) => "EndTxn abort".to_owned(),
            (kind, _) => format!("{kind:?}"),
        };
        *self.released.entry(kind).or_default().entry(answer).or_default() += 1;
    }

    /// How often the broker took a late request of this kind.
    pub fn taken(&self, kind: &str) -> u64 {
        self.released.get(kind).and_then(|answers| answers.get("0")).copied().unwrap_or(0)
    }

    pub fn json(&self) -> Value {
        json!({
            "strays": self.strays,
            "missed": self.missed,
            "aborted": self.aborted,
            "released": self.released,
            "recycled": self.recycled,
            "kills": self.kills,
            "exits": self.exits,
            "records": self.records,
            "violations": self.violations(),
            "halts": self.halts,
            "stuck": self.stuck,
            "lost": self.tally.lost,
            "duplicated": self.tally.duplicated,
            "wrong": self.tally.wrong,
            "examples": self.tally.examples.iter().take(8).collect::<Vec<_>>(),
        })
    }
}
