//! The log: standard error, one line an event; text for a terminal, JSON for everything else.
//!
//! Started once by `cli`. The level comes from `TIDEMILL_LOG`, in the notation of tracing's EnvFilter.
//! Invariant: one event is one line, whatever its text holds.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log. A level that cannot be read falls back to `info`, and says so.
pub fn start() {
    let wanted = std::env::var("TIDEMILL_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_default();
    let (filter, wrong) = match EnvFilter::try_new(if wanted.is_empty() { "info" } else { &wanted }) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    if std::io::stderr().is_terminal() {
        log.with_target(false).init();
    } else {
        log.json().flatten_event(true).init();
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "TIDEMILL_LOG is not a level; using info");
    }
}
