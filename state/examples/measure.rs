//! Measures what the design rests on: a warm get and put, and the time to open a large store after a kill.
//! `cargo run --release -p tidemill-state --example measure -- DIR [KEYS]`; DIR is made, and left for a look.

use std::{env, path::Path, process::Command, time::Instant};
use tidemill_state::{
    Changes, IdSet, IdShape, MemoryStore, Meta, RocksOptions, RocksStore, StateStore, Table, Width, fingerprint,
};

const BATCH: u64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let dir = Path::new(args.get(1).ok_or("usage: measure DIR [KEYS]")?);
    let keys: u64 = args.get(2).map_or(Ok(5_000_000), |n| n.parse())?;
    if env::var_os("TIDEMILL_MEASURE_FILL").is_some() {
        fill(dir, keys)?;
        std::process::abort();
    }
    warm(1_000)?;
    warm(1_000_000)?;
    ids(5_000_000);
    let filled = Instant::now();
    Command::new(&args[0]).args(&args[1..]).env("TIDEMILL_MEASURE_FILL", "1").status()?;
    println!("fill, {keys} keys, killed at the end: {:?}", filled.elapsed());
    for what in ["after the kill", "again, after a close"] {
        let opening = Instant::now();
        let store = RocksStore::open(dir, &RocksOptions::new(256 << 20))?;
        let opened = opening.elapsed();
        let meta = store.meta()?.ok_or("no meta")?;
        println!("open {what}: {opened:?}, with meta {:?}, position {}", opening.elapsed(), meta.position);
        cold(&store, keys)?;
    }
    rebuild(&dir.with_extension("again"), keys)
}

fn key(n: u64) -> [u8; 8] {
    // Spread, so that neither memory nor the store sees a run.
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn batch(table: &mut Table<[u64; 4]>, first: u64) -> (Changes, Meta) {
    (first..first + BATCH).for_each(|n| table.put(n % 24 * 3_600_000, &key(n), [n; 4]));
    let (mut changes, sequence) = (Changes::new(), first / BATCH + 1);
    table.seal(sequence, &mut changes);
    (changes, Meta { checkpoint: vec![7; 300], position: (first + BATCH) as i64, append_time: 0 })
}

fn fill(dir: &Path, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let store = RocksStore::open(dir, &RocksOptions::new(256 << 20))?;
    fill_with(&store, keys)
}

fn fill_with(store: &dyn StateStore, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut table = Table::new(1, 1);
    for first in (0..keys).step_by(BATCH as usize) {
        let (changes, meta) = batch(&mut table, first);
        store.apply(&changes, &meta)?;
        table.applied(first / BATCH + 1);
        table.evict(8 << 20);
    }
    Ok(())
}

fn warm(keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let mut table = Table::<[u64; 4]>::new(1, 1);
    (0..keys).for_each(|n| table.put(0, &key(n), [0; 4]));
    let rounds = 10_000_000u64;
    let start = Instant::now();
    for n in 0..rounds {
        let key = key(n % keys);
        let mut value = *table.get(&store, 0, &key)?.ok_or("put before")?;
        value[0] += n;
        table.put(0, &key, value);
    }
    println!(
        "warm get and put, {keys} keys: {:.1} ns, {} B an entry",
        nanos(start, rounds),
        table.bytes() as u64 / keys
    );
    Ok(())
}

fn ids(count: u64) {
    let mut set = IdSet::new(1, IdShape { width: Width::Wide, at_most: usize::MAX });
    let (start, mut slowest) = (Instant::now(), 0);
    for n in 0..count {
        let one = Instant::now();
        set.insert(0, fingerprint(&n.to_be_bytes()));
        slowest = slowest.max(one.elapsed().as_micros());
    }
    println!("id set insert, {count} ids: {:.1} ns, slowest {slowest} us", nanos(start, count));
}

fn cold(store: &dyn StateStore, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut table = Table::<[u64; 4]>::new(1, 1);
    let (rounds, start) = (100_000u64, Instant::now());
    for n in (0..keys).step_by((keys / rounds).max(1) as usize) {
        table.get(store, n % 24 * 3_600_000, &key(n))?.ok_or("a key is missing")?;
    }
    let found = nanos(start, rounds);
    let start = Instant::now();
    (0..rounds).try_for_each(|n| table.get(store, 1, &key(n)).map(drop))?;
    println!("  cold get {found:.0} ns, of an absent key {:.0} ns", nanos(start, rounds));
    let start = Instant::now();
    let buckets = Table::<[u64; 4]>::new(1, 1).buckets(store)?.count();
    println!("  {buckets} buckets found in {:?}", start.elapsed());
    Ok(())
}

fn rebuild(dir: &Path, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let rebuild = RocksStore::rebuild(dir, &RocksOptions::new(256 << 20))?;
    fill_with(rebuild.store(), keys)?;
    let filled = start.elapsed();
    rebuild.finish()?;
    println!("rebuild of {keys} keys: {filled:?}, {:?} with verifying and swapping in", start.elapsed());
    Ok(())
}

fn nanos(start: Instant, rounds: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / rounds as f64
}
