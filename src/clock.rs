//! Wall time, in the one unit that records use.
//!
//! Read at the arrival of a batch and at a seal, never a record.
//! Invariant: milliseconds since 1970, as Kafka's timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in ms since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
