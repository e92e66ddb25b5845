//! The end of a run: heals everything, waits until all is worked off, stops the processes in order, and judges. Called
//! by the driver once. Invariant: it judges only after no transaction is open any more.

use crate::seat::Condition;
use crate::world::{APP, INPUT, KEPT, World};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};
use tidemill_harness::oracle::{First, Second};
use tidemill_harness::segments::Hidden;
use tidemill_harness::verdict::{Broker, Copies, DeadLetters, Expected, Results, StateDump, Tally, Windows};

const RUNNING: &str = "torture-running";
const HOURLY: &str = "torture-hourly";
const SECOND: &str = "torture-second";
const DEAD: &str = "torture-dead-letters";
/// Without any progress of the group for so long, it hangs.
const STALL: Duration = Duration::from_secs(120);
const DRAIN: Duration = Duration::from_secs(20);

/// What a restore after SIGKILL read beyond its bound.
#[derive(Default)]
pub struct Bounds {
    pub checked: u64,
    pub largest_restore: u64,
    pub largest_transaction: u64,
}

impl World {
    /// No fault any more: everything runs, without stop points.
    pub fn heal(&mut self) -> Result<(), String> {
        self.say("healing");
        self.is_ending = true;
        while !self.twins.is_empty() || self.failing.is_some() {
            self.tick()?;
        }
        for index in 0..self.seats.len() {
            if self.seats[index].trap.is_some() && self.seats[index].process.is_some() {
                self.kill_seat(index, Instant::now());
                self.count_kill("process");
            }
            if let Condition::Down(at) = &mut self.seats[index].condition {
                *at = Instant::now();
            }
        }
        while self.seats.iter().any(|seat| seat.condition != Condition::Up) {
            self.tick()?;
        }
        Ok(())
    }

    /// Waits until the group's offsets are at the end of both inputs.
    pub fn work_off(&mut self) -> Result<(), String> {
        if let Some(feeder) = self.feeder.take() {
            feeder.pace.allow(u64::MAX);
            while feeder.pace.sent() < self.options.records && !feeder.has_ended() {
                self.tick()?;
            }
            feeder.finish()?;
        }
        self.say("all records are sent");
        for topic in [INPUT, KEPT] {
            self.reach_end(topic)?;
            self.say(&format!("the group is at the end of {topic}"));
        }
        // Updates that are owed come a second after the last ones, with transactions of their own.
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            self.tick()?;
        }
        Ok(())
    }

    fn reach_end(&mut self, topic: &str) -> Result<(), String> {
        let (mut last, mut moved) = (BTreeMap::new(), Instant::now());
        let mut looked = Instant::now();
        loop {
            self.tick()?;
            if looked.elapsed() < Duration::from_secs(1) {
                continue;
            }
            looked = Instant::now();
            let (ends, stable) = (self.broker.ends(topic, false)?, self.broker.ends(topic, true)?);
            let offsets = self.broker.group_offsets(APP, topic).unwrap_or_default();
            if ends == stable && offsets == ends {
                return Ok(());
            }
            if offsets != last {
                (last, moved) = (offsets, Instant::now());
            } else if moved.elapsed() > STALL {
                let behind = ends.iter().filter(|(partition, end)| last.get(partition) != Some(end));
                let behind: Vec<String> = behind.map(|(p, end)| format!("{p}: {:?} of {end}", last.get(p))).collect();
                return Err(format!("{topic}: the group stands still for {STALL:?}: {}", behind.join(", ")));
            }
        }
    }

    /// SIGTERM to all; each must be gone in time with exit code 0.
    pub fn terminate_all(&mut self) {
        let sent = Instant::now();
        for seat in &mut self.seats {
            seat.process.iter_mut().for_each(|process| process.terminate());
        }
        for index in 0..self.seats.len() {
            let name = self.seats[index].name.clone();
            let left = (DRAIN + Duration::from_secs(1)).saturating_sub(sent.elapsed());
            let status = self.seats[index].process.as_mut().and_then(|process| process.wait(left));
            match status {
                Some(status) if status.code() == Some(0) => {}
                Some(status) => self.violation(format!("{name}: after SIGTERM it ended with {status}")),
                None => self.violation(format!("{name}: not gone {DRAIN:?} after SIGTERM")),
            }
            self.bury(index, Instant::now());
        }
        self.say("all processes have ended");
    }

    pub fn judge(&mut self) -> Result<Tally, String> {
        let broker = self.broker.clone();
        broker.wait_settled(&[KEPT, RUNNING, HOURLY, SECOND, DEAD], Duration::from_secs(60))?;
        let mut tally = Tally::default();
        self.say("no transaction is open");
        let (first, second) = recompute(&broker)?;
        judge_outputs(&broker, &first, &second, &mut tally)?;
        self.say("outputs are judged");
        self.judge_states(&first, &second, &mut tally)?;
        Ok(tally)
    }

    fn judge_states(&mut self, first: &First, second: &Second, tally: &mut Tally) -> Result<(), String> {
        let owners: Vec<(String, String)> = self.ledger.places().map(|(t, p)| (t.to_owned(), p.to_owned())).collect();
        let places: BTreeSet<&String> = owners.iter().map(|(_, place)| place).collect();
        let file = crate::world::topology().display().to_string();
        let mut dumps: HashMap<&String, StateDump> = HashMap::new();
        for place in places {
            let text = self.mill(&["state", "dump", &file, "--state", place, "-o", "json"])?;
            dumps.insert(place, StateDump::read(&text)?);
        }
        for topic in [INPUT, KEPT] {
            for (partition, offset) in self.broker.group_offsets(APP, topic)? {
                let suffix = format!("/{topic}/{partition}");
                let Some((task, place)) = owners.iter().find(|(task, _)| task.ends_with(&suffix)) else {
                    tally.wrong(|| format!("nobody was ever ready for …{suffix}"));
                    continue;
                };
                let Some(state) = dumps[place].tasks.get(task) else {
                    tally.lost(|| format!("{task}: {place} has no state of it"));
                    continue;
                };
                let expected = Expected { homes: &first.homes, partition, offset };
                match topic {
                    INPUT => expected.check_first(task, state, first, tally),
                    _ => expected.check_second(task, state, second, tally),
                }
            }
        }
        Ok(())
    }

    /// Aborted transactions that a broker's index hides from readers of committed records: the broker's fault, of which
    /// the product's own readers may see something too.
    pub fn hidden(&self) -> Result<Vec<String>, String> {
        let segments = self.cluster.segments();
        let mut lines = Vec::new();
        for node in 1..=self.options.nodes as i32 {
            let of = |found: Hidden| {
                format!(
                    "broker {node}, {}: producer {} from {}, behind {}",
                    found.place, found.producer, found.first, found.behind
                )
            };
            lines.extend(segments.hidden(node)?.into_iter().map(of));
        }
        Ok(lines)
    }

    /// Restores of a directory whose process was killed, against the largest transaction of the task.
    pub fn check_bounds(&mut self) -> Result<Bounds, String> {
        let mut bounds = Bounds::default();
        let bounded = self.ledger.bounded.clone();
        for (stage, topic) in [("events", INPUT), ("again", KEPT)] {
            let largest = self.broker.largest_transactions(&format!("{APP}-{stage}-{topic}-changelog"))?;
            bounds.largest_transaction = bounds.largest_transaction.max(largest.values().copied().max().unwrap_or(0));
            for restore in &bounded {
                let partition = restore.task.strip_prefix(&format!("{stage}/{topic}/")).and_then(|p| p.parse().ok());
                let Some(limit) = partition.map(|partition: i32| largest.get(&partition).copied().unwrap_or(0)) else {
                    continue;
                };
                bounds.checked += 1;
                bounds.largest_restore = bounds.largest_restore.max(restore.records);
                if restore.records > limit {
                    let text = format!(
                        "{} at {:?} read {} records, its largest transaction has {limit}",
                        restore.task, restore.life, restore.records
                    );
                    self.violation(text);
                }
            }
        }
        Ok(bounds)
    }
}

fn recompute(broker: &Broker) -> Result<(First, Second), String> {
    let (mut first, mut second) = (First::default(), Second::default());
    broker.committed(INPUT, |row| first.take(row))?;
    first.close();
    broker.committed(KEPT, |row| second.take(row))?;
    Ok((first, second))
}

fn judge_outputs(broker: &Broker, first: &First, second: &Second, tally: &mut Tally) -> Result<(), String> {
    let mut copies = Copies::new(first, KEPT, INPUT);
    broker.committed(KEPT, |row| copies.take(row, tally))?;
    copies.finish(tally);
    let mut running = Results::json(RUNNING, &first.running);
    broker.committed(RUNNING, |row| running.take(row, tally))?;
    running.finish(tally);
    let mut hourly = Windows::new(HOURLY, first);
    broker.committed(HOURLY, |row| hourly.take(row, tally))?;
    hourly.finish(tally);
    let mut again = Results::plain(SECOND, &second.running);
    broker.committed(SECOND, |row| again.take(row, tally))?;
    again.finish(tally);
    let mut originals = HashMap::new();
    broker.committed(INPUT, |row| {
        let place = (row.partition, row.offset);
        if first.dead.contains_key(&place) {
            originals.insert(place, (row.key.clone(), row.value.clone()));
        }
    })?;
    let mut dead = DeadLetters::new(first, &originals, DEAD, INPUT);
    broker.committed(DEAD, |row| dead.take(row, tally))?;
    dead.finish(tally);
    Ok(())
}
