//! The hourly job's tables against an oracle in SQL: the raw topic and the dead letters are loaded into PostgreSQL beside
//! what the job has written, and questions are asked whose right answer is no row.
//!
//! Called by `seed1` and by tests. Knows the job's topics and tables, not its code.
//! Invariant: every question is answered by the database alone, over the bytes that the producers sent.

use crate::psql::Psql;
use crate::verdict::{Broker, Row};

/// A question whose right answer is no row, and what a row means.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "hourly_aggregations lacks a row, or has another",
        "SELECT 'expected ' || r::text FROM (SELECT * FROM oracle.hourly EXCEPT ALL SELECT * FROM oracle.found_hourly) r
         UNION ALL SELECT 'found ' || r::text FROM (SELECT * FROM oracle.found_hourly EXCEPT ALL SELECT * FROM oracle.hourly) r",
    ),
    (
        "raw_events does not hold each good event once",
        "WITH expected AS (SELECT event_id, user_id, event_type, at, event_data, duration FROM oracle.events),
              found AS (SELECT event_id::text, user_id::text, event_type::text, timestamp, event_data, duration_seconds FROM raw_events)
         SELECT 'expected ' || r::text FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM found) r
         UNION ALL SELECT 'found ' || r::text FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM expected) r",
    ),
    (
        "a broken or late event is not one dead letter with its own bytes, or another event is one",
        "SELECT 'expected ' || r.kind || ' ' || r.partition || '/' || r.record_offset
             FROM (SELECT * FROM oracle.due EXCEPT ALL SELECT * FROM oracle.found_dead) r
         UNION ALL SELECT 'found ' || r.kind || ' ' || r.partition || '/' || r.record_offset
             FROM (SELECT * FROM oracle.found_dead EXCEPT ALL SELECT * FROM oracle.due) r",
    ),
];

/// What the producers must have done for the questions to be fair.
const PREMISES: &[(&str, &str)] = &[
    (
        "a duplicate lies on another partition than its original",
        "SELECT d ->> 'event_id' FROM oracle.parsed WHERE is_good GROUP BY 1 HAVING count(DISTINCT partition) > 1",
    ),
    (
        // The order that the first stage sees: its own partition's, by the times that it accepted before.
        "an event is late by its order and not by when it was sent, or the other way round",
        "SELECT event_id FROM (
             SELECT e.*, max(CASE WHEN NOT is_late THEN at END) OVER (PARTITION BY partition ORDER BY record_offset
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS stream_time FROM oracle.events e) AS ordered
         WHERE is_late IS DISTINCT FROM
             coalesce(date_trunc('hour', at) + interval '1 hour 10 minutes' <= stream_time, false)",
    ),
];

/// How many there are of what, as the oracle counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub records: u64,
    pub good: u64,
    pub late: u64,
    pub duplicates: u64,
    pub broken: u64,
    pub hours: u64,
    /// Users whose events lie on more than one partition: partitioners were mixed.
    pub scattered: u64,
}

/// The job's database, with the oracle's schema beside its tables.
pub struct Judge<'a> {
    psql: &'a Psql,
    database: &'a str,
}

impl<'a> Judge<'a> {
    /// Makes the oracle's schema anew. The job's tables are there.
    pub fn open(psql: &'a Psql, database: &'a str) -> Result<Judge<'a>, String> {
        let judge = Judge { psql, database };
        judge.sql(
            "DROP SCHEMA IF EXISTS oracle CASCADE; CREATE SCHEMA oracle;
             CREATE TABLE oracle.raw (partition int, record_offset bigint, sent_ms bigint, key bytea, value bytea);
             CREATE TABLE oracle.dead (partition int, record_offset bigint, reason text, value bytea);",
        )?;
        Ok(judge)
    }

    /// The same schema, as it was filled.
    pub fn again(psql: &'a Psql, database: &'a str) -> Judge<'a> {
        Judge { psql, database }
    }

    fn sql(&self, text: &str) -> Result<Vec<String>, String> {
        self.psql.sql(self.database, text)
    }

    /// Loads the input from Kafka, all of which is there, and works the oracle's own answer out.
    pub fn load_input(&self, broker: &Broker, topic: &str) -> Result<(), String> {
        let mut rows = Vec::new();
        broker.committed(topic, |row| rows.push(row.clone()))?;
        self.fill_input(&rows)
    }

    pub fn fill_input(&self, rows: &[Row]) -> Result<(), String> {
        self.psql.copy(self.database, "oracle.raw", rows.iter().map(raw_line))?;
        self.sql(include_str!("oracle.sql")).map(drop)
    }

    /// Loads the dead letters of that input from Kafka.
    pub fn load_dead(&self, broker: &Broker, topic: &str, input: &str) -> Result<(), String> {
        let mut rows = Vec::new();
        broker.committed(topic, |row| rows.push(row.clone()))?;
        self.fill_dead(&rows, input)
    }

    pub fn fill_dead(&self, rows: &[Row], input: &str) -> Result<(), String> {
        let lines: Result<Vec<String>, String> = rows.iter().map(|row| dead_line(row, input)).collect();
        self.psql.copy(self.database, "oracle.dead", lines?.into_iter())
    }

    /// Everything that is not as it must be, each said in a line; a few examples of each.
    pub fn findings(&self) -> Result<Vec<String>, String> {
        let all: Vec<_> = QUESTIONS.iter().chain(PREMISES).collect();
        // One statement, for each call of the client costs more than a question.
        let asked: Vec<String> =
            all.iter().enumerate().map(|(at, (_, q))| format!("SELECT {at} AS at, x FROM ({q}) AS q{at}(x)")).collect();
        let text = format!(
            "SELECT at, n, x FROM (SELECT at, x, count(*) OVER (PARTITION BY at) AS n,
                 row_number() OVER (PARTITION BY at ORDER BY x) AS place FROM ({}) AS answers) AS numbered
             WHERE place <= 3 ORDER BY at, place",
            asked.join(" UNION ALL ")
        );
        let line = |row: String| {
            let mut parts = row.splitn(3, '|');
            let at = parts.next().and_then(|at| at.parse::<usize>().ok()).and_then(|at| all.get(at));
            match (at, parts.next(), parts.next()) {
                (Some((meaning, _)), Some(n), Some(example)) => format!("{meaning}: {example} ({n} of this kind)"),
                _ => row,
            }
        };
        Ok(self.sql(&text)?.into_iter().map(line).collect())
    }

    /// Rows of the two tables that differ, either way: none, once the job has written everything.
    pub fn differences(&self) -> Result<usize, String> {
        Ok(self.sql(&format!("({}) UNION ALL ({})", QUESTIONS[0].1, QUESTIONS[1].1))?.len())
    }

    pub fn census(&self) -> Result<Census, String> {
        let text = "SELECT (SELECT count(*) FROM oracle.raw), (SELECT count(*) FROM oracle.events),
                (SELECT count(*) FROM oracle.events WHERE is_late),
                (SELECT count(*) FROM oracle.parsed WHERE is_good) - (SELECT count(*) FROM oracle.events),
                (SELECT count(*) FROM oracle.parsed WHERE NOT is_good), (SELECT count(*) FROM oracle.hourly),
                (SELECT count(*) FROM (SELECT 1 FROM oracle.raw GROUP BY key HAVING count(DISTINCT partition) > 1) s)";
        let rows = self.sql(text)?;
        let numbers: Vec<u64> = rows.iter().flat_map(|r| r.split('|')).filter_map(|n| n.parse().ok()).collect();
        let [records, good, late, duplicates, broken, hours, scattered] = numbers[..] else {
            return Err(format!("census: {rows:?}"));
        };
        Ok(Census { records, good, late, duplicates, broken, hours, scattered })
    }
}

fn bytes(of: Option<&[u8]>) -> String {
    let Some(bytes) = of else { return "\\N".to_owned() };
    let mut text = String::with_capacity(3 + 2 * bytes.len());
    text.push_str("\\\\x");
    bytes.iter().for_each(|b| text.push_str(&format!("{b:02x}")));
    text
}

fn raw_line(row: &Row) -> String {
    let (key, value) = (bytes(row.key.as_deref()), bytes(row.value.as_deref()));
    format!("{}\t{}\t{}\t{key}\t{value}", row.partition, row.offset, row.timestamp)
}

fn dead_line(row: &Row, input: &str) -> Result<String, String> {
    let place = || format!("dead letter {}/{}", row.partition, row.offset);
    let source = row.header("tidemill-source").ok_or_else(|| format!("{} has no source", place()))?;
    let reason = row.header("tidemill-reason").ok_or_else(|| format!("{} has no reason", place()))?;
    let at = source.strip_prefix(input).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('/'));
    let (partition, offset) = at.ok_or_else(|| format!("{} comes from {source}: {reason}", place()))?;
    let reason = reason.replace(['\\', '\t', '\n', '\r'], " ");
    Ok(format!("{partition}\t{offset}\t{reason}\t{}", bytes(row.value.as_deref())))
}
