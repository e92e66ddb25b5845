//! What only RocksDB can do wrong: locks, damage, full disks, kills and interrupted rebuilds. It must not know tables.
//! The invariant tested: a store opens as a committed prefix, or says in one word what recovery has to do.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

mod places;

use places::{Entries, meta, scanned};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_state::{Changes, RocksOptions, RocksStore, StateStore, StoreError, keys};

fn options() -> RocksOptions {
    RocksOptions::new(16 << 20)
}

fn open(dir: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(dir, &options())
}

/// Batch `n`: rewrites keys that earlier batches wrote, and adds some of its own.
fn batch(n: i64, keys_each: u32) -> Changes {
    let mut changes = Changes::new();
    for i in 0..keys_each {
        let mut key = Vec::new();
        keys::key(1, 0, &(u64::from(i) + (n as u64 % 2) * 1_000_000).to_be_bytes(), &mut key);
        changes.push(&key, Some(&[&n.to_be_bytes()[..], &[7; 40]].concat()));
    }
    changes
}

fn fill(store: &dyn StateStore, batches: std::ops::Range<i64>) {
    batches.for_each(|n| store.apply(&batch(n, 500), &meta(n)).unwrap());
}

fn all(store: &dyn StateStore) -> Entries {
    scanned(store, b"", b"\xff\xff")
}

fn files(dir: &Path, of: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|f| f.unwrap().path());
    let mut found: Vec<_> = all.filter(|p| p.file_name().unwrap().to_string_lossy().contains(of)).collect();
    found.sort();
    found
}

#[test]
fn a_store_opens_in_one_place_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let store = open(&dir).unwrap();
    let second = open(&dir).err();
    assert_eq!(second, Some(StoreError::Locked { dir: dir.clone() }));
    drop(store);
    open(&dir).unwrap();
}

#[test]
fn many_changes_in_any_order_end_as_they_would_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // given: 2 000 changes of 700 keys, none behind the other, some of them tombstones
    let (mut changes, mut want) = (Changes::new(), BTreeMap::new());
    for n in 0..2_000u64 {
        let (key, value) = ((n * 7_919 % 700).to_be_bytes(), n.to_be_bytes());
        let value = (n % 5 != 0).then_some(&value[..]);
        changes.push(&key, value);
        want.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }
    // when
    store.apply(&changes, &meta(1)).unwrap();
    // then: each key's last word
    let want: Entries = want.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert_eq!(all(&store), want);
}

#[test]
fn a_reader_sees_a_store_that_is_open_and_cannot_change_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    assert!(matches!(RocksStore::open_read_only(&dir), Err(StoreError::Io { .. })), "nothing lies there");
    let store = open(&dir).unwrap();
    fill(&store, 0..3);
    let reader = RocksStore::open_read_only(&dir).unwrap();
    assert_eq!((all(&reader), reader.meta()), (all(&store), Ok(Some(meta(2)))));
    assert_eq!(reader.apply(&batch(3, 1), &meta(3)), Err(StoreError::ReadOnly { dir: dir.clone() }));
    assert_eq!(reader.delete_range(b"a", b"b"), Err(StoreError::ReadOnly { dir }));
}

/// Runs one test of this file again as a child, with `shell` before it; the child does its part and dies.
fn child(test: &str, dir: &Path, shell: &str) -> std::process::ExitStatus {
    let run = format!("{shell}; exec \"$0\" --exact {test} --nocapture --test-threads 1");
    let program = env::current_exe().unwrap();
    Command::new("sh").arg("-c").arg(run).arg(program).env("TIDEMILL_CHILD_DIR", dir).status().unwrap()
}

fn child_dir() -> Option<PathBuf> {
    env::var_os("TIDEMILL_CHILD_DIR").map(PathBuf::from)
}

#[test]
fn what_was_applied_survives_a_kill() {
    if let Some(dir) = child_dir() {
        let store = open(&dir).unwrap();
        fill(&store, 0..400);
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    assert!(!child("what_was_applied_survives_a_kill", &dir, "ulimit -c 0").success());
    let store = open(&dir).unwrap();
    assert_eq!(store.meta(), Ok(Some(meta(399))));
    let found = all(&store);
    assert_eq!(found.len(), 1_000);
    assert!(found.iter().all(|(_, v)| v[..8] == 398i64.to_be_bytes() || v[..8] == 399i64.to_be_bytes()));
}

#[test]
fn an_open_after_a_kill_writes_no_table_file_and_may_be_killed_again() {
    if let Some(dir) = child_dir() {
        let store = open(&dir).unwrap();
        let next = store.meta().unwrap().map_or(0, |m| m.position + 1);
        fill(&store, next..next + 3);
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let test = "an_open_after_a_kill_writes_no_table_file_and_may_be_killed_again";
    for last in [2, 5, 8] {
        assert!(!child(test, &dir, "ulimit -c 0").success());
        let store = open(&dir).unwrap();
        assert_eq!((store.meta(), all(&store).len()), (Ok(Some(meta(last))), 1_000));
        assert_eq!(files(&dir, ".sst"), [] as [PathBuf; 0], "what the WAL held was written out before anything ran");
    }
}

/// Bytes that this thread has read from files, cached by the system or not.
fn bytes_read() -> u64 {
    let told = fs::read_to_string("/proc/thread-self/io").unwrap();
    told.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn a_get_reads_little_even_if_the_filter_of_a_file_is_larger_than_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let small = RocksOptions::new(128 << 10);
    let rebuild = RocksStore::rebuild(&dir, &options()).unwrap();
    rebuild.store().apply(&batch(0, 200_000), &meta(0)).unwrap();
    drop(rebuild.finish().unwrap());
    let store = RocksStore::open(&dir, &small).unwrap();
    let before = bytes_read();
    for n in 0..1_000u64 {
        let mut key = Vec::new();
        keys::key(1, 0, &[&(n * 199).to_be_bytes()[..], b"absent"].concat(), &mut key);
        assert_eq!(store.get(&key), Ok(None));
    }
    let each = (bytes_read() - before) / 1_000;
    assert!(each < 40_000, "a get of an absent key read {each} bytes");
}

#[test]
fn a_file_that_may_not_grow_is_a_full_store() {
    if let Some(dir) = child_dir() {
        let store = open(&dir).unwrap();
        let failed = (0..10_000).find_map(|n| store.apply(&batch(n, 500), &meta(n)).err());
        assert!(matches!(failed, Some(StoreError::Full { .. })), "{failed:?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let status = child("a_file_that_may_not_grow_is_a_full_store", &dir, "trap '' XFSZ; ulimit -f 2048");
    assert!(status.success());
    let store = open(&dir).unwrap();
    let Some(meta) = store.meta().unwrap() else { panic!("what went in before is there") };
    assert!(all(&store).iter().any(|(_, v)| v[..8] == meta.position.to_be_bytes()), "entries and meta agree");
}

/// A store with something in a table file and something in the WAL alone, and what it holds after each batch.
fn damaged(part: &str, at: f64) -> Result<(RocksStore, Entries), StoreError> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let built = RocksStore::rebuild(&dir, &options()).unwrap();
    fill(built.store(), 0..20);
    let store = built.finish().unwrap();
    fill(&store, 20..30);
    let whole = all(&store);
    drop(store);
    let victims = files(&dir, part);
    let victim = victims.iter().max_by_key(|f| fs::metadata(f).unwrap().len()).unwrap();
    let mut bytes = fs::read(victim).unwrap();
    let here = ((bytes.len() - 1) as f64 * at) as usize;
    bytes[here] ^= 0x55;
    fs::write(victim, bytes).unwrap();
    let store = open(&dir)?;
    let mut found = Vec::new();
    store.scan(b"", b"\xff\xff", &mut |k, v| {
        found.push((k.to_vec(), v.to_vec()));
        true
    })?;
    assert!(store.meta()? == Some(meta(29)) && found == whole, "{part} at {at}: damage passed as another state");
    Ok((store, found))
}

#[test]
fn a_flipped_byte_is_damage_or_does_not_matter() {
    for (part, least) in [(".sst", 8), ("MANIFEST", 9), (".log", 9)] {
        let mut seen = 0;
        for step in 0..10 {
            match damaged(part, f64::from(step) / 10.0) {
                Err(e) if e.is_corrupt() => seen += 1,
                Err(e) => panic!("{part} at {step}/10: {e}"),
                Ok(_) => {}
            }
        }
        assert!(seen >= least, "{part}: damage was seen in {seen} of 10 places");
    }
}

#[test]
fn what_was_rebuilt_is_read_before_it_takes_the_name() {
    for step in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("task");
        fill(&open(&dir).unwrap(), 0..3);
        let built = RocksStore::rebuild(&dir, &options()).unwrap();
        fill(built.store(), 0..20);
        built.store().flush().unwrap();
        let files = files(&dir.with_file_name("task.rebuild"), ".sst");
        let file = files.iter().max_by_key(|f| fs::metadata(f).unwrap().len()).unwrap();
        let mut bytes = fs::read(file).unwrap();
        // Entries stand in front; behind them what an open has looked at already.
        let here = bytes.len() * step / 20;
        bytes[here] ^= 0x55;
        fs::write(file, bytes).unwrap();
        let failed = built.finish().err();
        assert!(failed.as_ref().is_some_and(StoreError::is_corrupt), "{step}: {failed:?}");
        assert_eq!(open(&dir).unwrap().meta().unwrap(), Some(meta(2)), "{step}: the old one is in its place");
    }
}

#[test]
fn a_missing_file_is_damage() {
    for part in [".sst", "MANIFEST"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("task");
        let built = RocksStore::rebuild(&dir, &options()).unwrap();
        fill(built.store(), 0..20);
        drop(built.finish().unwrap());
        files(&dir, part).iter().for_each(|f| fs::remove_file(f).unwrap());
        let failed = open(&dir).err();
        assert!(failed.as_ref().is_some_and(StoreError::is_corrupt), "{part}: {failed:?}");
    }
}

#[test]
fn a_torn_last_write_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let store = open(&dir).unwrap();
    fill(&store, 0..10);
    drop(store);
    let wal = files(&dir, ".log").pop().unwrap();
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() - 100]).unwrap();
    let store = open(&dir).unwrap();
    assert_eq!(store.meta(), Ok(Some(meta(8))), "the torn batch is gone whole, its meta with it");
}

#[test]
fn a_damaged_store_is_rebuilt_beside_and_swapped_in() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    let store = open(&dir).unwrap();
    fill(&store, 0..3);
    drop(store);
    let rebuild = RocksStore::rebuild(&dir, &options()).unwrap();
    fill(rebuild.store(), 0..7);
    let other = open(&dir).err();
    assert!(
        matches!(other, Some(StoreError::Locked { .. })),
        "a rebuild under way is not pulled from under: {other:?}"
    );
    let store = rebuild.finish().unwrap();
    assert_eq!((store.meta(), store.dir()), (Ok(Some(meta(6))), dir.as_path()));
    fill(&store, 7..9);
    drop(store);
    assert_eq!(open(&dir).unwrap().meta(), Ok(Some(meta(8))));
    assert_eq!(fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_rebuild_without_a_position_does_not_replace_anything() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("task");
    drop(open(&dir).unwrap());
    let unfinished = RocksStore::rebuild(&dir, &options()).unwrap().finish().err();
    assert_eq!(unfinished, Some(StoreError::Unfinished { dir }));
}

#[test]
fn a_rebuild_interrupted_anywhere_is_put_in_order() {
    let at = tempfile::tempdir().unwrap();
    let make = |name: &str, batches| {
        let store = open(&at.path().join(name)).unwrap();
        fill(&store, batches);
    };
    let dir = at.path().join("task");
    let holds = |last: i64, why: &str| {
        let store = open(&dir).unwrap();
        assert_eq!(store.meta(), Ok(Some(meta(last))), "{why}");
        drop(store);
        assert_eq!(fs::read_dir(at.path()).unwrap().count(), 1, "{why}: leftovers");
    };
    make("task", 0..2);
    make("task.rebuild", 0..3);
    holds(1, "before the swap the new one may be half filled");
    fs::rename(&dir, at.path().join("task.old")).unwrap();
    make("task.rebuild", 0..4);
    holds(3, "between the renames the new one had been verified");
    make("task.old", 0..1);
    holds(3, "after the swap the old one goes");
    fs::rename(&dir, at.path().join("task.old")).unwrap();
    holds(3, "an old one alone is better than none");
}
