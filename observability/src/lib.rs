//! What a running Tidemill shows of itself. A leaf: it knows no other room.
//!
//! Today that is the log; metrics, traces and health join it here.
//! Invariant: no payload, key or secret in anything that leaves through this room.

mod logs;

pub use logs::start as start_logs;
