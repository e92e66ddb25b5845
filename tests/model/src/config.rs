//! What one run is: its bounds, the protections it lacks, the extras it has.
//!
//! Knows no step. Every step asks it; the command line and the suite write it as the same words.
//! Invariant: a configuration parsed fits into the room of `state`.

use crate::state::{Budget, INSTANCES, Instance, LANES, Membership, Metadata, NOBODY, State, TASKS};
use crate::words::{Extra, Protection, extras, protections};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub tasks: usize,
    pub instances: usize,
    /// Lanes of one instance.
    pub lanes: usize,
    /// Input records of one task.
    pub records: u8,
    pub budget: Budget,
    /// States after which the run gives up.
    pub bound: usize,
    removed: u32,
    added: u32,
}

impl Default for Config {
    fn default() -> Config {
        let budget = Budget::default();
        Config { tasks: 1, instances: 2, lanes: 1, records: 2, budget, bound: 45_000_000, removed: 0, added: 0 }
    }
}

impl Config {
    /// Reads `--tasks 2 --late 1 --off stable`; an error is one line.
    pub fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Config, String> {
        let mut config = Config::default();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name}: a value is missing"))?;
            config.set(name, value)?;
        }
        if !(1..=TASKS).contains(&config.tasks) {
            return Err(format!("--tasks {}: 1 to {TASKS}", config.tasks));
        }
        if !(1..=INSTANCES).contains(&config.instances) {
            return Err(format!("--instances {}: 1 to {INSTANCES}", config.instances));
        }
        if config.lanes == 0 || config.all_lanes() > LANES {
            return Err(format!("--lanes {}: at least 1, and at most {LANES} over all instances", config.lanes));
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|_| format!("{name} {value}: a number is wanted"));
        let few = || value.parse::<u8>().map_err(|_| format!("{name} {value}: a number up to 255 is wanted"));
        match name {
            "--tasks" => self.tasks = number()?,
            "--instances" => self.instances = number()?,
            "--lanes" => self.lanes = number()?,
            "--bound" => self.bound = number()?,
            "--records" => self.records = few()?,
            "--late" => self.budget.late = few()?,
            "--crashes" => self.budget.crashes = few()?,
            "--rebalances" => self.budget.rebalances = few()?,
            "--zombies" => self.budget.zombies = few()?,
            "--timeouts" => self.budget.timeouts = few()?,
            "--unknowns" => self.budget.unknowns = few()?,
            "--off" => self.removed |= 1 << position(name, value, protections())?,
            "--on" => self.added |= 1 << position(name, value, extras())?,
            _ => return Err(format!("{name}: unknown; see --help")),
        }
        Ok(())
    }

    pub fn keeps(&self, protection: Protection) -> bool {
        self.removed & (1 << protection as u8) == 0
    }

    pub fn adds(&self, extra: Extra) -> bool {
        self.added & (1 << extra as u8) != 0
    }

    pub fn all_lanes(&self) -> usize {
        self.instances * self.lanes
    }

    pub fn lane_of(&self, instance: usize, task: usize) -> usize {
        instance * self.lanes + task % self.lanes
    }

    pub fn instance_of(&self, lane: usize) -> usize {
        lane / self.lanes
    }

    pub fn lanes_of(&self, instance: usize) -> std::ops::Range<usize> {
        instance * self.lanes..(instance + 1) * self.lanes
    }

    /// The state every run begins with: all instances are members, the first one owns every task.
    pub fn start(&self) -> State {
        let mut start =
            State { left: self.budget, assigned: [NOBODY; TASKS], target: [NOBODY; TASKS], ..State::default() };
        let assigned = self.adds(Extra::InitAll);
        for instance in &mut start.instance[..self.instances] {
            *instance = Instance {
                up: true,
                member: Membership::InGeneration,
                metadata: Metadata::Current,
                snapshot_metadata: Metadata::Current,
                assigned,
                ..Instance::default()
            };
        }
        for t in 0..self.tasks {
            (start.assigned[t], start.target[t]) = (0, 0);
            (start.instance[0].owned[t], start.instance[0].snapshot_owned[t]) = (1, 1);
        }
        start
    }
}

fn position(option: &str, name: &str, names: &[&str]) -> Result<usize, String> {
    let at = names.iter().position(|known| *known == name);
    at.ok_or_else(|| format!("{option} {name}: not one of {}", names.join(", ")))
}
