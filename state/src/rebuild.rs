//! Building a store again beside the old one: `<dir>.rebuild` is filled, verified, then takes the name; the old one
//! goes to `<dir>.old` and away. It must not know why, nor RocksDB. Recovery calls it. The invariant: at any crash one
//! of the directories is whole, and `<dir>.old` exists only from the moment that `<dir>.rebuild` was verified.

use crate::{
    error::StoreError,
    rocks::{RocksOptions, RocksStore, refused},
    store::StateStore,
};
use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

/// A store being built. Dropped before [`finish`](Rebuild::finish), it is forgotten and the next open removes it.
pub struct Rebuild {
    dir: PathBuf,
    options: RocksOptions,
    store: RocksStore,
}

impl Rebuild {
    pub(crate) fn begin(dir: &Path, options: &RocksOptions) -> Result<Rebuild, StoreError> {
        settle(dir)?;
        let store = RocksStore::open_to_fill(&beside(dir, ".rebuild"), options)?;
        Ok(Rebuild { dir: dir.to_owned(), options: options.clone(), store })
    }

    /// The new store, to be filled by [`apply`](StateStore::apply) in the log's order.
    pub fn store(&self) -> &RocksStore {
        &self.store
    }

    /// Verifies the new store, gives it the old one's place and opens it. `Unfinished` if it was never applied to.
    pub fn finish(self) -> Result<RocksStore, StoreError> {
        if self.store.meta()?.is_none() {
            return Err(StoreError::Unfinished { dir: self.dir });
        }
        self.store.flush()?;
        self.store.verify()?;
        drop(self.store);
        let old = beside(&self.dir, ".old");
        if self.dir.exists() {
            rename(&self.dir, &old)?;
        }
        rename(&beside(&self.dir, ".rebuild"), &self.dir)?;
        remove(&old)?;
        RocksStore::open(&self.dir, &self.options)
    }
}

/// Puts in order what a rebuild that was interrupted left behind.
pub(crate) fn settle(dir: &Path) -> Result<(), StoreError> {
    let (new, old) = (beside(dir, ".rebuild"), beside(dir, ".old"));
    match (dir.exists(), new.exists(), old.exists()) {
        // Interrupted between the two renames: the new one had been verified.
        (false, true, true) => rename(&new, dir)?,
        // No rebuild ends like this, but a hand might: the old one is better than none.
        (false, false, true) => rename(&old, dir)?,
        // Never finished. Destroying takes the lock, so a rebuild under way elsewhere is not pulled from under it.
        (_, true, _) => {
            RocksStore::destroy(&new)?;
            remove(&new)?;
        }
        _ => {}
    }
    remove(&old)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    dir.with_file_name(name)
}

fn remove(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(refused(dir, &e)),
        _ => Ok(()),
    }
}

/// Renames, and has the parent directory remember it before anything builds on it.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| refused(from, &e))?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|p| p.sync_all()).map_err(|e| refused(parent, &e))
}
