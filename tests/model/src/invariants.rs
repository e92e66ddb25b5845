//! The invariants I1 to I4, asked of every state, and the end that I5 wants to stay reachable.
//!
//! Knows no step. `search` calls it. Invariant: a state it passes has lost, doubled and torn nothing.

use crate::config::Config;
use crate::state::{Fate, OFFSETS_PARTITION, Stage, State};
use std::fmt;

/// What a state breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Duplicate,
    Loss,
    WrongValue,
    Torn,
    Store,
    Halt,
    Misplaced,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::Duplicate => "I1: the committed output holds a record twice",
            Broken::Loss => "I1: the committed output misses a record",
            Broken::WrongValue => "I1: the committed output has a wrong value",
            Broken::Torn => "I1: committed output and committed offsets differ",
            Broken::Store => "I2: a store is not the committed prefix at its position",
            Broken::Halt => "I3: RECOVER halts",
            Broken::Misplaced => "I4: a commit whose work began elsewhere than at the committed offset",
        })
    }
}

pub fn broken(c: &Config, s: &State) -> Option<Broken> {
    if s.misplaced {
        return Some(Broken::Misplaced);
    }
    (0..c.tasks).find_map(|t| output(c, s, t).or_else(|| instances(c, s, t)))
}

/// I1: the committed output is what the committed inputs give, each once and in order.
fn output(c: &Config, s: &State, t: usize) -> Option<Broken> {
    let mut at = 0;
    for entry in s.log[t].entries().iter().filter(|e| e.fate == Fate::Committed) {
        let work = entry.work;
        match work.from.cmp(&at) {
            std::cmp::Ordering::Less => return Some(Broken::Duplicate),
            std::cmp::Ordering::Greater => return Some(Broken::Loss),
            std::cmp::Ordering::Equal if work.value != work.to => return Some(Broken::WrongValue),
            std::cmp::Ordering::Equal => at = work.to,
        }
    }
    let settling = s.txn[..c.all_lanes()]
        .iter()
        .any(|x| x.unwritten & (1 << t) != 0 || (x.unwritten & OFFSETS_PARTITION != 0 && x.pending[t].to != 0));
    (!settling && at != s.committed[t]).then_some(Broken::Torn)
}

/// I3: no task halts. I2: every store, also a former owner's, is the committed prefix at its position.
fn instances(c: &Config, s: &State, t: usize) -> Option<Broken> {
    for x in &s.instance[..c.instances] {
        if x.memory[t].stage == Stage::Halt {
            return Some(Broken::Halt);
        }
        let store = x.store[t];
        let prefix = &s.log[t].entries()[..store.position.min(s.log[t].len()) as usize];
        let last = prefix.iter().rev().find(|e| s.decided(e));
        if (store.next, store.value) != last.map_or((0, 0), |e| (e.work.to, e.work.value)) {
            return Some(Broken::Store);
        }
    }
    None
}

/// The end: all input committed, all control records written.
pub fn finished(c: &Config, s: &State) -> bool {
    s.committed[..c.tasks].iter().all(|&at| at == c.records) && s.txn[..c.all_lanes()].iter().all(|x| x.unwritten == 0)
}
