//! The section `steps`: operators in order, or one grouping with its window.
//!
//! Called by [`parse`](super::parse). Knows nothing of outputs. Invariant: expressions and fields are checked here, so
//! a task meets only such as can be evaluated.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::operators;
use super::scalars;
use super::tree::{At, Node, What};
use crate::operators::Operator;
use crate::windows::aggregate::{Aggregate, Function};
use crate::windows::{Emit, Tumbling};

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
    Group { window: Option<Tumbling>, aggregates: Vec<Aggregate>, emit: Emit },
}

pub(super) fn read(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, node) in named(node, "steps", mistakes) {
        let named = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        scalar(&named, "the step's name", scalars::topic, mistakes);
        steps.extend(step(key.at, &key.name, node, mistakes));
    }
    steps
}

fn step(at: At, name: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Step> {
    let mut fields = Fields::of(node, format!("step '{name}'"), mistakes)?;
    let from_at = fields.get("from").map_or(at, |n| n.at);
    let from = fields.need_read("from", scalars::text, mistakes);
    let operators = fields.get("do");
    let grouping = ["group_by", "window", "aggregate", "emit"].map(|key| fields.get(key));
    let work = match (operators, grouping.iter().any(Option::is_some)) {
        (Some(list), false) => operators::read(list, &fields.place, mistakes).map(Work::Map),
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

fn group(parts: [Option<&Node>; 4], fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Work> {
    let [by, window, aggregate, emit] = parts;
    let place = &fields.place;
    let lacking = |key: &str| format!("{place} lacks '{key}'; add it");
    match by {
        Some(by) => drop(scalar(by, &format!("'group_by' in {place}"), by_key, mistakes)),
        None => mistakes.add(fields.at, lacking("group_by: record.key")),
    }
    let windowed = window.is_some();
    let window = match window {
        Some(node) => Some(tumbling(node, place, mistakes)?),
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
    Some(Work::Group { window, aggregates: aggregates?, emit: emit? })
}

fn by_key(text: &str) -> Result<(), String> {
    match text {
        "record.key" => Ok(()),
        _ => Err(format!("is '{text}'; only record.key can be grouped by, so key the topic by it")),
    }
}

fn tumbling(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Tumbling> {
    let mut fields = Fields::of(node, format!("the window of {place}"), mistakes)?;
    let size = fields.need_read("tumbling", scalars::positive_duration, mistakes);
    let grace = fields.read("grace", scalars::duration, mistakes).unwrap_or_default();
    fields.done(mistakes);
    Some(Tumbling { size: size?.as_millis() as i64, grace: grace.as_millis() as i64 })
}

fn aggregates(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Vec<Aggregate>> {
    let entries = named(Some(node), &format!("'aggregate' in {place}"), mistakes);
    if entries.is_empty() {
        mistakes.add(node.at, format!("'aggregate' in {place} names nothing; write at least one, as total: count()"));
    }
    let mut all = Vec::new();
    for (key, node) in entries {
        if ["window", "key", "result"].contains(&key.name.as_str()) {
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

/// `count()`, `sum(amount)`.
fn function(text: &str) -> Result<Function, String> {
    let shape = || format!("is '{text}'; write count(), sum(x), min(x) or max(x)");
    let (name, rest) = text.trim().split_once('(').ok_or_else(shape)?;
    let inside = rest.strip_suffix(')').ok_or_else(shape)?.trim();
    let field = || match inside.is_empty() {
        true => Err(format!("is '{text}', without a field; write {name}(x)")),
        false => scalars::path(inside),
    };
    match name.trim() {
        "count" if inside.is_empty() => Ok(Function::Count),
        "count" => Err(format!("is '{text}'; count() takes nothing, it counts records")),
        "sum" => field().map(Function::Sum),
        "min" => field().map(Function::Min),
        "max" => field().map(Function::Max),
        other => {
            let hint = suggest(other, Function::NAMES.into_iter()).unwrap_or_default();
            Err(format!("is '{text}'; known are count(), sum(x), min(x) and max(x){hint}"))
        }
    }
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
