//! The expression language of `filter:` and `set:`.
mod error;

pub use error::{EvalError, ExprError};

use crate::formats::{Datum, Document};

/// A name for each step into a document: `user.address.0` has three.
pub type Path = Box<[Box<str>]>;

/// Where an expression finds its fields. A missing one is [`Datum::Null`].
pub trait Lookup {
    fn get(&self, path: &[Box<str>]) -> Datum<'_>;
}

impl Lookup for Document<'_> {
    fn get(&self, path: &[Box<str>]) -> Datum<'_> {
        Document::get(self, path)
    }
}

/// An expression, parsed and checked.
#[derive(Debug, Clone)]
pub struct Expr {}

impl Expr {
    /// Any expression: its result may be of any type.
    pub fn parse(_source: &str) -> Result<Expr, ExprError> {
        unimplemented!()
    }

    /// An expression whose result can be true or false.
    pub fn parse_filter(_source: &str) -> Result<Expr, ExprError> {
        unimplemented!()
    }

    /// The result for one record.
    pub fn eval<'a, L: Lookup + ?Sized>(&'a self, _lookup: &'a L) -> Result<Datum<'a>, EvalError> {
        unimplemented!()
    }

    /// Whether the result is true; null counts as false.
    pub fn test<L: Lookup + ?Sized>(&self, _lookup: &L) -> Result<bool, EvalError> {
        unimplemented!()
    }

    /// The fields that it reads, each once, in the order of the text.
    pub fn paths(&self) -> Vec<&[Box<str>]> {
        unimplemented!()
    }
}

/// A dotted path alone, as `time:` and `sum(...)` take one.
pub fn parse_path(_source: &str) -> Result<Path, ExprError> {
    unimplemented!()
}
