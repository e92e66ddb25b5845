//! Bounds: what opening a task reads, what a seal looks at, and what a task keeps in memory.

use crate::given::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidemill_state::{Changes, MemoryStore, Meta, StateStore, StoreError, View};
use tidemill_topology::{Batch, Checkpoint, Sealed, Stage, Task, TaskSetup, Topology, tester::Message};

/// A store that counts how many entries it shows.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    shown: AtomicUsize,
    got: AtomicUsize,
}

impl Counting {
    /// Entries shown by scans and by gets since the last call.
    fn reads(&self) -> (usize, usize) {
        (self.shown.swap(0, Ordering::Relaxed), self.got.swap(0, Ordering::Relaxed))
    }
}

impl StateStore for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.got.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key)
    }

    fn query(
        &self,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Option<Meta>, StoreError> {
        self.inner.query(from, to, &mut |key, value| {
            self.shown.fetch_add(1, Ordering::Relaxed);
            each(key, value)
        })
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.inner.view(look)
    }

    fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError> {
        self.inner.apply(changes, meta)
    }

    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        self.inner.delete_range(from, to)
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.inner.meta()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }
}

/// One task on a store that counts.
struct Rig {
    stage: Arc<Stage>,
    store: Arc<Counting>,
    task: Task,
    cache: usize,
}

impl Rig {
    fn new(topology: &Topology, cache: usize) -> Rig {
        let (stage, store) = (topology.stages[0].clone(), Arc::new(Counting::default()));
        let task = Rig::open(&stage, &store, cache, None);
        Rig { stage, store, task, cache }
    }

    fn open(stage: &Arc<Stage>, store: &Arc<Counting>, cache: usize, at: Option<&Checkpoint>) -> Task {
        let position = at.and_then(|c| c.position(&stage.topic, 0)).unwrap_or(0);
        let setup = TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position, cache_bytes: cache };
        Task::open(stage.clone(), setup, store.clone(), at).unwrap()
    }

    fn work(&mut self, messages: &[Message]) {
        let mut batch = Batch::new(self.stage.topic.clone(), 0, 1, self.task.position());
        batch.arrived = TEN + 100 * HOUR;
        for (offset, m) in (self.task.position()..).zip(messages) {
            batch.push(offset, m.timestamp, m.key.as_deref(), m.value.as_deref());
        }
        self.task.process(&batch).unwrap();
    }

    fn seal(&mut self) -> Sealed {
        let sealed = self.task.seal(0).unwrap().expect("a seal is due");
        let meta = Meta { checkpoint: sealed.checkpoint.encode(), position: 0, append_time: 0 };
        self.store.apply(&sealed.changes, &meta).unwrap();
        self.task.applied(sealed.sequence).unwrap();
        sealed
    }

    fn reopen(&mut self) {
        let checkpoint = Checkpoint::decode(&self.store.meta().unwrap().unwrap().checkpoint).unwrap();
        self.task = Rig::open(&self.stage, &self.store, self.cache, Some(&checkpoint));
    }
}

/// 500 keys in each of three open windows.
fn records(fields: &str) -> Vec<Message> {
    let key = |i: i64| event(&format!("k{:03}", i / 3), TEN + (i % 3) * HOUR, fields);
    (0..1_500).map(key).collect()
}

const WIDE: &str = "window: { tumbling: 1h, grace: 10h }";

#[test]
fn opening_reads_an_entry_a_window_and_no_more() {
    for emit in ["{ updates: 5s }", "{ updates: 5s, final: true }", "{ final: true }", "every"] {
        let mut rig = Rig::new(&grouping(WIDE, "n: count()", emit, ""), 0);
        rig.work(&records(""));
        rig.seal();
        rig.store.reads();
        rig.reopen();
        assert_eq!(rig.store.reads(), (3, 0), "emit: {emit}");
        assert_eq!(rig.task.urgent(0), emit.contains("updates"), "{emit}: the search begins at once, if there is one");
    }
}

/// Many more than the product's slice: the search behind a restart reads a slice a seal, and ends.
#[test]
fn a_seal_looks_at_a_slice_of_what_is_old() {
    const SLICE: usize = 10_000;
    let mut rig = Rig::new(&grouping(WIDE, "n: count()", "{ updates: 1h }", ""), 0);
    let many: Vec<Message> = (0..25_000).map(|i| event(&format!("k{i:05}"), TEN, "")).collect();
    rig.work(&many);
    let mut said = 0;
    while rig.task.due(0) {
        let rows = rig.seal().outputs.len();
        assert!(rows <= SLICE, "{rows} rows");
        said += rows;
    }
    assert_eq!(said, 25_000);
    // One of them owes: it is found, and nothing else is said.
    rig.work(&[event("k24000", TEN, "")]);
    rig.seal();
    rig.reopen();
    rig.store.reads();
    let mut rows = Vec::new();
    while rig.task.due(0) {
        rows.push(rig.seal().outputs.len());
        let (shown, got) = rig.store.reads();
        assert!(shown <= SLICE + 1 && got <= SLICE, "shown {shown}, got {got}");
    }
    assert_eq!(rows, [0, 0, 1]);
}

fn four() -> Arc<Topology> {
    let step = |n: &str, rest: &str| format!("  {n}: {{ from: events, group_by: record.key, {rest} }}\n");
    topology(&format!(
        "sources:\n  events: {{ topic: in, key_format: string, time: at }}\nsteps:\n{}{}{}{}outputs:\n  a: {{ from: a }}\n  b: {{ from: b }}\n  c: {{ from: c }}\n  d: {{ from: d }}\n",
        step("a", "aggregate: { n: count() }, emit: every"),
        step("b", "aggregate: { n: count(), s: sum(x) }, emit: { updates: 0s }"),
        step("c", "window: { tumbling: 1h, grace: 10h }, aggregate: { n: count() }, emit: { final: true }"),
        step(
            "d",
            "window: { tumbling: 1d, grace: 10h }, aggregate: { n: count() }, emit: { updates: 5s, final: true }"
        ),
    ))
}

#[test]
fn behind_a_commit_all_groups_together_keep_what_the_cache_may_hold() {
    let mut rig = Rig::new(&four(), usize::MAX);
    rig.work(&records(""));
    rig.seal();
    let whole = rig.task.memory_bytes();
    assert!(whole > 300_000, "{whole}");
    for cache in [whole / 2, whole / 10, 1_000, 0] {
        let mut rig = Rig::new(&four(), cache);
        rig.work(&records(""));
        assert!(rig.task.memory_bytes() > whole / 2, "what is not committed cannot go");
        rig.seal();
        let held = rig.task.memory_bytes();
        assert!(held <= cache, "{held} of {cache}");
        assert!(held + 1_000 > cache, "{held} of {cache}: what one group does not need, another may have");
        // And nothing is lost by it.
        rig.work(&[event("k007", TEN, "")]);
        let sealed = rig.seal();
        let value = sealed.outputs.iter().next().unwrap().value.unwrap().to_vec();
        assert_eq!(String::from_utf8(value).unwrap(), r#"{"key":"k007","n":4,"result":"update"}"#);
    }
}

#[test]
fn pending_bytes_are_outputs_and_changed_entries_and_gone_behind_the_seal() {
    let mut rig = Rig::new(&grouping(WIDE, "n: count()", "{ final: true }", ""), usize::MAX);
    assert_eq!(rig.task.pending_bytes(), 0);
    rig.work(&records(""));
    let state = rig.task.pending_bytes();
    let sealed = rig.seal();
    assert_eq!(sealed.outputs.len(), 0);
    let carried = sealed.bytes();
    assert!(state >= carried && state < 20 * carried, "{state} for {carried}");
    assert_eq!(rig.task.pending_bytes(), 0, "the cache is full and nothing of it waits");
    rig.work(&records("")[..15]);
    let few = rig.task.pending_bytes();
    assert!(few * 50 < state && few >= rig.seal().bytes(), "{few}: only what changed");
    // Outputs of records count as they come.
    let mut rig = Rig::new(&grouping(WIDE, "n: count()", "every", ""), usize::MAX);
    rig.work(&records(""));
    let pending = rig.task.pending_bytes();
    let sealed = rig.seal();
    assert!(pending > state + sealed.outputs.bytes() / 2, "{pending}");
    assert!(pending >= sealed.bytes());
}
