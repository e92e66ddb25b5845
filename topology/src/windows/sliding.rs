//! The hopping window that was said last, kept together, so that the next one is made of it: less the pane in front, more
//! what counts from there on. What that costs does not depend on how many panes a window has.
//!
//! Counts, sums and means are taken back as they were added, which is exact; of ids it is known how many entries have them; of
//! an extreme, what may be it once the panes in front are gone (a monotonic queue, by pane). Called where windows close.
//! Invariant: entries that count in a window that has closed never change, so what was added is what is taken back; what
//! cannot be taken back (a sum that overflows, an estimate) is not kept, and panes are put together instead.

use super::aggregate::{Aggregate, Function, Value};
use super::cell::Cell;
use super::group::Group;
use crate::decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many entries have an id.
type Ids = HashMap<u64, u32, foldhash::fast::RandomState>;

/// About what a group and what an id takes, bytes.
const GROUP: usize = 256;
const ID: usize = 24;

/// See the module.
#[derive(Default)]
pub(super) struct Sliding {
    groups: BTreeMap<Vec<u8>, Slide>,
    /// Panes within the window that hold entries which count only from a later window on, by that window.
    later: BTreeMap<i64, BTreeSet<i64>>,
    ids: usize,
}

struct Slide {
    /// Entries that it is made of.
    entries: u32,
    /// One for each aggregate.
    parts: Vec<Part>,
}

enum Part {
    Count(u64),
    /// And of how many entries.
    Sum(Decimal, u64),
    Mean(Decimal, u64),
    /// The best value of each pane that may be the best of all yet: the first is.
    Extreme(BTreeMap<i64, Decimal>),
    Distinct(Ids),
}

/// An entry of a pane: the ids of each distinct count, in the order of their slots.
pub(super) struct Entry<'a> {
    pub pane: i64,
    pub cell: &'a Cell,
    pub ids: Vec<&'a [u64]>,
}

impl Sliding {
    /// Adds an entry; `None` if it could not be taken back.
    pub fn add(&mut self, group: &Group, key: &[u8], entry: &Entry<'_>) -> Option<()> {
        if !self.groups.contains_key(key) {
            let parts = group.aggregates.iter().map(Part::of).collect();
            self.groups.insert(key.to_vec(), Slide { entries: 0, parts });
        }
        let slide = self.groups.get_mut(key)?;
        slide.entries += 1;
        let mut ids = entry.ids.iter();
        for ((part, value), aggregate) in slide.parts.iter_mut().zip(&entry.cell.values).zip(&group.aggregates) {
            let ids = if matches!(part, Part::Distinct(_)) { ids.next().copied() } else { None };
            self.ids += part.add(aggregate, (entry.pane, value), ids.unwrap_or_default())?;
        }
        Some(())
    }

    /// Takes back what was added; `None` if what is left is too large for a sum.
    pub fn remove(&mut self, key: &[u8], entry: &Entry<'_>) -> Option<()> {
        let slide = self.groups.get_mut(key)?;
        slide.entries -= 1;
        let mut ids = entry.ids.iter();
        for (part, value) in slide.parts.iter_mut().zip(&entry.cell.values) {
            let ids = if matches!(part, Part::Distinct(_)) { ids.next().copied() } else { None };
            self.ids -= part.remove((entry.pane, value), ids.unwrap_or_default())?;
        }
        if slide.entries == 0 {
            self.groups.remove(key);
        }
        Some(())
    }

    /// An entry of this pane counts from the window at `from` on, which is not the first over the pane.
    pub fn later(&mut self, from: i64, pane: i64) {
        self.later.entry(from).or_default().insert(pane);
    }

    /// The panes with entries that count from the window at `start` on.
    pub fn take_later(&mut self, start: i64) -> BTreeSet<i64> {
        let behind = self.later.split_off(&start.saturating_add(1));
        std::mem::replace(&mut self.later, behind).remove(&start).unwrap_or_default()
    }

    /// What the window says of each group, last one first, without those up to `after`.
    pub fn cells(&self, after: Option<&[u8]>) -> Vec<(Vec<u8>, Cell)> {
        let wanted = self.groups.iter().rev().take_while(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        let cell = |slide: &Slide| Cell { owes: false, values: slide.parts.iter().map(Part::value).collect() };
        wanted.map(|(key, slide)| (key.clone(), cell(slide))).collect()
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.groups.len() * GROUP + self.ids * ID
    }
}

impl Part {
    fn of(aggregate: &Aggregate) -> Part {
        match aggregate.function {
            Function::Count => Part::Count(0),
            Function::Sum(_) => Part::Sum(Decimal::ZERO, 0),
            Function::Avg(..) => Part::Mean(Decimal::ZERO, 0),
            Function::Min(_) | Function::Max(_) => Part::Extreme(BTreeMap::new()),
            Function::Distinct(_) => Part::Distinct(Ids::default()),
        }
    }

    /// How many ids are new.
    fn add(&mut self, aggregate: &Aggregate, (pane, value): (i64, &Value), ids: &[u64]) -> Option<usize> {
        match (self, value) {
            (Part::Count(all), Value::Count(n)) => *all = all.checked_add(*n)?,
            (Part::Sum(..) | Part::Extreme(_), Value::Number(None)) => {}
            (Part::Sum(all, of), Value::Number(Some(n))) => (*all, *of) = (all.checked_add(*n)?, *of + 1),
            (Part::Mean(all, of), Value::Mean { sum, count }) => {
                (*all, *of) = (all.checked_add(*sum)?, of.checked_add(*count)?);
            }
            (Part::Extreme(queue), Value::Number(Some(n))) => {
                let best = |a: Decimal, b: Decimal| {
                    if matches!(aggregate.function, Function::Min(_)) { a <= b } else { a >= b }
                };
                enqueue(queue, (pane, *n), best);
            }
            (Part::Distinct(all), Value::Distinct { beyond: None, .. }) => {
                let before = all.len();
                ids.iter().for_each(|id| *all.entry(*id).or_default() += 1);
                return Some(all.len() - before);
            }
            _ => return None,
        }
        Some(0)
    }

    /// How many ids are gone.
    fn remove(&mut self, (pane, value): (i64, &Value), ids: &[u64]) -> Option<usize> {
        match (self, value) {
            (Part::Count(all), Value::Count(n)) => *all -= n,
            (Part::Sum(all, of), Value::Number(Some(n))) => (*all, *of) = (all.checked_sub(*n)?, *of - 1),
            (Part::Mean(all, of), Value::Mean { sum, count }) => (*all, *of) = (all.checked_sub(*sum)?, *of - count),
            (Part::Extreme(queue), _) => {
                queue.remove(&pane);
            }
            (Part::Distinct(all), _) => return Some(ids.iter().filter(|id| forget(all, **id)).count()),
            _ => {}
        }
        Some(0)
    }

    fn value(&self) -> Value {
        match self {
            Part::Count(n) => Value::Count(*n),
            Part::Sum(sum, of) => Value::Number((*of > 0).then_some(*sum)),
            Part::Mean(sum, count) => Value::Mean { sum: *sum, count: *count },
            Part::Extreme(queue) => Value::Number(queue.first_key_value().map(|(_, n)| *n)),
            Part::Distinct(ids) => Value::Distinct { ids: ids.len() as u64, beyond: None },
        }
    }
}

/// Whether that was the last entry with this id.
fn forget(all: &mut Ids, id: u64) -> bool {
    let last = all.get(&id).is_some_and(|entries| *entries == 1);
    if last {
        all.remove(&id);
    } else if let Some(entries) = all.get_mut(&id) {
        *entries -= 1;
    }
    last
}

/// Adds a value, unless one that stays longer is as good, and drops those that it outlives and beats.
fn enqueue(queue: &mut BTreeMap<i64, Decimal>, (pane, value): (i64, Decimal), best: impl Fn(Decimal, Decimal) -> bool) {
    if queue.range(pane..).next().is_some_and(|(_, stays)| best(*stays, value)) {
        return;
    }
    let beaten: Vec<i64> = queue.range(..=pane).rev().take_while(|(_, n)| best(value, **n)).map(|(p, _)| *p).collect();
    for pane in beaten {
        queue.remove(&pane);
    }
    queue.insert(pane, value);
}
