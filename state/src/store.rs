//! The interface of a task's store. It must not know who writes or what the bytes mean. Implemented in `memory.rs` and
//! `rocks.rs`; called by tables, id sets, the actors' apply and recovery. The invariant: entries and meta move together,
//! so a store always says exactly which committed prefix of its changelog it holds.

use crate::{changes::Changes, error::StoreError};
use serde::{Deserialize, Serialize};

/// What a store knows about the log it follows.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The last checkpoint: the bytes of its changelog record's value.
    pub checkpoint: Vec<u8>,
    /// The next changelog offset to read.
    pub position: i64,
    /// When the broker appended that checkpoint, in ms since 1970.
    pub append_time: i64,
}

/// A store's place on the disk; all 0 for one that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of table files.
    pub disk_bytes: u64,
    /// Bytes that compactions still have to rewrite.
    pub compaction_bytes: u64,
    /// Whether it takes no writes until a compaction has ended.
    pub stopped: bool,
}

/// One moment of a store: what is applied meanwhile is not seen.
pub trait View {
    /// Calls `each` with every entry of `[from, to)`, ascending, until it answers `false`. `each` must not call the store.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError>;

    /// What the store knew about its log then.
    fn meta(&self) -> Result<Option<Meta>, StoreError>;
}

/// A task's entries and their [`Meta`]. One writer at a time; readers may be many.
pub trait StateStore: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Calls `each` with every entry of `[from, to)`, ascending, until it answers `false`. One consistent view; `each`
    /// must not call the store.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        self.query(from, to, each).map(drop)
    }

    /// As [`scan`](StateStore::scan), and the meta of the very same view: for an answer that states its position.
    fn query(
        &self,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Option<Meta>, StoreError> {
        let mut meta = None;
        self.view(&mut |view| {
            view.scan(from, to, each)?;
            meta = view.meta()?;
            Ok(())
        })?;
        Ok(meta)
    }

    /// Lets `look` see one moment of the store, in as many scans as it likes; short, for the store keeps what the moment
    /// needs until it returns. `look` must not call the store.
    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Writes all changes and the meta, or nothing. Later entries of one key win. Applying the same again is harmless.
    fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError>;

    /// Deletes every entry of `[from, to)`; the meta stays.
    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError>;

    /// What the store knows about its log; `None` before the first apply.
    fn meta(&self) -> Result<Option<Meta>, StoreError>;

    /// What it says of its place on the disk.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Makes everything applied so far survive a power failure.
    fn flush(&self) -> Result<(), StoreError>;
}
