//! The parts that a record's way is made of, each by itself: `make micro`, or one of them with `make micro ONLY=table`.
//!
//! For a developer who changes one of them; what counts in the test command is instructions (`engine.sh`). Wall clock: means
//! something on a quiet machine alone. Invariant: each iteration does the same work.
#![allow(clippy::unwrap_used, reason = "a tool for developers: a panic is its report")]

mod work;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use tidemill_state::codec;
use tidemill_state::{Changes, IdSet, IdShape, MemoryStore, Table, Width, fingerprint};
use work::{Dice, Worker, batch, topology};

const EVENTS: usize = 10_000;

/// What an entry of a grouping is like.
#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    owes: bool,
    count: u64,
    sum: i128,
}

/// A task with a batch, sealed: `w0` is the scanner and the record's frame, `w1` adds rules, ids and the fold into partials, `w4` the
/// fold into 100 000 entries.
fn task(c: &mut Criterion) {
    let mut group = c.benchmark_group("task");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);
    for (workload, what) in [("w0", "scan"), ("w1", "fold-partials"), ("w4", "fold-entries")] {
        let topology = topology(workload);
        let prepared = batch(&topology.stages[0].topic, (0, EVENTS), (&mut Dice(1), 100_000), |_, _| ());
        let fresh = || Worker::new(&topology.stages[0]);
        group.bench_function(what, |b| {
            let work = |worker: &mut Worker| {
                worker.task.process(&prepared).unwrap();
                worker.seal(1)
            };
            b.iter_batched_ref(fresh, work, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    let (store, mut dice) = (MemoryStore::default(), Dice(2));
    let keys: Vec<Vec<u8>> = (0..100_000).map(|n| format!("user_{n:06}").into_bytes()).collect();
    let mut full: Table<Entry> = Table::new(1, 1);
    for key in &keys {
        full.put(0, key, Entry { owes: false, count: 1, sum: 5 });
    }
    group.bench_function("change one of 100 000", |b| {
        b.iter(|| {
            let key = &keys[dice.next() as usize % keys.len()];
            full.get_mut(&store, 0, key).unwrap().unwrap().count += 1;
        });
    });
    group.throughput(Throughput::Elements(1_000)).bench_function("seal 1 000 changed", |b| {
        let mut sequence = 0;
        b.iter(|| {
            for key in &keys[..1_000] {
                full.get_mut(&store, 0, key).unwrap().unwrap().count += 1;
            }
            sequence += 1;
            let mut changes = Changes::new();
            full.seal(sequence, &mut changes);
            full.applied(sequence);
            black_box(changes)
        });
    });
    group.finish();
}

fn id_set(c: &mut Criterion) {
    let mut group = c.benchmark_group("id set");
    let prints: Vec<u128> = (0..EVENTS).map(|n| fingerprint(format!("id-{n}").as_bytes())).collect();
    let shape = IdShape { width: Width::Wide, at_most: usize::MAX };
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("insert 10 000", |b| {
        let insert = |set: &mut IdSet| prints.iter().filter(|print| set.insert(1, **print)).count();
        b.iter_batched_ref(|| IdSet::new(1, shape), insert, BatchSize::LargeInput);
    });
    let mut full = IdSet::new(1, shape);
    for print in &prints {
        full.insert(1, *print);
    }
    group.bench_function("ask for 10 000 that are there", |b| {
        b.iter(|| prints.iter().filter(|print| full.contains_since(0, **print)).count());
    });
    group.finish();
}

fn codec_of_an_entry(c: &mut Criterion) {
    let entry = Entry { owes: true, count: 123_456, sum: 98_765_432_100_000_000_000 };
    let mut out = Vec::new();
    c.bench_function("codec/encode", |b| {
        b.iter(|| {
            out.clear();
            codec::encode(1, black_box(&entry), &mut out);
        });
    });
    c.bench_function("codec/decode", |b| b.iter(|| codec::decode::<Entry>(1, black_box(&out)).unwrap()));
}

criterion_group!(all, task, table, id_set, codec_of_an_entry);
criterion_main!(all);
