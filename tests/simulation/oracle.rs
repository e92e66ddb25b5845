//! What must have come out: one single task a partition, never interrupted, over the same input.
//!
//! Knows the world only at its end. Called once a run. Invariant: it reads what is committed, and nothing else.

use super::broker::{Fate, Payload};
use super::input::{COPIES, Input, WINDOWS};
use super::process::ActorState;
use super::world::{Violation, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemill::exactly_once::{Landed, apply};
use tidemill_state::{MemoryStore, StateStore, keys};
use tidemill_topology::{Batch, Checkpoint, Counts, Task, TaskSetup};

type Bytes = Vec<u8>;
/// Key, value, time, and the headers that do not depend on where a seal fell.
type Row = (Option<Bytes>, Option<Bytes>, i64, Vec<(String, Option<Bytes>)>);
/// Topic, then the partition and the key within which order counts.
type Streams = BTreeMap<(String, i32, Bytes), Vec<Row>>;

fn add(streams: &mut Streams, topic: &str, partition: i32, row: Row) {
    // Copies stand on the input's partition in its order; everything else has one order for each key.
    let (partition, key) = match topic {
        COPIES => (partition, Vec::new()),
        _ => (0, row.0.clone().unwrap_or_default()),
    };
    let mut row = row;
    row.3.retain(|(name, _)| name != "tidemill-task");
    if topic == WINDOWS {
        // An update carries the stream time of the seal that spoke.
        row.2 = 0;
    }
    streams.entry((topic.into(), partition, key)).or_default().push(row);
}

/// The uninterrupted run of one partition: its streams, its counts and its entries.
fn alone(world: &World, p: usize, streams: &mut Streams) -> Result<(Counts, Entries), Violation> {
    let stage = world.fixture.stage.clone();
    let input: &Input = &world.inputs[p];
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let partitions = world.shape.partitions as i32;
    let setup = TaskSetup {
        partition: p as i32,
        partitions,
        assignment: 1,
        store_id: 1,
        position: input.start,
        cache_bytes: 1 << 20,
    };
    let failed = |e| Violation::new("the oracle's task failed", e);
    let mut task = Task::open(stage.clone(), setup, store.clone(), None).map_err(failed)?;
    let mut now = world.now;
    while task.position() < input.end {
        let mut batch = Batch::new(stage.topic.clone(), p as i32, 1, task.position());
        input.fill(&mut batch, 7, now);
        task.process(&batch).map_err(failed)?;
    }
    for _ in 0..8 {
        while task.due(now) {
            let Some(sealed) = task.seal(now).map_err(failed)? else { break };
            for out in sealed.outputs.iter() {
                let headers = out.headers.iter().map(|(n, v)| ((*n).into(), v.map(<[u8]>::to_vec))).collect();
                let row = (out.key.map(<[u8]>::to_vec), out.value.map(<[u8]>::to_vec), out.timestamp, headers);
                add(streams, out.topic, out.partition.unwrap_or(0), row);
            }
            apply(&store, &sealed, Landed::default()).expect("memory does not fail");
            task.applied(sealed.sequence).expect("memory applies");
        }
        now += 6_000;
    }
    Ok((task.counts(), entries(&*store)))
}

type Entries = BTreeMap<Bytes, Bytes>;

fn entries(store: &dyn StateStore) -> Entries {
    let (range, mut found) = (keys::all_states(), Entries::new());
    let mut each = |k: &[u8], v: &[u8]| found.insert(k.to_vec(), v.to_vec()).is_none();
    store.scan(&range.start, &range.end, &mut each).expect("memory does not fail");
    found
}

fn row(payload: &Payload) -> Row {
    (payload.key.clone(), payload.value.clone(), payload.timestamp, payload.headers.clone())
}

/// Outputs, state, offsets and counts against the uninterrupted run.
pub fn compare(world: &World) -> Result<(), Violation> {
    let (mut want, mut got) = (Streams::new(), Streams::new());
    let mut expected = Vec::new();
    for p in 0..world.inputs.len() {
        expected.push(alone(world, p, &mut want)?);
    }
    let changelog = world.fixture.stage.changelog.as_deref();
    for log in &world.broker.logs {
        if log.entries.iter().any(|e| e.fate == Fate::Open) {
            return Err(Violation::new("torn", format!("{} {} has open records for ever", log.topic, log.partition)));
        }
        if Some(&*log.topic) != changelog {
            log.committed().for_each(|(_, _, payload)| add(&mut got, &log.topic, log.partition, row(payload)));
        }
    }
    let streams: BTreeSet<_> = want.keys().chain(got.keys()).collect();
    for name in streams {
        let none = Vec::new();
        stream(name, want.get(name).unwrap_or(&none), got.get(name).unwrap_or(&none))?;
    }
    if changelog.is_some() {
        for (p, (counts, entries)) in expected.into_iter().enumerate() {
            state(world, p as i32, counts, &entries)?;
        }
    }
    Ok(())
}

fn stream(name: &(String, i32, Bytes), want: &[Row], got: &[Row]) -> Result<(), Violation> {
    let (topic, partition, key) = name;
    let place = || format!("{topic} {partition} key '{}'", String::from_utf8_lossy(key));
    if topic != WINDOWS {
        if want == got {
            return Ok(());
        }
        let kind = match want.len().cmp(&got.len()) {
            std::cmp::Ordering::Less => "duplicate",
            std::cmp::Ordering::Greater => "loss",
            std::cmp::Ordering::Equal => "wrong",
        };
        return Err(Violation::new(
            kind,
            format!("{}: {} of {}; {}", place(), got.len(), want.len(), differ(want, got)),
        ));
    }
    let finals = |rows: &[Row]| -> Vec<Row> { rows.iter().filter(|r| is_final(r)).cloned().collect() };
    let (want_finals, got_finals) = (finals(want), finals(got));
    if got_finals.len() != want_finals.len() {
        let kind = if got_finals.len() < want_finals.len() { "loss" } else { "duplicate" };
        return Err(Violation::new(kind, format!("{}: {} finals", place(), got_finals.len())));
    }
    if want_finals != got_finals {
        return Err(Violation::new("wrong", format!("{}: final {}", place(), differ(&want_finals, &got_finals))));
    }
    if want.last() != got.last() {
        let (want, got) = (&want[want.len().saturating_sub(1)..], &got[got.len().saturating_sub(1)..]);
        return Err(Violation::new("wrong", format!("{}: last {}", place(), differ(want, got))));
    }
    Ok(())
}

fn is_final(row: &Row) -> bool {
    row.1.as_ref().is_some_and(|v| String::from_utf8_lossy(v).contains("\"final\""))
}

fn text(bytes: Option<&[u8]>) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes.unwrap_or(b"-"))
}

fn differ(want: &[Row], got: &[Row]) -> String {
    let at = want.iter().zip(got).take_while(|(w, g)| w == g).count();
    let show = |rows: &[Row]| match rows.get(at) {
        Some(r) => {
            let header = |(n, v): &(String, Option<Bytes>)| format!("{n}={}", text(v.as_deref()));
            let headers: Vec<_> = r.3.iter().map(header).collect();
            format!("{} @{} [{}]", text(r.1.as_deref()), r.2, headers.join(", "))
        }
        None => "nothing".into(),
    };
    format!("at {at} want {} got {}", show(want), show(got))
}

/// The changelog's committed prefix, the owner's store, its checkpoint and the group's offset are one.
fn state(world: &World, p: i32, want: Counts, alone: &Entries) -> Result<(), Violation> {
    let wrong = |what: String| Err(Violation::new("state", format!("partition {p}: {what}")));
    let owner = world.group.assigned[p as usize].expect("an owner at the end");
    let process = world.procs[owner].as_ref().expect("the owner lives");
    if !matches!(process.actors.get(&p).map(|a| &a.state), Some(ActorState::Running { .. })) {
        return wrong("its owner does not run it".into());
    }
    let (mut replayed, mut last) = (Entries::new(), None);
    for (at, entry, payload) in world.changelog(p).expect("a changelog").committed() {
        let key = payload.key.clone().expect("a key");
        match &payload.value {
            Some(v) if key == keys::CHECKPOINT_KEY => last = Some((at + 1, entry.append_time, v.clone())),
            Some(v) => drop(replayed.insert(key, v.clone())),
            None => drop(replayed.remove(&key)),
        }
    }
    let Some((position, append_time, checkpoint)) = last else { return wrong("no checkpoint".into()) };
    let store = &world.disks[owner][&p].store;
    let meta = store.meta().expect("memory does not fail").expect("a store with meta");
    if (meta.position, meta.append_time) != (position, append_time) || meta.checkpoint != checkpoint {
        return wrong(format!("the store stands at {} and the changelog at {position}", meta.position));
    }
    if entries(store) != replayed {
        return wrong("the store is not the changelog's committed prefix".into());
    }
    if *alone != replayed {
        return wrong("the state is not that of an uninterrupted run".into());
    }
    let checkpoint = Checkpoint::decode(&checkpoint).expect("a checkpoint of this version");
    if checkpoint.position("events", p) != Some(world.inputs[p as usize].end) {
        return wrong(format!("the checkpoint stands for {:?}", checkpoint.positions));
    }
    let c = checkpoint.counts;
    let many = world.inputs[p as usize].records.len() as u64;
    if c.input != c.output + c.filtered + c.duplicate + c.dead || c.input != many || c != want {
        return wrong(format!("{many} records, counts {c:?}, an uninterrupted run has {want:?}"));
    }
    Ok(())
}
