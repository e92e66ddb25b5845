//! What a running Tidemill shows of itself. A leaf: it knows no other room.
//!
//! `logs` is the log, `metrics` what a scrape says, `trace` the spans; health joins them here.
//! Invariant: no payload, key or secret in anything that leaves through this room.

mod logs;
pub mod metrics;
pub mod trace;

pub use logs::start;
