//! A store in RocksDB: one database a task, entries in the default column family byte for byte, meta in one of its own.
//! With `verify.rs` the only file that names rocksdb; it must not know Kafka or when to commit. The actors and recovery open it. The
//! invariant: entries and meta change in one atomic batch, so whatever a crash leaves is a committed prefix.

use crate::{
    changes::Changes,
    codec,
    error::StoreError,
    filling::{self, Filling},
    rebuild,
    store::{Figures, Meta, StateStore, View},
    verify,
};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, ErrorKind, IngestExternalFileOptions, LogLevel, LruCacheOptions, Options, ReadOptions, Snapshot,
    SstFileWriter, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const META: &str = "meta";
const META_KEY: &[u8] = b"meta";
const META_VERSION: u8 = 1;

/// A memtable. What is in memtables lies in the log as well and is read again at an open, so this bounds its time.
const MEMTABLE: usize = 4 << 20;
/// So many changes are given to a memtable in the order of their keys: it finds the place of each beside the last one.
const MANY: usize = 256;
/// One part of a filter or an index.
const METADATA: usize = 8 << 10;
/// The same bound over both column families.
const WAL: u64 = 8 << 20;
/// Of a rebuild, what is sorted and written as one file, with what that takes; with less memory, a sixteenth of it. Long runs are merged
/// less often.
const FILLING: usize = 32 << 20;

/// The settings of all stores of a process: one block cache and one bound on memtables, which a clone shares.
#[derive(Clone)]
pub struct RocksOptions {
    cache: Cache,
    memtables: WriteBufferManager,
    filling: usize,
}

impl RocksOptions {
    /// Stores that together hold about `budget_bytes` of memory: blocks, indexes, filters, and at most half of it
    /// memtables.
    pub fn new(budget_bytes: usize) -> RocksOptions {
        let mut shape = LruCacheOptions::default();
        shape.set_capacity(budget_bytes);
        // Few shards: a block larger than one is never kept, and no more threads read at a time than there are lanes.
        shape.set_num_shard_bits(2);
        let cache = Cache::new_lru_cache_opts(&shape);
        // It never stalls a write: an apply waits for nobody, and a full budget flushes early instead.
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(budget_bytes / 2, false, cache.clone());
        RocksOptions { cache, memtables, filling: FILLING.min(budget_bytes / 16) }
    }

    /// Bytes that block cache and memtables of all these stores hold now.
    pub fn usage(&self) -> usize {
        self.cache.get_usage()
    }

    fn database(&self) -> Options {
        // What an open reads back from the WAL stays in memory and in the WAL: no table file is
        // written and synced before the task may run. Named by a string, for the crate has no call of its own for it.
        let mut o = Options::default()
            .get_options_from_string("avoid_flush_during_recovery=true")
            .expect("an option of the RocksDB that this crate is pinned to");
        o.create_if_missing(true);
        o.create_missing_column_families(true);
        o.set_write_buffer_manager(&self.memtables);
        o.set_max_total_wal_size(WAL);
        // Both families reach the disk together, so no WAL is kept for the sake of a small meta alone.
        o.set_atomic_flush(true);
        // A torn last record is a crash; damage before it is damage, and hides nothing behind it.
        o.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        o.set_track_and_verify_wals_in_manifest(true);
        // Opening reads what it needs and no more: statistics and most files can wait.
        o.set_skip_stats_update_on_db_open(true);
        o.set_max_open_files(256);
        o.set_max_background_jobs(2);
        o.set_bytes_per_sync(1 << 20);
        o.set_log_level(LogLevel::Warn);
        o.set_keep_log_file_num(2);
        o.set_max_log_file_size(1 << 20);
        o
    }

    fn entries(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        // Filters on every level: most reads that come here ask for a key that does not exist. In parts, like the index:
        // the filter of a whole file is megabytes, which an open reads through and a small cache reads at every get.
        blocks.set_bloom_filter(10.0, false);
        blocks.set_partition_filters(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_metadata_block_size(METADATA);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_format_version(6);
        let mut o = Options::default();
        o.set_block_based_table_factory(&blocks);
        o.set_compression_type(DBCompressionType::Lz4);
        o.set_write_buffer_size(MEMTABLE);
        // One filling and one on its way to the disk: a third would only be more to read again.
        o.set_max_write_buffer_number(2);
        // The small memtables are small files, so more of them make a compaction worth it.
        o.set_level_zero_file_num_compaction_trigger(8);
        o
    }

    fn meta(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        let mut o = Options::default();
        o.set_block_based_table_factory(&blocks);
        o.set_write_buffer_size(MEMTABLE);
        o.set_arena_block_size(64 << 10);
        o.set_compression_type(DBCompressionType::Lz4);
        o
    }

    fn families(&self) -> [ColumnFamilyDescriptor; 2] {
        [
            ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, self.entries()),
            ColumnFamilyDescriptor::new(META, self.meta()),
        ]
    }
}

/// The version of RocksDB that crate `rocksdb` binds to; `tests/tidy.rs` holds it against the lock file.
pub fn rocksdb_version() -> &'static str {
    "11.8.1"
}

/// How a store was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By its task: a write is in the WAL when it returns, and survives a kill.
    Owned,
    /// For a rebuild: sorted files that the store takes as they are, and no WAL, for a crash begins it again anyway.
    Filling,
    Reading,
}

/// A [`StateStore`] in RocksDB, open in one place at a time. Applied changes survive a kill of the process at once, and
/// a power failure after [`flush`](StateStore::flush) (else the store is behind, never torn, and the log has the rest).
pub struct RocksStore {
    db: DB,
    dir: PathBuf,
    mode: Mode,
    /// While a rebuild fills it.
    filling: Mutex<Filling>,
    options: RocksOptions,
}

impl RocksStore {
    /// Opens the store in `dir`, made if missing. What an interrupted rebuild left beside it is put in order first.
    /// Errors: `Locked`, `Corrupt` (rebuild it), `Full`, `Io`.
    pub fn open(dir: &Path, options: &RocksOptions) -> Result<RocksStore, StoreError> {
        rebuild::settle(dir)?;
        RocksStore::open_as(dir, options, Mode::Owned)
    }

    /// Whether anything lies in `dir`, after an interrupted rebuild beside it was put in order.
    /// Errors: `Full`, `Io`.
    pub fn exists(dir: &Path) -> Result<bool, StoreError> {
        rebuild::settle(dir)?;
        Ok(std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()))
    }

    /// Opens what lies in `dir` for reading, also while its task has it open: a view of that moment, changed by nobody.
    pub fn open_read_only(dir: &Path) -> Result<RocksStore, StoreError> {
        if !dir.join("CURRENT").exists() {
            return Err(StoreError::Io { dir: dir.to_owned(), cause: "no store lies there".into() });
        }
        RocksStore::open_as(dir, &RocksOptions::new(8 << 20), Mode::Reading)
    }

    /// Begins to build `dir` again in a new directory beside it. Whatever lies in `dir` stays until the new one is whole;
    /// it must not be open here.
    pub fn rebuild(dir: &Path, options: &RocksOptions) -> Result<rebuild::Rebuild, StoreError> {
        rebuild::Rebuild::begin(dir, options)
    }

    /// Where the store lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A store with neither WAL nor owner, to be filled by a rebuild.
    pub(crate) fn open_to_fill(dir: &Path, options: &RocksOptions) -> Result<RocksStore, StoreError> {
        RocksStore::open_as(dir, options, Mode::Filling)
    }

    /// Deletes the database in `dir`, unless somebody has it open.
    pub(crate) fn destroy(dir: &Path) -> Result<(), StoreError> {
        DB::destroy(&Options::default(), dir).map_err(|e| failure(dir, e))
    }

    /// Reads every block of every file and checks its checksum.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        verify::blocks(&self.db).map_err(|cause| {
            let corrupt = cause.starts_with("Corruption");
            failed(&self.dir, cause, corrupt)
        })
    }

    fn open_as(dir: &Path, options: &RocksOptions, mode: Mode) -> Result<RocksStore, StoreError> {
        let opened = match mode {
            Mode::Reading => {
                let (database, families) = (options.database(), [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, META]);
                DB::open_cf_for_read_only(&database, dir, families, false)
            }
            Mode::Owned | Mode::Filling => {
                std::fs::create_dir_all(dir).map_err(|e| refused(dir, &e))?;
                DB::open_cf_descriptors(&options.database(), dir, options.families())
            }
        };
        let db = opened.map_err(|e| match failure(dir, e) {
            // At an open a file that the manifest names is missing; a directory that is missing was made above.
            StoreError::Io { dir, cause } if cause.contains("No such file") => StoreError::Corrupt { dir, cause },
            other => other,
        })?;
        Ok(RocksStore { db, dir: dir.to_owned(), mode, filling: Mutex::default(), options: options.clone() })
    }

    fn meta_family(&self) -> &ColumnFamily {
        self.db.cf_handle(META).expect("opened with this column family")
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        if self.mode == Mode::Reading {
            return Err(StoreError::ReadOnly { dir: self.dir.clone() });
        }
        let mut how = WriteOptions::default();
        how.set_sync(false);
        how.disable_wal(self.mode == Mode::Filling);
        self.db.write_opt(batch, &how).map_err(|e| self.failure(e))
    }

    /// Takes these into the rebuild's next file.
    fn fill(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if filling.take(changes) >= self.options.filling { self.spill(&mut filling) } else { Ok(()) }
    }

    /// Has the store take what waits as one sorted file, newer than every other.
    fn spill(&self, filling: &mut Filling) -> Result<(), StoreError> {
        if filling.is_empty() {
            return Ok(());
        }
        let path = self.dir.join("filling.sst");
        let options = self.options.entries();
        let mut write = || -> Result<(), rocksdb::Error> {
            let mut file = SstFileWriter::create(&options);
            file.open(&path)?;
            filling.sorted(|key, value| match value {
                Some(value) => file.put(key, value),
                None => file.delete(key),
            })?;
            file.finish()?;
            let mut how = IngestExternalFileOptions::default();
            how.set_move_files(true);
            let moved = self.db.ingest_external_file_opts(&how, vec![&path]);
            // Some file systems know no links.
            moved.or_else(|_| self.db.ingest_external_file_opts(&IngestExternalFileOptions::default(), vec![&path]))
        };
        let gone = || match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(refused(&self.dir, &e)),
            _ => Ok(()),
        };
        // A file that was taken is never written over, and none is left beside the store's own.
        gone()?;
        write().map_err(|e| self.failure(e))?;
        gone()?;
        filling.clear();
        Ok(())
    }

    /// What a rebuild was given can be read from here on.
    fn settle(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Filling => self.spill(&mut self.filling.lock().unwrap_or_else(PoisonError::into_inner)),
            Mode::Owned | Mode::Reading => Ok(()),
        }
    }

    fn read_meta(&self, how: &ReadOptions) -> Result<Option<Meta>, StoreError> {
        let stored = self.db.get_pinned_cf_opt(self.meta_family(), META_KEY, how).map_err(|e| self.failure(e))?;
        let meta = stored.map(|bytes| codec::decode(META_VERSION, &bytes)).transpose();
        let meta = meta.map_err(|cause| StoreError::Value { id: 0, bucket: 0, cause })?;
        Ok(meta.map(|(_, meta)| meta))
    }

    fn failure(&self, e: rocksdb::Error) -> StoreError {
        failure(&self.dir, e)
    }
}

/// A snapshot of both column families.
struct Moment<'s> {
    store: &'s RocksStore,
    snapshot: Snapshot<'s>,
}

impl Moment<'_> {
    fn how(&self) -> ReadOptions {
        let mut how = ReadOptions::default();
        how.set_snapshot(&self.snapshot);
        how
    }
}

impl View for Moment<'_> {
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let mut how = self.how();
        how.set_iterate_upper_bound(to);
        let mut entries = self.store.db.raw_iterator_opt(how);
        entries.seek(from);
        while entries.item().is_some_and(|(key, value)| each(key, value)) {
            entries.next();
        }
        entries.status().map_err(|e| self.store.failure(e))
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.store.read_meta(&self.how())
    }
}

/// Each change; where they are many, in the order of their keys.
fn in_order(changes: &Changes, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
    if changes.len() < MANY {
        return changes.iter().for_each(|(key, value)| each(key, value));
    }
    let Ok(()) = filling::sorted(changes, &mut Vec::new(), |key, value| {
        each(key, value);
        Ok::<(), Infallible>(())
    });
}

impl StateStore for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.settle()?;
        self.db.get(key).map_err(|e| self.failure(e))
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.settle()?;
        look(&Moment { store: self, snapshot: self.db.snapshot() })
    }

    fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError> {
        let mut batch = match self.mode {
            Mode::Filling => {
                self.fill(changes)?;
                WriteBatch::default()
            }
            Mode::Owned | Mode::Reading => {
                let mut batch = WriteBatch::with_capacity_bytes(changes.bytes() + 16 * changes.len() + 256);
                in_order(changes, |key, value| match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                });
                batch
            }
        };
        let mut encoded = Vec::with_capacity(meta.checkpoint.len() + 32);
        codec::encode(META_VERSION, meta, &mut encoded);
        batch.put_cf(self.meta_family(), META_KEY, &encoded);
        self.write(batch)
    }

    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        self.settle()?;
        let mut batch = WriteBatch::default();
        batch.delete_range(from, to);
        self.write(batch)?;
        // Files that hold nothing else go at once; the rest is left to compaction.
        self.db.delete_file_in_range(from, to).map_err(|e| self.failure(e))
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.read_meta(&ReadOptions::default())
    }

    fn figures(&self) -> Figures {
        let of = |name: &str| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        Figures {
            disk_bytes: of("rocksdb.total-sst-files-size"),
            compaction_bytes: of("rocksdb.estimate-pending-compaction-bytes"),
            stopped: of("rocksdb.is-write-stopped") > 0,
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        let flushed = match self.mode {
            Mode::Owned => self.db.flush_wal(true),
            // No WAL: what waits and the memtables themselves have to go.
            Mode::Filling => {
                self.settle()?;
                self.db.flush().and_then(|()| self.db.flush_cf(self.meta_family()))
            }
            Mode::Reading => Ok(()),
        };
        flushed.map_err(|e| self.failure(e))
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // A close must not wait for a compaction, which goes on after the next open.
        self.db.cancel_all_background_work(false);
    }
}

/// A failure of the file system itself.
pub(crate) fn refused(dir: &Path, e: &std::io::Error) -> StoreError {
    let (dir, cause) = (dir.to_owned(), e.to_string());
    match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge | std::io::ErrorKind::QuotaExceeded => {
            StoreError::Full { dir, cause }
        }
        _ => StoreError::Io { dir, cause },
    }
}

/// RocksDB's kinds do not tell a lock or a full disk from other failures; its messages carry the system's words.
fn failure(dir: &Path, e: rocksdb::Error) -> StoreError {
    let corrupt = e.kind() == ErrorKind::Corruption;
    failed(dir, e.into_string(), corrupt)
}

fn failed(dir: &Path, cause: String, corrupt: bool) -> StoreError {
    let dir = dir.to_owned();
    let says = |words: &[&str]| words.iter().any(|w| cause.contains(w));
    if says(&["While lock file", "lock hold by current process"]) {
        StoreError::Locked { dir }
    } else if says(&["No space left on device", "File too large", "Disk quota exceeded", "Space limit reached"]) {
        StoreError::Full { dir, cause }
    } else if corrupt {
        StoreError::Corrupt { dir, cause }
    } else {
        StoreError::Io { dir, cause }
    }
}
