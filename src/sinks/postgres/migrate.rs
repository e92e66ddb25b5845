//! The tables that we ship, made where they are missing. What is there already is taken as it is.
//!
//! Called by `tidemill migrate` and by a sink with `migrate: true`. Each migration is a file beside, with a version.
//! Invariant: one migrator at a time, each migration whole or not at all, and no table of anybody's is altered.

use super::errors::Failure;
use super::session::Session;
use super::table::quoted;
use tidemill_topology::sinks::PostgresSpec;

struct Migration {
    version: i32,
    /// Made only where a sink writes it; the first one serves all sinks.
    table: &'static str,
    sql: &'static str,
}

const OFFSETS: &str = "tidemill_sink_offsets";

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, table: OFFSETS, sql: include_str!("../migrations/0001_sink_offsets.sql") },
    Migration { version: 2, table: "raw_events", sql: include_str!("../migrations/0002_raw_events.sql") },
    Migration {
        version: 3,
        table: "hourly_aggregations",
        sql: include_str!("../migrations/0003_hourly_aggregations.sql"),
    },
    Migration { version: 4, table: "pipeline_metrics", sql: include_str!("../migrations/0004_pipeline_metrics.sql") },
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS tidemill_migrations (version integer PRIMARY KEY, name text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT now())";

/// Of all migrators of a database; the number is ours for no other purpose.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7017309231)";

/// What was done about one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Created(&'static str),
    /// It was there, from whomever.
    Found(&'static str),
}

/// Makes what these sinks need and the database lacks.
///
/// # Errors
/// A right that is missing, or the database's own trouble.
pub fn migrate(session: &mut Session, specs: &[&PostgresSpec]) -> Result<Vec<Done>, Failure> {
    let wanted = |m: &&Migration| {
        m.table == OFFSETS || specs.iter().any(|s| s.table == m.table || s.metrics.as_deref() == Some(m.table))
    };
    session.simple("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
    session.simple(LOCK)?;
    session.simple(VERSIONS)?;
    let mut all = Vec::new();
    for migration in MIGRATIONS.iter().filter(wanted) {
        all.push(apply(session, migration)?);
    }
    session.simple("COMMIT")?;
    Ok(all)
}

fn apply(session: &mut Session, migration: &Migration) -> Result<Done, Failure> {
    let there = session.query("SELECT to_regclass($1::text) IS NOT NULL", &[&quoted(migration.table)])?;
    if there.first().is_some_and(|row| row.get(0)) {
        return Ok(Done::Found(migration.table));
    }
    session.simple(migration.sql)?;
    let note = "INSERT INTO tidemill_migrations (version, name) VALUES ($1::int4, $2::text) \
        ON CONFLICT (version) DO UPDATE SET applied_at = now()";
    session.execute(note, &[&migration.version, &migration.table])?;
    Ok(Done::Created(migration.table))
}
