//! Ids and memory: an hour of so many different ones stays within its share, and past that the answer says that it is
//! approximate. A program of its own, for it measures its own memory. `make ids` runs it with ten million.

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test, also in its helpers")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;
use tidemill_state::{IdRoom, Meta, RocksOptions, RocksStore, StateStore};
use tidemill_topology::{Batch, Checkpoint, IdRooms, Sealed, Task, TaskSetup, parse};

/// 2026-01-01T10:00:00Z.
const TEN: i64 = 1_767_261_600_000;
const BATCH: i64 = 10_000;
/// Batches between two seals.
const SEAL: i64 = 5;
const JOB: &str = "
app: ids
kafka: { brokers: none }
sources:
  events: { topic: in, key_format: string, max_ahead: never }
steps:
  clean: { from: events, do: [ { dedupe: { by: id, within: 1h } } ] }
  hours:
    from: clean
    group_by: record.key
    window: { tumbling: 1h, grace: 10m }
    aggregate: { n: count(), users: count_distinct(id) }
    emit: { final: true }
outputs:
  hours: { from: hours }
";

/// One task on a real store, and the rooms that its ids share.
struct Rig {
    task: Task,
    store: Arc<dyn StateStore>,
    rooms: IdRooms,
    dir: tempfile::TempDir,
    /// Most that the process held at a seal, bytes.
    resident: usize,
}

fn open(dir: &tempfile::TempDir, rooms: &IdRooms) -> (Task, Arc<dyn StateStore>) {
    let stage = parse(JOB, "ids.yaml", &|_| None).unwrap().topology.stages[0].clone();
    let store: Arc<dyn StateStore> =
        Arc::new(RocksStore::open(&dir.path().join("s"), &RocksOptions::new(8 << 20)).unwrap());
    let checkpoint = store.meta().unwrap().map(|meta| Checkpoint::decode(&meta.checkpoint).unwrap());
    let position = checkpoint.as_ref().and_then(|c| c.position("in", 0)).unwrap_or(0);
    let setup = TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position, cache_bytes: 1 << 20 };
    (Task::open_within(stage, setup, rooms, store.clone(), checkpoint.as_ref()).unwrap(), store)
}

impl Rig {
    fn new(rooms: IdRooms) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let (task, store) = open(&dir, &rooms);
        Rig { task, store, rooms, dir, resident: 0 }
    }

    fn restart(self) -> Rig {
        let Rig { task, store, rooms, dir, resident } = self;
        drop((task, store));
        assert_eq!((rooms.seen.used(), rooms.counted.used()), (0, 0), "what a task held it gives back");
        let (task, store) = open(&dir, &rooms);
        Rig { task, store, rooms, dir, resident }
    }

    /// Events with these ids, in one hour.
    fn feed(&mut self, ids: std::ops::Range<i64>) {
        let mut text = String::new();
        for from in ids.clone().step_by(BATCH as usize) {
            let at = self.task.position();
            let mut batch = Batch::new("in".into(), 0, 1, at);
            for (offset, id) in (at..).zip(from..(from + BATCH).min(ids.end)) {
                text.clear();
                write!(text, "{{\"id\":\"user-{id:012}\"}}").unwrap();
                batch.push(offset, TEN + id % 3_600_000, Some(b"all"), Some(text.as_bytes()));
            }
            self.task.process(&batch).unwrap();
            if from / BATCH % SEAL == SEAL - 1 || from + BATCH >= ids.end {
                self.seal();
                self.resident = self.resident.max(resident());
            }
        }
    }

    fn seal(&mut self) -> Option<Sealed> {
        let sealed = self.task.seal(0).unwrap()?;
        let meta = Meta { checkpoint: sealed.checkpoint.encode(), position: 0, append_time: 0 };
        self.store.apply(&sealed.changes, &meta).unwrap();
        self.task.applied(sealed.sequence).unwrap();
        Some(sealed)
    }

    /// The final row, once an event far behind has closed the hour.
    fn last_word(&mut self) -> serde_json::Value {
        let at = self.task.position();
        let mut batch = Batch::new("in".into(), 0, 1, at);
        batch.push(at, TEN + 10 * 3_600_000, Some(b"all"), Some(b"{\"id\":\"the last\"}"));
        self.task.process(&batch).unwrap();
        let sealed = self.seal().unwrap();
        let row = sealed.outputs.iter().next().expect("the hour has its final");
        serde_json::from_slice(row.value.unwrap()).unwrap()
    }
}

/// Memory of this process that is in RAM, bytes; 0 where nobody can tell.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)).map_or(0, |kib| kib.parse::<usize>().unwrap() << 10)
}

/// `TIDEMILL_IDS`, else a number that takes seconds.
fn ids() -> i64 {
    std::env::var("TIDEMILL_IDS").map_or(1_000_000, |n| n.parse().unwrap())
}

/// One after the other: they measure one process. The shares of `memory: 1GiB` for ten million ids an hour are 290 MB and
/// 145 MB; for fewer, in proportion.
#[test]
fn so_many_ids_in_an_hour_stay_within_their_memory_and_past_it_the_answer_says_so() {
    let n = ids();
    let rooms = |n: i64| {
        let of = |bytes: i64| IdRoom::new((bytes * n / 10_000_000) as usize);
        IdRooms { seen: of(290_000_000), counted: of(145_000_000) }
    };
    exact(n, rooms(n));
    approximate(n / 4, rooms(n / 4));
    forgetful(n / 4, rooms(n / 4));
}

fn exact(n: i64, rooms: IdRooms) {
    let (before, began) = (resident(), Instant::now());
    let mut rig = Rig::new(rooms);
    rig.feed(0..n);
    let (seen, counted) = (rig.rooms.seen.used(), rig.rooms.counted.used());
    let grown = rig.resident.saturating_sub(before);
    println!(
        "{n} ids in an hour: {:.1} bytes an id for dedupe, {:.1} for count_distinct, {} MB more in RAM, {:.1} s",
        seen as f64 / n as f64,
        counted as f64 / n as f64,
        grown >> 20,
        began.elapsed().as_secs_f64()
    );
    assert!(!rig.rooms.seen.is_full() && !rig.rooms.counted.is_full(), "{seen} {counted}");
    // Tables of the store, a batch, what a seal carries, and pages that the allocator keeps.
    assert!(grown < seen + counted + (64 << 20), "{grown} bytes more in RAM, and {} accounted for", seen + counted);
    let mut rig = rig.restart();
    rig.feed(0..n / 100);
    assert_eq!(rig.task.counts().duplicate, n as u64 / 100, "each is known, also behind a restart");
    let row = rig.last_word();
    assert_eq!((&row["n"], &row["users"], row.get("approximate")), (&n.into(), &n.into(), None));
}

/// Twice as many as there is room for: the memory stays, and the answer is near, and says that it is.
fn approximate(n: i64, rooms: IdRooms) {
    let (before, limit) = (resident(), rooms.counted.limit());
    let rooms = IdRooms { counted: IdRoom::new(limit / 4), seen: IdRoom::new(rooms.seen.limit() / 4) };
    let mut rig = Rig::new(rooms);
    rig.feed(0..n / 2);
    let held = rig.rooms.counted.used();
    // It was full before the seal, for what is on its way to the log counts.
    assert!(held > limit / 8, "{held} of {} bytes", limit / 4);
    let mut rig = rig.restart();
    rig.feed(n / 2..n);
    let (used, most) = (rig.rooms.counted.used(), limit / 4);
    assert!(used < most + (2 << 20), "{used} of {most} bytes");
    assert!(used.abs_diff(held) < 2 << 20, "a restart brings back what was known: {used} {held}");
    let grown = rig.resident.saturating_sub(before);
    assert!(grown < used + rig.rooms.seen.limit() + (64 << 20), "{grown} bytes more in RAM");
    let row = rig.last_word();
    let users = row["users"].as_i64().unwrap();
    println!("in a quarter of that memory: {users} of {n} ids, approximate {}", row["approximate"]);
    assert_eq!(row["approximate"], serde_json::json!(["users"]));
    assert!(users.abs_diff(n) < n as u64 * 6 / 100, "{users} of {n}");
}

/// The control: without the room the same ids take more than the room would let them.
fn forgetful(n: i64, rooms: IdRooms) {
    let mut rig = Rig::new(IdRooms::default());
    rig.feed(0..n);
    let (seen, counted) = (rig.rooms.seen.used(), rig.rooms.counted.used());
    assert!(seen > rooms.seen.limit() / 4 && counted > rooms.counted.limit() / 4 + (2 << 20), "{seen} {counted}");
}
