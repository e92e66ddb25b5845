//! Memory that id sets share. It must not know what a set holds or what it does when there is no room. `id_set.rs` reports
//! to it, the topology asks it. The invariant: `used` is the sum of what the living sets have reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So many bytes for all sets of a kind in a process, first come, first served; a clone is the same room. Sets of several
/// threads report to it, and what it says may be a moment old.
#[derive(Clone, Debug)]
pub struct IdRoom(Arc<Held>);

#[derive(Debug)]
struct Held {
    limit: usize,
    used: AtomicUsize,
    sets: AtomicUsize,
}

impl Default for IdRoom {
    /// Without end.
    fn default() -> IdRoom {
        IdRoom::new(usize::MAX)
    }
}

impl IdRoom {
    /// A room of so many bytes.
    pub fn new(limit: usize) -> IdRoom {
        IdRoom(Arc::new(Held { limit, used: AtomicUsize::new(0), sets: AtomicUsize::new(0) }))
    }

    /// Bytes that its sets hold.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Bytes that they may hold.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether nothing more goes in.
    pub fn is_full(&self) -> bool {
        self.used() >= self.0.limit
    }

    /// What each set could have if all had the same.
    fn fair(&self) -> usize {
        self.0.limit / self.0.sets.load(Relaxed).max(1)
    }
}

/// One set's part of a room, given back when it is dropped.
pub(crate) struct Share {
    room: IdRoom,
    bytes: usize,
}

impl Share {
    pub(crate) fn of(room: &IdRoom) -> Share {
        room.0.sets.fetch_add(1, Relaxed);
        Share { room: room.clone(), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something that took `was` bytes takes `is`.
    pub(crate) fn moved(&mut self, was: usize, is: usize) {
        // Wraps on both sides where it has become less, and comes out right.
        self.room.0.used.fetch_add(is.wrapping_sub(was), Relaxed);
        self.bytes = self.bytes.wrapping_add(is.wrapping_sub(was));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.room.is_full()
    }

    /// Whether there is no room, and this set is among those that have more than the same for all.
    pub(crate) fn is_too_large(&self) -> bool {
        self.room.is_full() && self.bytes > self.room.fair()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.moved(self.bytes, 0);
        self.room.0.sets.fetch_sub(1, Relaxed);
    }
}
