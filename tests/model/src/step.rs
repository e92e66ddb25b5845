//! A step: what happened, where, and the state after it; and all steps that a state allows.
//!
//! Knows no rule of the protocol: it asks `network`, `group`, `process`, `recover`, `recycle` and `lane`, in this order.
//! `search` calls it for every state. Invariant: the states it hands out are normal: two that differ only in the order of
//! late requests or in the numbers of assignments (which are only ever compared) are one.

use crate::config::Config;
use crate::state::{Instance, State};
use crate::{group, lane, network, process, recover};
use std::fmt;

/// Where a step happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Group,
    Instance(usize),
    Lane(usize),
    InstanceTask(usize, usize),
    LaneTask(usize, usize),
    LanePartition(usize, u8),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Group => f.write_str("group"),
            Place::Instance(i) => write!(f, "instance {i}"),
            Place::Lane(l) => write!(f, "lane {l}"),
            Place::InstanceTask(i, t) => write!(f, "instance {i}, task {t}"),
            Place::LaneTask(l, t) => write!(f, "lane {l}, task {t}"),
            Place::LanePartition(l, 7) => write!(f, "lane {l}, offsets"),
            Place::LanePartition(l, t) => write!(f, "lane {l}, data of task {t}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub what: &'static str,
    pub place: Place,
    /// Counted in the budget; a fair run need not take it.
    pub fault: bool,
    pub next: State,
}

/// The steps of one state, as they are found.
pub struct Steps<'a> {
    pub c: &'a Config,
    pub s: &'a State,
    found: &'a mut Vec<Step>,
}

impl Steps<'_> {
    pub fn add(&mut self, what: &'static str, place: Place, next: State) {
        self.push(what, place, false, next);
    }

    pub fn fault(&mut self, what: &'static str, place: Place, next: State) {
        self.push(what, place, true, next);
    }

    fn push(&mut self, what: &'static str, place: Place, fault: bool, next: State) {
        self.found.push(Step { what, place, fault, next });
        let at = self.found.len() - 1;
        normalise(self.c, &mut self.found[at].next);
    }
}

/// Every step that `s` allows, into `found`.
pub fn steps(c: &Config, s: &State, found: &mut Vec<Step>) {
    found.clear();
    let mut steps = Steps { c, s, found };
    network::steps(&mut steps);
    group::steps(&mut steps);
    for i in 0..c.instances {
        group::session_end(&mut steps, i);
        if !s.instance[i].up {
            process::restart(&mut steps, i);
            continue;
        }
        group::client(&mut steps, i);
        process::kill(&mut steps, i);
        for t in 0..c.tasks {
            recover::steps(&mut steps, i, t);
        }
    }
    for l in 0..c.all_lanes() {
        lane::steps(&mut steps, l);
    }
}

fn normalise(c: &Config, s: &mut State) {
    s.late.sort_unstable();
    for i in 0..c.instances {
        for t in 0..c.tasks {
            renumber(&mut s.instance[i], t, &mut s.lane[c.lane_of(i, t)].sealed[t].assignment);
        }
    }
}

/// Assignment numbers get the smallest values that keep their order.
fn renumber(instance: &mut Instance, t: usize, sealed: &mut u8) {
    let held = [instance.owned[t], instance.snapshot_owned[t], instance.memory[t].assignment, *sealed];
    if held.iter().all(|&number| number <= 1) {
        return;
    }
    let mut sorted = held;
    sorted.sort_unstable();
    let rank = |number: u8| {
        let below = (0..4).filter(|&j| sorted[j] != 0 && sorted[j] < number && (j == 0 || sorted[j] != sorted[j - 1]));
        if number == 0 { 0 } else { below.count() as u8 + 1 }
    };
    instance.owned[t] = rank(held[0]);
    instance.snapshot_owned[t] = rank(held[1]);
    instance.memory[t].assignment = rank(held[2]);
    *sealed = rank(held[3]);
}
