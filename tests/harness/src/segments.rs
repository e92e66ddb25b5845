//! What stands in a topic, from the brokers' own files: which records were aborted, whatever a broker tells its readers.
//! Knows the batch header (KIP-98, format v2), control records and the transaction index; the reader of the verdict and
//! the tormentor call it. Invariant: it reads a partition's log alone to say what was aborted, never the index.
//!
//! It is here because Apache Kafka (4.3.1, and every version since 2019 by its source) can hand an aborted record to a
//! reader of committed ones: `ProducerStateManager.lastStableOffset` passes over *all* open transactions of the producer
//! whose transaction ends, the following one too. Where a follower takes an abort, the same producer's next transaction
//! and then another producer's first record in one fetch, it notes a last stable offset behind the second transaction. A
//! later search of its index that ends in between stops there, and does not find that the second one was aborted as well.
//! `tests/aborted.rs` shows it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a batch before its records, and of a transaction index's entry.
const HEADER: usize = 61;
const ENTRY: usize = 34;
const CONTROL: i16 = 0x20;
const TRANSACTIONAL: i16 = 0x10;
const ABORT: i16 = 0;

/// The data of a cluster: a folder `nK` a broker.
#[derive(Clone, Debug)]
pub struct Segments {
    directory: PathBuf,
}

/// Offsets of aborted batches: the last one of each by its first.
#[derive(Debug, Default, PartialEq)]
pub struct Aborted(BTreeMap<i64, i64>);

/// An aborted transaction that a broker's index can hide from readers.
#[derive(Debug, PartialEq)]
pub struct Hidden {
    /// The partition's folder.
    pub place: String,
    pub producer: i64,
    pub first: i64,
    /// The last stable offset of the entry before which it is not found.
    pub behind: i64,
}

#[derive(Default)]
struct Reading {
    aborted: Aborted,
    open: HashMap<i64, Vec<(i64, i64)>>,
}

impl Aborted {
    pub fn has(&self, offset: i64) -> bool {
        self.0.range(..=offset).next_back().is_some_and(|(_, last)| offset <= *last)
    }
}

fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at + N)?.try_into().ok()
}

fn long(of: &[u8], at: usize) -> Option<i64> {
    bytes(of, at).map(i64::from_be_bytes)
}

fn short(of: &[u8], at: usize) -> Option<i16> {
    bytes(of, at).map(i16::from_be_bytes)
}

/// The type in a control record's key: behind length, attributes, two deltas and the key's length, and its version.
fn control_type(records: &[u8]) -> Option<i16> {
    let varint = |at: usize| records.get(at..)?.iter().position(|byte| byte & 0x80 == 0).map(|length| at + length + 1);
    let key = varint(varint(varint(varint(0)? + 1)?)?)?;
    short(records, key + 2)
}

impl Reading {
    /// The batch at the start of `log`; its length in bytes, or nothing where the last one is not whole yet.
    fn take(&mut self, log: &[u8]) -> Option<usize> {
        let (first, length) = (long(log, 0)?, i32::from_be_bytes(bytes(log, 8)?) as usize + 12);
        let batch = log.get(..length)?;
        let (attributes, delta) = (short(batch, 21)?, i32::from_be_bytes(bytes(batch, 23)?));
        let producer = long(batch, 43)?;
        if attributes & CONTROL != 0 {
            let ended = self.open.remove(&producer).unwrap_or_default();
            if control_type(&batch[HEADER..])? == ABORT {
                self.aborted.0.extend(ended);
            }
        } else if attributes & TRANSACTIONAL != 0 {
            self.open.entry(producer).or_default().push((first, first + i64::from(delta)));
        }
        Some(length)
    }
}

/// Files of a folder with this ending, by name; a segment's name is its first offset.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|own| own == ending)).collect();
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Pairs of entries: what comes later in an index and begins before an earlier one's last stable offset is not found by a
/// search that ends at that one. An index that is right has none: what began before is in it already.
fn hidden_in(index: &[u8], place: &str) -> Vec<Hidden> {
    let (mut found, mut stable) = (Vec::new(), i64::MIN);
    for entry in index.chunks_exact(ENTRY) {
        let field = |number: usize| long(entry, 2 + 8 * number).unwrap_or_default();
        let (producer, first) = (field(0), field(1));
        if first < stable {
            found.push(Hidden { place: place.to_owned(), producer, first, behind: stable });
        }
        stable = stable.max(field(3));
    }
    found
}

impl Segments {
    pub fn new(directory: &Path) -> Segments {
        Segments { directory: directory.to_owned() }
    }

    fn node(&self, node: i32) -> PathBuf {
        self.directory.join(format!("n{node}"))
    }

    /// What was aborted on a partition, by the log of one of its replicas.
    pub fn aborted(&self, node: i32, topic: &str, partition: i32) -> Result<Aborted, String> {
        let mut reading = Reading::default();
        for segment in files(&self.node(node).join(format!("{topic}-{partition}")), "log")? {
            let log = read(&segment)?;
            let mut at = 0;
            while let Some(length) = reading.take(&log[at..]) {
                at += length;
            }
        }
        Ok(reading.aborted)
    }

    /// Aborted transactions that a broker would hide from a reader whose fetch ends at the wrong place.
    pub fn hidden(&self, node: i32) -> Result<Vec<Hidden>, String> {
        let mut found = Vec::new();
        let folders = fs::read_dir(self.node(node)).map_err(|e| format!("{}: {e}", self.node(node).display()))?;
        for folder in folders.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir()) {
            let place = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for index in files(&folder, "txnindex")? {
                found.extend(hidden_in(&read(&index)?, &place));
            }
        }
        Ok(found)
    }
}
