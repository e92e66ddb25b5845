//! The committed outputs, states and offsets of a torture against the oracle. Reads Kafka as any consumer would; knows
//! the product by its topics, headers and its `state dump` only. Invariant: what it counts as lost, duplicated or wrong
//! it can name: examples say topic, partition and offset or key.

mod copies;
mod dead;
mod read;
mod results;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod windows;

pub use copies::Copies;
pub use dead::DeadLetters;
pub use read::Broker;
pub use results::Results;
pub use rows::{Row, Sequences};
pub use state::{Expected, StateDump, TaskState};
pub use windows::Windows;

/// Examples that are kept.
const EXAMPLES: usize = 60;

/// What was found against the product.
#[derive(Debug, Default)]
pub struct Tally {
    pub lost: u64,
    pub duplicated: u64,
    pub wrong: u64,
    pub examples: Vec<String>,
}

impl Tally {
    pub fn lost(&mut self, text: impl FnOnce() -> String) {
        self.lost += 1;
        self.note("lost", text);
    }

    pub fn duplicated(&mut self, text: impl FnOnce() -> String) {
        self.duplicated += 1;
        self.note("duplicated", text);
    }

    pub fn wrong(&mut self, text: impl FnOnce() -> String) {
        self.wrong += 1;
        self.note("wrong", text);
    }

    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.wrong == 0
    }

    fn note(&mut self, what: &str, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{what}: {}", text()));
        }
    }
}
