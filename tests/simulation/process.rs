//! A process: its consumer thread, its snapshot, its lanes and actors; and how it starts, crashes, works a batch.
//!
//! Knows the rules of the product that are not in `exactly_once`: what a consumer thread and a supervisor do, and when.
//! Called by `world` with one step at a time. Invariant: what a crash leaves is the disk, and nothing else.

use super::group::{Metadata, NO_MEMBER};
use super::lane::Lane;
use super::recover::Rolling;
use super::world::{Violation, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemill::exactly_once::{Action, Assignment, Kept, Member, Membership, Recovery};
use tidemill_state::MemoryStore;
use tidemill_topology::{Batch, Task, TaskError};

pub struct Process {
    pub client: Client,
    pub snapshot: Arc<Assignment>,
    pub lanes: Vec<Lane>,
    /// By input partition; at most one lives for each, closing included.
    pub actors: BTreeMap<i32, Actor>,
    /// Batches that were read under an assignment that has ended.
    pub stale: Vec<Batch>,
    pub paused: bool,
}

/// The consumer thread and the client's own thread behind it.
pub struct Client {
    /// As the client's own thread knows it.
    pub known: Metadata,
    /// A rebalance event that waits for `poll`: what will be assigned after it.
    pub event: Option<BTreeSet<i32>>,
    /// "Assignment lost" waits for `poll`.
    pub lost: bool,
    /// A rebalance was served and no snapshot published since.
    pub served: bool,
    /// Numbers of the assignments in hand.
    pub owned: BTreeMap<i32, u64>,
    /// What was assigned since the last snapshot.
    fresh: BTreeSet<i32>,
    membership: Membership,
    /// The member id when the last event was served.
    served_as: Option<u64>,
    last_number: u64,
}

pub struct Actor {
    pub number: u64,
    pub state: ActorState,
}

pub enum ActorState {
    Recovering { recovery: Box<Recovery>, action: Action, rolling: Option<Rolling>, end: i64, asked: Option<Action> },
    Running { task: Box<Task>, store: MemoryStore },
}

impl Process {
    pub fn new(lanes: Vec<Lane>) -> Process {
        let client = Client {
            known: NO_MEMBER,
            event: None,
            lost: false,
            served: false,
            owned: BTreeMap::new(),
            fresh: BTreeSet::new(),
            membership: Membership::default(),
            served_as: None,
            last_number: 0,
        };
        let snapshot = Arc::new(Assignment::none());
        Process { client, snapshot, lanes, actors: BTreeMap::new(), stale: Vec::new(), paused: false }
    }

    pub fn lane_of(&self, partition: i32) -> usize {
        partition as usize % self.lanes.len()
    }

    pub fn task(&mut self, partition: i32) -> Option<&mut Task> {
        match self.actors.get_mut(&partition).map(|a| &mut a.state) {
            Some(ActorState::Running { task, .. }) => Some(task),
            _ => None,
        }
    }

    pub fn owns(&self, partition: i32, number: u64) -> bool {
        self.client.owned.get(&partition) == Some(&number)
    }
}

impl Client {
    /// Revoke: unassign, tell, return. Assign: every partition that comes gets a number never used before.
    fn serve(&mut self, will: BTreeSet<i32>) {
        self.owned.retain(|p, _| will.contains(p));
        for p in will {
            if !self.owned.contains_key(&p) {
                self.take(p);
            }
        }
    }

    fn take(&mut self, p: i32) {
        self.last_number += 1;
        self.owned.insert(p, self.last_number);
        self.fresh.insert(p);
    }

    /// The group went on without us: what was kept is given back and taken again, each under a new number.
    fn take_again(&mut self) {
        let kept: Vec<i32> = self.owned.keys().filter(|p| !self.fresh.contains(p)).copied().collect();
        kept.into_iter().for_each(|p| self.take(p));
    }

    /// Whether the application is idle towards the group: only then does the client join again.
    pub fn settled(&self) -> bool {
        self.event.is_none() && !self.lost
    }
}

impl World {
    pub fn start(&mut self, i: usize) {
        let lanes = (0..self.shape.lanes).map(|l| Lane::new(i * self.shape.lanes + l)).collect();
        self.procs[i] = Some(Process::new(lanes));
        self.group.join(i);
    }

    /// SIGKILL. The disk stays, or is lost with the machine.
    pub fn crash(&mut self, i: usize, disk_lost: bool) {
        self.procs[i] = None;
        if disk_lost {
            self.disks[i].clear();
        }
    }

    /// The client's own thread learns what the group says, without a `poll`.
    pub fn hear(&mut self, i: usize) {
        let (now, will) = (self.group.current(i), self.group.assigned_to(i));
        let client = &mut self.proc(i).client;
        match now {
            Some(metadata) => {
                client.known = metadata;
                client.event = Some(will);
            }
            None => {
                client.known = NO_MEMBER;
                // A loss that falls into a rebalance is never told: the client joins anew and keeps its tasks.
                client.lost = client.event.is_none();
            }
        }
    }

    /// `poll` serves one event.
    pub fn serve(&mut self, i: usize) {
        let publish_empty = self.on("publish_empty");
        let topic = self.fixture.stage.topic.clone();
        let (now, fetches) = (self.now, self.rng.once_in(3));
        let inputs = &self.inputs;
        let process = self.procs[i].as_mut().expect("a living process");
        let client = &mut process.client;
        let before = client.owned.clone();
        match client.event.take() {
            Some(will) => client.serve(will),
            None => {
                client.lost = false;
                client.owned.clear();
            }
        }
        client.served |= publish_empty || before != client.owned;
        client.served_as = client.known.member;
        for (p, number) in before.iter().filter(|(p, n)| fetches && client.owned.get(p) != Some(n)) {
            let mut batch = Batch::new(topic.clone(), *p, *number, inputs[*p as usize].start);
            inputs[*p as usize].fill(&mut batch, 2, now);
            process.stale.push(batch);
        }
    }

    /// The assignment snapshot: owned tasks and group metadata, read together.
    pub fn publish(&mut self, i: usize) {
        let (real_member, unbroken) = (self.on("real_member"), self.on("unbroken"));
        let stage = self.fixture.stage.clone();
        let process = self.proc(i);
        let client = &mut process.client;
        client.served = false;
        let name = |id: Option<u64>| id.map(|id| id.to_string()).unwrap_or_default();
        let (served_as, id) = (name(client.served_as), name(client.known.member));
        let mut known = client.known;
        match client.membership.kept(&served_as, &id, known.generation) {
            Kept::Doubtful if unbroken => client.take_again(),
            Kept::Unserved if unbroken => known = NO_MEMBER,
            _ => {}
        }
        client.fresh.clear();
        let owned = client.owned.iter().map(|(p, n)| (stage.task(*p), *n)).collect();
        let member = member(known, real_member);
        process.snapshot = Arc::new(Assignment { version: process.snapshot.version + 1, owned, member });
    }

    /// What a lane takes at its seal and at each new sending.
    pub fn newest(&mut self, i: usize) -> Arc<Assignment> {
        let (atomic, real_member) = (self.on("atomic_snapshot"), self.on("real_member"));
        let process = self.proc(i);
        if atomic {
            return process.snapshot.clone();
        }
        let Assignment { version, owned, .. } = &*process.snapshot;
        let member = member(process.client.known, real_member);
        Arc::new(Assignment { version: *version, owned: owned.clone(), member })
    }

    /// A batch of the next few records, or the empty one behind the last.
    pub fn work(&mut self, i: usize, p: i32) -> Result<(), Violation> {
        let topic = self.fixture.stage.topic.clone();
        let (now, many) = (self.now, 1 + self.rng.below(6));
        let inputs = &self.inputs;
        let process = self.procs[i].as_mut().expect("a living process");
        let number = process.actors[&p].number;
        let task = process.task(p).expect("a running task");
        let mut batch = Batch::new(topic, p, number, task.position());
        inputs[p as usize].fill(&mut batch, many, now);
        task.process(&batch).map_err(|e| Violation::new("a task failed", e))
    }

    /// A batch that was fetched before the partition was taken away reaches whoever has it now.
    pub fn work_stale(&mut self, i: usize) -> Result<(), Violation> {
        let process = self.proc(i);
        let batch = process.stale.pop().expect("a stale batch");
        let Some(task) = process.task(batch.partition) else { return Ok(()) };
        let fits = task.assignment() == batch.assignment && task.position() == batch.from;
        match task.process(&batch) {
            Err(TaskError::Refused { .. }) if !fits => Ok(()),
            Ok(()) if fits => Ok(()),
            other => Err(Violation::new("a stale batch", format!("fits: {fits}, the task said {other:?}"))),
        }
    }
}

fn member(known: Metadata, real_member: bool) -> Member {
    match known.member {
        None if real_member => Member::Nobody,
        _ => Member::Of { generation: known.generation, metadata: Arc::new(known) },
    }
}
