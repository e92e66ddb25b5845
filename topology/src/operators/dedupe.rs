//! `dedupe`: a record whose id was seen within the last so much stream time goes no further.
//!
//! Called by [`Operator`](super::Operator). Ids are fingerprints, the low 80 bits of xxh3-128, in buckets of the stream time at which they
//! came, so that a record that is late itself is known as well as any other; the newest two buckets are asked. Knows
//! nothing of wall time. Invariant: a duplicate is found for at least `within` behind the first, and for at most twice
//! that; an id is remembered only once its record was accepted.

use super::{Flow, Pass};
use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::{Datum, Document, Format, FormatError};
use crate::graph::Reading;
use crate::record::Batch;
use crate::task::AHEAD;
use crate::view::View;
use std::sync::Arc;
use tidemill_state::{IdSet, IdShape, Width, fingerprint};

/// Ids that a task remembers, where the YAML names no bound.
pub(crate) const AT_MOST: usize = 20_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Dedupe {
    /// Of its state.
    pub name: Arc<str>,
    pub by: Path,
    /// ms of stream time.
    pub within: i64,
    pub at_most: usize,
}

/// An id to be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Its set among those of the task.
    pub set: usize,
    pub bucket: u64,
    pub print: u128,
}

/// The fingerprint of a text; others are rare.
fn text_of(id: Datum<'_>) -> Option<u128> {
    if let Datum::Text(text) = id { Some(fingerprint(text.as_bytes())) } else { None }
}

impl Dedupe {
    /// As it was first called, which stays: stores and logs of then are read.
    pub fn shape(&self) -> String {
        format!("ids of 128 bits, in buckets of {} ms", self.within)
    }

    pub fn ids(&self) -> IdShape {
        IdShape { width: Width::Close, at_most: self.at_most }
    }

    /// The bucket of a stream time; in order, also before 1970.
    pub fn bucket(&self, stream_time: i64) -> u64 {
        (stream_time.div_euclid(self.within) as u64) ^ (1 << 63)
    }

    /// The oldest bucket that is still asked at this stream time.
    pub fn oldest(&self, stream_time: i64) -> u64 {
        self.bucket(stream_time).saturating_sub(1)
    }

    /// Records of a batch are about to be worked, from its `first` on, as many as there are values: what will be asked of their
    /// ids is fetched meanwhile. Nothing but a hint: what their operators do to the ids is not known yet.
    pub fn expect(
        &self,
        (set, stream_time): (&IdSet, i64),
        reading: &Reading,
        (batch, first): (&Batch, usize),
        values: &[Option<Result<Document<'_>, FormatError>>],
    ) {
        let (mut prints, mut known) = ([0; AHEAD], 0);
        for (at, value) in values.iter().flatten().enumerate().take(AHEAD) {
            let print = match (self.by.around(), value) {
                (None, Ok(value)) => text_of(value.field(&self.by)),
                (Some(("key", rest)), _) => {
                    let key = batch.get(first + at).and_then(|record| reading.key_format.read(record.key).ok());
                    key.and_then(|key| text_of(key.get(rest)))
                }
                _ => None,
            };
            if let Some(print) = print {
                prints[known] = print;
                known += 1;
            }
        }
        set.prefetch_since(self.oldest(stream_time), &prints[..known]);
    }

    pub fn apply(&self, set: usize, view: &View<'_>, pass: &mut Pass<'_>) -> Result<Flow, Failure> {
        let print = match view.get(&self.by) {
            Datum::Null => {
                let text = format!(
                    "dedupe: field '{}' is missing, so nobody can say whether it came before",
                    self.by.join(".")
                );
                return Err(Failure::new("id-missing", text));
            }
            Datum::Text(text) => fingerprint(text.as_bytes()),
            Datum::Bytes(bytes) => fingerprint(&bytes),
            other => {
                pass.fold.bytes.clear();
                // Another domain: the number 1 is not the text '1'.
                pass.fold.bytes.push(0);
                let place = || format!("dedupe by '{}'", self.by.join("."));
                Format::Json.write(&other, &mut pass.fold.bytes).map_err(|e| Failure::format(place(), &e))?;
                fingerprint(&pass.fold.bytes)
            }
        };
        let now = pass.stream_time.max(view.time);
        if pass.sets[set].contains_since(self.oldest(now), print) {
            return Ok(Flow::Duplicate);
        }
        pass.fold.seen.push(Seen { set, bucket: self.bucket(now), print });
        Ok(Flow::On)
    }
}
