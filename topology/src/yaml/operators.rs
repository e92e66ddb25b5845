//! `do:` in a step: operators in order.
//!
//! Called by [`steps`](super::steps). Knows nothing of groupings. Invariant: expressions and fields are checked here, so
//! a task meets only such as can be evaluated.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::scalars;
use super::tree::{Node, What};
use crate::expr::{Expr, Path};
use crate::operators::{Assignment, Dedupe, Filter, IDS_AT_MOST, Operator, Redact, Rule, Schema, Set, Validate};
use std::path::Path as FilePath;
use std::sync::Arc;

pub(super) const NAMES: [&str; 5] = ["validate", "filter", "dedupe", "set", "redact"];

/// `folder`: what schemas are relative to.
pub(super) fn read(node: &Node, (place, folder): (&str, &FilePath), mistakes: &mut Mistakes) -> Option<Vec<Operator>> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'do' in {place} is {}; write a list of operators", node.kind()));
        return None;
    };
    items.iter().map(|item| operator(item, (place, folder), mistakes)).collect()
}

fn operator(node: &Node, (place, folder): (&str, &FilePath), mistakes: &mut Mistakes) -> Option<Operator> {
    let entries = match &node.what {
        What::Map(entries) => &entries[..],
        _ => &[],
    };
    let [(key, body)] = entries else {
        let text = format!("an operator of {place} must have one name; write - NAME: ..., with {}", NAMES.join(", "));
        mistakes.add(node.at, text);
        return None;
    };
    let place = format!("'{}' in {place}", key.name);
    match key.name.as_str() {
        "validate" => validate(body, (&place, folder), mistakes).map(Operator::Validate),
        "filter" => scalar(body, &place, filter, mistakes).map(Operator::Filter),
        "dedupe" => dedupe(body, &place, mistakes),
        "set" => set(body, &place, mistakes).map(Operator::Set),
        "redact" => targets(body, &place, mistakes).map(|fields| Operator::Redact(Redact { fields })),
        other => {
            let hint = suggest(other, NAMES.into_iter());
            let hint = hint.unwrap_or_else(|| format!("; known are {}", NAMES.join(", ")));
            mistakes.add(key.at, format!("unknown operator {place}{hint}"));
            None
        }
    }
}

/// `{ schema: FILE }`, or rules by field; a field of that name stands in backticks.
fn validate(node: &Node, (place, folder): (&str, &FilePath), mistakes: &mut Mistakes) -> Option<Validate> {
    let mut fields = Fields::of(node, place, mistakes)?;
    if fields.get("schema").is_some() {
        let formats = fields.read("formats", scalars::flag, mistakes);
        let load = |text: &str| Schema::load(folder, text, formats).map_err(|what| format!("is '{text}': {what}"));
        let schema = fields.read("schema", load, mistakes);
        fields.done(mistakes);
        return schema.map(|schema| Validate::Schema(Box::new(schema)));
    }
    let rules = named(Some(node), place, mistakes).iter().map(|(key, node)| {
        let what = format!("the rule of '{}' {place}", key.name);
        let name = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        let path = scalar(&name, &format!("a field of {place}"), scalars::path, mistakes)?;
        scalar(node, &what, |text| Rule::parse(path.clone(), text), mistakes)
    });
    let rules: Option<Vec<Rule>> = rules.collect::<Vec<_>>().into_iter().collect();
    rules.map(Validate::Rules)
}

/// `FIELD: "expression"`, in their order.
fn set(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Set> {
    let entries = named(Some(node), place, mistakes);
    if entries.is_empty() {
        mistakes.add(node.at, format!("{place} names no field; write one, as total: \"price * items\""));
        return None;
    }
    let mut fields = Vec::new();
    for (key, node) in entries {
        let name = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        let path = scalar(&name, &format!("a field of {place}"), target, mistakes);
        let expr = scalar(node, &format!("field '{}' of {place}", key.name), expression, mistakes);
        fields.push(path.zip(expr).map(|(path, expr)| Assignment { path, expr }));
    }
    fields.into_iter().collect::<Option<Vec<_>>>().map(|fields| Set { fields })
}

fn expression(text: &str) -> Result<Expr, String> {
    checked(text, Expr::parse(text))
}

/// A list of fields of the value, none of them within another.
pub(super) fn targets(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Vec<Path>> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("{place} is {}; write a list of fields", node.kind()));
        return None;
    };
    let mut fields: Vec<Path> = Vec::new();
    for item in items {
        let Some(path) = scalar(item, &format!("a field of {place}"), target, mistakes) else { continue };
        if fields.iter().any(|known| known.starts_with(&path) || path.starts_with(known)) {
            mistakes.add(item.at, format!("{place} names '{}' twice; once is enough", path.join(".")));
        }
        fields.push(path);
    }
    if items.is_empty() {
        mistakes.add(node.at, format!("{place} names nothing; write a list of fields"));
    }
    Some(fields)
}

/// A field that can be changed: of the value, and no element of a list.
pub(super) fn target(text: &str) -> Result<Path, String> {
    let path = scalars::path(text)?;
    match path.iter().find(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        _ if &*path[0] == "record" => Err(format!("is '{text}'; only fields of the value can stand here")),
        Some(name) => Err(format!("is '{text}'; an element of a list ({name}) cannot stand alone")),
        None => Ok(path),
    }
}

/// `{ name: seen, by: event_id, within: 1h, at_most: 20000000 }`; the name is of the state, by default `STEP/seen`.
fn dedupe(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Operator> {
    let mut fields = Fields::of(node, place.to_owned(), mistakes)?;
    let name = fields.read("name", scalars::topic, mistakes).unwrap_or_default();
    let by = fields.need_read("by", scalars::path, mistakes);
    let within = fields.need_read("within", scalars::positive_duration, mistakes);
    let at_most = fields.read("at_most", scalars::count, mistakes).unwrap_or(IDS_AT_MOST);
    fields.done(mistakes);
    let dedupe = Dedupe { name: name.into(), by: by?, within: within?.as_millis() as i64, at_most };
    // Numbered when the stage is built.
    Some(Operator::Dedupe { dedupe: Arc::new(dedupe), set: 0 })
}

fn filter(text: &str) -> Result<Filter, String> {
    Ok(Filter { text: text.to_owned(), expr: checked(text, Expr::parse_filter(text))? })
}

fn checked(text: &str, parsed: Result<Expr, crate::expr::ExprError>) -> Result<Expr, String> {
    let expr = parsed.map_err(|e| format!("\"{text}\": {e}"))?;
    expr.paths().into_iter().try_for_each(|path| scalars::known(path))?;
    Ok(expr)
}
