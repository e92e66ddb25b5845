//! The engine through the tester: given records, when they are worked, then these outputs. One helper, so that a change
//! of the API is a change of `given.rs`. Nothing sleeps, and nothing touches Kafka.

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test, also in its helpers")]

mod bounds;
mod given;
mod hopping;
mod hostile;
mod operators;
mod queries;
mod reading;
mod records;
mod repartition;
mod restore;
mod slices;
mod times;
mod traces;
mod windows;
