//! Drives the real stages of a topology in memory, without Kafka.

/// See the module.
pub struct Tester {}
