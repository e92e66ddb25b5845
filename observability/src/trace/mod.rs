//! Traces: spans by OpenTelemetry, from the producer's record to the sink's row; off until an endpoint is named.
//!
//! Called by `cli` (start), by the process' end (stop), and wherever work is done: tasks, committers, sinks, producers, and
//! services over HTTP. Callers see [`Ids`], never a type of OpenTelemetry's.
//!
//! ```text
//! send user-events (PRODUCER)            the producer; traceparent and correlation_id go into the record's headers
//!    ▲ link                 ▲ link
//! process user-events       │            a batch at work (CONSUMER): links to a sample of its contexts, 8 at most
//!                           │
//!            send hourly-aggregations    a result (PRODUCER): links to the sample that its window kept; begins at the seal
//!                           ▲ parent     and ends with the commit; its ids stand in the record's traceparent
//!            INSERT hourly_aggregations  the sink's transaction (CLIENT), once for each context in it, 128 at most
//! ```
//! A record that fails has a span of its own, `process TOPIC` with `error.type`, in its producer's trace. Names and attributes are
//! those of the semantic conventions for messaging and databases; what they have no name for begins with `tidemill.`.
//!
//! Everything is configured by OpenTelemetry's own variables: `settings` lists them. `sampler` decides; a link counts as a parent, and a failure or a
//! result whose sources were sampled is always kept. `queue` is bounded and counts what it drops; nothing in here waits for a collector,
//! and the log says once that there is none, and once that it is back.
//! Invariant: no payload, key or user's id in a span: topics, partitions, offsets, counts, codes, and the producer's own ids.

mod ids;
mod messaging;
mod queue;
mod sampler;
mod settings;
mod spans;

pub use messaging::{
    Database, Failure, Link, Place, Sending, Sent, Stored, Working, failed, process, refused, send, sent, stored,
};
pub use queue::Counts;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, ContextGuard};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use queue::Queue;
use settings::Settings;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// What the spans of this room are called among those of `tracing`.
const TARGET: &str = "tidemill::span";

/// One context, as it stands in a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub flags: u8,
}

impl Ids {
    fn remote(&self) -> SpanContext {
        let (trace, span) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        SpanContext::new(trace, span, TraceFlags::new(self.flags), true, TraceState::NONE)
    }

    /// What a `traceparent` says, of a request or a record; `None`, if it is none.
    pub fn read(traceparent: &str) -> Option<Ids> {
        let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        let span = context.span();
        Ids::of(span.span_context())
    }

    fn random() -> Ids {
        let ids = RandomIdGenerator::default();
        Ids { trace: ids.new_trace_id().to_bytes(), span: ids.new_span_id().to_bytes(), flags: 1 }
    }

    /// None, if it is no valid one.
    fn of(context: &SpanContext) -> Option<Ids> {
        let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
        context.is_valid().then(|| Ids { trace, span, flags: context.trace_flags().to_u8() })
    }
}

/// What runs while spans are made.
struct Running {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
    left_out: AtomicU64,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

fn running() -> Option<&'static Running> {
    RUNNING.get()
}

/// Whether spans are made: an endpoint is named, and nothing says otherwise.
pub fn is_on() -> bool {
    RUNNING.get().is_some()
}

/// What became of spans so far; all zero while tracing is off.
pub fn counts() -> Counts {
    running().map_or(Counts::default(), |r| Counts { left_out: r.left_out.load(Ordering::Relaxed), ..r.queue.counts() })
}

/// Spans that were made and never arrived: the queue was full, or the collector did not take them.
pub fn dropped() -> u64 {
    let counts = counts();
    counts.dropped + counts.failed
}

/// Contexts, results and failures of which no span was made, since a bound was reached before one was.
pub fn left_out(more: u64) {
    if let Some(running) = running().filter(|_| more > 0) {
        running.left_out.fetch_add(more, Ordering::Relaxed);
    }
}

type Spans<S> = Box<dyn Layer<S> + Send + Sync>;

/// What makes spans of `tracing`'s; none, if no endpoint is named.
///
/// # Errors
/// What is wrong with the variables: the process goes on without spans.
pub(crate) fn start<S>() -> Result<Option<Spans<S>>, String>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(settings) = Settings::read(&|name| std::env::var(name).ok())? else { return Ok(None) };
    let queue = Queue::start(&settings)?;
    let provider = spans::provider(&settings, queue.clone());
    let tracer = provider.tracer("tidemill");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let started = RUNNING.set(Running { tracer, provider, queue, left_out: AtomicU64::new(0) });
    started.map_err(|_| "it was started twice".to_owned())?;
    Ok(Some(layer.with_filter(ours()).boxed()))
}

/// Spans of this room, and no line of the log.
fn ours() -> FilterFn {
    filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET)
}

/// Sends what waits, for so long at most. Spans made later are lost.
pub fn stop(within: Duration) {
    if let Some(running) = running() {
        // The queue's own word counts: a collector that is away is no reason to wait longer.
        drop(running.provider.shutdown_with_timeout(within));
    }
}

/// The ids of what this thread is at work for.
#[derive(Debug, Default)]
pub(crate) struct Here {
    ids: Option<(TraceId, SpanId)>,
    correlation: Option<Arc<str>>,
}

/// Travels in OpenTelemetry's context beside the span.
#[derive(Debug, Clone)]
struct Correlation(Arc<str>);

pub(crate) fn here() -> Here {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        let ids = span.is_valid().then(|| (span.trace_id(), span.span_id()));
        Here { ids, correlation: context.get::<Correlation>().map(|c| c.0.clone()) }
    })
}

impl Here {
    /// Hex, and ids that were looked at: nothing to be escaped.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let ids = self.ids.into_iter().flat_map(|(t, s)| [("trace_id", t.to_string()), ("span_id", s.to_string())]);
        ids.chain(self.correlation.iter().map(|c| ("correlation_id", c.to_string())))
    }
}

/// Until it is dropped, lines of this thread belong there.
pub struct Within(#[allow(dead_code, reason = "held for its end")] ContextGuard);

/// Lines of the log have these ids from now on, be spans made or not. A correlation id that could break a line is left out.
pub fn within(ids: Option<Ids>, correlation: Option<&str>) -> Within {
    let mut context = Context::new();
    if let Some(ids) = ids {
        context = context.with_remote_span_context(ids.remote());
    }
    if let Some(id) = correlation.filter(|id| is_plain(id)) {
        context = context.with_value(Correlation(id.into()));
    }
    Within(context.attach())
}

/// Visible ASCII without quotes, and not long.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}
