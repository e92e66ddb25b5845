//! What an error of PostgreSQL means for a sink: named by what to do next.
//!
//! Used by every file of this folder. Knows SQLSTATEs. Invariant: an error that is not listed as the row's fault is the
//! database's, and waits; in COMMIT nothing is known, whatever the error says.

use tokio_postgres::error::{DbError, SqlState};

/// Why a statement did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Some row is at fault: a reason that repeats no value.
    Row(String),
    /// Rows that the database takes for one, though their texts differ: they go one after the other.
    Split,
    /// A neighbour was in the way; at once again.
    Again(String),
    /// The server is not there, or the line to it is cut.
    Away(String),
    /// The database cannot do it now, or somebody must mend it.
    Sick(String),
}

impl Failure {
    /// For a log or a person.
    pub fn said(&self) -> &str {
        match self {
            Failure::Row(cause) | Failure::Again(cause) | Failure::Away(cause) | Failure::Sick(cause) => cause,
            Failure::Split => "a row came twice in one statement",
        }
    }

    pub fn of(error: &tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(db) => of_state(db),
            None => Failure::Away(with_sources(error)),
        }
    }
}

fn of_state(db: &DbError) -> Failure {
    let code = db.code();
    if *code == SqlState::CARDINALITY_VIOLATION {
        return Failure::Split;
    }
    match &code.code()[..2] {
        // Data, integrity, a view's check option, a limit that a value breaks, what a trigger raises.
        "22" | "23" | "44" | "54" | "P0" => Failure::Row(reason(db)),
        "40" => Failure::Again(said(db)),
        "08" => Failure::Away(said(db)),
        // The server ends, or begins, or has no place for one more connection; or it takes no writes, for it has become
        // somebody's standby: the next connection finds the one that does.
        _ if ["57P01", "57P02", "57P03", "53300", "25006"].contains(&code.code()) => Failure::Away(said(db)),
        _ => Failure::Sick(said(db)),
    }
}

/// PostgreSQL's words without the values that they repeat, and what it says of the place.
fn reason(db: &DbError) -> String {
    let words = db.message().split(['"', ':']).next().unwrap_or_default().trim_end();
    let column = db.column().map(|c| format!(", column \"{c}\"")).unwrap_or_default();
    let constraint = db.constraint().map(|c| format!(", constraint \"{c}\"")).unwrap_or_default();
    format!("{words} ({}{column}{constraint})", db.code().code())
}

fn said(db: &DbError) -> String {
    format!("{} ({})", db.message(), db.code().code())
}

/// The client's own errors say the cause one level below.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text.lines().collect::<Vec<_>>().join(" ")
}
