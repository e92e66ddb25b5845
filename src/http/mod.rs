//! Questions from outside, answered over HTTP: queries, status, health. The only room that names actix-web.
//!
//! Its server has threads of its own; stores are lent by the [`Roster`](crate::roster::Roster), and read where blocking
//! is allowed. Called by `runtime` (to serve) and `cli/` (as a client).
//! Invariant: an answer is whole, committed, and says which input positions it stands for; or it is no answer.

mod access;
pub mod client;
mod desk;
mod metrics;
mod peers;
mod query;
mod server;
mod status;

pub use access::Token;
pub use desk::Facts;
pub use metrics::serve_metrics;
pub use server::{Bound, Serving};
