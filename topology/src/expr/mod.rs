//! The expression language of `filter:`: comparisons, logic and exact arithmetic over the fields of a record.
//!
//! Parsed once from the topology, evaluated for every record; knows records only through [`Lookup`]. Invariant: an
//! expression is pure, and whatever its text or its record, it answers or says why not: no panic, no endless depth.
//!
//! # Grammar
//! ```text
//! expression = and { "||" and }
//! and        = comparison { "&&" comparison }
//! comparison = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=") sum
//!                  | ["not"] "in" "[" sum { "," sum } [","] "]"
//!                  | "is" ["not"] "null" ]
//! sum        = product { ("+" | "-") product }
//! product    = unary { ("*" | "/") unary }
//! unary      = ("!" | "-") unary | literal | path | "(" expression ")"
//! literal    = number | 'text' | "text" | "true" | "false" | "null"
//! path       = name { "." name }        a name: letters, digits, _ @ $; any other in `backticks`; a list's index: items.0
//! ```
//! `a-b` without spaces is refused, for it is as often the name `` `a-b` `` as it is `a - b`. Escapes in texts:
//! `\\ \' \" \n \r \t`. At most 64 KiB of text and 64 levels; chains of `&&` or `||` of any length.
//!
//! # Meaning
//! * Numbers are [`Decimal`](crate::decimal::Decimal)s: `+` and `-` are exact, `*` and `/` round at 18 digits after the
//!   point. Texts compare by their UTF-8 bytes, which is by code point.
//! * A missing field is null. Null in a comparison or in arithmetic gives null; `is null` asks for it. Logic is SQL's:
//!   `false && null` is false, `true || null` is true, otherwise null stays null. A filter takes null as false.
//! * `&&` and `||` go from left to right and stop where the result is known: `n != 0 && total / n > 5` never fails.
//! * Values of different types are unequal; ordering them is an error, and so are arithmetic on what is no number, logic on
//!   what is neither true nor false, a division by zero, and a result of more than 20 digits before the point.
//! * What literals alone show to be wrong is refused when the topology is read: `'a' < 1`, `x == null`, `x / 0`.
//!
//! ```
//! use tidemill_topology::expr::Expr;
//! use tidemill_topology::formats::Format;
//! let filter = Expr::parse_filter("amount > 100 && type in ['purchase', 'refund']").unwrap();
//! let record = Format::Json.read(Some(br#"{"type":"purchase","amount":100.01}"#)).unwrap();
//! assert!(filter.test(&record).unwrap());
//! assert_eq!(filter.paths().len(), 2);
//! ```

mod error;
mod eval;
pub(crate) mod lexer;
mod parser;
mod path;
#[cfg(test)]
mod tests;
mod tree;

pub use error::{EvalError, ExprError};
pub use path::Path;

use crate::formats::{Datum, Document};
use std::collections::HashSet;
use std::fmt;
use tree::{Node, Type};

/// Where an expression finds its fields. A missing one is [`Datum::Null`].
pub trait Lookup {
    fn get(&self, path: &Path) -> Datum<'_>;
}

impl Lookup for Document<'_> {
    fn get(&self, path: &Path) -> Datum<'_> {
        self.field(path)
    }
}

/// An expression, parsed and checked. Shown as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    source: Box<str>,
    root: Node,
}

impl Expr {
    /// Any expression: its result may be of any type.
    pub fn parse(source: &str) -> Result<Expr, ExprError> {
        Ok(Expr { root: parser::expression(source)?, source: source.into() })
    }

    /// An expression whose result can be true or false: not `amount + 1`.
    pub fn parse_filter(source: &str) -> Result<Expr, ExprError> {
        let expr = Expr::parse(source)?;
        match expr.root.ty {
            Type::Bool | Type::Unknown => Ok(expr),
            other => {
                let message = format!("a filter is true or false, and this is {}", other.article());
                Err(ExprError::new(source, expr.root.at, message, "compare it with something, as in amount > 100"))
            }
        }
    }

    /// The result for one record; borrows from the expression and from the record.
    pub fn eval<'a, L: Lookup + ?Sized>(&'a self, lookup: &'a L) -> Result<Datum<'a>, EvalError> {
        eval::eval(&self.root, lookup)
    }

    /// Whether the result is true; null counts as false, anything but true, false and null is an error.
    pub fn test<L: Lookup + ?Sized>(&self, lookup: &L) -> Result<bool, EvalError> {
        Ok(eval::truth(&self.root, lookup)?.unwrap_or(false))
    }

    /// The fields that it reads, each once, in the order of the text.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.root.fields(&mut paths);
        let mut seen = HashSet::new();
        paths.retain(|path| seen.insert(*path));
        paths
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// A dotted path alone, as `time:` and `sum(...)` take one.
///
/// ```
/// use tidemill_topology::expr::parse_path;
/// assert_eq!(parse_path("user.`e-mail`").unwrap().join("/"), "user/e-mail");
/// assert!(parse_path("a + b").is_err());
/// ```
pub fn parse_path(source: &str) -> Result<Path, ExprError> {
    parser::path(source)
}
