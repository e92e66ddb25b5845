//! Where the newest assignment snapshot stands, for every lane to take.
//!
//! Published by the consumer thread alone; read by lanes and committer threads, which may wait for a newer one.
//! Invariant: versions grow, and a snapshot never changes once it is out.

use crate::exactly_once::{Assignment, Member, Protections};
use rdkafka::consumer::ConsumerGroupMetadata;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Metadata asked for anew: what controls use to show why a snapshot is taken whole.
pub(super) type LiveMetadata = Box<dyn Fn() -> Option<ConsumerGroupMetadata> + Send + Sync>;

/// The newest [`Assignment`], and a bell for the next.
pub struct Snapshots {
    newest: Mutex<Arc<Assignment>>,
    published: Condvar,
    live: OnceLock<LiveMetadata>,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots { newest: Mutex::new(Arc::new(Assignment::none())), published: Condvar::new(), live: OnceLock::new() }
    }
}

impl Snapshots {
    pub fn newest(&self) -> Arc<Assignment> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a seal takes: the newest snapshot, whole. (Without `atomic_snapshot`: its tasks with metadata of now.)
    pub fn for_seal(&self, protections: Protections) -> Arc<Assignment> {
        let newest = self.newest();
        if protections.on("atomic_snapshot") {
            return newest;
        }
        let Some(metadata) = self.live_metadata() else { return newest };
        let member = Member::Of { generation: newest.generation(), metadata: Arc::new(metadata) };
        Arc::new(Assignment { version: newest.version, owned: newest.owned.clone(), member })
    }

    pub(super) fn ask_live(&self, ask: LiveMetadata) {
        let set = self.live.set(ask);
        debug_assert!(set.is_ok(), "one consumer a process");
    }

    pub(super) fn live_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.live.get().and_then(|ask| ask())
    }

    pub fn publish(&self, snapshot: Assignment) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.published.notify_all();
    }

    /// The newest snapshot as soon as its version is above `version`; `None` when `patience` is over first.
    pub fn newer_than(&self, version: u64, patience: Duration) -> Option<Arc<Assignment>> {
        let until = Instant::now() + patience;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        while newest.version <= version {
            let left = until.checked_duration_since(Instant::now())?;
            newest = self.published.wait_timeout(newest, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(newest.clone())
    }
}
