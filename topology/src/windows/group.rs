//! A grouping as it is defined, and how one record is folded into it.
//!
//! Called by [`Node::evaluate`](crate::operators::Node::evaluate); the task writes what was computed once every branch has
//! accepted the record. Knows nothing of seals. Invariant: evaluation changes no entry.

use super::aggregate::{Aggregate, Value};
use super::row::{Moment, Row, RowOutput};
use super::tumbling::Tumbling;
use crate::event_time;
use crate::failure::{Failure, Stop};
use crate::operators::Pass;
use crate::view::View;
use std::sync::Arc;

/// A step that groups by the record key. Keys are compared as bytes, whatever their format says of them.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: Arc<str>,
    pub window: Option<Tumbling>,
    pub aggregates: Vec<Aggregate>,
    pub emit: Emit,
    pub outputs: Vec<RowOutput>,
}

/// When a grouping speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emit {
    Every,
    /// At most once each `updates` ms of wall time, and when a window closes if `last`.
    Coalesced {
        updates: Option<i64>,
        last: bool,
    },
}

/// What evaluation computed and nobody has written yet. Kept for its memory.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub values: Vec<Value>,
    pub pending: Vec<Pending>,
    /// Groups for which this record is late.
    pub late: Vec<usize>,
    /// For keys and values on their way into the arena.
    pub bytes: Vec<u8>,
    pub value: Vec<u8>,
}

/// The next values of one entry: `values[from..]`, as many as the group has aggregates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub group: usize,
    pub start: i64,
    pub from: usize,
}

impl Fold {
    pub fn clear(&mut self) {
        self.values.clear();
        self.pending.clear();
        self.late.clear();
    }
}

impl Group {
    /// Words that change when old entries would mean something else. Grace is among them: with a longer one, windows
    /// that were closed and forgotten would begin again from nothing.
    pub fn shape(&self) -> String {
        let window = match self.window {
            Some(w) => format!("tumbling {} ms, grace {} ms: ", w.size, w.grace),
            None => "no window: ".to_owned(),
        };
        let functions: Vec<String> = self.aggregates.iter().map(|a| a.function.to_string()).collect();
        window + &functions.join(", ")
    }

    /// Computes what the record makes of its entry, and writes what `emit: every` says about it.
    pub fn evaluate(&self, index: usize, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Stop> {
        let Some(key) = view.record.key else {
            return Err(Failure::new("key-missing", format!("step '{}' groups by the key", self.name)).into());
        };
        let start = match self.window {
            None => 0,
            Some(window) => {
                let start = window.start_of(view.time);
                if window.closed(start, pass.stream_time) {
                    pass.fold.late.push(index);
                    return Ok(());
                }
                event_time::check(start).and_then(|_| event_time::check(window.end_of(start))).ok_or_else(|| {
                    Failure::new(
                        "time-unreadable",
                        format!("step '{}': its window ends after the year 9999", self.name),
                    )
                })?;
                start
            }
        };
        let from = pass.fold.values.len();
        match pass.states[index].get(pass.store, start, key)? {
            Some(cell) => pass.fold.values.extend_from_slice(&cell.values),
            None => pass.fold.values.extend(self.aggregates.iter().map(|a| a.function.initial())),
        }
        for (value, aggregate) in pass.fold.values[from..].iter_mut().zip(&self.aggregates) {
            *value = aggregate.function.fold(*value, view)?;
        }
        pass.fold.pending.push(Pending { group: index, start, from });
        self.say(Pending { group: index, start, from }, view, pass)?;
        Ok(())
    }

    /// Writes the row for `emit: every`; else makes sure that it can be written when its time comes.
    fn say(&self, entry: Pending, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Failure> {
        let Fold { values, bytes, value, .. } = &mut *pass.fold;
        let row = Row {
            window: self.window.map(|w| (entry.start, w.end_of(entry.start))),
            key: view.key.whole(),
            aggregates: &self.aggregates,
            values: &values[entry.from..],
            moment: Moment::Update,
        };
        for output in &self.outputs {
            if self.emit == Emit::Every {
                output.encode(&row, (&mut *bytes, &mut *value), pass.max_record)?;
                output.push(pass.outputs, (&*bytes, &*value), view.time, pass.task);
            } else if !output.surely_fits(bytes_of(view), pass.max_record) {
                output.encode(&row, (&mut *bytes, &mut *value), pass.max_record)?;
            }
        }
        Ok(())
    }

    /// Whether the window that begins at `start` is closed; without windows nothing ever is.
    pub fn closed(&self, start: i64, stream_time: i64) -> bool {
        self.window.is_some_and(|window| window.closed(start, stream_time))
    }

    /// Whether a changed entry owes an update.
    pub fn owes(&self) -> bool {
        matches!(self.emit, Emit::Coalesced { updates: Some(_), .. })
    }
}

fn bytes_of(view: &View<'_>) -> usize {
    view.record.key.map_or(0, <[u8]>::len)
}
