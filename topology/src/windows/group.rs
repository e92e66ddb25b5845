//! A grouping as it is defined, and how one record is folded into it: into its entry, or into a partial that travels.
//!
//! Called by [`Node::evaluate`](crate::operators::Node::evaluate); the task writes what was computed once every branch has
//! accepted the record. Knows nothing of seals. Invariant: evaluation changes no entry.

use super::aggregate::distinct::{self, Place};
use super::aggregate::{Aggregate, Function, Value};
use super::by::By;
use super::hopping;
use super::row::{KeyParts, Moment, Row, RowOutput};
use super::window::Window;
use crate::event_time;
use crate::failure::{Failure, Stop};
use crate::operators::{Pass, Seen};
use crate::view::View;
use std::ops::Range;
use std::sync::Arc;

/// A step that groups.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: Arc<str>,
    pub by: By,
    pub window: Option<Window>,
    pub aggregates: Vec<Aggregate>,
    pub emit: Emit,
    /// Ids that a task keeps for each `count_distinct`.
    pub at_most: usize,
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

/// Where a grouping's folds go; an index into what the stage has of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The entries of this stage.
    Entries(usize),
    /// Partials for the stage behind a repartition.
    Partials(usize),
}

/// What evaluation computed and nobody has written yet. Kept for its memory.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub values: Vec<Value>,
    pub ids: Vec<Id>,
    /// Keys of groups, one behind the other.
    pub keys: Vec<u8>,
    pub pending: Vec<Pending>,
    /// Ids to be remembered.
    pub seen: Vec<Seen>,
    /// Groupings for which this record is late.
    pub late: Vec<Target>,
    /// For keys and values on their way into the arena.
    pub bytes: Vec<u8>,
    pub value: Vec<u8>,
    /// For the source header of copies.
    pub source: Vec<u8>,
}

/// An id that the aggregate at `slot` has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub slot: usize,
    pub print: u64,
}

/// The next values of one entry: `values[from..]`, as many as the group has aggregates.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub target: Target,
    /// Of a partial that was there already: where.
    pub found: Option<usize>,
    pub start: i64,
    pub key: Range<usize>,
    pub from: usize,
    pub ids: Range<usize>,
}

impl Fold {
    pub fn clear(&mut self) {
        self.values.clear();
        self.ids.clear();
        self.keys.clear();
        self.pending.clear();
        self.late.clear();
        self.seen.clear();
    }
}

impl Group {
    /// Words that change when old entries would mean something else. Grace is among them: with a longer one, windows
    /// that were closed and forgotten would begin again from nothing.
    pub fn shape(&self) -> String {
        let window = match self.window {
            Some(w) if w.tumbles() => format!("tumbling {} ms, grace {} ms: ", w.size, w.grace),
            Some(w) => format!("hopping {} ms every {} ms, grace {} ms: ", w.size, w.hop, w.grace),
            None => "no window: ".to_owned(),
        };
        let functions: Vec<String> = self.aggregates.iter().map(|a| a.function.to_string()).collect();
        let by = match &self.by {
            By::RecordKey => String::new(),
            by @ By::Fields(_) => format!(", by {}", by.words()),
        };
        window + &functions.join(", ") + &by
    }

    pub fn initial(&self) -> impl Iterator<Item = Value> + '_ {
        self.aggregates.iter().map(|a| a.function.initial())
    }

    /// Computes what the record makes of its entry, and writes what `emit: every` says about it.
    pub fn evaluate(&self, target: Target, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Stop> {
        let start = match self.window {
            None => 0,
            Some(window) => {
                let start = window.pane_of(view.time);
                if window.closed(start, pass.stream_time) {
                    pass.fold.late.push(target);
                    return Ok(());
                }
                self.within_the_calendar(start, window)?;
                start
            }
        };
        let key = self.key(start, view, pass)?;
        let (from, first_id) = (pass.fold.values.len(), pass.fold.ids.len());
        let (found, held) = match target {
            Target::Entries(i) => {
                (None, pass.states[i].get(pass.store, start, &pass.fold.keys[key.clone()])?.map(|c| &c.values[..]))
            }
            Target::Partials(i) => pass.partials[i].get(start, &pass.fold.keys[key.clone()]).unzip(),
        };
        match held {
            Some(values) => pass.fold.values.extend_from_slice(values),
            None => pass.fold.values.extend(self.initial()),
        }
        let pending = Pending { target, found, start, key, from, ids: first_id..first_id };
        self.fold(pending, view, pass)
    }

    /// The key of the entry that the record belongs to.
    fn key(&self, start: i64, view: &View<'_>, pass: &mut Pass<'_>) -> Result<Range<usize>, Failure> {
        let from = pass.fold.keys.len();
        if let Some(window) = self.window.filter(|w| !w.tumbles()) {
            hopping::write_from(window, start, pass.stream_time, &mut pass.fold.keys);
        }
        let key = self.by.write(&self.name, view, &mut pass.fold.keys)?;
        Ok(from..key.end)
    }

    /// Whether windows lie one over the other.
    pub fn hops(&self) -> bool {
        self.window.is_some_and(|w| !w.tumbles())
    }

    /// What lies too near the ends of the calendar has no window that can be written.
    fn within_the_calendar(&self, start: i64, window: Window) -> Result<(), Failure> {
        let fits = event_time::check(start).and_then(|_| event_time::check(window.end_of(start)));
        let text = || format!("step '{}': its window ends after the year 9999", self.name);
        fits.map(|_| ()).ok_or_else(|| Failure::new("time-unreadable", text()))
    }

    fn fold(&self, mut pending: Pending, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Stop> {
        for (slot, aggregate) in self.aggregates.iter().enumerate() {
            let at = pending.from + slot;
            let Function::Distinct(path) = &aggregate.function else {
                pass.fold.values[at] = aggregate.function.fold(pass.fold.values[at], view)?;
                continue;
            };
            let Some(print) = distinct::print(path, view, &mut pass.fold.bytes)? else { continue };
            pass.fold.ids.push(Id { slot, print });
            if let (Target::Entries(i), Value::Distinct { ids, beyond }) = (pending.target, pass.fold.values[at]) {
                let place = Place { start: pending.start, key: &pass.fold.keys[pending.key.clone()] };
                let (ids, beyond) = pass.states[i].look(slot, place, print, beyond).count(ids, beyond);
                pass.fold.values[at] = Value::Distinct { ids, beyond };
            }
        }
        pending.ids.end = pass.fold.ids.len();
        self.say(&pending, view, pass)?;
        pass.fold.pending.push(pending);
        Ok(())
    }

    /// Writes the row for `emit: every` (which no partial is); else makes sure that it can be written when its time comes.
    fn say(&self, entry: &Pending, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Failure> {
        let Fold { values, bytes, value, keys, .. } = &mut *pass.fold;
        let key = self.bare(&keys[entry.key.clone()]);
        let whole = view.key.whole();
        let known = (key.len(), Some(&whole).filter(|_| self.by == By::RecordKey));
        if self.emit != Emit::Every && self.outputs.iter().all(|o| o.surely_fits(known, pass.max_record)) {
            return Ok(());
        }
        let window = self.window.map(|w| (entry.start, w.end_of(entry.start)));
        let row = Row {
            window,
            key: KeyParts::of(&self.by, key, whole),
            aggregates: &self.aggregates,
            values: &values[entry.from..],
            moment: Moment::Update,
        };
        for output in &self.outputs {
            if self.emit == Emit::Every {
                output.encode(&row, (&mut *bytes, &mut *value), pass.max_record)?;
                output.push(pass.outputs, (&*bytes, &*value), view.time, pass.task);
            } else {
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

    /// The slots of its distinct counts.
    pub fn distinct(&self) -> impl Iterator<Item = (usize, &Aggregate)> + '_ {
        self.aggregates.iter().enumerate().filter(|(_, a)| matches!(a.function, Function::Distinct(_)))
    }

    /// The names and shapes of its states, in the order of their numbers: its entries, then ids and sketches of each
    /// distinct count, then how far hopping windows have come.
    pub fn states(&self) -> Vec<(Arc<str>, String)> {
        use distinct::Distinct;
        let mut states = vec![(self.name.clone(), self.shape())];
        for (_, aggregate) in self.distinct() {
            let name = format!("{}/{}", self.name, aggregate.name);
            let shape = if self.hops() { Distinct::GROUPED_SHAPE } else { Distinct::SHAPE };
            states.push((name.as_str().into(), shape.to_owned()));
            states.push((format!("{name}/sketch").into(), Distinct::SKETCH_SHAPE.to_owned()));
        }
        if self.hops() {
            states.push((format!("{}/said", self.name).into(), "how far windows have been said".to_owned()));
        }
        states
    }
}
