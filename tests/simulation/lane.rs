//! A lane: the pure `Cycle` carried out against the fake broker, each request a step, and each way it can be cut.
//!
//! Knows the recycle rule and the order of the requests; every decision after an outcome is the cycle's.
//! Called by `world`. Invariant: a transaction begins only on a producer whose last one committed without an error.

use super::broker::{Answer, Offsets, Part, Payload, Produce, Producer};
use super::group::Metadata;
use super::process::ActorState;
use super::world::{Violation, World};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tidemill::exactly_once::{self, Assignment, Cycle, Landed, Member, Outcome, Refusal, Step};
use tidemill_state::{MemoryStore, StateStore, keys};
use tidemill_topology::Sealed;

pub struct Lane {
    /// Its transactional id.
    pub id: usize,
    /// None: `init_transactions` comes before anything else.
    pub producer: Option<Producer>,
    /// A transport error since the last init.
    pub dirty: bool,
    sequences: BTreeMap<usize, u32>,
    pub work: Option<Work>,
}

/// One set of sealed values on its way.
pub struct Work {
    pub cycle: Cycle,
    pub at: At,
    stores: BTreeMap<i32, MemoryStore>,
    landed: BTreeMap<i32, Landed>,
}

pub enum At {
    /// Begin on this producer, or on a new one if it is gone.
    Begin,
    Send(VecDeque<Batch>),
    Wait,
    Offsets,
    Commit,
    Abort(Outcome),
    Await(u64),
    Backoff,
    Apply(VecDeque<(usize, Landed)>),
}

/// The records of one Produce request, and whose checkpoint is the last of them.
#[derive(Clone)]
pub struct Batch {
    log: usize,
    records: Vec<Arc<Payload>>,
    checkpoint_of: Option<i32>,
}

/// A request that the network still holds.
#[derive(Clone)]
pub struct Late {
    producer: Producer,
    request: Request,
}

#[derive(Clone)]
pub enum Request {
    Add(Part),
    Produce(Produce),
    Offsets(Metadata, Offsets),
    End(bool),
}

/// How a call is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The retry passes; the first copy is late.
    Retried,
    /// The call fails; the request is late.
    Late,
    /// The call fails; the request never arrives.
    Never,
    /// COMMIT: it arrived, and nobody here knows.
    Arrived,
}

impl Lane {
    pub fn new(id: usize) -> Lane {
        Lane { id, producer: None, dirty: false, sequences: BTreeMap::new(), work: None }
    }

    pub fn holds(&self, partition: i32) -> bool {
        self.work.as_ref().is_some_and(|w| w.cycle.sealed().iter().any(|s| s.task.partition == partition))
    }

    pub fn at(&self) -> Option<&At> {
        self.work.as_ref().map(|w| &w.at)
    }

    fn sequence(&self, log: usize) -> u32 {
        self.sequences.get(&log).copied().unwrap_or(0)
    }

    fn go(&mut self, at: At) {
        self.work.as_mut().expect("a lane at work").at = at;
    }
}

impl World {
    fn lane(&mut self, i: usize, l: usize) -> &mut Lane {
        &mut self.proc(i).lanes[l]
    }

    /// `init_transactions`: asked again until the control records are written.
    pub fn init(&mut self, i: usize, l: usize) {
        let id = self.lane(i, l).id;
        if let Some(producer) = self.broker.init(id) {
            let lane = self.lane(i, l);
            lane.producer = Some(producer);
            lane.dirty = false;
            lane.sequences.clear();
        }
    }

    /// Whether SEAL would hand over anything.
    pub fn can_seal(&self, i: usize, l: usize) -> bool {
        let process = self.procs[i].as_ref().expect("a living process");
        process.actors.iter().any(|(p, a)| process.lane_of(*p) == l && self.seals(i, *p, a.number, &process.snapshot))
    }

    fn seals(&self, i: usize, p: i32, number: u64, snapshot: &Assignment) -> bool {
        let process = self.procs[i].as_ref().expect("a living process");
        let ActorState::Running { task, .. } = &process.actors[&p].state else { return false };
        let owned = match self.on("incarnation") {
            true => snapshot.owns(task.id(), number),
            false => matches!(snapshot.member, Member::Of { .. }) && snapshot.owned.contains_key(task.id()),
        };
        owned && task.due(self.now)
    }

    /// SEAL.
    pub fn seal(&mut self, i: usize, l: usize) -> Result<(), Violation> {
        let (newest, now, protections) = (self.newest(i), self.now, self.protections);
        let mine: Vec<i32> = {
            let process = self.proc(i);
            let number = |p: &i32| process.actors[p].number;
            let all = process.actors.keys().copied().filter(|p| process.lane_of(*p) == l);
            let all: Vec<(i32, u64)> = all.map(|p| (p, number(&p))).collect();
            all.into_iter().filter(|(p, n)| self.seals(i, *p, *n, &newest)).map(|(p, _)| p).collect()
        };
        let (mut sealed, mut stores) = (Vec::new(), BTreeMap::new());
        for p in mine {
            let ActorState::Running { task, store } =
                &mut self.proc(i).actors.get_mut(&p).expect("an actor that seals").state
            else {
                continue;
            };
            stores.insert(p, store.clone());
            sealed.extend(task.seal(now).map_err(|e| Violation::new("a seal failed", e))?);
        }
        if sealed.is_empty() {
            return Ok(());
        }
        let recycles = self.on("recycle_error");
        let lane = self.lane(i, l);
        if lane.dirty && recycles {
            lane.producer = None;
        }
        let cycle = Cycle::new(newest, sealed, protections);
        lane.work = Some(Work { cycle, at: At::Begin, stores, landed: BTreeMap::new() });
        Ok(())
    }

    /// The records of the transaction, one Produce for each partition, each task's checkpoint last in its changelog.
    pub fn begin_transaction(&mut self, i: usize, l: usize) {
        let sealed = self.lane(i, l).work.as_ref().expect("a lane at work").cycle.sealed().to_vec();
        let mut queue: VecDeque<Batch> = VecDeque::new();
        for s in &sealed {
            for out in s.outputs.iter() {
                let payload = Payload {
                    key: out.key.map(<[u8]>::to_vec),
                    value: out.value.map(<[u8]>::to_vec),
                    timestamp: out.timestamp,
                    headers: out.headers.iter().map(|(n, v)| ((*n).into(), v.map(<[u8]>::to_vec))).collect(),
                };
                let partition = out.partition.unwrap_or_else(|| by_key(out.key));
                let log = self.broker.log(out.topic, partition);
                match queue.iter_mut().find(|b| b.log == log) {
                    Some(batch) => batch.records.push(Arc::new(payload)),
                    None => queue.push_back(Batch { log, records: vec![Arc::new(payload)], checkpoint_of: None }),
                }
            }
        }
        for s in &sealed {
            if let Some(topic) = &s.changelog {
                let log = self.broker.log(topic, s.task.partition);
                queue.push_back(Batch { log, records: changelog(s), checkpoint_of: Some(s.task.partition) });
            }
        }
        self.lane(i, l).go(if queue.is_empty() { At::Wait } else { At::Send(queue) });
    }

    /// WAIT: every record is delivered. Before OFFSETS, for a successor sees everything only because none follows.
    pub fn delivered(&mut self, i: usize, l: usize) {
        self.lane(i, l).go(At::Offsets);
    }

    /// The requests of the present call, in their order.
    fn requests(&mut self, i: usize, l: usize) -> Vec<Request> {
        let frozen = self.on("frozen_meta");
        let known = self.proc(i).client.known;
        let lane = self.lane(i, l);
        let work = lane.work.as_ref().expect("a lane at work");
        match &work.at {
            At::Send(queue) => {
                let Batch { log, records, .. } = queue.front().expect("something to send").clone();
                let sequence = lane.sequence(log);
                vec![Request::Add(Part::Log(log)), Request::Produce(Produce { log, sequence, records })]
            }
            At::Offsets => {
                let offsets = next_offsets(work.cycle.sealed());
                let metadata = match frozen {
                    true => metadata(work.cycle.assignment()),
                    false => known,
                };
                vec![Request::Add(Part::Offsets), Request::Offsets(metadata, offsets)]
            }
            At::Commit => vec![Request::End(true)],
            At::Abort(_) => vec![Request::End(false)],
            _ => Vec::new(),
        }
    }

    /// Carries a request out; the offset is that of a Produce.
    fn arrive(&mut self, producer: Producer, request: &Request) -> Result<(Answer, i64), Refusal> {
        let answer = match request {
            Request::Add(part) => self.broker.add(producer, *part),
            Request::Produce(produce) => match self.broker.produce(producer, produce, self.now) {
                Ok(at) => return Ok((Answer::Done, at)),
                Err(answer) => answer,
            },
            Request::Offsets(metadata, _) if !self.group.accepts(*metadata) => {
                return Err(Refusal::GroupMoved(format!("{metadata:?}")));
            }
            Request::Offsets(_, offsets) => self.broker.txn_offsets(producer, offsets),
            Request::End(commit) => self.broker.end(producer, *commit),
        };
        Ok((answer, 0))
    }

    /// A late copy arrives; nobody hears the answer.
    pub fn arrive_late(&mut self, k: usize) {
        let late = self.late.remove(k);
        let _ = self.arrive(late.producer, &late.request);
    }

    /// One try of the present call: SEND of one partition, OFFSETS, COMMIT or ABORT.
    pub fn call(&mut self, i: usize, l: usize) {
        let producer = self.lane(i, l).producer.expect("a transaction has a producer");
        let mut offset = 0;
        for request in self.requests(i, l) {
            match self.arrive(producer, &request) {
                Ok((Answer::Done, at)) => offset = at,
                Ok((Answer::Later, _)) => return,
                Ok((Answer::Fenced, _)) => return self.exit(i, "fenced"),
                Ok((Answer::Refused, _)) => return self.refused(i, l),
                Err(refusal) => return self.lane(i, l).go(At::Abort(Outcome::Aborted(refusal))),
            }
        }
        self.done(i, l, offset);
    }

    fn refused(&mut self, i: usize, l: usize) {
        let trouble = Outcome::Aborted(Refusal::Trouble("the broker refused a request".into()));
        match self.lane(i, l).at() {
            Some(At::Abort(outcome)) => {
                let outcome = outcome.clone();
                self.aborted(i, l, outcome);
            }
            Some(At::Commit) => self.exit(i, "the commit was refused"),
            _ => self.lane(i, l).go(At::Abort(trouble)),
        }
    }

    /// The call was answered: on to the next.
    fn done(&mut self, i: usize, l: usize, offset: i64) {
        let append_time = self.now;
        let lane = self.lane(i, l);
        let work = lane.work.as_mut().expect("a lane at work");
        match &mut work.at {
            At::Send(queue) => {
                let sent = queue.pop_front().expect("something was sent");
                if let Some(p) = sent.checkpoint_of {
                    work.landed.insert(p, Landed { position: offset + 1, append_time });
                }
                if queue.is_empty() {
                    work.at = At::Wait;
                }
                *lane.sequences.entry(sent.log).or_insert(0) += 1;
            }
            At::Offsets => work.at = At::Commit,
            At::Commit => {
                let of = |s: &Sealed| work.landed.get(&s.task.partition).copied().unwrap_or_default();
                let landed = work.cycle.sealed().iter().map(of).collect();
                self.told(i, l, Outcome::Committed(landed));
            }
            At::Abort(outcome) => {
                let outcome = outcome.clone();
                self.aborted(i, l, outcome);
            }
            _ => panic!("no call was under way"),
        }
    }

    /// After an abort the producer is always recycled.
    fn aborted(&mut self, i: usize, l: usize, outcome: Outcome) {
        let recycles = self.on("recycle_abort");
        let lane = self.lane(i, l);
        if recycles {
            lane.producer = None;
        }
        self.told(i, l, outcome);
    }

    /// The outcome reaches the cycle, the only place where it is judged.
    fn told(&mut self, i: usize, l: usize, outcome: Outcome) {
        self.say(|| format!("      outcome {outcome:?}"));
        let work = self.lane(i, l).work.as_mut().expect("a lane at work");
        match work.cycle.outcome(outcome) {
            Step::Apply(landed) => work.at = At::Apply(landed.into_iter().enumerate().collect()),
            Step::Await { newer_than } => work.at = At::Await(newer_than),
            Step::Backoff(_) => work.at = At::Backoff,
            Step::Recover(_) => self.drop_memory(i, l),
            Step::Exit { .. } => self.exit(i, "the cycle says so"),
            Step::Send | Step::Done => panic!("no outcome leads there"),
        }
    }

    /// UNKNOWN: the memory of every task of the lane goes; each begins its recovery anew.
    fn drop_memory(&mut self, i: usize, l: usize) {
        let process = self.proc(i);
        process.lanes[l].work = None;
        let lanes = process.lanes.len();
        process.actors.retain(|p, _| *p as usize % lanes != l);
    }

    fn exit(&mut self, i: usize, why: &str) {
        self.say(|| format!("      process {i} exits: {why}"));
        self.exits += 1;
        self.crash(i, false);
    }

    /// The values go again under the newest snapshot, less those that are not ours any more.
    pub fn again(&mut self, i: usize, l: usize) {
        let newest = self.newest(i);
        let lane = self.lane(i, l);
        let work = lane.work.as_mut().expect("a lane at work");
        match work.cycle.send_again(newest) {
            Step::Send => work.at = At::Begin,
            Step::Done => lane.work = None,
            other => panic!("sending again cannot lead to {other:?}"),
        }
    }

    /// APPLY of one task, even one that is lost by now.
    pub fn apply(&mut self, i: usize, l: usize) {
        let lane = self.lane(i, l);
        let work = lane.work.as_mut().expect("a lane at work");
        let At::Apply(queue) = &mut work.at else { panic!("nothing to apply") };
        let (k, landed) = queue.pop_front().expect("something to apply");
        let last = queue.is_empty();
        let sealed = work.cycle.sealed()[k].clone();
        let p = sealed.task.partition;
        let store: Arc<dyn StateStore> = Arc::new(work.stores[&p].clone());
        if last {
            lane.work = None;
        }
        if sealed.changelog.is_some() {
            exactly_once::apply(&store, &sealed, landed).expect("memory does not fail");
        }
        let process = self.proc(i);
        if process.actors.get(&p).is_some_and(|a| a.number == sealed.assignment)
            && let Some(task) = process.task(p)
        {
            task.applied(sealed.sequence).expect("memory applies");
        }
    }

    /// The connection is lost during the present call.
    pub fn cut(&mut self, i: usize, l: usize, cut: Cut) {
        let producer = self.lane(i, l).producer.expect("a call has a producer");
        let requests = self.requests(i, l);
        let request = requests[self.rng.below(requests.len())].clone();
        self.lane(i, l).dirty = true;
        if matches!(cut, Cut::Retried | Cut::Late) {
            self.late.push(Late { producer, request: request.clone() });
        }
        let trouble = Outcome::Aborted(Refusal::Trouble("the connection was lost".into()));
        let recycles = self.on("recycle_abort");
        match (cut, self.lane(i, l).at()) {
            (Cut::Retried, _) => self.call(i, l),
            (_, Some(At::Commit)) => {
                if cut == Cut::Arrived {
                    let _ = self.arrive(producer, &request);
                }
                self.lane(i, l).producer = None;
                self.told(i, l, Outcome::Unknown("the answer to COMMIT never came".into()));
            }
            (_, Some(At::Abort(outcome))) if recycles => {
                let outcome = outcome.clone();
                self.aborted(i, l, outcome);
            }
            (_, Some(At::Abort(_))) => {}
            _ => self.lane(i, l).go(At::Abort(trouble)),
        }
    }
}

fn changelog(s: &Sealed) -> Vec<Arc<Payload>> {
    let record = |key: &[u8], value: Option<&[u8]>| {
        Arc::new(Payload { key: Some(key.to_vec()), value: value.map(<[u8]>::to_vec), timestamp: 1, headers: vec![] })
    };
    let mut records: Vec<_> = s.changes.iter().map(|(k, v)| record(k, v)).collect();
    records.push(record(keys::CHECKPOINT_KEY, Some(&s.checkpoint.encode())));
    records
}

fn next_offsets(sealed: &[Sealed]) -> Offsets {
    sealed.iter().flat_map(|s| s.checkpoint.positions.iter().map(|p| (p.partition, p.offset))).collect()
}

fn metadata(assignment: &Assignment) -> Metadata {
    match &assignment.member {
        Member::Of { metadata, .. } => *metadata.downcast_ref().expect("the simulation's own metadata"),
        Member::Nobody => super::group::NO_MEMBER,
    }
}

/// Any function of the key will do.
fn by_key(key: Option<&[u8]>) -> i32 {
    key.map_or(0, |k| (k.iter().map(|b| u32::from(*b)).sum::<u32>() % 2) as i32)
}
