//! The assignment snapshot: owned tasks and group metadata, read together.
//!
//! Published by the consumer thread after every poll that served a rebalance (an empty one counts); taken by a lane at
//! its seal and whenever values are sent again, and never refreshed in between.
//! Invariant: a number names one assignment of one task, and is never used twice in a process.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidemill_topology::TaskId;

/// What this process owned at one moment, and as which member of the group.
#[derive(Clone)]
pub struct Assignment {
    /// Grows with every snapshot.
    pub version: u64,
    /// The number of each owned task's assignment.
    pub owned: BTreeMap<TaskId, u64>,
    pub member: Member,
}

/// Who the group says we are.
#[derive(Clone)]
pub enum Member {
    /// No member id or no generation: the broker would accept offsets from anybody, so such a snapshot owns nothing.
    Nobody,
    /// A real member; the metadata is whatever the committer's side needs to prove it.
    Of { generation: i32, metadata: Arc<dyn Any + Send + Sync> },
}

/// Whom the group said we were, to see whether it has gone on without us. A client that loses its membership while a
/// rebalance is under way never says so: it joins anew, and keeps tasks that others have had meanwhile.
#[derive(Debug, Default)]
pub struct Membership(Option<(String, i32)>);

/// What the tasks are worth that a member still has after a rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// They were its own all the time, or it is nobody, who owns nothing.
    Ours,
    /// The group went on without it and has now said which are its own: others may have had them meanwhile.
    Doubtful,
    /// It has a new name, and what the group gives to that name has not been served: they may be another's now.
    Unserved,
}

impl Membership {
    /// Has this member been in every generation since the last time? One that was skipped may have given our tasks away.
    /// `served`: its id when the last rebalance was served.
    pub fn kept(&mut self, served: &str, id: &str, generation: i32) -> Kept {
        if id.is_empty() || generation < 0 {
            return Kept::Ours; // nobody; the next name will tell
        }
        if served != id {
            return Kept::Unserved;
        }
        let before = self.0.replace((id.to_owned(), generation));
        match before.is_none_or(|(known, last)| known == id && generation <= last.saturating_add(1)) {
            true => Kept::Ours,
            false => Kept::Doubtful,
        }
    }
}

impl Assignment {
    /// Before the first rebalance.
    pub fn none() -> Assignment {
        Assignment { version: 0, owned: BTreeMap::new(), member: Member::Nobody }
    }

    /// May values of this task, worked under this assignment number, be committed under this snapshot?
    pub fn owns(&self, task: &TaskId, number: u64) -> bool {
        matches!(self.member, Member::Of { .. }) && self.owned.get(task) == Some(&number)
    }

    pub fn generation(&self) -> i32 {
        match self.member {
            Member::Nobody => -1,
            Member::Of { generation, .. } => generation,
        }
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot {} generation {} owns {:?}", self.version, self.generation(), self.owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> TaskId {
        TaskId { stage: "s".into(), topic: "t".into(), partition: 0 }
    }

    #[test]
    fn only_the_same_number_goes_together() {
        let member = Member::Of { generation: 3, metadata: Arc::new(()) };
        let a = Assignment { version: 1, owned: [(task(), 7)].into(), member };
        assert!(a.owns(&task(), 7));
        assert!(!a.owns(&task(), 6));
    }

    #[test]
    fn a_member_with_a_new_name_or_after_a_gap_has_been_out_of_the_group() {
        let mut known = Membership::default();
        let mut ask = |served, id, generation| known.kept(served, id, generation);
        assert_eq!([ask("a", "a", 1), ask("a", "a", 1), ask("a", "a", 2)], [Kept::Ours; 3]);
        // Lost, and back under a new name: also when a moment without one lies between.
        assert_eq!([ask("a", "", 2), ask("b", "b", 3)], [Kept::Ours, Kept::Doubtful]);
        assert_eq!([ask("b", "b", 4), ask("b", "b", 6)], [Kept::Ours, Kept::Doubtful]);
        assert_eq!(ask("b", "b", 7), Kept::Ours);
        // Quicker back than its snapshot was out: until it has heard what is its own, nothing is.
        assert_eq!(
            [ask("b", "c", 8), ask("b", "c", 8), ask("c", "c", 8)],
            [Kept::Unserved, Kept::Unserved, Kept::Doubtful]
        );
    }

    #[test]
    fn a_snapshot_without_a_member_owns_nothing() {
        let a = Assignment { version: 1, owned: [(task(), 7)].into(), member: Member::Nobody };
        assert!(!a.owns(&task(), 7));
        assert_eq!(a.generation(), -1);
    }
}
