//! `set`: fields that are computed, in the order in which they are written; each may read the ones before it.
//!
//! Called by [`Operator`](super::Operator). Knows nothing of bytes. Invariant: a null result is written as null, and
//! objects are made on the way to a field, never made of what is something else.

use super::Flow;
use crate::expr::{Expr, Path};
use crate::failure::Failure;
use crate::view::View;
use std::fmt;

#[derive(Debug)]
pub(crate) struct Set {
    pub fields: Vec<Assignment>,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    pub path: Path,
    pub expr: Expr,
}

impl Set {
    pub fn apply<'a>(&'a self, view: &mut View<'a>) -> Result<Flow, Failure> {
        for Assignment { path, expr } in &self.fields {
            let place = || format!("set '{}'", path.join("."));
            let datum = expr.eval(&*view).map_err(|e| Failure::eval(place(), &e))?;
            let value = datum.into_json().map_err(|e| Failure::format(place(), &e))?;
            view.set(path, value).map_err(|depth| {
                let what = match depth {
                    0 => "the value".to_owned(),
                    depth => format!("field '{}'", path[..depth].join(".")),
                };
                Failure::new("not-an-object", format!("{}: {what} is no object, so it can have no field", place()))
            })?;
        }
        Ok(Flow::On)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Assignment { path, expr }) in self.fields.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} = {expr}", path.join("."))?;
        }
        Ok(())
    }
}
