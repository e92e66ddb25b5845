//! Which buckets of a state are live, and which are dead but still lie in the store. It must not know entries. Tables
//! and id sets call it. The invariant: a dead bucket's range is deleted only after the tombstones of all its keys were
//! applied, and never if somebody has written to the bucket since.

use crate::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};

/// The buckets that a table has entries in.
#[derive(Default)]
pub(crate) struct Live {
    known: BTreeSet<u64>,
    /// Whether those that the store brought along are among them.
    discovered: bool,
}

impl Live {
    pub(crate) fn add(&mut self, bucket: u64) {
        self.known.insert(bucket);
    }

    pub(crate) fn remove(&mut self, bucket: u64) {
        self.known.remove(&bucket);
    }

    /// Seeks from bucket to bucket through the store, once.
    pub(crate) fn discover(&mut self, id: u16, store: &dyn StateStore) -> Result<(), StoreError> {
        if self.discovered {
            return Ok(());
        }
        let mut range = keys::state_range(id);
        loop {
            let mut found = None;
            store.scan(&range.start, &range.end, &mut |key, _| {
                found = keys::split(key).map(|(_, bucket, _)| bucket);
                false
            })?;
            let Some(bucket) = found else { break };
            self.known.insert(bucket);
            range.start = keys::bucket_range(id, bucket).end;
        }
        self.discovered = true;
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.known.iter().copied()
    }

    pub(crate) fn first_below(&self, bucket: u64) -> Option<u64> {
        self.known.first().copied().filter(|&b| b < bucket)
    }
}

/// Buckets whose last key has a tombstone.
#[derive(Default)]
pub(crate) struct Dead {
    stage: BTreeMap<u64, Stage>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Unsealed,
    Sealed(u64),
    Applied,
}

impl Dead {
    /// The last tombstone of `bucket` is part of the next seal.
    pub(crate) fn add(&mut self, bucket: u64) {
        self.stage.insert(bucket, Stage::Unsealed);
    }

    /// Somebody writes to `bucket` again.
    pub(crate) fn revive(&mut self, bucket: u64) {
        self.stage.remove(&bucket);
    }

    pub(crate) fn seal(&mut self, sequence: u64) {
        for stage in self.stage.values_mut().filter(|s| **s == Stage::Unsealed) {
            *stage = Stage::Sealed(sequence);
        }
    }

    pub(crate) fn applied(&mut self, sequence: u64) {
        for stage in self.stage.values_mut() {
            if matches!(stage, Stage::Sealed(s) if *s <= sequence) {
                *stage = Stage::Applied;
            }
        }
    }

    /// Deletes the ranges of those whose tombstones were applied. What fails is tried again at the next call.
    pub(crate) fn reclaim(&mut self, id: u16, store: &dyn StateStore) -> Result<(), StoreError> {
        while let Some((&bucket, _)) = self.stage.iter().find(|(_, s)| **s == Stage::Applied) {
            let range = keys::bucket_range(id, bucket);
            store.delete_range(&range.start, &range.end)?;
            self.stage.remove(&bucket);
        }
        Ok(())
    }
}
