//! One database transaction: the offset, the rows, the dead letters of rows that cannot be, the commit.
//!
//! Called by a writer with a slice of a partition. Invariant: the offset is the first statement, so that a stale owner
//! is refused before it writes a row; dead letters are acknowledged before the commit that moves past them.

use super::copy;
use super::errors::Failure;
use super::ledger::{Place, Standing};
use super::session::Session;
use super::table::{Table, quoted};
use crate::sinks::backlog::Slice;
use crate::sinks::fold::{by_columns, fold};
use crate::sinks::protections::Protections;
use crate::sinks::row::{Row, Rows};
use crate::stop_points::{Point, reached};
use std::time::Instant;
use tidemill_topology::sinks::Mode;

/// What a transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Records of the slice.
    pub records: usize,
    /// Rows that are in the table because of it.
    pub rows: u64,
    /// Records whose key came again later in the batch.
    pub folded: u64,
    /// Rows whose unique key the table had.
    pub skipped: u64,
    /// Records that became dead letters.
    pub dead: u64,
}

/// Where dead letters go: all of a transaction at once, each by its place in the slice and its reason.
pub type Letters<'a> = &'a dyn Fn(&Slice<'_>, &[(usize, String)]) -> Result<(), String>;

/// Everything that a transaction needs beside its slice.
pub struct Work<'a> {
    pub table: &'a Table,
    pub place: &'a Place,
    pub standing: Standing,
    pub metrics: Option<&'a str>,
    /// When the first record of the slice came.
    pub since: Instant,
    pub letters: Letters<'a>,
    pub protections: Protections,
}

/// How a transaction ended that did not commit, or may have.
#[derive(Debug)]
pub enum Ended {
    /// The offset row is another's, or elsewhere: read it.
    Refused,
    Failed(Failure),
    /// COMMIT was not answered with yes: nothing is known until the row is read.
    Unknown(String),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

/// Writes a slice whole, or nothing of it. Whatever the error, the session is then to be dropped.
pub fn write(session: &mut Session, slice: &Slice<'_>, work: &Work<'_>) -> Result<Written, Ended> {
    let upsert = work.table.mode == Mode::Upsert;
    let (mut rows, mut bad) = (Vec::with_capacity(slice.records.len()), Vec::new());
    let mut made = Rows::new(&work.table.columns, &work.table.fields, upsert);
    for (at, record) in slice.records.iter().enumerate() {
        match made.row(at, record) {
            Ok(row) => rows.push(row),
            Err(reason) => bad.push((at, reason)),
        }
    }
    let good = rows.len();
    let rows = if upsert { fold(rows, &work.table.columns) } else { rows };
    let mut written =
        Written { records: slice.records.len(), folded: (good - rows.len()) as u64, ..Written::default() };
    // What is deferred would fail at COMMIT, where no row can be told from another.
    session.simple("BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE")?;
    if work.protections.on("together") && !advance(session, slice, work)? {
        return Err(Ended::Refused);
    }
    let (tried, before) = (rows.len() as u64, bad.len());
    written.rows = put(session, work, rows, &mut bad)?;
    written.skipped = tried - (bad.len() - before) as u64 - written.rows;
    written.dead = bad.len() as u64;
    bad.sort_unstable_by_key(|(at, _)| *at);
    measure(session, work, &written)?;
    let send =
        |bad: &[(usize, String)]| (work.letters)(slice, bad).map_err(|cause| Ended::Failed(Failure::Sick(cause)));
    if work.protections.on("letters_first") {
        send(&bad)?;
    }
    reached(Point::SinkRows);
    commit(session)?;
    reached(Point::SinkCommit);
    if !work.protections.on("together") {
        session.simple("BEGIN")?;
        advance(session, slice, work)?;
        commit(session)?;
    }
    if !work.protections.on("letters_first") {
        send(&bad)?;
    }
    Ok(written)
}

fn advance(session: &mut Session, slice: &Slice<'_>, work: &Work<'_>) -> Result<bool, Failure> {
    work.place.advance(session, work.standing, slice.next, work.protections)
}

/// An error here may come after the commit: from a server that was told to end, or from a line that was cut.
fn commit(session: &mut Session) -> Result<(), Ended> {
    session.simple("COMMIT").map_err(|failure| Ended::Unknown(failure.said().to_owned()))
}

/// The rows, in parts where one of them is bad: the bad ones are named, all others are in.
fn put(
    session: &mut Session,
    work: &Work<'_>,
    rows: Vec<Row<'_>>,
    bad: &mut Vec<(usize, String)>,
) -> Result<u64, Failure> {
    let mut written = 0;
    for (present, rows) in by_columns(rows) {
        if let Some(all) = by_copy(session, work.table, &present, &rows)? {
            written += all;
            continue;
        }
        let sql = work.table.insert(&present);
        let mut parts: Vec<&[Row<'_>]> = vec![&rows];
        while let Some(part) = parts.pop() {
            session.simple("SAVEPOINT part")?;
            match insert(session, &sql, &present, part) {
                Ok(n) => {
                    session.simple("RELEASE part")?;
                    written += n;
                    continue;
                }
                Err(Failure::Row(reason)) if part.len() == 1 => bad.push((part[0].record, reason)),
                Err(Failure::Row(reason)) if !work.protections.on("bisect") => {
                    bad.extend(part.iter().map(|row| (row.record, reason.clone())));
                }
                Err(Failure::Row(_) | Failure::Split) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(other) => return Err(other),
            }
            session.simple("ROLLBACK TO part; RELEASE part")?;
        }
    }
    Ok(written)
}

/// All of them, if COPY takes them all; else none is in, and they are INSERT's, which can tell one row from another.
fn by_copy(session: &mut Session, table: &Table, present: &[usize], rows: &[Row<'_>]) -> Result<Option<u64>, Failure> {
    if !table.copies || rows.len() < copy::WORTH || !session.tries_copy() {
        return Ok(None);
    }
    session.simple("SAVEPOINT part")?;
    match session.copy(&table.copy(present), copy::lines(present, rows)) {
        Ok(n) => {
            session.simple("RELEASE part")?;
            Ok(Some(n))
        }
        Err(Failure::Row(_) | Failure::Split) => {
            session.copy_was_refused();
            session.simple("ROLLBACK TO part; RELEASE part")?;
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn insert(session: &mut Session, sql: &str, present: &[usize], rows: &[Row<'_>]) -> Result<u64, Failure> {
    let arrays: Vec<Vec<Option<&str>>> =
        present.iter().map(|&at| rows.iter().map(|row| row.cells[at].text()).collect()).collect();
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
    session.execute(sql, &values)
}

/// A row of measurements with the batch, as the systems before us wrote.
fn measure(session: &mut Session, work: &Work<'_>, written: &Written) -> Result<(), Failure> {
    let Some(table) = work.metrics.filter(|_| written.records > 0) else { return Ok(()) };
    let processed = written.records as u64 - written.dead;
    let labels =
        format!("{{\"batch_size\":{},\"processed\":{processed},\"failed\":{}}}", written.records, written.dead);
    let seconds = format!("{:.6}", work.since.elapsed().as_secs_f64());
    let sql = format!(
        "INSERT INTO {} (metric_name, metric_value, metric_timestamp, labels) \
         VALUES ('processing_latency_seconds', $1::text::numeric, now(), $2::text::jsonb)",
        quoted(table)
    );
    session.execute(&sql, &[&seconds, &labels]).map(drop).map_err(|failure| match failure {
        // No record is at fault for it.
        Failure::Row(cause) => Failure::Sick(format!("table {table}: {cause}")),
        other => other,
    })
}
