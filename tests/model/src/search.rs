//! The search: every reachable state once, breadth first, so that a counterexample is a shortest one; then I5.
//!
//! Knows steps and invariants only by their calls. The command line and the tests call `check`.
//! I5 is judged backwards: from every state the end must be reachable over steps that are no faults.
//! Invariant: the same configuration gives the same verdict, counts and trace, always.

use crate::config::Config;
use crate::invariants::{Broken, broken, finished};
use crate::state::State;
use crate::step::{Step, steps};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// I1 to I5 hold in every state.
    Holds,
    Broken(Broken),
    /// I5: so many states cannot reach the end.
    Deadlock(usize),
    /// Nothing broken up to the bound; I5 not judged.
    Bound,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub verdict: Verdict,
    pub states: usize,
    /// Steps that are no faults, between different states.
    pub edges: usize,
    pub depth: usize,
    /// The shortest way to what is broken, a step a line.
    pub trace: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { states, depth, .. } = self;
        match self.verdict {
            Verdict::Holds => write!(f, "holds: {states} states, {} edges, depth {depth}", self.edges),
            Verdict::Broken(Broken::Halt) => write!(f, "HALT {}: {states} states, depth {depth}", Broken::Halt),
            Verdict::Broken(what) => write!(f, "VIOLATION {what}: {states} states, depth {depth}"),
            Verdict::Deadlock(stuck) => {
                write!(f, "DEADLOCK I5: {stuck} of {states} states cannot reach the end, depth {depth}")
            }
            Verdict::Bound => write!(f, "bound: nothing broken in {states} states, depth {depth}; I5 not judged"),
        }
    }
}

/// 128 bits of a state: with 10^8 states the odds of one collision are below 10^-22.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fingerprint(u64, u64);

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A fingerprint is its own hash.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint is hashed as one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(s: &State) -> Fingerprint {
    let (words, rest) = s.bytes().as_chunks::<8>();
    let (mut p, mut q) = (0, 0);
    let mut take = |word: u64| {
        p = (u64::rotate_left(p, 5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        q = (u64::rotate_left(q, 23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    };
    for word in words {
        take(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    take(u64::from_le_bytes(last));
    Fingerprint(mix(p), mix(q))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 29)
}

struct Search<'a> {
    c: &'a Config,
    seen: HashMap<Fingerprint, u32, BuildHasherDefault<Same>>,
    /// How a state was first reached: from which, by which of its steps.
    parent: Vec<(u32, u16)>,
    /// Edges that a fair run takes, to and from.
    edges: Vec<(u32, u32)>,
    ends: Vec<u32>,
    depth: usize,
}

/// Runs one configuration to its verdict.
pub fn check(c: &Config) -> Report {
    let mut search =
        Search { c, seen: HashMap::default(), parent: vec![(0, 0)], edges: vec![], ends: vec![], depth: 0 };
    let (verdict, at) = match search.explore() {
        Err((what, at)) => (Verdict::Broken(what), Some(at)),
        Ok(false) => (Verdict::Bound, None),
        Ok(true) => search.deadlock(),
    };
    let trace = at.map_or_else(Vec::new, |at| search.trace(at));
    Report { verdict, states: search.parent.len(), edges: search.edges.len(), depth: search.depth, trace }
}

impl Search<'_> {
    /// Every state; false: the bound came first.
    fn explore(&mut self) -> Result<bool, (Broken, usize)> {
        let start = self.c.start();
        self.seen.insert(fingerprint(&start), 0);
        let mut level = vec![(0, start)];
        let mut found = Vec::with_capacity(64);
        while !level.is_empty() {
            let mut next = Vec::with_capacity(level.len());
            for (id, s) in level {
                if finished(self.c, &s) {
                    self.ends.push(id);
                }
                steps(self.c, &s, &mut found);
                self.expand(id, &found, &mut next)?;
                if self.parent.len() > self.c.bound {
                    return Ok(false);
                }
            }
            level = next;
            self.depth += 1;
        }
        Ok(true)
    }

    fn expand(&mut self, id: u32, found: &[Step], level: &mut Vec<(u32, State)>) -> Result<(), (Broken, usize)> {
        for (k, step) in found.iter().enumerate() {
            let to = match self.seen.entry(fingerprint(&step.next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let to = self.parent.len() as u32;
                    new.insert(to);
                    self.parent.push((id, k as u16));
                    if let Some(what) = broken(self.c, &step.next) {
                        self.depth += 1;
                        return Err((what, to as usize));
                    }
                    level.push((to, step.next));
                    to
                }
            };
            if !step.fault && to != id {
                self.edges.push((to, id));
            }
        }
        Ok(())
    }

    /// I5, from the ends backwards.
    fn deadlock(&mut self) -> (Verdict, Option<usize>) {
        self.seen = HashMap::default();
        let states = self.parent.len();
        let mut first = vec![0u32; states + 1];
        for &(to, _) in &self.edges {
            first[to as usize] += 1;
        }
        let mut sum = 0;
        for slot in &mut first {
            sum += *slot;
            *slot = sum;
        }
        let mut from = vec![0u32; self.edges.len()];
        for &(to, id) in &self.edges {
            first[to as usize] -= 1;
            from[first[to as usize] as usize] = id;
        }
        let mut good = vec![false; states];
        let mut stack = std::mem::take(&mut self.ends);
        while let Some(state) = stack.pop() {
            if !std::mem::replace(&mut good[state as usize], true) {
                let (begin, end) = (first[state as usize], first[state as usize + 1]);
                stack.extend(&from[begin as usize..end as usize]);
            }
        }
        match good.iter().position(|good| !good) {
            None => (Verdict::Holds, None),
            at => (Verdict::Deadlock(good.iter().filter(|good| !**good).count()), at),
        }
    }

    fn trace(&self, mut at: usize) -> Vec<String> {
        let mut path = vec![];
        while at != 0 {
            let (before, k) = self.parent[at];
            path.push(k as usize);
            at = before as usize;
        }
        let (mut s, mut found, mut lines) = (self.c.start(), vec![], vec![]);
        for k in path.into_iter().rev() {
            steps(self.c, &s, &mut found);
            let Step { what, place, fault, next } = found.swap_remove(k);
            lines.push(format!("{:3}. {what} ({place}){}", lines.len() + 1, if fault { "  [fault]" } else { "" }));
            s = next;
        }
        lines.extend(s.txn[..self.c.all_lanes()].iter().enumerate().map(|(l, x)| format!("     lane {l}: {x:?}")));
        for t in 0..self.c.tasks {
            lines.push(format!("     task {t}: committed {}, log {:?}", s.committed[t], s.log[t].entries()));
        }
        lines
    }
}
