//! Aggregate functions, one file each: how a record changes a value.
//!
//! Called by groupings while a record is evaluated. Knows nothing of keys or windows. Invariant: a fold either gives
//! the next value or a failure; it never half-changes anything.

mod count;
mod extreme;
mod sum;

use crate::decimal::Decimal;
use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::Datum;
use crate::view::View;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an aggregate has come to. `Number(None)`: no record has had a number yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Count(u64),
    Number(Option<Decimal>),
}

/// One named aggregate of a step.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub name: String,
    pub function: Function,
}

#[derive(Debug)]
pub(crate) enum Function {
    Count,
    Sum(Path),
    Min(Path),
    Max(Path),
}

impl Function {
    pub const NAMES: [&'static str; 4] = ["count", "sum", "min", "max"];

    /// Before the first record.
    pub fn initial(&self) -> Value {
        match self {
            Function::Count => Value::Count(0),
            Function::Sum(_) | Function::Min(_) | Function::Max(_) => Value::Number(None),
        }
    }

    /// The value after one more record.
    pub fn fold(&self, value: Value, view: &View<'_>) -> Result<Value, Failure> {
        let (Some(path), Value::Number(before)) = (self.path(), value) else { return count::fold(value) };
        let Some(number) = self.number(path, view)? else { return Ok(value) };
        let after = match (self, before) {
            (_, None) => number,
            (Function::Min(_), Some(before)) => extreme::min(before, number),
            (Function::Max(_), Some(before)) => extreme::max(before, number),
            (_, Some(before)) => sum::add(before, number).map_err(|e| e.of(self))?,
        };
        Ok(Value::Number(Some(after)))
    }

    fn number(&self, path: &Path, view: &View<'_>) -> Result<Option<Decimal>, Failure> {
        view.get(path).number().map_err(|e| Failure::format(self, &e))
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Function::Count => None,
            Function::Sum(path) | Function::Min(path) | Function::Max(path) => Some(path),
        }
    }
}

/// As in YAML: part of a state's shape, so never changed.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().map_or(String::new(), |p| p.join("."));
        let name = match self {
            Function::Count => "count",
            Function::Sum(_) => "sum",
            Function::Min(_) => "min",
            Function::Max(_) => "max",
        };
        write!(f, "{name}({path})")
    }
}

impl Value {
    pub fn datum(&self) -> Datum<'static> {
        match self {
            Value::Count(n) => Datum::Number(Decimal::from_u64(*n)),
            Value::Number(Some(n)) => Datum::Number(*n),
            Value::Number(None) => Datum::Null,
        }
    }
}
