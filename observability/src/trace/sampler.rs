//! Which spans are kept: OpenTelemetry's samplers, and two rules of a system that links where others call.
//!
//! Called by the SDK when a span starts. Invariant: a span with given ids is kept, for its ids stand in a record already; and
//! where the sampler goes by the parent, so it does by a link.

use super::ids;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

#[derive(Debug, Clone)]
pub(super) struct Linked {
    pub inner: Sampler,
    /// Whether parents, and so links, decide first.
    pub by_parent: bool,
}

impl ShouldSample for Linked {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let linked = self.by_parent && links.iter().any(|link| link.span_context.is_sampled());
        if linked || ids::are_given() {
            let state = parent.map_or(TraceState::NONE, |p| p.span().span_context().trace_state().clone());
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: state,
            };
        }
        self.inner.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}
