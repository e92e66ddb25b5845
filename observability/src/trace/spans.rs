//! How spans begin and end with OpenTelemetry's SDK: the provider, and spans whose ids or times are given.
//!
//! Called by `messaging`. Knows nothing of Kafka. Invariant: a span that is made here has ended here.

use super::ids::{self, Given};
use super::queue::{Processor, Queue};
use super::settings::Settings;
use super::{Ids, running};
use opentelemetry::trace::{Link, Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) fn provider(settings: &Settings, queue: Arc<Queue>) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_span_processor(Processor(queue))
        .with_sampler(settings.sampler.clone())
        .with_id_generator(Given::default())
        .with_resource(resource())
        .build()
}

/// The service, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have it.
pub(super) fn resource() -> Resource {
    let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"].iter().any(|name| {
        std::env::var(name).is_ok_and(|v| name.ends_with("NAME") && !v.is_empty() || v.contains("service.name="))
    });
    let builder = Resource::builder();
    let builder = if named { builder } else { builder.with_service_name("tidemill") };
    builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

/// A span as a whole.
pub(super) struct Whole {
    pub name: String,
    pub kind: SpanKind,
    pub attributes: Vec<KeyValue>,
    pub parent: Option<Ids>,
    /// Its own, where somebody has promised them.
    pub ids: Option<Ids>,
    pub links: Vec<Link>,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub status: Status,
}

/// Makes a span of something that is over. Nothing, if tracing is off.
pub(super) fn whole(span: Whole) {
    let Some(running) = running() else { return };
    let Whole { name, kind, attributes, parent, ids, links, began, ended, status } = span;
    let mut builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(began).with_attributes(attributes);
    builder = if links.is_empty() { builder } else { builder.with_links(links) };
    let parent = parent.map_or_else(Context::new, |p| Context::new().with_remote_span_context(p.remote()));
    let start = || running.tracer.build_with_context(builder, &parent);
    let mut span = match ids {
        Some(own) => ids::give(own, start),
        None => start(),
    };
    span.set_status(status);
    span.end_with_timestamp(ended);
}
