//! An explicit-state check of the exactly-once protocol: every interleaving of broker, group, instances and late requests
//! within small bounds. What is modelled, what was run and what was found: `MODEL.md` beside this crate.
//!
//! Knows nothing of the product but its words. Its command line, its tests and the product's tests of words call it.
//! Invariant: no dependencies, no randomness, no clock: a run gives the same counts on every machine.
//!
//! ```
//! use tidemill_model::{Config, Verdict, check};
//! let config = Config::parse("--records 1 --unknowns 1".split(' ')).unwrap();
//! assert_eq!(check(&config).verdict, Verdict::Holds);
//! ```

mod broker;
mod config;
mod group;
mod invariants;
mod lane;
mod network;
mod process;
mod recover;
mod recycle;
mod search;
mod state;
mod step;
pub mod suite;
pub mod words;

pub use config::Config;
pub use invariants::Broken;
pub use search::{Report, Verdict, check};
pub use state::State;
pub use step::{Place, Step, steps as next_steps};
pub use words::{extras, protections, steps};
