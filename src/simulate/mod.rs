//! The simulator: a stream of user events with as many faults as asked for, and what must come out of it.
//!
//! Pure: knows neither Kafka nor a clock, so a test takes records from it without a broker. Called by `cli/simulate.rs`.
//! Invariant: settings with a seed and a start give the same bytes on every machine.
//!
//! ```
//! use tidemill::simulate::{Generator, Settings, Shares, Times};
//! let shares = Shares { duplicates: 0.05, late: 0.01, ..Shares::default() };
//! let times = Times::Walk { start: 1_767_261_600_000, end: None };
//! let mut events = Generator::new(Settings { seed: 7, shares, times, ..Settings::default() });
//! let first = events.make(0).unwrap();
//! assert!(first.key.starts_with("user_"));
//! assert_eq!(events.expected().good, 1);
//! ```

mod broken;
mod event;
mod expected;
mod generator;
mod rng;

pub use event::EventType;
pub use expected::{Cell, Expected};
pub use generator::{Generator, Kind, Made, Settings, Shares, Spacing, Times};
