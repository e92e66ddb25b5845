//! Metrics: typed handles, by subject, and their text for a scrape.
//!
//! Made once by `runtime` (or the simulator) and passed down as values; only this folder names the library. Counters are
//! added once a batch or a commit, never once a record; gauges that tell a state are written once a second, as a whole.
//! Invariant: what is not known is not shown; what can happen and has not stands at 0; no label takes anything of a
//! record, but `event_type`, which the pipeline before had and which has its bounds in [`label_of_event_type`].

mod clients;
mod document;
mod kinds;
mod lanes;
mod process;
mod seeds;
mod sinks;
mod spans;
mod tasks;
#[cfg(test)]
mod tests;
mod thresholds;

pub use clients::{Figures, StoresNow};
pub use document::document;
pub use kinds::{Count, Described, Level, Spread};
pub use lanes::AtWork;
pub use process::{About, EXITS};
pub use seeds::{ALERTS, EVENT_TYPES};
pub use sinks::SinkNow;
pub use tasks::{OUTCOMES, SERIES, TaskNow};
pub use thresholds::Limits;

use kinds::Maker;
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Every handle of an engine. A clone is the same.
#[derive(Clone)]
pub struct Metrics(Arc<Engine>);

/// By subject.
pub struct Engine {
    pub seeds: seeds::Seeds,
    pub tasks: tasks::Tasks,
    pub lanes: lanes::Lanes,
    pub sinks: sinks::Sinks,
    pub clients: clients::Clients,
    pub stores: clients::Stores,
    pub process: process::Process,
    spans: spans::Spans,
    scraped: Scraped,
    event_types: Mutex<BTreeSet<String>>,
}

struct Scraped {
    registry: Registry,
    described: Vec<Described>,
    /// Held while gauges are written, and while they are read.
    turn: Mutex<()>,
}

/// What a process is at one moment.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// Wall time, seconds since 1970.
    pub time: f64,
    pub tasks: Vec<TaskNow>,
    pub sinks: Vec<SinkNow>,
    pub stores: StoresNow,
}

impl Deref for Metrics {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.0
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub fn new(about: &About, limits: &Limits) -> Metrics {
        let mut m = Maker::new();
        let seeds = seeds::Seeds::new(&mut m);
        let tasks = tasks::Tasks::new(&mut m);
        let lanes = lanes::Lanes::new(&mut m);
        let sinks = sinks::Sinks::new(&mut m);
        let clients = clients::Clients::new(&mut m);
        let stores = clients::Stores::new(&mut m);
        let process = process::Process::new(&mut m, about);
        let spans = spans::Spans::new(&mut m);
        thresholds::export(&mut m, limits);
        let scraped = Scraped::of(m);
        let event_types = Mutex::default();
        Metrics(Arc::new(Engine { seeds, tasks, lanes, sinks, clients, stores, process, spans, scraped, event_types }))
    }

    /// The text of a scrape.
    pub fn text(&self) -> String {
        self.scraped.text()
    }

    /// Writes the gauges that tell a state.
    pub fn show(&self, now: &Now) {
        let _turn = self.scraped.turn();
        self.tasks.show(&now.tasks, now.time);
        self.lanes.show();
        self.sinks.show(&now.sinks);
        self.stores.show(&now.stores);
        self.process.look();
        self.spans.look();
    }

    /// The label of a value of `event_type`: itself, or `other`.
    pub fn label_of_event_type(&self, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if value.is_empty() || value.len() > 64 || !value.chars().all(plain) {
            return "other".to_owned();
        }
        let mut known = self.event_types.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(value) && known.len() >= EVENT_TYPES {
            return "other".to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }

    pub fn described(&self) -> &[Described] {
        &self.scraped.described
    }
}

/// Every handle of the simulator.
#[derive(Clone)]
pub struct Simulator(Arc<(seeds::Produced, (process::Process, spans::Spans), Scraped)>);

impl Simulator {
    pub fn new(about: &About) -> Simulator {
        let mut m = Maker::new();
        let produced = seeds::Produced::new(&mut m);
        let own = (process::Process::new(&mut m, about), spans::Spans::new(&mut m));
        Simulator(Arc::new((produced, own, Scraped::of(m))))
    }

    pub fn produced(&self) -> &seeds::Produced {
        &self.0.0
    }

    pub fn text(&self) -> String {
        let _turn = self.0.2.turn();
        self.0.1.0.look();
        self.0.1.1.look();
        drop(_turn);
        self.0.2.text()
    }

    pub fn described(&self) -> &[Described] {
        &self.0.2.described
    }
}

impl Scraped {
    fn of(maker: Maker) -> Scraped {
        let (registry, described) = maker.done();
        Scraped { registry, described, turn: Mutex::default() }
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        let families = {
            let _turn = self.turn();
            self.registry.gather()
        };
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&families, &mut text).expect("memory takes every text");
        text
    }
}
