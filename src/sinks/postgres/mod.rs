//! PostgreSQL as a sink, exactly once: rows and the position that they stand for move in one database transaction.
//!
//! The only place that names the client. Called by the writers of `sinks/` and by the command line (`migrate`, `check`).
//! Invariant: what is in the table and what `tidemill_sink_offsets` says never differ, whoever is killed, and when.

mod access;
mod batch;
mod copy;
mod errors;
mod ledger;
mod migrate;
mod session;
mod table;

pub use batch::{Ended, Work, Written, write};
pub use errors::Failure;
pub use ledger::{Place, Standing};
pub use migrate::{Done, migrate};
pub use session::Session;
pub use table::{Table, inspect};
