//! One memory setting, split over what holds records and state.
//!
//! Read once at start by `runtime`. The default is the cgroup's limit less a fifth, else a quarter of the machine.
//! Invariant: the parts never add up to more than the whole.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tidemill_state::IdRoom;
use tidemill_topology::IdRooms;

/// Transactions' worth of bytes that a lane may hold: two that wait for the next seal, two that are sealed (a batch is
/// never cut), and the producer's copy of these, where its own record of a small change is three times as large as the change.
const HELD: u64 = 10;

/// What a process holds that does little: code, stacks, clients and their buffers, and what the allocator keeps of what was freed.
const OWN: u64 = 80 << 20;

/// Bytes for each holder; what is left is the process's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub whole: u64,
    /// librdkafka's queues of fetched records.
    pub fetch: u64,
    /// Block cache and memtables of all stores together.
    pub rocks: usize,
    /// Typed values of all tasks together.
    pub cache: usize,
    /// Ids of `dedupe` and of distinct counts.
    pub seen: usize,
    pub counted: usize,
    /// Batches between the consumer and the tasks.
    pub mailboxes: usize,
    /// What lanes gather, seal and send.
    pub commits: u64,
    /// Fetched records of all sinks together.
    pub sinks: u64,
}

/// The parts of `memory` bytes, or of what this machine gives. `seen`, `counted`: whether anything remembers such ids.
pub fn split(memory: Option<u64>, (seen, counted): (bool, bool)) -> Parts {
    let whole = memory.unwrap_or_else(given);
    let shared = whole.saturating_sub(OWN).max(whole / 2);
    let of = |n: u64| shared / 32 * n;
    let (fetch, rocks, cache, ids, mailboxes, commits) =
        if seen || counted { (2, 5, 4, 14, 1, 4) } else { (4, 8, 9, 0, 2, 6) };
    let (seen, counted) = match (seen, counted) {
        // Twice as many ids, of ten bytes instead of eight: one bucket is full while the other fills.
        (true, true) => (of(ids) / 3 * 2, of(ids) / 3),
        (true, false) => (of(ids), 0),
        _ => (0, of(ids)),
    };
    Parts {
        whole,
        fetch: of(fetch),
        rocks: of(rocks) as usize,
        cache: of(cache) as usize,
        seen: seen as usize,
        counted: counted as usize,
        mailboxes: of(mailboxes) as usize,
        commits: of(commits),
        sinks: of(1),
    }
}

impl Parts {
    /// The most that a transaction of one of so many lanes may carry, where the setting says `wanted`.
    pub fn transaction(&self, wanted: usize, lanes: usize) -> usize {
        let most = self.commits / HELD / lanes.max(1) as u64;
        wanted.min(most.max(64 << 10) as usize)
    }

    /// For so many tasks.
    pub fn shares(&self, tasks: i32) -> Shares {
        let rooms = IdRooms { seen: IdRoom::new(self.seen), counted: IdRoom::new(self.counted) };
        Shares { cache_bytes: self.cache / tasks.max(1) as usize, rooms, way: Way::new(self.mailboxes) }
    }

    /// What one lane's producer may hold.
    pub fn producer(&self, lanes: usize) -> u64 {
        self.commits / HELD * 2 / lanes.max(1) as u64
    }
}

/// What tasks share, as the things that hold it to its bound.
#[derive(Debug, Clone)]
pub struct Shares {
    /// Typed values of one task.
    pub cache_bytes: usize,
    pub rooms: IdRooms,
    pub way: Way,
}

/// Bytes of batches on their way from the consumer to all tasks.
#[derive(Debug, Clone)]
pub struct Way {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// One batch's part; given back when it is dropped, worked or not.
#[derive(Debug)]
pub struct Weight {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Way {
    pub fn new(limit: usize) -> Way {
        Way { used: Arc::default(), limit }
    }

    /// Whether no batch may be added, but a first one.
    pub fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub fn weigh(&self, bytes: usize) -> Weight {
        self.used.fetch_add(bytes, Relaxed);
        Weight { used: self.used.clone(), bytes }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Relaxed);
    }
}

fn given() -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max").or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    match limit {
        Some(limit) if limit < 1 << 46 => limit / 5 * 4,
        _ => machine() / 4,
    }
}

/// Memory of the machine; a gibibyte where that cannot be told.
fn machine() -> u64 {
    let total = |text: String| {
        text.lines().find(|l| l.starts_with("MemTotal:"))?.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    fs::read_to_string("/proc/meminfo").ok().and_then(total).map_or(1 << 30, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_what_a_process_needs_for_itself() {
        for of_ids in [(false, false), (false, true), (true, false), (true, true)] {
            let p = split(Some(1 << 30), of_ids);
            let lanes = (p.transaction(usize::MAX, 3) as u64 * 4 + p.producer(3)) * 3;
            assert!(lanes <= p.commits, "{lanes}");
            let bytes = p.rocks + p.cache + p.seen + p.counted + p.mailboxes;
            assert!(p.fetch + p.sinks + p.commits + bytes as u64 <= ((1 << 30) - OWN) / 32 * 31, "{p:?}");
        }
    }

    #[test]
    fn a_gibibyte_holds_the_ids_of_ten_million_events_an_hour() {
        let p = split(Some(1 << 30), (true, true));
        // Two hours of `dedupe`, and of a count the open hour and ten minutes of the next; a slot is 64 to 80 % full.
        assert!(p.seen > 20_000_000 * 10 * 139 / 100, "{p:?}");
        assert!(p.counted > 11_700_000 * 8 * 139 / 100, "{p:?}");
    }

    #[test]
    fn what_was_weighed_is_given_back() {
        let way = Way::new(10);
        let (a, b) = (way.weigh(6), way.weigh(6));
        assert!(way.is_full() && way.used() == 12);
        drop(a);
        assert!(!way.is_full());
        drop(b);
        assert_eq!(way.used(), 0);
    }
}
