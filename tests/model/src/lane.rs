//! The lane's cycle: SEAL, SEND, WAIT, OFFSETS, COMMIT, APPLY; and how a call ends: answered, aborted, fenced, unknown.
//!
//! Knows a task only by what it hands over. `step` asks it for each lane; `recycle` has the way back after an abort.
//! Invariant: from the seal to APPLY the values stay the same; only whole tasks may be left out, at a new sending.

use crate::broker::Answer;
use crate::config::Config;
use crate::network::{metadata_of, on_wire, send_late};
use crate::process;
use crate::recycle;
use crate::state::{Instance, Lane, Late, Memory, Metadata, Phase, Request, Sealed, Stage, State, Store, Work};
use crate::step::{Place, Steps};
use crate::words::Protection;

pub fn steps(m: &mut Steps, l: usize) {
    if !m.s.instance[m.c.instance_of(l)].up {
        return;
    }
    match m.s.lane[l].phase {
        Phase::NoProducer => recycle::init_transactions(m, l),
        Phase::Idle => seal(m, l),
        Phase::Again => recycle::again(m, l),
        Phase::Send | Phase::Offsets | Phase::Commit | Phase::Abort => in_call(m, l),
        Phase::Apply => apply(m, l),
    }
}

/// Whether the newest snapshot owns the task under this assignment number.
pub fn owned_by_snapshot(c: &Config, x: &Instance, t: usize, assignment: u8) -> bool {
    if c.keeps(Protection::Incarnation) { assignment == x.snapshot_owned[t] } else { x.snapshot_owned[t] != 0 }
}

/// Metadata of the newest snapshot; none if it names no member: then it owns nothing.
pub fn newest_metadata(c: &Config, x: &Instance) -> Option<Metadata> {
    let metadata = if c.keeps(Protection::AtomicSnapshot) { x.snapshot_metadata } else { x.metadata };
    (metadata != Metadata::NoMember || !c.keeps(Protection::RealMember)).then_some(metadata)
}

/// SEAL: under the newest snapshot, only if something moved.
fn seal(m: &mut Steps, l: usize) {
    let i = m.c.instance_of(l);
    let x = &m.s.instance[i];
    let Some(metadata) = newest_metadata(m.c, x) else { return };
    let mut next = *m.s;
    for t in (0..m.c.tasks).filter(|&t| m.c.lane_of(i, t) == l) {
        let Memory { stage, assignment, base, next: to, value, .. } = x.memory[t];
        if stage == Stage::Run && to > base && owned_by_snapshot(m.c, x, t, assignment) {
            let work = Work { from: base, to, value };
            next.lane[l].sealed[t] = Sealed { assignment, work, position: 0 };
            next.instance[i].memory[t].base = to;
        }
    }
    let lane = &mut next.lane[l];
    let Some(first) = lane.next_sealed(0) else { return };
    (lane.metadata, lane.newer) = (metadata, false);
    if lane.dirty && m.c.keeps(Protection::RecycleError) {
        (lane.phase, lane.current) = (Phase::NoProducer, false);
    } else {
        (lane.phase, lane.task, lane.dirty) = (Phase::Send, first as u8, false);
    }
    m.add("SEAL", Place::Lane(l), next);
}

/// One call on the wire: answered, or cut in one of the ways a connection can be lost.
fn in_call(m: &mut Steps, l: usize) {
    let Lane { phase, task, current, .. } = m.s.lane[l];
    let mut next = *m.s;
    if call(m.c, &mut next, l) {
        let (what, place) = match phase {
            Phase::Send => ("SEND", Place::LaneTask(l, task as usize)),
            Phase::Offsets => ("OFFSETS", Place::Lane(l)),
            Phase::Commit => ("COMMIT", Place::Lane(l)),
            _ => ("ABORT", Place::Lane(l)),
        };
        m.add(what, place, next);
    }
    if !current {
        return;
    }
    if m.s.left.late > 0 {
        for late in on_wire(m.c, m.s, l).into_iter().filter(|late| late.request != Request::None) {
            cut(m, l, late);
        }
    }
    if phase == Phase::Commit && m.s.left.unknowns > 0 {
        unknown(m, l);
    }
}

/// One try of the lane's present call; the process exits where the producer is fenced. False: the broker says "later".
fn call(c: &Config, next: &mut State, l: usize) -> bool {
    if !next.lane[l].current {
        process::end(c, next, c.instance_of(l));
        return true;
    }
    match next.lane[l].phase {
        Phase::Send => send(c, next, l),
        Phase::Offsets => offsets(c, next, l),
        Phase::Commit => commit(c, next, l),
        _ => abort(c, next, l),
    }
}

/// SEND of one task's records, to its delivery. WAIT: OFFSETS follows only the last delivery.
fn send(c: &Config, next: &mut State, l: usize) -> bool {
    let t = next.lane[l].task as usize;
    if next.add(l, 1 << t) == Answer::Later {
        return false;
    }
    let (seq, work) = (next.lane[l].seq[t], next.lane[l].sealed[t].work);
    let Some(position) = next.produce(c, l, t, (seq, work)) else {
        to_abort(c, &mut next.lane[l], false);
        return true;
    };
    let lane = &mut next.lane[l];
    lane.sealed[t].position = position;
    lane.seq[t] += 1;
    (lane.phase, lane.task) = match lane.next_sealed(t + 1) {
        Some(following) => (Phase::Send, following as u8),
        None => (Phase::Offsets, 0),
    };
    true
}

/// OFFSETS: next offsets as sealed, metadata as frozen at the seal.
fn offsets(c: &Config, next: &mut State, l: usize) -> bool {
    if next.add(l, crate::state::OFFSETS_PARTITION) == Answer::Later {
        return false;
    }
    let (metadata, work) = (metadata_of(c, next, l), next.lane[l].work());
    let answer = next.offsets(c, l, metadata, &work);
    match answer {
        Answer::Done => next.lane[l].phase = Phase::Commit,
        _ => to_abort(c, &mut next.lane[l], answer == Answer::GroupMoved),
    }
    true
}

/// COMMIT: never given up; an answer that is neither "done" nor "later" is fatal from the producer.
fn commit(c: &Config, next: &mut State, l: usize) -> bool {
    match next.end(l, true) {
        Answer::Done => next.lane[l].phase = Phase::Apply,
        Answer::Later => return false,
        _ => process::end(c, next, c.instance_of(l)),
    }
    true
}

fn abort(c: &Config, next: &mut State, l: usize) -> bool {
    if next.end(l, false) == Answer::Later {
        return false;
    }
    recycle::after_abort(c, &mut next.lane[l]);
    true
}

fn to_abort(c: &Config, lane: &mut Lane, moved: bool) {
    (lane.phase, lane.moved) = (Phase::Abort, moved);
    if moved && !c.keeps(Protection::NewerThanUsed) {
        lane.newer = false;
    }
}

/// The connection is lost, and the request on it will be late.
fn cut(m: &mut Steps, l: usize, late: Late) {
    let place = Place::Lane(l);
    let mut cut = *m.s;
    if !send_late(&mut cut, late) {
        return;
    }
    cut.lane[l].dirty = true;
    let mut next = cut;
    if call(m.c, &mut next, l) {
        m.fault(retried(late.request), place, next);
    }
    match m.s.lane[l].phase {
        // COMMIT never fails so: that is `unknown`.
        Phase::Commit => return,
        // Without the recycle an abort is repeated until it is answered.
        Phase::Abort if !m.c.keeps(Protection::RecycleAbort) => return,
        Phase::Abort => recycle::after_abort(m.c, &mut cut.lane[l]),
        _ => to_abort(m.c, &mut cut.lane[l], false),
    }
    m.fault(failed(late.request), place, cut);
}

fn retried(request: Request) -> &'static str {
    match request {
        Request::AddPartitions => "AddPartitions cut: the retry passes, the first copy is late",
        Request::Produce => "Produce cut: the retry passes, the first copy is late",
        Request::TxnOffsetCommit => "TxnOffsetCommit cut: the retry passes, the first copy is late",
        Request::Commit => "EndTxn(commit) cut: the retry passes, the first copy is late",
        _ => "EndTxn(abort) cut: the retry passes, the first copy is late",
    }
}

fn failed(request: Request) -> &'static str {
    match request {
        Request::AddPartitions => "AddPartitions cut: the call fails, the request is late",
        Request::Produce => "Produce cut: the call fails, the request is late",
        Request::TxnOffsetCommit => "TxnOffsetCommit cut: the call fails, the request is late",
        _ => "EndTxn(abort) cut: the call fails, the request is late",
    }
}

/// UNKNOWN: drop the memory of every task of the lane, recycle, RECOVER each.
fn unknown(m: &mut Steps, l: usize) {
    let mut never = *m.s;
    never.left.unknowns -= 1;
    let (mut arrived, mut late) = (never, never);
    give_up(m.c, &mut never, l);
    m.fault("COMMIT unknown: it never arrived", Place::Lane(l), never);
    if arrived.end(l, true) == Answer::Done {
        give_up(m.c, &mut arrived, l);
        m.fault("COMMIT unknown: it arrived", Place::Lane(l), arrived);
    }
    if send_late(&mut late, on_wire(m.c, m.s, l)[0]) {
        give_up(m.c, &mut late, l);
        m.fault("COMMIT unknown: it is late", Place::Lane(l), late);
    }
}

fn give_up(c: &Config, next: &mut State, l: usize) {
    let i = c.instance_of(l);
    let lane = &mut next.lane[l];
    (lane.current, lane.dirty) = (false, true);
    if !c.keeps(Protection::UnknownCommits) {
        lane.phase = Phase::Apply;
    } else if !c.keeps(Protection::UnknownRecovers) {
        (lane.phase, lane.again) = (Phase::NoProducer, true);
    } else {
        *lane = Lane::default();
        for t in (0..c.tasks).filter(|&t| c.lane_of(i, t) == l) {
            next.instance[i].memory[t] = Memory::default();
        }
    }
}

/// APPLY: the sealed values into the store, task by task, even if the task is lost by now.
fn apply(m: &mut Steps, l: usize) {
    let mut next = *m.s;
    let lane = &mut next.lane[l];
    let t = lane.next_sealed(0).expect("a lane applies what it has sealed");
    let Sealed { work, position, .. } = std::mem::take(&mut lane.sealed[t]);
    if !lane.holds_values() {
        lane.phase =
            if lane.current || m.c.keeps(Protection::UnknownCommits) { Phase::Idle } else { Phase::NoProducer };
    }
    next.instance[m.c.instance_of(l)].store[t] = Store { position: position + 1, next: work.to, value: work.value };
    m.add("APPLY", Place::LaneTask(l, t), next);
}
