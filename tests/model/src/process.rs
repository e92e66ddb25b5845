//! A process ends and starts: kill -9 at any moment, the exit of a fenced lane, the restart under the same ids.
//!
//! Knows no step of a lane. `step` asks it for kills and restarts; `lane` ends the process through `end`.
//! Invariant: only the stores and the broker's memory of the member outlive a process.

use crate::config::Config;
use crate::group;
use crate::network::{on_wire, send_late};
use crate::state::{Instance, Lane, Membership, Metadata, Request, State};
use crate::step::{Place, Steps};
use crate::words::Extra;

/// The process ends: kill -9, or an exit on "fenced".
pub fn end(c: &Config, next: &mut State, i: usize) {
    let Instance { store, member, .. } = next.instance[i];
    next.instance[i] = Instance { store, member, ..Instance::default() };
    next.lane[c.lanes_of(i)].fill(Lane::default());
}

pub fn kill(m: &mut Steps, i: usize) {
    if m.s.left.crashes == 0 {
        return;
    }
    let mut next = *m.s;
    next.left.crashes -= 1;
    end(m.c, &mut next, i);
    m.fault("kill -9", Place::Instance(i), next);
    for l in m.c.lanes_of(i) {
        if m.s.lane[l].current {
            kill_in_call(m, i, l);
        }
    }
}

fn kill_in_call(m: &mut Steps, i: usize, l: usize) {
    for late in on_wire(m.c, m.s, l) {
        let mut next = *m.s;
        next.left.crashes -= 1;
        if send_late(&mut next, late) {
            end(m.c, &mut next, i);
            m.fault(killed_during(late.request), Place::Lane(l), next);
        }
    }
}

fn killed_during(request: Request) -> &'static str {
    match request {
        Request::None => "kill -9",
        Request::AddPartitions => "kill -9, AddPartitions still on its way",
        Request::Produce => "kill -9, Produce still on its way",
        Request::TxnOffsetCommit => "kill -9, TxnOffsetCommit still on its way",
        Request::Commit => "kill -9, EndTxn(commit) still on its way",
        Request::Abort => "kill -9, EndTxn(abort) still on its way",
        Request::InitProducerId => "kill -9, InitProducerId still on its way",
    }
}

/// A static member that the group still knows gets a new member id and the old assignment; the generation stays.
pub fn restart(m: &mut Steps, i: usize) {
    if m.c.adds(Extra::NoRestart) {
        return;
    }
    let mut next = *m.s;
    next.instance[i].up = true;
    match m.s.instance[i].member {
        Membership::No => next.instance[i].metadata = Metadata::NoMember,
        Membership::InGeneration => {
            group::outdate(m.c, &mut next, i);
            group::learn(m.c, &mut next, i);
        }
        Membership::Joining => {
            group::outdate(m.c, &mut next, i);
            next.instance[i].metadata = Metadata::Outdated;
            next.instance[i].event_tasks = group::assigned_tasks(m.c, m.s, i);
        }
    }
    m.add("restart under the same ids", Place::Instance(i), next);
}
