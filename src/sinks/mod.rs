//! Sinks: committed outputs, written outside of Kafka, each at its own pace.
//!
//! Started by `runtime`, stopped by the supervisor; `cli/` migrates and checks through here. Knows `kafka/` as a reader
//! of its own group, and nothing of tasks or lanes.
//! Invariant: nothing that a database does, or does not do, is felt by the engine: a sink has its own consumer and its
//! own threads, and a full inbox pauses its partitions alone.
//!
//! ```text
//! reader thread ──batches──▶ inbox ──▶ writer thread ──rows, offset──▶ one database transaction
//!   own group     (bounded)            one connection                  (then the group is told, for lag tools)
//! ```
//! The database's own row says how far a partition is written, and who may write on: see `postgres/ledger.rs`.

mod backlog;
mod crew;
mod fold;
mod health;
mod inbox;
mod part;
mod postgres;
mod protections;
mod row;
mod seen;
mod shared;
mod writer;

pub use postgres::Done;
pub use protections::NAMES as PROTECTIONS;

use crate::exactly_once::Protections as Protocol;
use crate::kafka::{self, Connection, Fault, KnownEnds, Outlet, Reader, ReaderHandle, Snapshots};
use crew::Crew;
use postgres::{Failure, Session};
use shared::Shared;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_observability::metrics::{Metrics, SinkNow};
use tidemill_topology::sinks::{PostgresSpec, SinkSpec, Target};
use tidemill_topology::{Settings, Topology};

/// How long the end of the process waits for sinks: what they do not finish is done again by the next start.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Every sink of this process.
#[derive(Default)]
pub struct Sinks {
    all: Vec<(Arc<Crew>, ReaderHandle)>,
    seen: Vec<(Arc<Shared>, KnownEnds)>,
}

/// Answers how every sink is now.
pub type Look = Box<dyn Fn() -> Vec<SinkNow> + Send>;

impl Sinks {
    /// Starts the sinks that are on. A database that is away is waited for; it is no reason not to start.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn start(
        specs: &[SinkSpec],
        connection: &Connection,
        (topology, settings): (&Topology, &Settings),
        memory: u64,
        metrics: &Metrics,
    ) -> Result<Sinks, Fault> {
        let on: Vec<&SinkSpec> = specs.iter().filter(|spec| spec.enabled).collect();
        let mut sinks = Sinks::default();
        for spec in &on {
            let group = spec.group(&settings.app);
            let seen = kafka::Seen::new(metrics, format!("sink-{}", spec.name));
            let connection = connection.for_sink(&group, memory / on.len() as u64).seen(seen);
            let outlet = Outlet::open(&connection)?;
            let letters = (topology.dead_letters.clone(), settings.max_record);
            let shared = Arc::new(Shared::new((*spec).clone(), group, outlet, letters, metrics)?);
            let crew = Arc::new(Crew::new(shared.clone(), connection.instance.clone()));
            let (stages, hears) = (BTreeMap::from([(spec.topic.clone(), spec.name.clone())]), crew.clone());
            let events = Box::new(move |event| hears.hear(event));
            let snapshots = Arc::new(Snapshots::default());
            let (reader, handle) = Reader::open(&connection, stages, snapshots, events, Protocol::all())?;
            sinks.seen.push((shared, reader.known_ends()));
            crew.begin(handle.clone());
            let named = std::thread::Builder::new().name(format!("sink {}", spec.name));
            named.spawn(move || reader.run()).map_err(|e| Fault::failed(format!("no thread for a sink: {e}")))?;
            sinks.all.push((crew, handle));
        }
        Ok(sinks)
    }

    /// For the process's meter; to be asked for once.
    pub fn look(&mut self) -> Look {
        let seen = std::mem::take(&mut self.seen);
        Box::new(move || seen.iter().map(|(shared, end)| shared.seen.now(&shared.health, end)).collect())
    }

    /// No more records; what is here is written.
    pub fn stop(&self) {
        for (crew, reader) in &self.all {
            reader.quiet();
            crew.stop();
        }
    }

    /// Waits, not for ever, until what was here is written, and says what was done.
    pub fn finish(&self) {
        self.stop();
        let until = Instant::now() + LAST_WORDS;
        for (crew, reader) in &self.all {
            crew.finish(until);
            reader.close();
        }
    }
}

/// What was done for one sink: its name, and its tables.
pub type Migrated = (Arc<str>, Vec<Done>);

/// Makes the tables that the file's sinks need and their databases lack; what was done, by sink.
///
/// # Errors
/// A database that cannot be reached, or a right that is missing.
pub fn migrate(specs: &[SinkSpec], app: &str) -> Result<Vec<Migrated>, Fault> {
    let on = specs.iter().filter(|spec| spec.enabled);
    on.map(|spec| {
        let Target::Postgres(postgres) = &spec.target;
        let done = with(spec, app, |session| postgres::migrate(session, &[postgres]))?;
        Ok((spec.name.clone(), done))
    })
    .collect()
}

/// Whether each sink's database answers and its table is fit.
///
/// # Errors
/// What is not, a line for each sink.
pub fn check(specs: &[SinkSpec], app: &str) -> Result<(), Fault> {
    let on = specs.iter().filter(|spec| spec.enabled);
    let wrong: Vec<String> = on
        .filter_map(|spec| {
            let Target::Postgres(postgres) = &spec.target;
            with(spec, app, |session| postgres::inspect(session, postgres).map(drop)).err().map(|fault| fault.cause)
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Fault::configuration(wrong.join("\n"))) }
}

fn with<T>(spec: &SinkSpec, app: &str, work: impl FnOnce(&mut Session) -> Result<T, Failure>) -> Result<T, Fault> {
    let Target::Postgres(postgres) = &spec.target;
    let open = |postgres: &PostgresSpec| Session::open(postgres, &spec.group(app));
    let done = open(postgres).and_then(|mut session| {
        let done = work(&mut session);
        session.close();
        done
    });
    done.map_err(|failure| Fault::configuration(format!("sink '{}': {}", spec.name, failure.said())))
}
