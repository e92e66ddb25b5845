//! Which steps are enabled.
//!
//! Knows every precondition and no effect. Called by `world` before each step.
//! Invariant: a step that would change nothing is not enabled, so that a deadlock shows as one.

use super::broker::Status;
use super::group::NO_MEMBER;
use super::lane::{At, Cut, Lane};
use super::process::{ActorState, Process};
use super::world::{Step, World};

impl World {
    pub fn list(&mut self) {
        let mut steps = std::mem::take(&mut self.enabled);
        steps.clear();
        self.of_cluster(&mut steps);
        for i in 0..self.procs.len() {
            match &self.procs[i] {
                None => steps.push(Step::Start(i)),
                Some(process) if process.paused => steps.push(Step::Resume(i)),
                Some(process) => {
                    self.of_client(i, process, &mut steps);
                    self.of_actors(i, process, &mut steps);
                    for (l, lane) in process.lanes.iter().enumerate() {
                        self.of_lane((i, l), process, lane, &mut steps);
                    }
                    if self.left("crash") {
                        steps.push(Step::Crash(i));
                    }
                    if self.left("zombie") {
                        steps.push(Step::Pause(i));
                    }
                }
            }
        }
        self.enabled = steps;
    }

    fn of_cluster(&self, steps: &mut Vec<Step>) {
        let group = &self.group;
        let joins = |i: &usize| {
            let member = &group.members[i];
            let answers = |x: &Process| Some(x.client.known) == group.current(*i) && x.client.settled() && !x.paused;
            !member.joined || self.procs[*i].as_ref().is_some_and(answers)
        };
        if group.wants() && !group.members.is_empty() && group.members.keys().all(joins) {
            steps.push(Step::Generation);
        }
        for &i in group.members.keys() {
            if self.procs[i].is_none() {
                steps.push(Step::SessionEnd(i));
            } else if self.left("zombie") {
                steps.push(Step::Zombie(i));
            }
            if self.left("rebalance") {
                let others = (0..self.shape.partitions).filter(|p| group.target[*p] != Some(i));
                steps.extend(others.map(|p| Step::Wish(p as i32, i)));
            }
        }
        for (id, txn) in self.broker.txns.iter().enumerate() {
            steps.extend(txn.pending.iter().map(|part| Step::Control(id, *part)));
            if txn.status != Status::Ongoing {
                continue;
            }
            let owner = self.procs[id / self.shape.lanes].as_ref().map(|x| &x.lanes[id % self.shape.lanes]);
            // A late copy may have opened a transaction on an idle lane: only the time-out ends that one.
            let at_work = owner.filter(|l| l.work.is_some());
            let living = at_work.and_then(|l| l.producer).is_some_and(|p| p.epoch == txn.epoch);
            if !living {
                steps.push(Step::TimeOut(id));
            } else if self.left("timeout") {
                steps.push(Step::TimeOutLiving(id));
            }
        }
        steps.extend((0..self.late.len()).map(Step::ArriveLate));
    }

    fn of_client(&self, i: usize, process: &Process, steps: &mut Vec<Step>) {
        let client = &process.client;
        let member = self.group.members.get(&i);
        match (self.group.current(i), member) {
            (Some(now), _) if client.known != now && client.event.is_none() => steps.push(Step::Hear(i)),
            (None, None) if client.known != NO_MEMBER => steps.push(Step::Hear(i)),
            (None, None) if client.settled() => steps.push(Step::Join(i)),
            _ => {}
        }
        if !client.settled() && !client.served {
            steps.push(Step::Serve(i));
        }
        if client.served {
            steps.push(Step::Publish(i));
        }
    }

    fn of_actors(&self, i: usize, process: &Process, steps: &mut Vec<Step>) {
        for (&p, actor) in &process.actors {
            if !process.owns(p, actor.number) {
                steps.push(Step::Close(i, p));
            }
            match &actor.state {
                ActorState::Recovering { .. } if self.can_recover(i, p) => steps.push(Step::Recover(i, p)),
                ActorState::Running { task, .. } if task.position() < self.inputs[p as usize].end => {
                    steps.push(Step::Work(i, p));
                }
                _ => {}
            }
        }
        for &p in process.client.owned.keys().filter(|p| !process.actors.contains_key(p)) {
            let lane = &process.lanes[process.lane_of(p)];
            // At the first assignment all lanes are initialised, also those without a task.
            let ready =
                !self.on("init_first") || process.lanes.iter().all(|l| l.producer.is_some() || l.work.is_some());
            let let_go = !self.on("let_go") || !lane.holds(p);
            if ready && let_go {
                steps.push(Step::Begin(i, p));
            }
        }
        if !process.stale.is_empty() {
            steps.push(Step::Stale(i));
        }
    }

    fn of_lane(&self, (i, l): (usize, usize), process: &Process, lane: &Lane, steps: &mut Vec<Step>) {
        let settling = matches!(self.broker.txns[lane.id].status, Status::Prepare(_));
        let Some(producer) = lane.producer else {
            let wanted = match lane.at() {
                None => !process.client.owned.is_empty(),
                Some(at) => matches!(at, At::Begin),
            };
            if wanted && !settling {
                steps.push(Step::Init(i, l));
            }
            return self.without_producer((i, l), process, lane, steps);
        };
        self.without_producer((i, l), process, lane, steps);
        let fenced = producer.epoch != self.broker.txns[lane.id].epoch;
        let call = match lane.at() {
            None if self.can_seal(i, l) => return steps.push(Step::Seal(i, l)),
            Some(At::Begin) => return steps.push(Step::BeginTransaction(i, l)),
            Some(At::Wait) => return steps.push(Step::Wait(i, l)),
            Some(At::Send(_)) => Step::Send(i, l),
            Some(At::Offsets) => Step::Offsets(i, l),
            Some(At::Commit) => Step::Commit(i, l),
            Some(At::Abort(_)) => Step::Abort(i, l),
            _ => return,
        };
        if settling && !fenced {
            return;
        }
        steps.push(call);
        if fenced {
            return;
        }
        if self.left("cut") {
            steps.push(Step::Cut(i, l, Cut::Retried));
            steps.push(Step::Cut(i, l, Cut::Late));
        }
        if self.left("unknown") {
            steps.push(Step::Cut(i, l, Cut::Never));
            if matches!(call, Step::Commit(..)) {
                steps.push(Step::Cut(i, l, Cut::Arrived));
            }
        }
    }

    /// What a lane does between two transactions needs no producer.
    fn without_producer(&self, (i, l): (usize, usize), process: &Process, lane: &Lane, steps: &mut Vec<Step>) {
        match lane.at() {
            Some(At::Await(newer_than)) if process.snapshot.version > *newer_than => steps.push(Step::Again(i, l)),
            Some(At::Backoff) => steps.push(Step::Again(i, l)),
            Some(At::Apply(_)) => steps.push(Step::Apply(i, l)),
            _ => {}
        }
    }
}
