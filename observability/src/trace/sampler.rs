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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Ids;

    const IDS: Ids = Ids { trace: [7; 16], span: [9; 8], flags: 1 };

    fn kept(sampler: &Linked, links: &[Link]) -> bool {
        let (id, kind) = (TraceId::from_bytes([0xff; 16]), SpanKind::Consumer);
        let result = sampler.should_sample(Some(&Context::new()), id, "process t", &kind, &[], links);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_link_counts_as_a_parent_where_parents_count() {
        let by_parent = Linked { inner: Sampler::ParentBased(Box::new(Sampler::AlwaysOff)), by_parent: true };
        let alone = Linked { inner: Sampler::TraceIdRatioBased(0.01), by_parent: false };
        let (sampled, not) = (Link::with_context(IDS.remote()), Link::with_context(Ids { flags: 0, ..IDS }.remote()));
        assert!(kept(&by_parent, &[not.clone(), sampled.clone()]));
        assert!(!kept(&by_parent, &[not]) && !kept(&by_parent, &[]) && !kept(&alone, &[sampled]));
    }

    #[test]
    fn what_has_its_ids_already_is_kept_and_has_them() {
        let off = Linked { inner: Sampler::AlwaysOff, by_parent: true };
        let ids = ids::Given::default();
        use opentelemetry_sdk::trace::IdGenerator;
        let made = ids::give(IDS, || (kept(&off, &[]), ids.new_trace_id().to_bytes(), ids.new_span_id().to_bytes()));
        assert_eq!(made, (true, IDS.trace, IDS.span));
        assert!(!kept(&off, &[]) && ids.new_trace_id().to_bytes() != IDS.trace);
    }
}
