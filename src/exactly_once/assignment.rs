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
    fn a_snapshot_without_a_member_owns_nothing() {
        let a = Assignment { version: 1, owned: [(task(), 7)].into(), member: Member::Nobody };
        assert!(!a.owns(&task(), 7));
        assert_eq!(a.generation(), -1);
    }
}
