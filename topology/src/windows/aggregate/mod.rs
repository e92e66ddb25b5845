//! Aggregate functions, one file each: how a record changes a value, and how two values of one key become one.
//!
//! Called by groupings while a record is evaluated, and behind a repartition. Knows nothing of keys or windows.
//! Invariant: a fold either gives the next value or a failure; merging the values of any split of the records gives the
//! value of them all.

pub(crate) mod avg;
mod count;
pub(crate) mod distinct;
mod extreme;
mod sum;

use crate::decimal::Decimal;
use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::Datum;
use crate::view::View;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an aggregate has come to. Its encoding is part of a cell's: variants are only added, at the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Count(u64),
    /// None: no record has had a number yet.
    Number(Option<Decimal>),
    /// Of `avg`: the sum of the numbers, and how many there were.
    Mean {
        sum: Decimal,
        count: u64,
    },
    /// Of `count_distinct`: ids known one by one, and an estimate of those that came when there was no room for more.
    Distinct {
        ids: u64,
        beyond: Option<u64>,
    },
    /// Partials that fit one by one, and not together: there is no record left to blame.
    Overflow,
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
    /// Rounded to so many digits where it speaks.
    Avg(Path, u32),
    Distinct(Path),
}

impl Function {
    pub const NAMES: [&'static str; 6] = ["count", "count_distinct", "sum", "avg", "min", "max"];

    /// Before the first record.
    pub fn initial(&self) -> Value {
        match self {
            Function::Count => Value::Count(0),
            Function::Sum(_) | Function::Min(_) | Function::Max(_) => Value::Number(None),
            Function::Avg(..) => Value::Mean { sum: Decimal::ZERO, count: 0 },
            Function::Distinct(_) => Value::Distinct { ids: 0, beyond: None },
        }
    }

    /// The value after one more record. Of `count_distinct` the grouping knows more: see [`distinct`].
    pub fn fold(&self, value: Value, view: &View<'_>) -> Result<Value, Failure> {
        let full = || Failure::new("overflow", format!("{self} would have more than 20 digits before the point"));
        match (self, value) {
            (Function::Count, Value::Count(n)) => count::add(n, 1).map(Value::Count).ok_or_else(full),
            (Function::Distinct(_), _) | (_, Value::Overflow) => Ok(value),
            _ => {
                let Some(number) = self.number(view)? else { return Ok(value) };
                self.join(value, self.one(number)).ok_or_else(full)
            }
        }
    }

    /// Two values as one. Ids are not counted here: who merges knows which are new.
    pub fn merge(&self, a: Value, b: Value) -> Value {
        self.join(a, b).unwrap_or(Value::Overflow)
    }

    /// The value of a single number.
    fn one(&self, number: Decimal) -> Value {
        match self {
            Function::Avg(..) => Value::Mean { sum: number, count: 1 },
            _ => Value::Number(Some(number)),
        }
    }

    fn join(&self, a: Value, b: Value) -> Option<Value> {
        Some(match (a, b) {
            (Value::Count(a), Value::Count(b)) => Value::Count(count::add(a, b)?),
            (Value::Number(None), other @ Value::Number(_)) | (other @ Value::Number(_), Value::Number(None)) => other,
            (Value::Number(Some(a)), Value::Number(Some(b))) => Value::Number(Some(match self {
                Function::Min(_) => extreme::min(a, b),
                Function::Max(_) => extreme::max(a, b),
                _ => sum::add(a, b)?,
            })),
            (Value::Mean { sum: a, count: n }, Value::Mean { sum: b, count: m }) => {
                Value::Mean { sum: sum::add(a, b)?, count: count::add(n, m)? }
            }
            (Value::Distinct { .. }, Value::Distinct { .. }) => a,
            _ => Value::Overflow,
        })
    }

    fn number(&self, view: &View<'_>) -> Result<Option<Decimal>, Failure> {
        let Some(path) = self.path() else { return Ok(None) };
        view.get(path).number().map_err(|e| Failure::format(self, &e))
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Function::Count => None,
            Function::Sum(path) | Function::Min(path) | Function::Max(path) => Some(path),
            Function::Avg(path, _) | Function::Distinct(path) => Some(path),
        }
    }

    /// What a result says.
    pub fn datum(&self, value: &Value) -> Datum<'static> {
        match (self, value) {
            (_, Value::Count(n)) => Datum::Number(Decimal::from_u64(*n)),
            (_, Value::Number(Some(n))) => Datum::Number(*n),
            (Function::Avg(_, digits), Value::Mean { sum, count }) => avg::datum(*sum, *count, *digits),
            (_, Value::Distinct { ids, beyond }) => {
                Datum::Number(Decimal::from_u64(ids.saturating_add(beyond.unwrap_or(0))))
            }
            (_, Value::Number(None) | Value::Mean { .. } | Value::Overflow) => Datum::Null,
        }
    }
}

/// As in YAML: part of a state's shape, so never changed. How `avg` is rounded is no part of it.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().map_or(String::new(), |p| p.join("."));
        let name = match self {
            Function::Count => "count",
            Function::Sum(_) => "sum",
            Function::Min(_) => "min",
            Function::Max(_) => "max",
            Function::Avg(..) => "avg",
            Function::Distinct(_) => "count_distinct",
        };
        write!(f, "{name}({path})")
    }
}

impl Value {
    /// Whether the result is an estimate.
    pub fn is_approximate(&self) -> bool {
        matches!(self, Value::Distinct { beyond: Some(_), .. })
    }
}
