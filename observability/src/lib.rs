//! What a running Tidemill shows of itself. A leaf: it knows no other room.
//!
//! The log and the metrics; traces and health join them here.
//! Invariant: no payload, key or secret in anything that leaves through this room.

mod logs;
pub mod metrics;

pub use logs::start as start_logs;
