//! Spans on their way to the collector: a bounded queue, and the one thread that talks to it.
//!
//! Spans come from any thread, through the SDK. Knows nothing of what they say. Invariant: whoever ends a span never waits; what
//! does not fit is counted, and so is what the collector did not take. Memory: `OTEL_BSP_MAX_QUEUE_SIZE` spans and one batch,
//! each of 8 links or so: 2 048 of the largest are 10 MB.

use super::settings::Settings;
use super::spans;
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// What became of spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The collector took them.
    pub exported: u64,
    /// The queue was full.
    pub dropped: u64,
    /// The collector did not take them.
    pub failed: u64,
    /// On their way.
    pub waiting: u64,
    /// Never made, since a bound was reached before.
    pub left_out: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    batch: usize,
    delay: Duration,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<SpanData>,
    /// Nothing more comes; what is here may be sent until then.
    stop: Option<Instant>,
    /// The thread has ended.
    over: bool,
}

impl Queue {
    fn new(settings: &Settings) -> Queue {
        Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            most: settings.queue,
            batch: settings.batch,
            delay: settings.delay,
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The exporter cannot be made of the variables.
    pub fn start(settings: &Settings) -> Result<Arc<Queue>, String> {
        let queue = Arc::new(Queue::new(settings));
        let (tell, told) = channel();
        let (own, settings) = (queue.clone(), settings.clone());
        let named = std::thread::Builder::new().name("spans".to_owned());
        let thread = move || {
            run(&own, &settings, &tell);
            own.locked().over = true;
            own.changed.notify_all();
        };
        named.spawn(thread).map_err(|e| format!("no thread for spans: {e}"))?;
        told.recv().unwrap_or_else(|_| Err("the thread for spans ended at once".to_owned()))?;
        Ok(queue)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (exported, dropped, failed) = (of(&self.exported), of(&self.dropped), of(&self.failed));
        Counts { exported, dropped, failed, waiting: self.locked().waiting.len() as u64, left_out: 0 }
    }

    fn push(&self, span: SpanData) {
        let mut state = self.locked();
        if state.stop.is_some() || state.waiting.len() >= self.most {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.push_back(span);
        if state.waiting.len() == self.batch {
            self.changed.notify_all();
        }
    }

    /// Waits until there is a batch, or until `delay` has passed and there is anything; `eager`: a full batch is not
    /// waited for, for the collector may be away. None: it is over. With it, until when it may be sent.
    fn next(&self, eager: bool) -> Option<(Vec<SpanData>, Option<Instant>)> {
        let mut due = Instant::now() + self.delay;
        let mut state = self.locked();
        loop {
            let now = Instant::now();
            let stop = state.stop;
            if stop.is_some_and(|until| state.waiting.is_empty() || now >= until) {
                self.dropped.fetch_add(state.waiting.len() as u64, Ordering::Relaxed);
                state.waiting.clear();
                return None;
            }
            let full = eager && state.waiting.len() >= self.batch;
            if stop.is_some() || full || (now >= due && !state.waiting.is_empty()) {
                let count = state.waiting.len().min(self.batch);
                return Some((state.waiting.drain(..count).collect(), stop));
            }
            if now >= due {
                due = now + self.delay;
            }
            let waited = self.changed.wait_timeout(state, due.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stop(&self, within: Duration) -> OTelSdkResult {
        let until = Instant::now() + within;
        let mut state = self.locked();
        state.stop.get_or_insert(until);
        self.changed.notify_all();
        while !state.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(OTelSdkError::Timeout(within));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

/// The queue as the SDK knows it.
#[derive(Debug)]
pub(super) struct Processor(pub Arc<Queue>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.0.stop(within)
    }
}

fn run(queue: &Queue, settings: &Settings, tell: &Sender<Result<(), String>>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(tell.send(Err(format!("no runtime for spans: {e}")))),
    };
    // gRPC's channel belongs to the runtime that it is made in.
    let made = runtime.block_on(async { exporter(settings) });
    let exporter = match made {
        Ok(exporter) => exporter,
        Err(e) => return drop(tell.send(Err(e))),
    };
    drop(tell.send(Ok(())));
    let mut news = News { place: &settings.place, well: true, full: false, lost: 0 };
    while let Some((batch, until)) = queue.next(news.well) {
        let (count, limit) =
            (batch.len() as u64, until.map_or(settings.timeout, |t| (t - Instant::now()).min(settings.timeout)));
        let done = send(&runtime, &exporter, batch, limit);
        let counter = if done.is_ok() { &queue.exported } else { &queue.failed };
        counter.fetch_add(count, Ordering::Relaxed);
        news.tell(done, count, queue.dropped.load(Ordering::Relaxed));
    }
}

fn exporter(settings: &Settings) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder();
    let made = if settings.grpc { builder.with_tonic().build() } else { builder.with_http().build() };
    let mut exporter = made.map_err(|e| format!("the OTLP exporter cannot be made: {e}"))?;
    exporter.set_resource(&spans::resource());
    Ok(exporter)
}

fn send(runtime: &Runtime, exporter: &SpanExporter, batch: Vec<SpanData>, limit: Duration) -> Result<(), String> {
    let sent = runtime.block_on(async { tokio::time::timeout(limit, exporter.export(batch)).await });
    match sent {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// What the log is told: once that spans are lost, and once that they are not any more.
struct News<'a> {
    place: &'a str,
    well: bool,
    full: bool,
    lost: u64,
}

impl News<'_> {
    fn tell(&mut self, done: Result<(), String>, count: u64, dropped: u64) {
        match done {
            Ok(()) if !self.well => {
                tracing::info!(collector = self.place, lost = self.lost, "spans are exported again");
                (self.well, self.lost) = (true, 0);
            }
            Ok(()) => {}
            Err(cause) => {
                self.lost += count;
                if std::mem::replace(&mut self.well, false) {
                    tracing::warn!(collector = self.place, cause, "spans are not exported");
                }
            }
        }
        if dropped > 0 && !std::mem::replace(&mut self.full, true) {
            tracing::warn!(collector = self.place, "spans are dropped: more than the queue holds");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::settings::Settings;
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use std::time::SystemTime;

    fn settings(more: &[(&str, &str)]) -> Settings {
        let all = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")], more].concat();
        Settings::read(&|name| all.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).unwrap().unwrap()
    }

    fn span() -> SpanData {
        let now = SystemTime::now();
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "x".into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let queue = Queue::new(&settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_SCHEDULE_DELAY", "1")]));
        (0..25).for_each(|_| queue.push(span()));
        let counts = queue.counts();
        assert_eq!((counts.waiting, counts.dropped), (10, 15));
        assert_eq!(queue.next(true).map(|(batch, _)| batch.len()), Some(10));
    }

    #[test]
    fn batches_are_as_large_as_they_may_be_and_come_in_order_until_the_stop() {
        let queue =
            Queue::new(&settings(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"), ("OTEL_BSP_SCHEDULE_DELAY", "20")]));
        (0..6).for_each(|_| queue.push(span()));
        assert_eq!(queue.next(true).map(|(batch, _)| batch.len()), Some(4));
        let began = Instant::now();
        assert_eq!(queue.next(true).map(|(batch, _)| batch.len()), Some(2));
        assert!(began.elapsed() >= Duration::from_millis(20), "half a batch waits for its time");
        (0..5).for_each(|_| queue.push(span()));
        assert!(queue.stop(Duration::from_millis(1)).is_err(), "nobody is at work");
        std::thread::sleep(Duration::from_millis(2));
        assert!(queue.next(true).is_none(), "the time is over");
        queue.push(span());
        assert_eq!(queue.counts().dropped, 6);
    }

    #[test]
    fn while_the_collector_is_away_a_full_batch_waits_too() {
        let queue =
            Queue::new(&settings(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"), ("OTEL_BSP_SCHEDULE_DELAY", "30")]));
        queue.push(span());
        let began = Instant::now();
        assert!(queue.next(false).is_some() && began.elapsed() >= Duration::from_millis(30));
    }
}
