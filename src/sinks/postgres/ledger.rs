//! The table `tidemill_sink_offsets`: how far a partition is written, and who may write on.
//!
//! Called by the writer (take over, go on) and inside of each batch's transaction (advance). Knows one row.
//! Invariant: the row moves only from where its owner stands and under its owner's epoch, together with the rows.

use super::errors::Failure;
use super::session::Session;
use crate::sinks::protections::Protections;

/// The row of one partition, and our mark in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// `<app>-sink-<name>`.
    pub sink: String,
    pub topic: String,
    pub partition: i32,
    /// Of this assignment in this process and no other.
    pub owner: String,
}

/// Where a partition stands and under which epoch it may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub position: i64,
    pub epoch: i64,
}

const LOOK: &str = "SELECT next_offset, owner_epoch FROM tidemill_sink_offsets \
    WHERE sink = $1::text AND topic = $2::text AND partition = $3::int4";

const TAKE: &str = "INSERT INTO tidemill_sink_offsets AS o (sink, topic, partition, next_offset, owner_epoch, owner) \
    VALUES ($1::text, $2::text, $3::int4, $4::int8, 1, $5::text) ON CONFLICT (sink, topic, partition) DO UPDATE \
    SET owner_epoch = o.owner_epoch + 1, owner = EXCLUDED.owner, updated_at = now() RETURNING next_offset, owner_epoch";

const KEEP: &str = "UPDATE tidemill_sink_offsets SET owner_epoch = owner_epoch + 1, updated_at = now() \
    WHERE sink = $1::text AND topic = $2::text AND partition = $3::int4 AND owner = $4::text \
    RETURNING next_offset, owner_epoch";

impl Place {
    /// Where the row stands; `None`: this partition was never written.
    pub fn look(&self, session: &mut Session) -> Result<Option<Standing>, Failure> {
        let rows = session.query(LOOK, &[&self.sink, &self.topic, &self.partition])?;
        Ok(rows.first().map(|row| Standing { position: row.get(0), epoch: row.get(1) }))
    }

    /// Takes the partition over from whoever has it, or begins it at `first`. Waits for a transaction of the old owner
    /// that is under way: its rows are in, or will never be.
    pub fn take(&self, session: &mut Session, first: i64) -> Result<Standing, Failure> {
        let rows = session.query(TAKE, &[&self.sink, &self.topic, &self.partition, &first, &self.owner])?;
        let row = rows.first().ok_or_else(|| Failure::Sick("the sink's offset row was not returned".to_owned()))?;
        Ok(Standing { position: row.get(0), epoch: row.get(1) })
    }

    /// Goes on after a lost connection, under a new epoch; `None`: somebody else has taken the partition. Waits as
    /// [`Place::take`] does, so that a commit whose answer was lost has come or will never come.
    pub fn keep(&self, session: &mut Session) -> Result<Option<Standing>, Failure> {
        let rows = session.query(KEEP, &[&self.sink, &self.topic, &self.partition, &self.owner])?;
        Ok(rows.first().map(|row| Standing { position: row.get(0), epoch: row.get(1) }))
    }

    /// Moves the row, inside of the transaction that writes the rows; false: it is not ours, or not where we stand.
    pub fn advance(
        &self,
        session: &mut Session,
        from: Standing,
        next: i64,
        protections: Protections,
    ) -> Result<bool, Failure> {
        let offset = if protections.on("offset") { "next_offset = $5::int8" } else { "$5::int8 IS NOT NULL" };
        let epoch = if protections.on("epoch") { "owner_epoch = $6::int8" } else { "$6::int8 IS NOT NULL" };
        let sql = format!(
            "UPDATE tidemill_sink_offsets SET next_offset = $4::int8, updated_at = now() \
             WHERE sink = $1::text AND topic = $2::text AND partition = $3::int4 AND {offset} AND {epoch}"
        );
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&self.sink, &self.topic, &self.partition, &next, &from.position, &from.epoch];
        Ok(session.execute(&sql, &values)? == 1)
    }
}
