//! `count()`: how many records, whatever is in them.
//!
//! Called by [`Function::fold`](super::Function::fold). Invariant: it counts records that were accepted, each once.

use super::Value;
use crate::failure::Failure;

pub(super) fn fold(value: Value) -> Result<Value, Failure> {
    match value {
        Value::Count(n) => {
            n.checked_add(1).map(Value::Count).ok_or_else(|| Failure::new("overflow", "count() is full"))
        }
        Value::Number(_) => Ok(value),
    }
}
