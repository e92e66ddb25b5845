//! The producer's life: `init_transactions` (RECOVER 1, and the end of every recycle), and the same values again after an abort.
//!
//! Knows no single call of a transaction. `lane` calls it. To recycle is to drop the producer and to create it anew: the epoch
//! moves, so whatever of it is still in the network is fenced.
//! Invariant: values once left out are never sent.

use crate::config::Config;
use crate::lane::{newest_metadata, owned_by_snapshot};
use crate::network::{on_wire, send_late};
use crate::state::{Lane, Phase, Sealed, State, TASKS};
use crate::step::{Place, Steps};
use crate::words::Protection;

/// Never before there is something to do for it; while control records are being written the broker answers "later".
pub fn init_transactions(m: &mut Steps, l: usize) {
    let i = m.c.instance_of(l);
    let owns = (0..m.c.tasks).any(|t| m.c.lane_of(i, t) == l && m.s.instance[i].owned[t] != 0);
    let wanted = owns || m.s.lane[l].holds_values() || m.s.instance[i].assigned;
    if !wanted || m.s.txn[l].deciding() {
        return;
    }
    let mut next = *m.s;
    answered(&mut next, l);
    let first = !m.s.lane[l].holds_values();
    let what = if first { "RECOVER 1: init_transactions" } else { "recycle: init_transactions" };
    m.add(what, Place::Lane(l), next);
    let mut next = *m.s;
    if send_late(&mut next, on_wire(m.c, m.s, l)[0]) {
        answered(&mut next, l);
        m.fault("init_transactions cut: the retry passes, the first copy is late", Place::Lane(l), next);
    }
}

fn answered(next: &mut State, l: usize) {
    if !next.init(l) {
        return;
    }
    let lane = &mut next.lane[l];
    (lane.current, lane.dirty, lane.seq, lane.task) = (true, false, [0; TASKS], 0);
    lane.phase = match lane.next_sealed(0) {
        None => Phase::Idle,
        Some(_) if lane.again => Phase::Again,
        Some(first) => {
            lane.task = first as u8;
            Phase::Send
        }
    };
}

/// After an abort the lane recycles, always.
pub fn after_abort(c: &Config, lane: &mut Lane) {
    lane.again = true;
    if c.keeps(Protection::RecycleAbort) {
        (lane.phase, lane.current) = (Phase::NoProducer, false);
    } else {
        lane.phase = Phase::Again;
    }
}

/// The same values again, under the newest snapshot; what it does not own under the same number is left out.
/// After a refusal because the group moved: once a snapshot newer than the one used is out.
pub fn again(m: &mut Steps, l: usize) {
    let x = &m.s.instance[m.c.instance_of(l)];
    let lane = &m.s.lane[l];
    let Some(metadata) = newest_metadata(m.c, x) else { return };
    if lane.moved && !lane.newer {
        return;
    }
    let mut next = *m.s;
    let lane = &mut next.lane[l];
    for (t, sealed) in lane.sealed.iter_mut().enumerate() {
        if m.c.keeps(Protection::FilterLost) && !owned_by_snapshot(m.c, x, t, sealed.assignment) {
            *sealed = Sealed::default();
        }
    }
    (lane.moved, lane.again, lane.newer) = (false, false, false);
    lane.metadata = metadata;
    (lane.phase, lane.task) = match lane.next_sealed(0) {
        Some(first) => (Phase::Send, first as u8),
        None => (Phase::Idle, lane.task),
    };
    m.add("the same values again, lost tasks left out", Place::Lane(l), next);
}
