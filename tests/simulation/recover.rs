//! RECOVER of one task: carries out the actions of the pure `Recovery`, one a step, with the broker as it is then.
//!
//! Knows nothing of what the answers lead to. Called by `world`; a wait is a step only when asking again tells more.
//! Invariant: a store that is rebuilt stands beside the old one until all is read.

use super::broker::Log;
use super::process::{Actor, ActorState};
use super::world::{Violation, World};
use std::sync::Arc;
use tidemill::exactly_once::{Action, Answer, Facts, Ready, Recovery};
use tidemill_state::{Changes, MemoryStore, Meta, StateStore, keys};
use tidemill_topology::{Checkpoint, Start, Task, TaskSetup};

/// A roll-forward under way.
pub struct Rolling {
    store: MemoryStore,
    next: i64,
    checkpoint: Option<Checkpoint>,
    records: u64,
}

/// A task's folder.
#[derive(Clone, Default)]
pub struct Disk {
    pub store: MemoryStore,
    pub corrupt: bool,
}

impl World {
    /// The actor's life begins with its recovery.
    pub fn begin(&mut self, i: usize, p: i32) {
        let new_store = (u128::from(self.rng.next()) << 64) | u128::from(self.rng.next());
        let facts = Facts {
            task: self.fixture.stage.task(p),
            name: self.fixture.stage.checkpoint_name(p),
            partitions: self.shape.partitions as i32,
            start: Start::Earliest,
            stateful: self.fixture.stage.changelog.is_some(),
            delete_retention_ms: self.shape.delete_retention_ms,
            now: self.now,
            new_store,
        };
        let mut recovery = Box::new(Recovery::new(facts, self.protections));
        let action = recovery.begin();
        let number = self.proc(i).client.owned[&p];
        let state = ActorState::Recovering { recovery, action, rolling: None, end: 0, asked: None };
        self.proc(i).actors.insert(p, Actor { number, state });
    }

    /// Whether the next action can be carried out, and would tell something new.
    pub fn can_recover(&self, i: usize, p: i32) -> bool {
        let process = self.procs[i].as_ref().expect("a living process");
        let ActorState::Recovering { action, asked, end, .. } = &process.actors[&p].state else { return false };
        let pending = self.on("stable") && self.broker.offset_pending(p);
        match (action, asked) {
            (Action::Wait(_), Some(Action::CommittedOffset)) => !pending,
            (Action::Wait(_), _) => self.changelog(p).is_none_or(|log| log.stable_end() >= *end),
            _ => true,
        }
    }

    pub fn changelog(&self, p: i32) -> Option<&Log> {
        let topic = self.fixture.stage.changelog.as_ref()?;
        self.broker.logs.iter().find(|l| l.topic == *topic && l.partition == p)
    }

    /// One action and its answer.
    pub fn recover(&mut self, i: usize, p: i32) -> Result<(), Violation> {
        let mut actor = self.proc(i).actors.remove(&p).expect("an actor");
        let ActorState::Recovering { recovery, action, rolling, end, asked } = &mut actor.state else {
            panic!("only a recovering actor recovers");
        };
        let answer = match action.clone() {
            Action::Ready(ready) => {
                actor.state = self.open(i, p, actor.number, ready)?;
                self.proc(i).actors.insert(p, actor);
                return Ok(());
            }
            Action::Halt(halt) => return Err(Violation::new("halt", halt.cause)),
            Action::RollForward { from, end, rebuild } => {
                if rolling.is_none() {
                    *rolling = Some(self.rolling(i, p, from, rebuild));
                }
                self.roll(i, p, rolling.as_mut().expect("just made"), (end, rebuild))
            }
            question => Some(self.find(i, p, &question)),
        };
        if let Some(answer) = answer {
            if let Answer::Ends { end: found, .. } = &answer {
                *end = *found;
            }
            *rolling = None;
            if !matches!(action, Action::Wait(_)) {
                *asked = Some(action.clone());
            }
            self.say(|| format!("      {action:?} -> {answer:?}"));
            *action = recovery.answer(answer);
        }
        self.proc(i).actors.insert(p, actor);
        Ok(())
    }

    fn find(&mut self, i: usize, p: i32, question: &Action) -> Answer {
        let stable = self.on("stable");
        let raw_end = self.on("raw_end");
        match question {
            Action::CommittedOffset if stable && self.broker.offset_pending(p) => Answer::OffsetPending,
            Action::CommittedOffset => Answer::Offset(self.broker.offsets.get(&p).copied()),
            Action::ChangelogEnds => {
                let end = self.changelog(p).map_or(0, |l| if raw_end { l.end() } else { l.stable_end() });
                Answer::Ends { start: 0, end }
            }
            Action::LastStableOffset => Answer::StableEnd(self.changelog(p).map_or(0, Log::stable_end)),
            Action::OpenStore => match self.disks[i].get(&p) {
                None => Answer::NoStore,
                Some(disk) if disk.corrupt => Answer::Corrupt("a file is damaged".into()),
                Some(disk) => Answer::Store(disk.store.meta().expect("memory does not fail")),
            },
            Action::InputStart(_) => Answer::Offset(Some(self.inputs[p as usize].start)),
            Action::Wait(_) => Answer::Waited,
            other => panic!("{other:?} is no question"),
        }
    }

    fn rolling(&mut self, i: usize, p: i32, from: i64, rebuild: bool) -> Rolling {
        let store = if rebuild { MemoryStore::new() } else { self.disks[i].entry(p).or_default().store.clone() };
        self.rebuilds += u64::from(rebuild && self.disks[i].contains_key(&p));
        Rolling { store, next: from, checkpoint: None, records: 0 }
    }

    /// A few committed checkpoints a step, entries and meta together; `None` while there is more.
    fn roll(&mut self, i: usize, p: i32, rolling: &mut Rolling, (end, rebuild): (i64, bool)) -> Option<Answer> {
        let mut left = 1 + self.rng.below(4);
        let mut changes = Changes::new();
        if let Some(log) = self.changelog(p) {
            let limit = end.min(log.stable_end());
            let from = rolling.next;
            for (at, entry, record) in log.committed().filter(|(at, ..)| *at >= from && *at < limit) {
                let key = record.key.as_deref().expect("changelog records have keys");
                rolling.records += 1;
                if key != keys::CHECKPOINT_KEY {
                    changes.push(key, record.value.as_deref());
                    continue;
                }
                let checkpoint = record.value.clone().expect("a checkpoint is no tombstone");
                rolling.checkpoint = Some(Checkpoint::decode(&checkpoint).expect("a checkpoint of this version"));
                let meta = Meta { checkpoint, position: at + 1, append_time: entry.append_time };
                rolling.store.apply(&changes, &meta).expect("memory does not fail");
                changes.clear();
                rolling.next = at + 1;
                left -= 1;
                if left == 0 {
                    return None;
                }
            }
        }
        if rebuild {
            self.disks[i].insert(p, Disk { store: rolling.store.clone(), corrupt: false });
        }
        Some(Answer::Rolled { checkpoint: rolling.checkpoint.clone(), records: rolling.records })
    }

    fn open(&mut self, i: usize, p: i32, number: u64, mut ready: Ready) -> Result<ActorState, Violation> {
        if let (false, Some(checkpoint)) = (self.on("step7"), &mut ready.checkpoint) {
            // The task compares them too: without step 7 that alarm has to be silent as well.
            checkpoint.positions.iter_mut().for_each(|at| at.offset = ready.position);
        }
        let setup = TaskSetup {
            partition: p,
            partitions: self.shape.partitions as i32,
            assignment: number,
            store_id: ready.store,
            position: ready.position,
            cache_bytes: self.shape.cache_bytes,
        };
        let store = self.disks[i].entry(p).or_default().store.clone();
        let handle: Arc<dyn StateStore> = Arc::new(store.clone());
        let stage = self.fixture.stage.clone();
        let task = Task::open(stage, setup, handle, ready.checkpoint.as_ref());
        let task = Box::new(task.map_err(|e| Violation::new("a task would not open", e))?);
        Ok(ActorState::Running { task, store })
    }
}
