//! What can go wrong with a store, named by what to do next. It must not know RocksDB. Recovery matches on it.
//! The invariant: every error says what, where and what to do, in one line.

use crate::codec::CodecError;
use std::path::PathBuf;

/// A store's failure. Only [`Corrupt`](StoreError::Corrupt) is healed by building the store again from its changelog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has the directory open.
    #[error("store {dir} is open elsewhere: stop the process that holds it, or give each its own state directory", dir = .dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The files are damaged: rebuild.
    #[error("store {dir} is damaged ({cause}): it has to be built again from its changelog", dir = .dir.display())]
    Corrupt {
        /// The store's directory.
        dir: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// No room, or a file-size limit.
    #[error("no room for store {dir} ({cause}): free space on its file system, or raise its quota", dir = .dir.display())]
    Full {
        /// The store's directory.
        dir: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// Anything else the file system or the database refused.
    #[error("store {dir} failed ({cause}): check its file system and permissions", dir = .dir.display())]
    Io {
        /// The store's directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// A store opened for reading was asked to write.
    #[error("store {dir} is open for reading only: open it as its task does to change it", dir = .dir.display())]
    ReadOnly {
        /// The store's directory.
        dir: PathBuf,
    },
    /// A rebuilt store was to be used before it had a position.
    #[error("store {dir} was rebuilt without a position: apply at least one batch before it is finished", dir = .dir.display())]
    Unfinished {
        /// The store's directory.
        dir: PathBuf,
    },
    /// An entry of state `id` in `bucket` is whole but cannot be read.
    #[error("state {id}, bucket {bucket}: {cause}")]
    Value {
        /// The state that the entry belongs to, 0 for the store's own meta.
        id: u16,
        /// Its bucket.
        bucket: u64,
        /// Why, and what to do.
        cause: CodecError,
    },
}

impl StoreError {
    /// Whether the answer is to build the store again from its changelog.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. })
    }
}
