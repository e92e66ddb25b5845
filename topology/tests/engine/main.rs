//! The engine through the tester: given records, when they are worked, then these outputs. One helper, so that a change
//! of the API is a change of `given.rs`. Nothing sleeps, and nothing touches Kafka.

mod given;
mod records;
mod restore;
mod windows;
