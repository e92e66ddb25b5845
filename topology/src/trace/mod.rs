//! Where results come from: the trace contexts of the records that a window, or a partial, was made of.
//!
//! A plain part of the engine: it reads `traceparent` (W3C) from headers and writes it, and knows nothing of spans, of
//! OpenTelemetry or of whoever makes spans of what it says. Off by default: a task that nobody has called
//! [`Task::traced`](crate::Task::traced) on looks at no header, has no such state and writes no byte of it.
//!
//! - [`Task::look`](crate::Task::look) reads the contexts of a batch once. Only *sampled* ones count: a link to a trace that
//!   nobody keeps leads nowhere. Where no record of a batch has a context, the one of whoever works it takes their place.
//! - A partial, and a group in a window, keep a [`Sample`]: the [`EACH`](sample::EACH) contexts with the smallest hash under a
//!   seed. Being the smallest does not depend on order, on how often a record was worked, on the partition, on seals, crashes
//!   or merges: the same contexts and the same seed give the same sample. Partials carry theirs in the header
//!   `tidemill-traces`, which an older release ignores; windows keep theirs in a state of its own (`STEP/contexts/sample`), in
//!   the changelog as any other, so that a restore and a move have it. A grouping without windows keeps what came since it last spoke.
//! - What a grouping says carries a context of its own in `traceparent`, made of the store's id, the transaction's sequence and
//!   the entry: the same values sealed again are the same bytes, as with `tidemill-task`. [`Sealed::traces`](crate::Sealed) says
//!   what it links to; whoever commits makes a span of it, once it is committed. Where the sample is empty, there is none.
//!   `emit: every` goes on in the trace of the record that caused it.
//! - A copy keeps its record's headers, and with them its context. A record that fails is noted whether its context is
//!   sampled or not, and its dead letter has a context: the record's own, else that of the note.
//!
//! Bounds: a sample is at most 25 * 8 bytes; all of a grouping in one task are held in memory, at most [`BYTES`](samples::BYTES) of
//! them, their keys and places included. What comes when that is full keeps none until windows close, and is counted.
//! Invariant: nothing here changes a result, and nothing in a header that is not ours can stop a task.

mod context;
mod parts;
mod sample;
mod samples;
mod work;

pub use context::{Context, TRACEPARENT, correlation_of};
pub use work::{Brought, Emitted, Failed, Origin, TraceCounts};

pub(crate) use parts::Parts;
pub(crate) use sample::{Sample, encode_many};
pub(crate) use samples::Samples;
pub(crate) use work::{Emission, Traces};
