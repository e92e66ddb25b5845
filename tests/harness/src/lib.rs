//! What tests share: real components by script, and ways to torment them. Knows the product only from outside; called by
//! tests and benchmarks. Invariant: everything it starts ends with its owner.

pub mod cases;
pub mod cluster;
pub mod collector;
pub mod commits;
pub mod feed;
pub mod hourly;
pub mod observed;
pub mod oracle;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod psql;
pub mod rng;
pub mod segments;
pub mod strays;
pub mod traced;
pub mod verdict;
