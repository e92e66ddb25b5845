//! The fake group coordinator: classic protocol, cooperative, static or dynamic members.
//!
//! Knows no transaction. `world` moves it; each hand-over on the way to a process is a step of its own there.
//! Invariant: a partition goes to another member only after its owner has served the revoke, or its session ended.

use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What `consumer.group_metadata()` would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// None: the client has heard UnknownMemberId.
    pub member: Option<u64>,
    pub generation: i32,
}

pub const NO_MEMBER: Metadata = Metadata { member: None, generation: -1 };

#[derive(Debug)]
pub struct Member {
    pub id: u64,
    /// In the present generation; false: it waits to get in.
    pub joined: bool,
}

#[derive(Debug)]
pub struct Group {
    pub stat: bool,
    pub generation: i32,
    pub members: BTreeMap<usize, Member>,
    pub assigned: Vec<Option<usize>>,
    pub target: Vec<Option<usize>>,
    pub moves: bool,
    next_id: u64,
}

impl Group {
    pub fn new(partitions: usize, stat: bool) -> Group {
        let nobody = vec![None; partitions];
        Group {
            stat,
            generation: 0,
            members: BTreeMap::new(),
            assigned: nobody.clone(),
            target: nobody,
            moves: false,
            next_id: 1,
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// A process starts, or comes back. A static member takes its old place, with a new member id and no rebalance.
    pub fn join(&mut self, instance: usize) {
        let id = self.new_id();
        match self.members.get_mut(&instance) {
            Some(member) if self.stat => member.id = id,
            _ => {
                self.leave(instance);
                self.members.insert(instance, Member { id, joined: false });
                self.moves = true;
            }
        }
    }

    /// Its session is over, or a dynamic member is replaced.
    pub fn leave(&mut self, instance: usize) {
        if self.members.remove(&instance).is_none() {
            return;
        }
        self.moves = true;
        for slot in self.assigned.iter_mut().filter(|s| **s == Some(instance)) {
            *slot = None;
        }
    }

    /// Whether the leader wants another assignment than there is.
    pub fn wants(&self) -> bool {
        self.moves || self.assigned != self.target
    }

    /// All have joined. `claims`: who still has a partition in hand; such a one is first taken away.
    pub fn new_generation(&mut self, claims: &dyn Fn(usize, i32) -> bool, rng: &mut Rng) {
        let members: Vec<usize> = self.members.keys().copied().collect();
        for p in 0..self.target.len() {
            if self.target[p].is_none_or(|i| !self.members.contains_key(&i)) {
                self.target[p] = Some(members[rng.below(members.len())]);
            }
            let claim = members.iter().find(|&&i| self.members[&i].joined && claims(i, p as i32));
            self.assigned[p] = match claim {
                Some(&i) if Some(i) != self.target[p] => None,
                _ => self.target[p],
            };
        }
        self.generation += 1;
        self.moves = false;
        self.members.values_mut().for_each(|m| m.joined = true);
    }

    /// The metadata that would pass now.
    pub fn current(&self, instance: usize) -> Option<Metadata> {
        let member = self.members.get(&instance).filter(|m| m.joined)?;
        Some(Metadata { member: Some(member.id), generation: self.generation })
    }

    pub fn assigned_to(&self, instance: usize) -> BTreeSet<i32> {
        let mine = |(p, i): (usize, &Option<usize>)| (*i == Some(instance)).then_some(p as i32);
        self.assigned.iter().enumerate().filter_map(mine).collect()
    }

    /// TxnOffsetCommit: member and generation are checked when the request arrives.
    pub fn accepts(&self, metadata: Metadata) -> bool {
        match metadata.member {
            None if metadata.generation < 0 => !self.stat || self.members.is_empty(),
            None => false,
            Some(id) => self.generation == metadata.generation && self.members.values().any(|m| m.id == id && m.joined),
        }
    }
}
