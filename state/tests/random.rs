//! Random operations, commits, resends, evictions and crashes against a plain model, over every store. It must not know
//! how a table or a set works inside. The invariant tested: memory says what was done, the store says what was committed.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

mod places;

use places::{Entries, Place, meta, scanned};
use proptest::{prelude::*, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidemill_state::{Changes, IdSet, IdShape, StateStore, Table, Width, codec, keys};

const ID: u16 = 2;

over_all_stores!(a_table_is_its_model, an_id_set_is_its_model);

#[derive(Clone, Debug)]
enum Op {
    Put(u64, u8, u64),
    Remove(u64, u8),
    Get(u64, u8),
    Seal,
    /// The oldest sealed values go through; until then they may be sent again any number of times (an abort).
    Commit,
    Evict(usize),
    Expire(u64, usize),
    Reclaim,
    Page(u64, u8, usize),
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (bucket, key) = (0u64..4, 0u8..8);
    let op = prop_oneof![
        8 => (bucket.clone(), key.clone(), any::<u64>()).prop_map(|(b, k, v)| Op::Put(b, k, v)),
        3 => (bucket.clone(), key.clone()).prop_map(|(b, k)| Op::Remove(b, k)),
        4 => (bucket.clone(), key.clone()).prop_map(|(b, k)| Op::Get(b, k)),
        4 => Just(Op::Seal),
        4 => Just(Op::Commit),
        4 => prop_oneof![Just(0usize), 0usize..1000].prop_map(Op::Evict),
        2 => (0u64..5, 1usize..8).prop_map(|(b, n)| Op::Expire(b, n)),
        2 => Just(Op::Reclaim),
        2 => (bucket, key, 1usize..6).prop_map(|(b, k, n)| Op::Page(b, k, n)),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..80)
}

type Model = BTreeMap<(u64, Vec<u8>), u64>;

/// A task's life around one table: what it did, what it sealed, what was committed.
struct Run<P: Place> {
    place: P,
    store: Option<Box<dyn StateStore>>,
    table: Table<u64>,
    now: Model,
    committed: Model,
    in_flight: VecDeque<(u64, Changes, Model)>,
    sequence: u64,
}

impl<P: Place> Run<P> {
    fn new() -> Self {
        let place = P::new();
        let store = Some(place.open());
        let (now, committed, in_flight) = (Model::new(), Model::new(), VecDeque::new());
        Run { place, store, table: Table::new(ID, 1), now, committed, in_flight, sequence: 0 }
    }

    fn step(&mut self, op: Op) {
        let store = self.store.as_deref().unwrap();
        match op {
            Op::Put(b, k, v) => {
                self.table.put(b, &[k], v);
                self.now.insert((b, vec![k]), v);
            }
            Op::Remove(b, k) => {
                self.table.remove(b, &[k]);
                self.now.remove(&(b, vec![k]));
            }
            Op::Get(b, k) => assert_eq!(self.table.get(store, b, &[k]), Ok(self.now.get(&(b, vec![k])))),
            Op::Seal => self.seal(),
            Op::Commit => self.commit(),
            Op::Evict(target) => self.table.evict(target),
            Op::Expire(before, limit) => self.expire(before, limit),
            Op::Reclaim => self.table.reclaim(store).unwrap(),
            Op::Page(b, k, limit) => self.page(b, k, limit),
            Op::Crash => self.crash(),
        }
    }

    fn seal(&mut self) {
        self.sequence += 1;
        let mut changes = Changes::new();
        self.table.seal(self.sequence, &mut changes);
        self.in_flight.push_back((self.sequence, changes, self.now.clone()));
    }

    fn commit(&mut self) {
        let Some((sequence, changes, model)) = self.in_flight.pop_front() else { return };
        let store = self.store.as_deref().unwrap();
        store.apply(&changes, &meta(sequence as i64)).unwrap();
        self.table.applied(sequence);
        self.committed = model;
        self.check_store();
    }

    fn check_store(&self) {
        let store = self.store.as_deref().unwrap();
        let want: Entries = self.committed.iter().map(|((b, k), v)| encoded(*b, k, *v)).collect();
        assert_eq!(scanned(store, b"", b"\xff\xff"), want, "the store is the committed prefix, byte for byte");
    }

    fn expire(&mut self, before: u64, limit: usize) {
        let store = self.store.as_deref().unwrap();
        let old: Vec<_> = self.now.keys().filter(|(b, _)| *b < before).cloned().collect();
        let removed = self.table.expire_before(store, before, limit).unwrap();
        assert_eq!(removed, old.len().min(limit));
        // Which keys of the last bucket went is the table's choice; that the oldest buckets went first is not.
        let mut left = Vec::new();
        for bucket in 0..before {
            let keep = |k: &[u8], _: &u64| left.push((bucket, k.to_vec()));
            self.table.bucket_entries(store, bucket, usize::MAX, keep).unwrap();
        }
        let newest_touched = old.get(removed.saturating_sub(1)).map_or(0, |(b, _)| *b);
        assert!(left.iter().all(|(b, _)| *b >= newest_touched), "{left:?} left, up to {newest_touched} was due");
        assert_eq!(left.len() + removed, old.len());
        self.now.retain(|key, _| key.0 >= before || left.contains(key));
    }

    fn page(&mut self, bucket: u64, after: u8, limit: usize) {
        let store = self.store.as_deref().unwrap();
        let mut found = Vec::new();
        let page = tidemill_state::Page { bucket, after: Some(&[after]), limit };
        self.table.page(store, page, |k, v| found.push((k.to_vec(), *v))).unwrap();
        let live = self.now.iter().filter(|((b, k), _)| *b == bucket && k[0] > after);
        let want: Vec<_> = live.map(|((_, k), v)| (k.clone(), *v)).take(limit).collect();
        assert_eq!(found, want);
    }

    fn crash(&mut self) {
        self.store = None;
        self.store = Some(self.place.open());
        self.table = Table::new(ID, 1);
        self.in_flight.clear();
        self.now = self.committed.clone();
        self.check_store();
    }

    fn check_all(&mut self) {
        let store = self.store.as_deref().unwrap();
        let known: BTreeSet<u64> = self.table.buckets(store).unwrap().collect();
        assert!(self.now.keys().all(|(b, _)| known.contains(b)), "{known:?} misses a live bucket");
        for (bucket, key) in (0u64..4).flat_map(|b| (0u8..8).map(move |k| (b, k))) {
            let want = self.now.get(&(bucket, vec![key]));
            assert_eq!(self.table.get(store, bucket, &[key]), Ok(want), "bucket {bucket}, key {key}");
        }
    }
}

fn encoded(bucket: u64, key: &[u8], value: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut k, mut v) = (Vec::new(), Vec::new());
    keys::key(ID, bucket, key, &mut k);
    codec::encode(1, &value, &mut v);
    (k, v)
}

/// Memory is quick and gets many runs; a run on disk opens databases, and gets fewer.
fn runs<P: Place>() -> TestRunner {
    let on_disk = std::any::type_name::<P>().contains("OnDisk");
    let cases = std::env::var("TIDEMILL_RANDOM_RUNS").ok().and_then(|n| n.parse().ok());
    let cases = cases.unwrap_or(if on_disk { 48 } else { 1_500 });
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

fn a_table_is_its_model<P: Place>() {
    let life = |ops: Vec<Op>| {
        let mut run = Run::<P>::new();
        ops.into_iter().for_each(|op| run.step(op));
        run.check_all();
        run.seal();
        while !run.in_flight.is_empty() {
            run.commit();
        }
        run.table.evict(0);
        assert_eq!(run.table.len(), 0, "once all is applied, nothing has to stay");
        run.check_all();
        run.table.reclaim(run.store.as_deref().unwrap()).unwrap();
        run.check_store();
        Ok(())
    };
    runs::<P>().run(&ops(), life).unwrap();
}

#[derive(Clone, Debug)]
enum IdOp {
    Insert(u64, u128),
    /// Expire everything below a bucket, then seal.
    Seal(u64),
    Commit,
    Crash,
}

fn an_id_set_is_its_model<P: Place>() {
    let op = prop_oneof![
        8 => (0u64..5, 0u128..12).prop_map(|(b, id)| IdOp::Insert(b, id << 64 | id)),
        3 => (0u64..6).prop_map(|b| IdOp::Seal(b.saturating_sub(2))),
        3 => Just(IdOp::Commit),
        1 => Just(IdOp::Crash),
    ];
    let widths = prop::sample::select(vec![Width::Wide, Width::Close, Width::Narrow]);
    let lives = (widths, prop::collection::vec(op, 1..80));
    let life = |(width, ops): (Width, Vec<IdOp>)| {
        id_set_life::<P>(IdShape { width, at_most: usize::MAX }, ops);
        Ok(())
    };
    runs::<P>().run(&lives, life).unwrap();
}

fn id_set_life<P: Place>(shape: IdShape, ops: Vec<IdOp>) {
    let place = P::new();
    let mut store = Some(place.open());
    let mut set = IdSet::new(ID, shape);
    let mut now: BTreeMap<u64, BTreeSet<u128>> = BTreeMap::new();
    let mut committed = now.clone();
    let mut in_flight = VecDeque::new();
    let mut sequence = 0;
    for op in ops {
        match op {
            IdOp::Insert(bucket, id) => {
                let new = now.entry(bucket).or_default().insert(id);
                assert_eq!(set.insert(bucket, id), new);
            }
            IdOp::Seal(before) => {
                sequence += 1;
                let mut changes = Changes::new();
                set.expire_before(before, usize::MAX, &mut changes);
                set.seal(sequence, &mut changes);
                now.retain(|b, _| *b >= before);
                in_flight.push_back((sequence, changes, now.clone()));
            }
            IdOp::Commit => {
                let Some((sealed, changes, model)) = in_flight.pop_front() else { continue };
                let store = store.as_deref().unwrap();
                store.apply(&changes, &meta(sealed as i64)).unwrap();
                set.applied(sealed);
                set.reclaim(store).unwrap();
                committed = model;
            }
            IdOp::Crash => {
                drop(store.take());
                store = Some(place.open());
                set = IdSet::open(ID, shape, store.as_deref().unwrap()).unwrap();
                in_flight.clear();
                now = committed.clone();
            }
        }
        assert_eq!(set.total(), now.values().map(BTreeSet::len).sum::<usize>());
        assert!((0..5).all(|b| set.len(b) == now.get(&b).map_or(0, BTreeSet::len)));
    }
}
