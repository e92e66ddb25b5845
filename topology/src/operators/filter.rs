//! `filter`: a record goes on if its expression is true; null counts as false.
//!
//! Called by [`Operator`](super::Operator). Knows nothing of what comes after. Invariant: it changes nothing.

use super::Flow;
use crate::expr::Expr;
use crate::failure::Failure;
use crate::view::View;

#[derive(Debug)]
pub(crate) struct Filter {
    pub text: String,
    pub expr: Expr,
}

impl Filter {
    pub fn apply(&self, view: &View<'_>) -> Result<Flow, Failure> {
        let passes = self.expr.test(view);
        match passes.map_err(|e| Failure::eval(format_args!("filter \"{}\"", self.text), &e))? {
            true => Ok(Flow::On),
            false => Ok(Flow::Filtered),
        }
    }
}
