//! Committed outputs, offsets and states against the numbered input. Reads Kafka as any consumer would; called when an
//! application has ended. Invariant: a record that is there twice, not at all or out of order is counted.

use super::trickle::{KEYS, PARTITIONS, key};
use super::world::{Place, World};
use crate::verdict::{Row, StateDump, Tally};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Numbers that must come one after another, by partition or key.
struct Chain {
    topic: String,
    next: BTreeMap<String, u64>,
}

impl Chain {
    fn take(&mut self, link: String, number: Option<u64>, row: &Row, tally: &mut Tally) {
        let at = format!("{}/{} offset {}", self.topic, row.partition, row.offset);
        let Some(number) = number else {
            return tally.wrong(|| format!("{at}: not a number"));
        };
        let next = self.next.entry(link.clone()).or_default();
        if number < *next {
            return tally.duplicated(|| format!("{at}: {link} has {number} after {}", *next - 1));
        }
        for missing in *next..number {
            tally.lost(|| format!("{at}: {link} lacks {missing}"));
        }
        *next = number + 1;
    }

    /// `expected`: one more than the last number of each.
    fn finish(self, expected: impl Iterator<Item = (String, u64)>, tally: &mut Tally) {
        for (link, end) in expected {
            let next = self.next.get(&link).copied().unwrap_or(0);
            for missing in next..end {
                tally.lost(|| format!("{}: {link} ends without {missing}", self.topic));
            }
            if next > end {
                tally.wrong(|| format!("{}: {link} goes to {next}, its input to {end}", self.topic));
            }
        }
    }
}

fn text(bytes: Option<&Vec<u8>>) -> &str {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
}

/// `sent`: records on each partition, or that not all of them were worked (then what is there is judged alone).
pub fn check(
    world: &World,
    place: &Place,
    instances: &[String],
    sent: Result<u64, ()>,
    tally: &mut Tally,
) -> Result<(), String> {
    let topics = [place.copies.as_str(), place.running.as_str()];
    // In order, so nothing of it can still be open; after a halt its last transaction may be.
    let settled = world.broker.wait_settled(&topics, Duration::from_secs(30));
    if sent.is_ok() {
        settled?;
    }
    let mut copies = Chain { topic: place.copies.clone(), next: BTreeMap::new() };
    world.broker.committed(&place.copies, |row| {
        let value: Option<Value> = serde_json::from_str(text(row.value.as_ref())).ok();
        let number = value.as_ref().and_then(|value| value.get("n")?.as_u64());
        copies.take(format!("partition {}", row.partition), number, row, tally);
    })?;
    let mut running = Chain { topic: place.running.clone(), next: BTreeMap::new() };
    world.broker.committed(&place.running, |row| {
        let count: Option<u64> = text(row.value.as_ref()).parse().ok();
        running.take(format!("key {}", text(row.key.as_ref())), count.and_then(|n| n.checked_sub(1)), row, tally);
    })?;
    let Ok(sent) = sent else { return Ok(()) };
    copies.finish((0..PARTITIONS).map(|partition| (format!("partition {partition}"), sent)), tally);
    let keys = (0..PARTITIONS).flat_map(|partition| (0..KEYS).map(move |k| (partition, k)));
    // Numbers below `sent` that leave the rest k when divided.
    let count = |(partition, k)| (format!("key {}", key(partition, k)), (sent + KEYS - 1 - k) / KEYS);
    running.finish(keys.map(count), tally);
    positions(world, place, instances, tally)
}

/// Each checkpoint stands where the group's offset stands, in the directory that held the task last.
fn positions(world: &World, place: &Place, instances: &[String], tally: &mut Tally) -> Result<(), String> {
    let offsets = world.broker.group_offsets(&place.name, &place.counted)?;
    let mut furthest: BTreeMap<i32, i64> = BTreeMap::new();
    for instance in instances {
        for (task, state) in StateDump::read(&world.dump(place, instance)?)?.tasks {
            let partition = task.rsplit('/').next().and_then(|p| p.parse().ok());
            if let (Some(partition), Some(position)) = (partition, state.position())
                && task.contains(&place.counted)
            {
                let known = furthest.entry(partition).or_insert(position);
                *known = position.max(*known);
            }
        }
    }
    for (partition, offset) in &offsets {
        if furthest.get(partition) != Some(offset) {
            let found = furthest.get(partition);
            tally.wrong(|| format!("{}/{partition}: state at {found:?}, the group committed {offset}", place.counted));
        }
    }
    Ok(())
}
