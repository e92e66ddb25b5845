//! The network, and the broker on its own: requests that come late, control records, transaction timeouts.
//!
//! Knows no reaction of a lane. `lane` and `process` send requests late through it; `step` asks it for its own steps.
//! Invariant: Produce and TxnOffsetCommit are on the wire only after their AddPartitions or AddOffsets was answered.

use crate::broker::Answer;
use crate::config::Config;
use crate::state::{Late, Metadata, OFFSETS_PARTITION, Phase, Request, State, Status, TASKS, Work};
use crate::step::{Place, Steps};
use crate::words::{Extra, Protection};

pub fn steps(m: &mut Steps) {
    for at in 0..m.s.late.len() {
        if m.s.late[at].request != Request::None {
            arrive(m, at);
        }
    }
    for l in 0..m.c.all_lanes() {
        if m.s.txn[l].deciding() {
            control_records(m, l);
        }
        if m.s.txn[l].status == Status::Ongoing {
            timeout(m, l);
        }
    }
}

fn arrive(m: &mut Steps, at: usize) {
    let mut next = *m.s;
    let late = std::mem::take(&mut next.late[at]);
    let (l, t) = (late.lane as usize, late.task as usize);
    // Nobody waits for the answer any more.
    match late.request {
        Request::None => {}
        Request::AddPartitions => _ = next.add(l, late.partition),
        Request::Produce => _ = next.produce(m.c, l, t, (late.seq, late.work[t])),
        Request::TxnOffsetCommit => _ = next.offsets(m.c, l, late.metadata, &late.work),
        Request::Commit => _ = next.end(l, true),
        Request::Abort => _ = next.end(l, false),
        Request::InitProducerId => _ = next.init(l),
    }
    m.add(arrives(late.request), Place::Lane(l), next);
}

fn arrives(request: Request) -> &'static str {
    match request {
        Request::None => "nothing arrives",
        Request::AddPartitions => "late AddPartitions arrives",
        Request::Produce => "late Produce arrives",
        Request::TxnOffsetCommit => "late TxnOffsetCommit arrives",
        Request::Commit => "late EndTxn(commit) arrives",
        Request::Abort => "late EndTxn(abort) arrives",
        Request::InitProducerId => "late InitProducerId arrives",
    }
}

fn control_records(m: &mut Steps, l: usize) {
    for bit in 0..8 {
        if m.s.txn[l].unwritten & (1 << bit) != 0 {
            let mut next = *m.s;
            next.control_record(l, 1 << bit);
            m.add("control record written", Place::LanePartition(l, bit), next);
        }
    }
}

/// A dead owner's transaction times out for sure; a living one's is a fault.
fn timeout(m: &mut Steps, l: usize) {
    let lane = &m.s.lane[l];
    let living = lane.current && matches!(lane.phase, Phase::Send | Phase::Offsets | Phase::Commit | Phase::Abort);
    let mut next = *m.s;
    if living && m.s.left.timeouts > 0 {
        next.left.timeouts -= 1;
        next.abort_by_broker(l);
        m.fault("transaction timeout: the broker aborts", Place::Lane(l), next);
    } else if !living && !m.c.adds(Extra::NoTimeouts) {
        next.abort_by_broker(l);
        m.add("transaction timeout: the broker aborts", Place::Lane(l), next);
    }
}

/// The requests of the lane's present call, as they would look if they came late; `Request::None` where there is none.
pub fn on_wire(c: &Config, s: &State, l: usize) -> [Late; 2] {
    let lane = &s.lane[l];
    let one = |request| Late { request, lane: l as u8, ..Late::default() };
    match lane.phase {
        Phase::Send => {
            let t = lane.task as usize;
            let mut work = [Work::default(); TASKS];
            work[t] = lane.sealed[t].work;
            [
                Late { partition: 1 << t, ..one(Request::AddPartitions) },
                Late { task: lane.task, seq: lane.seq[t], work, ..one(Request::Produce) },
            ]
        }
        Phase::Offsets => {
            let metadata = metadata_of(c, s, l);
            [
                Late { partition: OFFSETS_PARTITION, ..one(Request::AddPartitions) },
                Late { metadata, work: lane.work(), ..one(Request::TxnOffsetCommit) },
            ]
        }
        Phase::Commit => [one(Request::Commit), Late::default()],
        Phase::Abort => [one(Request::Abort), Late::default()],
        Phase::NoProducer => [one(Request::InitProducerId), Late::default()],
        Phase::Idle | Phase::Again | Phase::Apply => [Late::default(); 2],
    }
}

/// The group metadata that OFFSETS sends: the snapshot's, frozen at the seal.
pub fn metadata_of(c: &Config, s: &State, l: usize) -> Metadata {
    if c.keeps(Protection::FrozenMeta) { s.lane[l].metadata } else { s.instance[c.instance_of(l)].metadata }
}

/// Puts a request on the wire, to arrive at any later moment or never. False: the budget or the room does not allow it.
pub fn send_late(next: &mut State, late: Late) -> bool {
    let l = late.lane as usize;
    let ready = match late.request {
        Request::None => false,
        Request::Produce => next.add(l, 1 << late.task) == Answer::Done,
        Request::TxnOffsetCommit => next.add(l, OFFSETS_PARTITION) == Answer::Done,
        _ => true,
    };
    if !ready || next.left.late == 0 {
        return false;
    }
    let Some(free) = next.late.iter_mut().find(|slot| slot.request == Request::None) else { return false };
    *free = late;
    next.left.late -= 1;
    true
}
