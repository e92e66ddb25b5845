//! `do:` in a step: operators in order.
//!
//! Called by [`steps`](super::steps). Knows nothing of groupings. Invariant: expressions and fields are checked here, so
//! a task meets only such as can be evaluated.

use super::fields::{Fields, Mistakes};
use super::scalars;
use super::tree::{Node, What};
use crate::expr::Expr;
use crate::operators::{Dedupe, Filter, IDS_AT_MOST, Operator};
use std::sync::Arc;

pub(super) fn read(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Vec<Operator>> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'do' in {place} is {}; write a list of operators", node.kind()));
        return None;
    };
    items.iter().map(|item| operator(item, place, mistakes)).collect()
}

fn operator(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Operator> {
    let mut fields = Fields::of(node, format!("an operator of {place}"), mistakes)?;
    if let Some(node) = fields.get("dedupe") {
        fields.done(mistakes);
        return dedupe(node, &format!("'dedupe' in {place}"), mistakes);
    }
    let filter = fields.need_read("filter", filter, mistakes);
    fields.done(mistakes);
    filter.map(Operator::Filter)
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
    let expr = Expr::parse_filter(text).map_err(|e| format!("\"{text}\": {e}"))?;
    for path in expr.paths() {
        scalars::known(path)?;
    }
    Ok(Filter { text: text.to_owned(), expr })
}
