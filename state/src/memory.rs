//! A store in memory: for the tester, the simulation and tests. It must not know files. The invariant is that of
//! [`StateStore`]; a clone is the same store, so a test can "crash" a task and open the store again.

use crate::{
    changes::Changes,
    error::StoreError,
    store::{Meta, StateStore, View},
};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A [`StateStore`] in memory. `Clone` gives another handle to the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    held: Arc<RwLock<Held>>,
}

#[derive(Default)]
struct Held {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    meta: Option<Meta>,
}

impl MemoryStore {
    /// An empty store without meta.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().expect("no holder of this lock panics")
    }
}

impl View for Held {
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        if from < to {
            let mut range = self.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
            while range.next().is_some_and(|(k, v)| each(k, v)) {}
        }
        Ok(())
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        Ok(self.meta.clone())
    }
}

impl StateStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().entries.get(key).cloned())
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>) -> Result<(), StoreError> {
        look(&*self.read())
    }

    fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError> {
        let mut held = self.write();
        for (key, value) in changes.iter() {
            match value {
                Some(v) => drop(held.entries.insert(key.to_vec(), v.to_vec())),
                None => drop(held.entries.remove(key)),
            }
        }
        held.meta = Some(meta.clone());
        Ok(())
    }

    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        self.write().entries.retain(|k, _| k.as_slice() < from || k.as_slice() >= to);
        Ok(())
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        Ok(self.read().meta.clone())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
