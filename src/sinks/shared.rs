//! What the writers of one sink share: its settings, its outlet to Kafka, its health and its sums.
//!
//! Made once a sink. Invariant: sums only grow, and count what is committed.

use super::health::Health;
use super::postgres::Written;
use super::protections::Protections;
use super::seen::Seen;
use crate::kafka::{Fault, Outlet, ReaderHandle};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidemill_observability::metrics::Metrics;
use tidemill_topology::DeadLetters;
use tidemill_topology::sinks::{PostgresSpec, SinkSpec, Target};

#[derive(Default)]
pub struct Totals {
    records: AtomicU64,
    rows: AtomicU64,
    folded: AtomicU64,
    skipped: AtomicU64,
    dead: AtomicU64,
}

impl Totals {
    pub fn add(&self, written: &Written) {
        let Written { records, rows, folded, skipped, dead } = *written;
        let places = [&self.records, &self.rows, &self.folded, &self.skipped, &self.dead];
        for (place, more) in places.into_iter().zip([records as u64, rows, folded, skipped, dead]) {
            place.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The sink's last line.
    pub fn say(&self, sink: &str, finished: bool) {
        let of = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let (records, rows, folded) = (of(&self.records), of(&self.rows), of(&self.folded));
        let (skipped, dead) = (of(&self.skipped), of(&self.dead));
        tracing::info!(sink, records, rows, folded, skipped, dead, finished, "sink stopped");
    }
}

/// See the module.
pub struct Shared {
    pub spec: SinkSpec,
    /// `<app>-sink-<name>`: the group, the connections' name, the key in the offset table.
    pub group: String,
    pub outlet: Outlet,
    /// Where dead letters go and what they must not hold, and the largest record that the topic takes.
    pub letters: (DeadLetters, usize),
    pub health: Health,
    pub totals: Totals,
    pub seen: Seen,
    pub protections: Protections,
    pub migrated: AtomicBool,
    /// Of this process and no other.
    pub mark: String,
    reader: OnceLock<ReaderHandle>,
}

impl Shared {
    /// # Errors
    /// No randomness for the mark.
    pub fn new(
        spec: SinkSpec,
        group: String,
        outlet: Outlet,
        letters: (DeadLetters, usize),
        metrics: &Metrics,
    ) -> Result<Shared, Fault> {
        let Target::Postgres(postgres) = &spec.target;
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).map_err(|e| Fault::failed(format!("no randomness for a sink's owner: {e}")))?;
        Ok(Shared {
            health: Health::new(spec.name.clone()),
            seen: Seen::new(metrics, &spec.name, &postgres.table, postgres.mode),
            spec,
            group,
            outlet,
            letters,
            totals: Totals::default(),
            protections: Protections::from_env(),
            migrated: AtomicBool::new(false),
            mark: format!("{:016x}", u64::from_le_bytes(mark)),
            reader: OnceLock::new(),
        })
    }

    pub fn postgres(&self) -> &PostgresSpec {
        let Target::Postgres(postgres) = &self.spec.target;
        postgres
    }

    pub fn read_by(&self, reader: ReaderHandle) {
        let set = self.reader.set(reader);
        debug_assert!(set.is_ok(), "one reader a sink");
    }

    pub fn reader(&self) -> &ReaderHandle {
        self.reader.get().expect("set before the reader runs, and it brings the first partition")
    }
}
