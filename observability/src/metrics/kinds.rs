//! Kinds of metrics, and the maker that registers each with its name, labels and meaning.
//!
//! Used by the subjects of this folder alone; the only file beside `mod.rs` that names the library. Knows no subject.
//! Invariant: what is registered is described, so the document cannot lack it; a name that is not fit ends the start.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, Opts, Registry};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A line of the document.
#[derive(Debug, Clone)]
pub struct Described {
    pub subject: &'static str,
    pub name: &'static str,
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Registers metrics under one subject after the other.
pub(super) struct Maker {
    registry: Registry,
    subject: &'static str,
    described: Vec<Described>,
}

/// Labels of a metric that has none.
pub(super) const NONE: &[&str] = &[];

impl Maker {
    pub fn new() -> Maker {
        Maker { registry: Registry::new(), subject: "", described: Vec::new() }
    }

    /// What comes next belongs to this subject.
    pub fn subject(&mut self, subject: &'static str) -> &mut Maker {
        self.subject = subject;
        self
    }

    pub fn done(self) -> (Registry, Vec<Described>) {
        (self.registry, self.described)
    }

    fn describe(
        &mut self,
        kind: &'static str,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        self.described.push(Described { subject: self.subject, name, kind, labels, help });
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("names and labels of this folder are fit");
        self.registry.register(Box::new(made.clone())).expect("a name is registered once");
        made
    }

    /// A counter, by labels; without labels it stands at 0 from the start.
    pub fn count(&mut self, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Count {
        self.describe("counter", name, labels, help);
        let count = Count(self.register(IntCounterVec::new(Opts::new(name, help), labels)));
        if labels.is_empty() {
            count.add(NONE, 0);
        }
        count
    }

    /// A counter that is not of whole things.
    pub fn sum(&mut self, name: &'static str, help: &'static str) -> Sum {
        self.describe("counter", name, NONE, help);
        let sum = Sum(self.register(CounterVec::new(Opts::new(name, help), NONE)));
        sum.0.with_label_values(NONE).inc_by(0.0);
        sum
    }

    /// A gauge, by labels. It is not shown before it is set: what nobody measured has no number.
    pub fn level(&mut self, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Level {
        self.describe("gauge", name, labels, help);
        Level(self.register(GaugeVec::new(Opts::new(name, help), labels)))
    }

    /// A histogram, by one label or none.
    pub fn spread(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Spread {
        self.describe("histogram", name, labels, help);
        assert!(labels.len() <= 1, "{name}: a histogram has one label at most");
        let names = labels.iter().map(|l| (*l).to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new());
        let inner = SpreadInner {
            desc: desc.expect("names and labels of this folder are fit"),
            label: labels.first().copied(),
            bounds,
            places: Mutex::default(),
        };
        let spread = Spread(Arc::new(inner));
        self.registry.register(Box::new(spread.clone())).expect("a name is registered once");
        if labels.is_empty() {
            spread.place("");
        }
        spread
    }
}

/// A counter by labels.
#[derive(Clone)]
pub struct Count(IntCounterVec);

impl Count {
    pub fn add(&self, labels: &[&str], more: u64) {
        self.0.with_label_values(labels).inc_by(more);
    }

    /// So that it is seen before anything happens.
    pub fn at_zero<'a>(&self, values: impl IntoIterator<Item = &'a [&'a str]>) {
        values.into_iter().for_each(|labels| self.add(labels, 0));
    }

    /// Of all series.
    pub fn total(&self) -> u64 {
        let families = self.0.collect();
        let all = families.iter().flat_map(|family| family.get_metric());
        all.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    pub fn value(&self, labels: &[&str]) -> u64 {
        self.0.with_label_values(labels).get()
    }
}

/// A counter with a fraction.
#[derive(Clone)]
pub struct Sum(CounterVec);

impl Sum {
    /// Moves it up to what somebody else counts; a counter never goes back.
    pub fn reach(&self, value: f64) {
        let own = self.0.with_label_values(NONE);
        if value > own.get() {
            own.inc_by(value - own.get());
        }
    }
}

/// A gauge by labels.
#[derive(Clone)]
pub struct Level(GaugeVec);

impl Level {
    pub fn set(&self, labels: &[&str], value: f64) {
        self.0.with_label_values(labels).set(value);
    }

    pub fn add(&self, labels: &[&str], more: f64) {
        self.0.with_label_values(labels).add(more);
    }

    /// Forgets every series.
    pub(super) fn clear(&self) {
        self.0.reset();
    }
}

/// A histogram by one label or none, which takes many equal observations at once.
#[derive(Clone)]
pub struct Spread(Arc<SpreadInner>);

struct SpreadInner {
    desc: Desc,
    label: Option<&'static str>,
    bounds: &'static [f64],
    places: Mutex<Vec<(String, Arc<Cells>)>>,
}

/// One series.
struct Cells {
    counts: Box<[AtomicU64]>,
    /// The bits of an f64.
    sum: AtomicU64,
}

impl Spread {
    /// `times` observations of `value`; `label` is empty where there is none.
    pub fn observe(&self, label: &str, value: f64, times: u64) {
        let cells = self.place(label);
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        cells.counts[at].fetch_add(times, Ordering::Relaxed);
        let more = |bits: u64| Some((f64::from_bits(bits) + value * times as f64).to_bits());
        _ = cells.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// How many observations there were, and their sum.
    pub fn totals(&self, label: &str) -> (u64, f64) {
        let cells = self.place(label);
        let count = cells.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (count, f64::from_bits(cells.sum.load(Ordering::Relaxed)))
    }

    /// So that it is seen before anything is observed.
    pub fn at_zero(&self, labels: &[&str]) {
        labels.iter().for_each(|label| drop(self.place(label)));
    }

    fn place(&self, label: &str) -> Arc<Cells> {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cells)) = places.iter().find(|(known, _)| known == label) {
            return cells.clone();
        }
        let counts = (0..=self.0.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let cells = Arc::new(Cells { counts, sum: AtomicU64::new(0f64.to_bits()) });
        places.push((label.to_owned(), cells.clone()));
        cells
    }
}

impl Collector for Spread {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = places.iter().map(|(value, cells)| {
            let label = self.0.label.map(|name| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.clone());
                pair
            });
            let mut metric = Metric::from_label(label.into_iter().collect());
            metric.set_histogram(cells.histogram(self.0.bounds));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

impl Cells {
    fn histogram(&self, bounds: &[f64]) -> Histogram {
        let mut all = 0;
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(&self.counts) {
            all += count.load(Ordering::Relaxed);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(all);
            buckets.push(bucket);
        }
        all += self.counts[bounds.len()].load(Ordering::Relaxed);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(all);
        histogram.set_sample_sum(f64::from_bits(self.sum.load(Ordering::Relaxed)));
        histogram
    }
}
