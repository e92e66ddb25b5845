//! Measures what the design rests on: a warm get and put, and the time to open a large store after a kill.
//! `cargo run --release -p tidemill-state --example measure -- DIR [KEYS]`; DIR is made, and left for a look.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use tidemill_state::{
    Changes, IdSet, IdShape, MemoryStore, Meta, RocksOptions, RocksStore, StateStore, Table, Width, fingerprint,
};

const BATCH: u64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let dir = Path::new(args.get(1).ok_or("usage: measure DIR [KEYS]")?);
    let keys: u64 = args.get(2).map_or(Ok(5_000_000), |n| n.parse())?;
    if env::var_os("TIDEMILL_MEASURE_FILL").is_some() {
        return fill(dir, keys);
    }
    warm(1_000)?;
    warm(1_000_000)?;
    ids(5_000_000);
    let filled = Instant::now();
    fill_and_kill(&args)?;
    println!("fill, {keys} keys, killed at the end: {:?}", filled.elapsed());
    for what in ["after the kill", "again, after a close"] {
        let (opening, before) = (Instant::now(), cpu_ms());
        let store = RocksStore::open(dir, &RocksOptions::new(256 << 20))?;
        let opened = opening.elapsed();
        let meta = store.meta()?.ok_or("no meta")?;
        let (elapsed, cpu) = (opening.elapsed(), cpu_ms() - before);
        println!("open {what}: {opened:?}, with meta {elapsed:?} ({cpu:.1} ms of CPU), position {}", meta.position);
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
    fill_with(&store, keys)?;
    println!("filled");
    // Until the parent kills this process.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A child fills the store, and is killed with SIGKILL while it has it open.
fn fill_and_kill(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut child = Command::new(&args[0])
        .args(&args[1..])
        .env("TIDEMILL_MEASURE_FILL", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.stdout.take().map(BufReader::new).ok_or("no output")?.lines().next();
    child.kill()?;
    child.wait()?;
    said.ok_or("the child failed")??;
    Ok(())
}

/// CPU time of this thread, in ms: what a busy machine does not change.
fn cpu_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6
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
    let (start, before, mut slowest) = (Instant::now(), cpu_ms(), 0f64);
    let mut last = before;
    for n in 0..count {
        set.insert(0, fingerprint(&n.to_be_bytes()));
        if n % 100 == 0 {
            let now = cpu_ms();
            slowest = slowest.max(now - last);
            last = now;
        }
        if n % BATCH == 0 {
            set.seal(n, &mut Changes::new());
        }
    }
    let cpu = (cpu_ms() - before) * 1e6 / count as f64;
    println!(
        "id set insert, {count} ids: {:.1} ns ({cpu:.1} of CPU), slowest 100: {slowest:.1} ms of CPU",
        nanos(start, count)
    );
}

fn cold(store: &dyn StateStore, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut table = Table::<[u64; 4]>::new(1, 1);
    let (rounds, start, before) = (100_000u64, Instant::now(), cpu_ms());
    for n in (0..keys).step_by((keys / rounds).max(1) as usize) {
        table.get(store, n % 24 * 3_600_000, &key(n))?.ok_or("a key is missing")?;
    }
    let (found, found_cpu) = (nanos(start, rounds), (cpu_ms() - before) * 1e6 / rounds as f64);
    let (start, before) = (Instant::now(), cpu_ms());
    (0..rounds).try_for_each(|n| table.get(store, (n % 24) * 3_600_000, &key(keys + n)).map(drop))?;
    let absent_cpu = (cpu_ms() - before) * 1e6 / rounds as f64;
    println!(
        "  cold get {found:.0} ns ({found_cpu:.0} of CPU), absent {:.0} ns ({absent_cpu:.0})",
        nanos(start, rounds)
    );
    let start = Instant::now();
    let buckets = Table::<[u64; 4]>::new(1, 1).buckets(store)?.count();
    println!("  {buckets} buckets found in {:?}", start.elapsed());
    Ok(())
}

fn rebuild(dir: &Path, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (start, before) = (Instant::now(), cpu_ms());
    let rebuild = RocksStore::rebuild(dir, &RocksOptions::new(256 << 20))?;
    fill_with(rebuild.store(), keys)?;
    let (filled, cpu) = (start.elapsed(), cpu_ms() - before);
    rebuild.finish()?;
    println!("rebuild of {keys} keys: {filled:?} ({cpu:.0} ms of CPU), {:?} with verifying and all", start.elapsed());
    Ok(())
}

fn nanos(start: Instant, rounds: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / rounds as f64
}
