//! One memory setting, split over what holds records and state.
//!
//! Read once at start by `runtime`. The default is the cgroup's limit less a fifth, else a quarter of the machine.
//! Invariant: the parts never add up to more than the whole.

use std::fs;

/// Bytes for each holder; what is left is for batches on their way, sealed values and the allocator's own needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub whole: u64,
    /// librdkafka's queues of fetched records.
    pub fetch: u64,
    /// Block cache and memtables of all stores together.
    pub rocks: usize,
    /// Typed values of all tasks together.
    pub cache: usize,
    /// Fetched records of all sinks together.
    pub sinks: u64,
}

/// The parts of `memory` bytes, or of what this machine gives.
pub fn split(memory: Option<u64>) -> Parts {
    let whole = memory.unwrap_or_else(given);
    Parts { whole, fetch: whole / 8, rocks: (whole / 4) as usize, cache: (whole / 4) as usize, sinks: whole / 32 }
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
    fn the_parts_leave_room() {
        let p = split(Some(1 << 30));
        assert!(p.fetch + p.rocks as u64 + p.cache as u64 + p.sinks <= (1 << 30) * 2 / 3);
    }
}
