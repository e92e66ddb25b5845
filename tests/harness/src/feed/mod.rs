//! The input of a torture: made from a seed, sent by an idempotent producer. Knows `topologies/torture.yaml`'s fields and
//! no result. Invariant: the records of a partition depend on the seed alone, and each lies in the log exactly once.

mod producer;

pub use producer::{Feeder, Pace};

use crate::rng::Rng;

/// 2026-01-01T00:00:00Z: event times begin here, whenever the test runs.
pub const EPOCH: i64 = 1_767_225_600_000;
/// Minutes of event time that every partition sees, whatever the number of records.
const MINUTES: i64 = 30;
/// Keys of one partition; each key lives on one partition alone.
const KEYS: u64 = 40;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub records: u64,
    pub partitions: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    pub partition: i32,
    pub number: u64,
    pub key: Option<String>,
    pub value: Option<String>,
}

/// The records in the order of sending, partitions by turns.
pub struct Feed {
    plan: Plan,
    rng: Rng,
    next: u64,
    /// Event time that each partition has come to.
    clocks: Vec<i64>,
}

impl Feed {
    pub fn new(plan: Plan) -> Feed {
        Feed { plan, rng: Rng::new(plan.seed), next: 0, clocks: vec![EPOCH; plan.partitions as usize] }
    }

    fn clock(&mut self, partition: usize) -> i64 {
        let per_partition = (self.plan.records / self.plan.partitions as u64).max(1) as i64;
        let step = (MINUTES * 60_000 / per_partition).max(1) as u64;
        self.clocks[partition] += self.rng.below(2 * step + 1) as i64;
        self.clocks[partition]
    }

    /// Mostly in order, often a little behind, sometimes behind every grace.
    fn time(&mut self, partition: usize) -> i64 {
        let clock = self.clock(partition);
        let behind = match self.rng.below(1000) {
            0..4 => self.rng.range(75_000, 600_000),
            4..300 => self.rng.below(8_000),
            300..320 => self.rng.range(8_000, 75_000),
            _ => 0,
        };
        clock - behind as i64
    }

    fn key(&mut self, partition: i32) -> String {
        let key = self.rng.below(KEYS);
        match key {
            0 => format!("\"quoted\" {partition}"),
            1 => format!("grüß @ {partition}/[x]"),
            2 => format!("back\\slash\t{partition}"),
            _ => format!("key-{partition}-{key}"),
        }
    }

    fn amount(&mut self) -> String {
        let cents = self.rng.below(2_000_000) as i64 - 500_000;
        match self.rng.below(100) {
            0..3 => String::new(),
            3..5 => ",\"amount\":null".to_owned(),
            5..30 => format!(",\"amount\":{}", cents / 100),
            _ => {
                let sign = if cents < 0 { "-" } else { "" };
                format!(",\"amount\":{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
            }
        }
    }

    fn record(&mut self) -> FeedRecord {
        let partition = (self.next % self.plan.partitions as u64) as i32;
        let time = self.time(partition as usize);
        let key = self.key(partition);
        let kind = *self.rng.pick(&["view", "view", "buy", "sell", "noise"]);
        let amount = self.amount();
        let (number, size) = (self.next, self.rng.below(100));
        let pad = "~".repeat(self.rng.below(120) as usize);
        let whole = format!(
            "{{\"at\":{time},\"kind\":\"{kind}\",\"size\":{size}{amount},\"number\":{number},\"pad\":\"{pad}\"}}"
        );
        let (key, value) = match self.rng.below(1000) {
            0..2 => (Some(key), Some(whole[..whole.len() - 1].to_owned())),
            2..4 => (Some(key), Some(format!("{{\"kind\":\"{kind}\",\"size\":{size},\"number\":{number}}}"))),
            4..6 => {
                (Some(key), Some(format!("{{\"at\":{time},\"kind\":\"{kind}\",\"size\":{size},\"amount\":\"ten\"}}")))
            }
            6..8 => (None, Some(whole)),
            8..9 => (Some(key), None),
            _ => (Some(key), Some(whole)),
        };
        FeedRecord { partition, number, key, value }
    }
}

impl Iterator for Feed {
    type Item = FeedRecord;

    fn next(&mut self) -> Option<FeedRecord> {
        (self.next < self.plan.records).then(|| {
            let record = self.record();
            self.next += 1;
            record
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { seed: 7, records: 5_000, partitions: 4 };

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let first: Vec<FeedRecord> = Feed::new(PLAN).collect();
        assert_eq!(first, Feed::new(PLAN).collect::<Vec<_>>());
        assert_ne!(first, Feed::new(Plan { seed: 8, ..PLAN }).collect::<Vec<_>>());
        assert_eq!(first.len(), 5_000);
    }

    #[test]
    fn a_key_lives_on_one_partition() {
        let mut homes = std::collections::HashMap::new();
        for record in Feed::new(PLAN) {
            if let Some(key) = record.key {
                assert_eq!(*homes.entry(key).or_insert(record.partition), record.partition);
            }
        }
        assert!(homes.len() > 100);
    }
}
