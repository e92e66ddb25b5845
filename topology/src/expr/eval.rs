//! An expression meets a record.
//!
//! Called by [`Expr`](super::Expr) alone; pure, and without allocation as long as nothing fails. Knows nothing of where
//! fields come from. Invariant: the same record gives the same result or the same error, and null never decides.

use super::tree::{Comparison, Node, Operation, Shape};
use super::{EvalError, Lookup};
use crate::decimal::Decimal;
use crate::formats::{Datum, Kind};
use serde_json::Value;
use std::cmp::Ordering;

pub(super) fn eval<'a, L: Lookup + ?Sized>(node: &'a Node, lookup: &'a L) -> Result<Datum<'a>, EvalError> {
    Ok(match &node.shape {
        Shape::Literal(datum) => datum.as_borrowed(),
        Shape::Field(path) => lookup.get(path),
        Shape::IsNull { value, negated } => Datum::Bool(eval(value, lookup)?.is_null() != *negated),
        Shape::Negate(operand) => number(operand, lookup)?.map_or(Datum::Null, |n| Datum::Number(n.negate())),
        Shape::Math(operation, pair) => math(node, *operation, pair, lookup)?,
        _ => truth(node, lookup)?.map_or(Datum::Null, Datum::Bool),
    })
}

/// True, false, or null (`None`): the logic of SQL.
pub(super) fn truth<L: Lookup + ?Sized>(node: &Node, lookup: &L) -> Result<Option<bool>, EvalError> {
    match &node.shape {
        Shape::Not(operand) => Ok(truth(operand, lookup)?.map(|b| !b)),
        Shape::All(operands) => decide(operands, false, lookup),
        Shape::Any(operands) => decide(operands, true, lookup),
        Shape::Compare(comparison, pair) => {
            let (left, right) = (eval(&pair[0], lookup)?, eval(&pair[1], lookup)?);
            compare(node, *comparison, &left, &right)
        }
        Shape::In { value, list, negated } => Ok(within(node, value, list, lookup)?.map(|b| b != *negated)),
        _ => match eval(node, lookup)? {
            Datum::Bool(b) => Ok(Some(b)),
            Datum::Null => Ok(None),
            other => Err(wrong_type(node, "true or false", other.kind())),
        },
    }
}

/// From left to right until one operand is `decisive`; what stands behind it is not looked at.
fn decide<L: Lookup + ?Sized>(operands: &[Node], decisive: bool, lookup: &L) -> Result<Option<bool>, EvalError> {
    let mut result = Some(!decisive);
    for operand in operands {
        match truth(operand, lookup)? {
            Some(b) if b == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => result = None,
        }
    }
    Ok(result)
}

fn within<L: Lookup + ?Sized>(node: &Node, value: &Node, list: &[Node], lookup: &L) -> Result<Option<bool>, EvalError> {
    let value = eval(value, lookup)?;
    let mut result = Some(false);
    for item in list {
        match compare(node, Comparison::Equal, &value, &eval(item, lookup)?)? {
            Some(true) => return Ok(Some(true)),
            Some(false) => {}
            None => result = None,
        }
    }
    Ok(result)
}

fn number<L: Lookup + ?Sized>(node: &Node, lookup: &L) -> Result<Option<Decimal>, EvalError> {
    match eval(node, lookup)? {
        Datum::Number(n) => Ok(Some(n)),
        other if matches!(other.kind(), Kind::Number | Kind::Null) => {
            other.number().map_err(|e| EvalError::number(node.column, e))
        }
        other => Err(wrong_type(node, "a number", other.kind())),
    }
}

fn math<'a, L: Lookup + ?Sized>(
    node: &Node,
    operation: Operation,
    pair: &[Node; 2],
    lookup: &L,
) -> Result<Datum<'a>, EvalError> {
    let (Some(left), Some(right)) = (number(&pair[0], lookup)?, number(&pair[1], lookup)?) else {
        return Ok(Datum::Null);
    };
    let result = match operation {
        Operation::Add => left.checked_add(right),
        Operation::Subtract => left.checked_sub(right),
        Operation::Multiply => left.checked_mul(right),
        Operation::Divide if right.is_zero() => {
            return Err(EvalError::new("division-by-zero", node.column, "division by zero"));
        }
        Operation::Divide => left.checked_div(right),
    };
    let symbol = operation.symbol();
    let overflow = || {
        let text = format!("the result of {symbol} has more than 20 digits before the point");
        EvalError::new("overflow", node.column, text)
    };
    result.map(Datum::Number).ok_or_else(overflow)
}

fn compare(
    node: &Node,
    comparison: Comparison,
    left: &Datum<'_>,
    right: &Datum<'_>,
) -> Result<Option<bool>, EvalError> {
    if left.is_null() || right.is_null() {
        return Ok(None);
    }
    match comparison {
        Comparison::Equal => return equal(node, left, right).map(Some),
        Comparison::Unequal => return equal(node, left, right).map(|b| Some(!b)),
        _ => {}
    }
    let order = order(node, comparison, left, right)?;
    Ok(Some(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

fn order(node: &Node, comparison: Comparison, left: &Datum<'_>, right: &Datum<'_>) -> Result<Ordering, EvalError> {
    match (left, right) {
        (Datum::Number(a), Datum::Number(b)) => Ok(a.cmp(b)),
        (Datum::Text(a), Datum::Text(b)) => Ok(a.cmp(b)),
        (Datum::Bytes(a), Datum::Bytes(b)) => Ok(a.cmp(b)),
        _ if left.kind() == Kind::Number && right.kind() == Kind::Number => {
            let read = |d: &Datum<'_>| d.number().map_err(|e| EvalError::number(node.column, e));
            Ok(read(left)?.cmp(&read(right)?))
        }
        _ => {
            let (left, right) = (left.kind().article(), right.kind().article());
            let text = format!("{} has no order between {left} and {right}", comparison.symbol());
            Err(EvalError::new("wrong-type", node.column, text))
        }
    }
}

/// Values of different types are never equal.
fn equal(node: &Node, left: &Datum<'_>, right: &Datum<'_>) -> Result<bool, EvalError> {
    match (left, right) {
        (Datum::Json(a), Datum::Json(b)) => Ok(same_json(a, b)),
        (Datum::Bool(a), Datum::Bool(b)) => Ok(a == b),
        _ if left.kind() != right.kind() => Ok(false),
        _ => order(node, Comparison::Equal, left, right).map(Ordering::is_eq),
    }
}

/// Whether two documents say the same: the order of names is nothing, 1.0 is 1.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let exact = |n: &serde_json::Number| Decimal::parse_exact(n.as_str()).ok().flatten();
            match (exact(a), exact(b)) {
                (Some(a), Some(b)) => a == b,
                _ => a.as_str() == b.as_str(),
            }
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

fn wrong_type(node: &Node, wanted: &str, found: Kind) -> EvalError {
    let found = found.article();
    let text = match &node.shape {
        Shape::Field(path) => format!("`{}` is {found}, not {wanted}", path.join(".")),
        _ => format!("{found} where {wanted} must stand"),
    };
    EvalError::new("wrong-type", node.column, text)
}
