//! Ids of spans: random, or given by whoever has promised them in a record's header already.
//!
//! Called by the SDK when a span starts. Invariant: given ids are used once, on the thread that gave them.

use super::Ids;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::cell::Cell;

thread_local! {
    static GIVEN: Cell<Option<Ids>> = const { Cell::new(None) };
}

/// Makes ids; see the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(RandomIdGenerator);

/// The span that `start` starts has these ids; in the trace of its parent, if it has one.
pub(super) fn give<T>(ids: Ids, start: impl FnOnce() -> T) -> T {
    GIVEN.set(Some(ids));
    let started = start();
    GIVEN.set(None);
    started
}

/// Whether the span that is being started has given ids.
pub(super) fn are_given() -> bool {
    GIVEN.get().is_some()
}

impl IdGenerator for Given {
    fn new_trace_id(&self) -> TraceId {
        GIVEN.get().map_or_else(|| self.0.new_trace_id(), |ids| TraceId::from_bytes(ids.trace))
    }

    fn new_span_id(&self) -> SpanId {
        GIVEN.get().map_or_else(|| self.0.new_span_id(), |ids| SpanId::from_bytes(ids.span))
    }
}
