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

impl Membership {
    /// Has this member been in every generation since the last time? One that was skipped may have given our tasks away.
    pub fn is_unbroken(&mut self, id: &str, generation: i32) -> bool {
        if id.is_empty() || generation < 0 {
            return true; // nobody, who owns nothing; the next name will tell
        }
        let before = self.0.replace((id.to_owned(), generation));
        before.is_none_or(|(known, last)| known == id && generation <= last.saturating_add(1))
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
        assert!(known.is_unbroken("a", 1) && known.is_unbroken("a", 1) && known.is_unbroken("a", 2));
        // Lost, and back under a new name: also when a moment without one lies between.
        assert!(known.is_unbroken("", 2) && !known.is_unbroken("b", 3));
        assert!(known.is_unbroken("b", 4) && !known.is_unbroken("b", 6));
        assert!(known.is_unbroken("b", 7));
    }

    #[test]
    fn a_snapshot_without_a_member_owns_nothing() {
        let a = Assignment { version: 1, owned: [(task(), 7)].into(), member: Member::Nobody };
        assert!(!a.owns(&task(), 7));
        assert_eq!(a.generation(), -1);
    }
}
