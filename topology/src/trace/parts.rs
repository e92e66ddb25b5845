//! The samples of partials on their way: what a task has folded since its last seal for the stage behind.
//!
//! Called by the task with each accepted record, read where bundles are sent. Knows nothing of the bundles. Invariant:
//! nothing of it outlives a seal.

use super::context::Context;
use super::sample::Sample;
use super::samples::{BYTES, COST};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(crate) struct Parts {
    held: BTreeMap<i64, HashMap<Box<[u8]>, Sample, foldhash::fast::RandomState>>,
    bytes: usize,
}

impl Parts {
    /// False if there was no room.
    pub fn note(&mut self, seed: u64, (start, key): (i64, &[u8]), context: Context) -> bool {
        let bucket = self.held.entry(start).or_default();
        if let Some(sample) = bucket.get_mut(key) {
            sample.add(seed, context);
            return true;
        }
        if self.bytes + COST + key.len() > BYTES {
            return false;
        }
        self.bytes += COST + key.len();
        bucket.entry(key.into()).or_default().add(seed, context);
        true
    }

    pub fn of(&self, start: i64, key: &[u8]) -> Option<&Sample> {
        self.held.get(&start)?.get(key)
    }

    pub fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
