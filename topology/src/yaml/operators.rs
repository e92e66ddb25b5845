//! `do:` in a step: operators in order.
//!
//! Called by [`steps`](super::steps). Knows nothing of groupings. Invariant: expressions and fields are checked here, so
//! a task meets only such as can be evaluated.

use super::fields::{Fields, Mistakes};
use super::scalars;
use super::tree::{Node, What};
use crate::expr::Expr;
use crate::operators::{Filter, Operator};

pub(super) fn read(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Vec<Operator>> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'do' in {place} is {}; write a list of operators", node.kind()));
        return None;
    };
    items.iter().map(|item| operator(item, place, mistakes)).collect()
}

fn operator(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<Operator> {
    let mut fields = Fields::of(node, format!("an operator of {place}"), mistakes)?;
    let filter = fields.need_read("filter", filter, mistakes);
    fields.done(mistakes);
    filter.map(Operator::Filter)
}

fn filter(text: &str) -> Result<Filter, String> {
    let expr = Expr::parse_filter(text).map_err(|e| format!("\"{text}\": {e}"))?;
    for path in expr.paths() {
        scalars::known(path)?;
    }
    Ok(Filter { text: text.to_owned(), expr })
}
