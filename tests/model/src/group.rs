//! The group: classic protocol, cooperative, static members; and what an instance's consumer thread makes of it.
//!
//! Knows no transaction. `step` asks it for the group's own steps and for those of each living instance.
//! Each hand-over on the way is a step of its own: the generation moves, the client's own thread learns it, `poll` serves
//! the event, the *assignment snapshot* is published. Pauses need no step: a process that does nothing is a paused one.
//! Invariant: a task goes to another member only after its owner's `poll` has served the revoke, or the owner's session ended.

use crate::config::Config;
use crate::state::{Instance, Membership, Metadata, NOBODY, Name, Request, State, TASKS};
use crate::step::{Place, Steps};
use crate::words::{Extra, Protection};

/// Stands for a number of assignment never used before; `step` renumbers it.
const NEW_ASSIGNMENT: u8 = 100;

pub fn steps(m: &mut Steps) {
    wish(m);
    let members = || members(m.c, m.s);
    let wanted = m.s.group_moves || (0..m.c.tasks).any(|t| m.s.assigned[t] != m.s.target[t]);
    if wanted && members().next().is_some() && members().all(|i| joins(&m.s.instance[i])) {
        let mut next = *m.s;
        new_generation(m.c, &mut next);
        m.add("all joined: the generation moves", Place::Group, next);
    }
}

fn members(c: &Config, s: &State) -> impl Iterator<Item = usize> {
    (0..c.instances).filter(|&i| s.instance[i].member != Membership::No)
}

/// Whether a member answers the call to join: a client with events unserved does not.
fn joins(x: &Instance) -> bool {
    x.member == Membership::Joining || (x.up && x.metadata == Metadata::Current && !x.event && !x.lost)
}

/// Something makes the leader want a task elsewhere.
fn wish(m: &mut Steps) {
    if m.s.left.rebalances == 0 {
        return;
    }
    for t in 0..m.c.tasks {
        for i in members(m.c, m.s).filter(|&i| m.s.target[t] != i as u8) {
            let mut next = *m.s;
            next.left.rebalances -= 1;
            next.target[t] = i as u8;
            m.fault("rebalance wanted: this task to this instance", Place::InstanceTask(i, t), next);
        }
    }
}

/// Cooperative: a task whose owner still claims it is first taken away, and given to the new one a generation later.
fn new_generation(c: &Config, next: &mut State) {
    let heir = members(c, next).next().expect("a generation has members") as u8;
    for t in 0..c.tasks {
        let target = next.target[t];
        if target == NOBODY || next.instance[target as usize].member == Membership::No {
            next.target[t] = heir;
        }
        let claims = |x: &Instance| x.member == Membership::InGeneration && x.owned[t] != 0;
        let claim = next.instance[..c.instances].iter().position(claims);
        next.assigned[t] = match claim {
            Some(i) if i as u8 != next.target[t] => NOBODY,
            _ => next.target[t],
        };
    }
    next.group_moves = false;
    for i in 0..c.instances {
        outdate(c, next, i);
        if next.instance[i].member == Membership::Joining {
            next.instance[i].member = Membership::InGeneration;
            next.instance[i].metadata = Metadata::Outdated;
        }
    }
}

/// Everything held about this membership is out of date: by the client, by snapshots, lanes, and requests on their way.
pub fn outdate(c: &Config, next: &mut State, i: usize) {
    let outdated = |metadata: &mut Metadata| {
        if *metadata == Metadata::Current {
            *metadata = Metadata::Outdated;
        }
    };
    outdated(&mut next.instance[i].metadata);
    outdated(&mut next.instance[i].snapshot_metadata);
    for lane in &mut next.lane[c.lanes_of(i)] {
        outdated(&mut lane.metadata);
    }
    for late in &mut next.late {
        if late.request == Request::TxnOffsetCommit && c.instance_of(late.lane as usize) == i {
            outdated(&mut late.metadata);
        }
    }
}

/// The tasks of an instance in the present generation, as bits.
pub fn assigned_tasks(c: &Config, s: &State, i: usize) -> u8 {
    (0..c.tasks).filter(|&t| s.assigned[t] == i as u8).map(|t| 1 << t).sum()
}

/// The client's own thread has the present generation; the event waits for `poll`.
pub fn learn(c: &Config, next: &mut State, i: usize) {
    let event_tasks = assigned_tasks(c, next, i);
    let x = &mut next.instance[i];
    (x.metadata, x.event, x.event_tasks) = (Metadata::Current, true, event_tasks);
}

/// A dead member's session ends for sure; a living one's is a fault: it goes on as a zombie.
pub fn session_end(m: &mut Steps, i: usize) {
    let x = &m.s.instance[i];
    if x.member == Membership::No || (x.up && m.s.left.zombies == 0) {
        return;
    }
    let mut next = *m.s;
    outdate(m.c, &mut next, i);
    next.instance[i].member = Membership::No;
    next.group_moves = true;
    let heir = members(m.c, m.s).find(|&other| other != i);
    for t in 0..m.c.tasks {
        if next.assigned[t] == i as u8 {
            next.assigned[t] = NOBODY;
        }
        if let (Some(heir), true) = (heir, next.target[t] == i as u8) {
            next.target[t] = heir as u8;
        }
    }
    if x.up {
        next.left.zombies -= 1;
        m.fault("session ends: the group removes a living instance", Place::Instance(i), next);
    } else {
        m.add("session ends: the group removes a dead instance", Place::Instance(i), next);
    }
}

/// What the client's own thread and the consumer thread of a living instance do.
pub fn client(m: &mut Steps, i: usize) {
    hears(m, i);
    let x = &m.s.instance[i];
    if x.event && !x.served {
        let mut next = *m.s;
        serve(m.c, &mut next.instance[i]);
        m.add("poll serves the rebalance event", Place::Instance(i), next);
    }
    if x.lost && !x.event && !x.served {
        let mut next = *m.s;
        let lost = &mut next.instance[i];
        (lost.owned, lost.lost, lost.served, lost.name) = ([0; TASKS], false, true, Name::Known);
        m.add("poll serves 'assignment lost'", Place::Instance(i), next);
    }
    if x.served {
        let mut next = *m.s;
        publish(m.c, &mut next, i);
        m.add("assignment snapshot published", Place::Instance(i), next);
    }
}

/// The client's own thread, which needs no `poll`.
fn hears(m: &mut Steps, i: usize) {
    let x = &m.s.instance[i];
    let out = x.member == Membership::No;
    if x.member == Membership::InGeneration && x.metadata == Metadata::Outdated {
        let mut next = *m.s;
        learn(m.c, &mut next, i);
        m.add("client learns generation and assignment", Place::Instance(i), next);
    }
    if out && x.metadata != Metadata::NoMember {
        let mut next = *m.s;
        (next.instance[i].metadata, next.instance[i].lost) = (Metadata::NoMember, true);
        m.add("client hears UnknownMemberId", Place::Instance(i), next);
    }
    if out && x.metadata != Metadata::NoMember && x.event && m.c.adds(Extra::Unheard) {
        let mut next = *m.s;
        (next.instance[i].metadata, next.instance[i].name) = (Metadata::NoMember, Name::Lost);
        m.add("client hears UnknownMemberId in a rebalance, and does not tell", Place::Instance(i), next);
    }
    let nothing_open = !x.lost && !x.event && !x.served && x.owned == [0; TASKS];
    let keeps_all = x.name == Name::Lost && !x.event;
    if out && x.metadata == Metadata::NoMember && (nothing_open || keeps_all) {
        let mut next = *m.s;
        (next.instance[i].member, next.instance[i].metadata) = (Membership::Joining, Metadata::Outdated);
        next.group_moves = true;
        m.add("client joins", Place::Instance(i), next);
    }
}

/// Revoke: unassign, tell, return. Assign: every task that comes gets a new number.
fn serve(c: &Config, x: &mut Instance) {
    for t in 0..c.tasks {
        let mine = x.event_tasks & (1 << t) != 0;
        x.owned[t] = match (x.owned[t], mine) {
            (_, false) => 0,
            (0, true) => NEW_ASSIGNMENT,
            (kept, true) => kept,
        };
    }
    (x.event, x.event_tasks, x.served) = (false, 0, true);
    if x.name == Name::Lost && x.metadata != Metadata::NoMember {
        x.name = Name::New;
    }
    x.assigned |= c.adds(Extra::InitAll) || (c.adds(Extra::InitOwner) && x.owned != [0; TASKS]);
}

/// The group went on without it, and others may have had its tasks: each is given back and taken under a new number.
fn take_again(c: &Config, x: &mut Instance) {
    if c.keeps(Protection::Unbroken) {
        x.owned.iter_mut().filter(|number| **number != 0).for_each(|number| *number = NEW_ASSIGNMENT);
    }
}

/// The assignment snapshot: owned tasks and group metadata, read together. An empty event publishes one too.
fn publish(c: &Config, next: &mut State, i: usize) {
    let x = &mut next.instance[i];
    x.served = false;
    if x.name == Name::New {
        x.name = Name::Known;
        take_again(c, x);
    }
    if !c.keeps(Protection::PublishEmpty) && x.owned == x.snapshot_owned {
        return;
    }
    let unserved = x.name == Name::Lost && c.keeps(Protection::Unbroken);
    (x.snapshot_metadata, x.snapshot_owned) = (if unserved { Metadata::NoMember } else { x.metadata }, x.owned);
    for lane in &mut next.lane[c.lanes_of(i)] {
        lane.newer = true;
    }
}
