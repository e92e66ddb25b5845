//! Wires a topology to Kafka and runs it until it is told to stop.
//!
//! Called by `cli/run.rs` and by whoever embeds Tidemill. The only file but `actors/` that names actix.
//! Invariant: nothing is opened before the brokers, the topics and the data directory were found fit.

use crate::actors::{Ends, LaneSettings, Plan, Stop, Supervisor, Tally};
use crate::exactly_once::Protections;
use crate::http::{Bound, Facts};
use crate::kafka::{
    Brokers, Connection, Event, Fault, Log, Purge, Reader, Seen, Snapshots, Topics, librdkafka_version,
};
use crate::meter::{self, Meter};
use crate::roster::Roster;
use crate::sinks::{Look, Sinks};
use crate::state_dir::StateDir;
use crate::traces::Traces;
use crate::watchdog::Watchdog;
use crate::{exits, memory, process};
use actix::prelude::*;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidemill_observability::metrics::{About, Metrics};
use tidemill_state::{RocksOptions, rocksdb_version};
use tidemill_topology::{Alerts, Loaded, Settings, TaskId, Topology};

/// Between two deletions of what has been read from between two stages.
const PURGE: Duration = Duration::from_secs(60);

/// What the command line may say over the YAML.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub instance: Option<String>,
    pub state: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT; returns only if it cannot start.
///
/// # Errors
/// What is not fit: a broker, a topic, a right, the data directory.
pub fn run(loaded: Loaded, options: Options) -> Result<(), Fault> {
    let Loaded { topology, settings, sinks, .. } = loaded;
    let running = hear_signals(settings.shutdown)?;
    let protections = Protections::from_env();
    let state = options.state.unwrap_or_else(|| settings.state.clone());
    let given = options.instance.or_else(|| std::env::var("POD_NAME").ok().filter(|n| !n.is_empty()));
    let dir = StateDir::take(&state, &settings.app, given)?;
    let bound = settings.http.as_ref().map(Bound::open).transpose()?;
    let memory = memory::split(settings.memory, topology.remembers_ids());
    let lanes = settings.lanes.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let metrics = metrics(&settings, &dir, &memory);
    let connection = Connection::new(&settings, &dir.instance, memory.fetch)?.sending(memory.producer(lanes));
    let connection = connection.seen(Seen::new(&metrics, "consumer"));
    let connection = patient(connection, &topology, &settings);
    let brokers = Brokers::reach(&connection)?;
    let partitions = fit(&brokers, &topology, &settings, protections)?;
    let limit = connection.transaction_timeout() * 2;
    let late = move |lane, step| process::exit(&too_long(lane, step, limit), false);
    let log = Arc::new(Log::open(&connection, protections)?);
    let roster = Arc::new(Roster::default());
    let http = bound.map(|bound| {
        let (ends, roster) = (log.clone(), roster.clone());
        let end = Box::new(move |task: &TaskId| ends.end(&task.topic, task.partition));
        let (app, instance) = (settings.app.clone(), dir.instance.clone());
        let (topology, partitions, metrics) = (topology.clone(), partitions.clone(), metrics.clone());
        bound.serve(Facts { app, instance, topology, partitions, roster, end, metrics })
    });
    let asked = log.clone();
    let between = topology.repartitions.iter().map(|r| r.topic.to_string()).collect();
    let mut sinks = Sinks::start(&sinks, &connection, (&topology, &settings), memory.sinks, &metrics)?;
    let look = sinks.look();
    let traces = Traces::start(&settings.app, &connection.group);
    let bytes = memory.transaction(settings.commit_bytes, lanes);
    let changelogs: Vec<&str> = topology.stages.iter().filter_map(|s| s.changelog.as_deref()).collect();
    let plan = Plan {
        shares: memory.shares(partitions.values().sum()),
        sinks,
        traces,
        stages: topology.stages.clone(),
        delete_retention_ms: brokers.delete_retention_ms(&changelogs)?,
        partitions,
        folder: dir.folder.clone(),
        rocks: RocksOptions::new(memory.rocks),
        lanes,
        settings: LaneSettings { interval: settings.commit_interval, bytes },
        protections,
        snapshots: Arc::new(Snapshots::default()),
        watchdog: Watchdog::start(lanes, limit, late),
        ends: Ends::start(move |topic, partition| asked.end(topic, partition))?,
        log,
        purge: Purge::start(&brokers, between, PURGE)?,
        roster,
        http: http.transpose()?,
        tally: tally(&brokers, &topology, &metrics),
        metrics,
        connection,
    };
    tracing::info!(app = settings.app, instance = dir.instance, lanes, state = %dir.folder.display(), "starting");
    start(plan, (look, settings.alerts), &running)
}

fn tally(brokers: &Brokers, topology: &Topology, metrics: &Metrics) -> Arc<Tally> {
    let outputs: Vec<&str> = topology.outputs.iter().map(|o| &*o.name).collect();
    Arc::new(Tally::new(topology, brokers.retention_ms(&outputs), metrics))
}

fn metrics(settings: &Settings, dir: &StateDir, memory: &memory::Parts) -> Metrics {
    let about = About {
        app: settings.app.clone(),
        instance: dir.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        librdkafka: librdkafka_version(),
        rocksdb: rocksdb_version().to_owned(),
    };
    let metrics = Metrics::new(&about, &meter::limits(&settings.alerts));
    meter::bounds(&metrics, memory);
    exits::open(&dir.folder).iter().for_each(|(cause, count)| metrics.process.exits.add(&[cause], *count));
    metrics
}

/// With fetches that wait as long as its topology leaves them time to.
fn patient(connection: Connection, topology: &Topology, settings: &Settings) -> Connection {
    match topology.repartitions.is_empty() {
        true => connection.fetching_once(settings.commit_interval),
        false => connection,
    }
}

fn too_long(lane: usize, step: &str, limit: std::time::Duration) -> String {
    let seconds = limit.as_secs_f32();
    format!("lane {lane}: a transaction takes too long: {step} has had no answer for {seconds} s; look at the brokers")
}

/// Brokers and every topic as they should be, or a halt that names what is not; the partitions of the inputs.
fn fit(
    brokers: &Brokers,
    topology: &Topology,
    settings: &Settings,
    protections: Protections,
) -> Result<BTreeMap<String, i32>, Fault> {
    if protections.on("verify") {
        brokers.refuse_unfit()?;
    }
    let topics = Topics::of(brokers, topology, settings);
    let differences = topics.check_patiently()?;
    if !differences.is_empty() {
        let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
        return Err(Fault::configuration(all.join("\n")));
    }
    topics.inputs()
}

fn start(plan: Plan, (sinks, limits): (Look, Alerts), running: &Running) -> Result<(), Fault> {
    let stages = plan.stages.iter().map(|s| (s.topic.clone(), s.name.clone())).collect();
    let system = System::new();
    let ran: Result<(), Fault> = system.block_on(async {
        let (tell, told) = std::sync::mpsc::channel::<Addr<Supervisor>>();
        let events = supervisor_later(told);
        let (reader, handle) =
            Reader::open(&plan.connection, stages, plan.snapshots.clone(), events, plan.protections)?;
        let meter = Meter {
            metrics: plan.metrics.clone(),
            roster: plan.roster.clone(),
            ends: reader.known_ends(),
            sinks,
            rocks: plan.rocks.clone(),
            shares: plan.shares.clone(),
            limits,
            stuck: plan.connection.transaction_timeout() * 2 / 3,
        };
        meter.start()?;
        let supervisor = Supervisor::new(plan, handle).start();
        tell.send(supervisor.clone()).expect("the receiver is in the reader");
        let named = std::thread::Builder::new().name("consumer".into());
        named.spawn(move || reader.run()).map_err(|e| Fault::failed(format!("no thread for the consumer: {e}")))?;
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
        Ok(())
    });
    ran?;
    system.run().map_err(|e| Fault::failed(format!("the actor system ended: {e}")))
}

/// The reader is made before the supervisor, whose address it needs with its first event.
fn supervisor_later(told: std::sync::mpsc::Receiver<Addr<Supervisor>>) -> Box<dyn Fn(Event) + Send> {
    let supervisor = std::cell::OnceCell::new();
    Box::new(move |event| {
        let supervisor = supervisor.get_or_init(|| told.recv().expect("told before the reader runs"));
        if supervisor.try_send(crate::actors::Heard(event)).is_err() {
            process::exit("the supervisor does not listen", false);
        }
    })
}

/// The supervisor, once there is one.
type Running = Arc<Mutex<Option<Addr<Supervisor>>>>;

/// The first signal drains within the budget, the second ends at once; before anything runs, the first ends at once too.
fn hear_signals(budget: Duration) -> Result<Running, Fault> {
    let failed = |e: std::io::Error| Fault::failed(format!("signals cannot be heard: {e}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let running = Running::default();
    let found = running.clone();
    let listen = move || {
        for (times, signal) in signals.forever().enumerate() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            if times > 0 {
                process::exit(&format!("a second signal ({name})"), false);
            }
            let supervisor = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(supervisor) = supervisor else {
                tracing::info!(signal = name, "stopped before anything ran");
                exits::note("done");
                process::leave(process::DONE);
            };
            if supervisor.try_send(Stop(name)).is_err() {
                exits::note("failed");
                process::leave(process::FAILED);
            }
            std::thread::spawn(move || {
                std::thread::sleep(budget);
                process::exit(&format!("not drained within {budget:?}; uncommitted work will be done again"), false);
            });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(failed)?;
    Ok(running)
}
