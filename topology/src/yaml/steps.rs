//! The section `steps`: operators in order, or one grouping with its window.
//!
//! Called by [`parse`](super::parse). Knows nothing of outputs. Invariant: expressions and fields are checked here, so
//! a task meets only such as can be evaluated.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::keys;
use super::operators;
use super::scalars;
use super::tree::{At, Key, Node, What};
use crate::operators::Operator;
use crate::windows::aggregate::{Aggregate, Function, avg, distinct};
use crate::windows::{By, Emit, Window};
use std::path::Path;

/// What every result has beside its aggregates.
pub(super) const RESERVED: [&str; 7] =
    ["window", "window_start", "key", "result", "approximate", "overflow", "trace_id"];

/// A step as it was written.
#[derive(Debug)]
pub(super) struct Step {
    pub at: At,
    pub name: String,
    pub from: String,
    pub from_at: At,
    pub work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    Map(Vec<Operator>),
    Group(Grouping),
}

#[derive(Debug)]
pub(super) struct Grouping {
    pub by: By,
    pub window: Option<Window>,
    pub aggregates: Vec<Aggregate>,
    pub emit: Emit,
    pub at_most: usize,
}

pub(super) fn read(node: Option<&Node>, folder: &Path, mistakes: &mut Mistakes) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, node) in named(node, "steps", mistakes) {
        let named = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        scalar(&named, "the step's name", scalars::topic, mistakes);
        steps.extend(step(key, node, folder, mistakes));
    }
    steps
}

fn step(key: &Key, node: &Node, folder: &Path, mistakes: &mut Mistakes) -> Option<Step> {
    let (at, name) = (key.at, &key.name);
    let mut fields = Fields::of(node, format!("step '{name}'"), mistakes)?;
    let from_at = fields.get("from").map_or(at, |n| n.at);
    let from = fields.need_read("from", scalars::text, mistakes);
    let operators = fields.get("do");
    let grouping = ["group_by", "window", "aggregate", "emit", "at_most"].map(|key| fields.get(key));
    let work = match (operators, grouping.iter().any(Option::is_some)) {
        (Some(list), false) => operators::read(list, (&fields.place, folder), mistakes).map(Work::Map),
        (None, true) => group(grouping, &fields, mistakes),
        (Some(_), true) => {
            let text = "has both 'do' and a grouping; write two steps, the second one from the first";
            mistakes.add(fields.at, format!("{} {text}", fields.place));
            None
        }
        (None, false) => {
            mistakes.add(fields.at, format!("{} does nothing; add 'do' or 'group_by'", fields.place));
            None
        }
    };
    fields.done(mistakes);
    Some(Step { at, name: name.to_owned(), from: from?, from_at, work: work? })
}

fn group(parts: [Option<&Node>; 5], fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Work> {
    let [by, window, aggregate, emit, at_most] = parts;
    let place = &fields.place;
    let lacking = |key: &str| format!("{place} lacks '{key}'; add it");
    let by = match by {
        Some(node) => keys::read(node, place, mistakes),
        None => {
            mistakes.add(fields.at, lacking("group_by: [a_field]"));
            None
        }
    };
    let windowed = window.is_some();
    let window = match window {
        Some(node) => Some(self::window(node, place, mistakes)?),
        None => None,
    };
    let aggregates = match aggregate {
        Some(node) => aggregates(node, place, mistakes),
        None => {
            mistakes.add(fields.at, lacking("aggregate"));
            None
        }
    };
    let emit = match emit {
        Some(node) => self::emit(node, windowed, place, mistakes),
        None => {
            mistakes.add(fields.at, lacking("emit: every, or emit: { updates: 5s, final: true }"));
            None
        }
    };
    let bound = at_most.map(|node| (node.at, scalar(node, &format!("'at_most' in {place}"), scalars::count, mistakes)));
    let (by, aggregates) = (by?, aggregates?);
    if let Some((at, _)) = bound
        && !aggregates.iter().any(|a| matches!(a.function, Function::Distinct(_)))
    {
        mistakes.add(at, format!("'at_most' in {place} bounds the ids of count_distinct, which it lacks; remove it"));
    }
    if let (Some(w), Some(emit)) = (&window, &emit)
        && !w.tumbles()
        && *emit != (Emit::Coalesced { updates: None, last: true })
    {
        let text = "a hopping window speaks when it closes, since a record lies in many; write emit: { final: true }";
        mistakes.add(fields.at, format!("{place}: {text}"));
    }
    keys::clash(&by, &aggregates, (fields.at, place), mistakes);
    let at_most = bound.and_then(|(_, n)| n).unwrap_or(distinct::AT_MOST);
    Some(Work::Group(Grouping { by, window, aggregates, emit: emit?, at_most }))
}

fn window(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Window> {
    let mut fields = Fields::of(node, format!("the window of {place}"), mistakes)?;
    let tumbling = fields.read("tumbling", scalars::positive_duration, mistakes);
    let hopping = fields.read("hopping", scalars::positive_duration, mistakes);
    let every = fields.read("every", scalars::positive_duration, mistakes);
    let named = ["tumbling", "hopping", "every"].map(|key| fields.get(key).is_some());
    let grace = fields.read("grace", scalars::duration, mistakes).unwrap_or_default().as_millis() as i64;
    let (at, place) = (fields.at, fields.place.clone());
    fields.done(mistakes);
    if !matches!(named, [true, false, false] | [false, true, true]) {
        let text = "write { tumbling: 1h, grace: 10m }, or { hopping: 1h, every: 10s, grace: 10m }";
        mistakes.add(at, format!("{place}: {text}"));
        return None;
    }
    let ms = |duration: std::time::Duration| duration.as_millis() as i64;
    let size = ms(tumbling.or(hopping)?);
    let hop = if named[0] { size } else { ms(every?) };
    if hop > size || size % hop != 0 {
        let text = format!("{}: it is no whole number of 'every'; make it one", place);
        mistakes.add(at, text);
        return None;
    }
    Some(Window { size, hop, grace })
}

fn aggregates(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Vec<Aggregate>> {
    let entries = named(Some(node), &format!("'aggregate' in {place}"), mistakes);
    if entries.is_empty() {
        mistakes.add(node.at, format!("'aggregate' in {place} names nothing; write at least one, as total: count()"));
    }
    let mut all = Vec::new();
    for (key, node) in entries {
        if RESERVED.contains(&key.name.as_str()) {
            mistakes.add(
                key.at,
                format!("aggregate '{}' of {place} has a name that every result has; name it otherwise", key.name),
            );
        }
        let function = scalar(node, &format!("aggregate '{}' of {place}", key.name), function, mistakes);
        all.push(function.map(|function| Aggregate { name: key.name.clone(), function }));
    }
    all.into_iter().collect()
}

/// `count()`, `sum(amount)`, `avg(amount, 4)`.
fn function(text: &str) -> Result<Function, String> {
    const KNOWN: &str = "count(), count_distinct(x), sum(x), avg(x), min(x) and max(x)";
    let shape = || format!("is '{text}'; known are {KNOWN}");
    let (name, rest) = text.trim().split_once('(').ok_or_else(shape)?;
    let inside = rest.strip_suffix(')').ok_or_else(shape)?.trim();
    let field = || match inside.is_empty() {
        true => Err(format!("is '{text}', without a field; write {name}(x)")),
        false => scalars::path(inside),
    };
    match name.trim() {
        "count" if inside.is_empty() => Ok(Function::Count),
        "count" => Err(format!("is '{text}'; count() takes nothing, it counts records")),
        "count_distinct" => field().map(Function::Distinct),
        "sum" => field().map(Function::Sum),
        "avg" => average(text, inside),
        "min" => field().map(Function::Min),
        "max" => field().map(Function::Max),
        other => {
            let hint = suggest(other, Function::NAMES.into_iter()).unwrap_or_default();
            Err(format!("is '{text}'; known are {KNOWN}{hint}"))
        }
    }
}

fn average(text: &str, inside: &str) -> Result<Function, String> {
    let (field, digits) = inside.rsplit_once(',').map_or((inside, None), |(field, n)| (field.trim(), Some(n.trim())));
    if field.is_empty() {
        return Err(format!("is '{text}', without a field; write avg(x), or avg(x, 4) for four digits"));
    }
    let digits = match digits.map(str::parse::<u32>) {
        None => avg::DIGITS,
        Some(Ok(n)) if n <= crate::decimal::SCALE => n,
        Some(_) => return Err(format!("is '{text}'; the second one is a number of digits, 0 to 18: avg(x, 4)")),
    };
    scalars::path(field).map(|path| Function::Avg(path, digits))
}

fn emit(node: &Node, windowed: bool, place: &str, mistakes: &mut Mistakes) -> Option<Emit> {
    if let What::Scalar(text) = &node.what {
        if text == "every" {
            return Some(Emit::Every);
        }
        mistakes.add(node.at, format!("'emit' in {place} is '{text}'; write every, or {{ updates: 5s, final: true }}"));
        return None;
    }
    let mut fields = Fields::of(node, format!("'emit' in {place}"), mistakes)?;
    let updates = fields.read("updates", scalars::duration, mistakes).map(|d| d.as_millis() as i64);
    let given = fields.get("updates").is_some();
    let last = fields.read("final", scalars::flag, mistakes).unwrap_or(false);
    fields.done(mistakes);
    if last && !windowed {
        mistakes.add(node.at, format!("{place} has no window, so nothing is final; remove 'final' or add a window"));
        return None;
    }
    if !last && !given {
        mistakes.add(node.at, format!("{place} would never speak; add updates, final: true, or write emit: every"));
        return None;
    }
    Some(Emit::Coalesced { updates, last })
}
