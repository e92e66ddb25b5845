//! The data directory: its layout, its format, its lock.
//!
//! ```text
//! STATE/APP/format                     version of this layout, a number
//! STATE/APP/lock                       held by the one process that uses it
//! STATE/APP/instance                   the name under which this directory's process is known to Kafka
//! STATE/APP/exits                      how its processes ended, by cause
//! STATE/APP/STAGE-TOPIC-PARTITION/     one task's RocksDB
//! STATE/APP/STAGE-TOPIC-PARTITION/DAMAGED  found damaged at work: the next start builds it again
//! STATE/APP/STAGE-TOPIC-PARTITION.rebuild/  a store that is being built, swapped in when it is whole
//! ```
//!
//! Opened by `runtime`; read by `cli/state.rs`. `actors/` condemn a store, `kafka/recovery.rs` heeds it.
//! Invariant: one process at a time, and never one of a newer format.

use crate::kafka::Fault;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use tidemill_state::StoreError;

/// Version of the layout above.
const FORMAT: u32 = 1;

/// Lies in a store that must not be opened again.
const DAMAGED: &str = "DAMAGED";

/// A data directory that this process holds; let go when dropped.
pub struct StateDir {
    pub folder: PathBuf,
    pub instance: String,
    _lock: File,
}

impl StateDir {
    /// Takes the directory of one application, making it if need be. `instance`: a name given from outside.
    ///
    /// # Errors
    /// It cannot be written, another process holds it, or a newer version made it.
    pub fn take(state: &Path, app: &str, instance: Option<String>) -> Result<StateDir, Fault> {
        let folder = state.join(app);
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            let remedy = "check 'state:', its owner and the space left";
            Fault::configuration(format!("state directory {}: {what}: {e}; {remedy}", folder.display()))
        };
        fs::create_dir_all(&folder).map_err(|e| failed("cannot be made", &e))?;
        let lock = File::create(folder.join("lock")).map_err(|e| failed("cannot be written", &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let remedy = "stop it, or give this process a state directory of its own (--state)";
                let cause = format!("state directory {} is held by another process", folder.display());
                return Err(Fault::configuration(format!("{cause}; {remedy}")));
            }
            Err(TryLockError::Error(e)) => return Err(failed("cannot be locked", &e)),
        }
        check_format(&folder).map_err(|e| failed("is not usable", &e))?;
        let instance = name(&folder, instance).map_err(|e| failed("cannot keep the instance's name", &e))?;
        Ok(StateDir { folder, instance, _lock: lock })
    }
}

/// Marks the store that failed so: an open reads no blocks, and would find it sound again and again.
/// What to say then.
pub fn condemn(error: &StoreError) -> String {
    let StoreError::Corrupt { dir, cause } = error else { return error.to_string() };
    match fs::write(dir.join(DAMAGED), cause) {
        Ok(()) => format!("{error}; the next start does that"),
        Err(e) => format!("{error}; move it away, for it cannot be marked: {e}"),
    }
}

/// Why a store was condemned, if it was.
pub fn condemned(store: &Path) -> Option<String> {
    fs::read_to_string(store.join(DAMAGED)).ok()
}

fn check_format(folder: &Path) -> Result<(), String> {
    let path = folder.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            Ok(found) => Err(format!("it has format {found}, this version knows {FORMAT}; run the newer version")),
            Err(_) => Err(format!("{} says '{}', not a number", path.display(), text.trim())),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            write_whole(&path, &format!("{FORMAT}\n")).map_err(|e| e.to_string())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// The given name; else the one kept here; else a new one, kept from now on.
fn name(folder: &Path, given: Option<String>) -> std::io::Result<String> {
    if let Some(given) = given {
        return Ok(given);
    }
    let path = folder.join("instance");
    match fs::read_to_string(&path) {
        Ok(kept) if !kept.trim().is_empty() => return Ok(kept.trim().to_owned()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|e| std::io::Error::other(e.to_string()))?;
    let name = format!("i{:08x}", u32::from_le_bytes(random));
    write_whole(&path, &name)?;
    Ok(name)
}

/// Whole or not at all, also after a crash.
pub(crate) fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::take(dir.path(), "a", None).unwrap();
        let refused = StateDir::take(dir.path(), "a", None).err().unwrap();
        assert!(refused.cause.contains("held by another process"), "{refused}");
        let name = first.instance.clone();
        drop(first);
        assert_eq!(StateDir::take(dir.path(), "a", None).unwrap().instance, name);
    }

    #[test]
    fn a_damaged_store_is_marked_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (at, cause) = (dir.path().to_owned(), "block 7".to_owned());
        condemn(&StoreError::Full { dir: at.clone(), cause: cause.clone() });
        assert_eq!(condemned(dir.path()), None);
        let said = condemn(&StoreError::Corrupt { dir: at, cause });
        assert!(said.contains("the next start does that"), "{said}");
        assert_eq!(condemned(dir.path()).as_deref(), Some("block 7"));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(StateDir::take(dir.path(), "a", None).unwrap());
        fs::write(dir.path().join("a/format"), "2").unwrap();
        let refused = StateDir::take(dir.path(), "a", None).err().unwrap();
        assert!(refused.cause.contains("run the newer version"), "{refused}");
    }
}
