//! Where a store may lie, for suites that run over every implementer. It must not know what is tested. The suites call
//! it. The invariant: `open` gives the same store again, as a task that crashed would find it.

// Each suite compiles its own copy and uses a part of it.
#![allow(dead_code)]

use tidemill_state::{MemoryStore, Meta, RocksOptions, RocksStore, StateStore};

/// Something a store can be opened in, again and again.
pub trait Place {
    fn new() -> Self;
    fn open(&self) -> Box<dyn StateStore>;
}

pub struct InMemory(MemoryStore);

impl Place for InMemory {
    fn new() -> Self {
        InMemory(MemoryStore::new())
    }

    fn open(&self) -> Box<dyn StateStore> {
        Box::new(self.0.clone())
    }
}

pub struct OnDisk {
    dir: tempfile::TempDir,
    options: RocksOptions,
}

impl Place for OnDisk {
    fn new() -> Self {
        OnDisk { dir: tempfile::tempdir().unwrap(), options: RocksOptions::new(16 << 20) }
    }

    fn open(&self) -> Box<dyn StateStore> {
        Box::new(RocksStore::open(&self.dir.path().join("task"), &self.options).unwrap())
    }
}

/// Runs each named function, generic over its place, as a test over every place.
#[macro_export]
macro_rules! over_all_stores {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[test] fn $name() { super::$name::<super::places::InMemory>() })* }
        mod rocks { $(#[test] fn $name() { super::$name::<super::places::OnDisk>() })* }
    };
}

/// A meta that differs with `position`.
pub fn meta(position: i64) -> Meta {
    Meta { checkpoint: position.to_be_bytes().to_vec(), position, append_time: 1_000 + position }
}

pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

pub fn scanned(store: &dyn StateStore, from: &[u8], to: &[u8]) -> Entries {
    let mut found = Vec::new();
    let keep = &mut |k: &[u8], v: &[u8]| {
        found.push((k.to_vec(), v.to_vec()));
        true
    };
    store.scan(from, to, keep).unwrap();
    found
}
