//! `sum(x)`: the exact sum of the numbers that x was; null and missing are skipped, null before the first number.
//!
//! Called by [`Function::fold`](super::Function::fold). Invariant: never rounded; a sum that does not fit is a failure.

use super::Function;
use crate::decimal::Decimal;
use crate::failure::Failure;

/// The sum has more than 20 digits before the point.
#[derive(Debug)]
pub(super) struct TooLarge;

impl TooLarge {
    pub fn of(self, function: &Function) -> Failure {
        Failure::new("overflow", format!("{function} would have more than 20 digits before the point"))
    }
}

pub(super) fn add(before: Decimal, number: Decimal) -> Result<Decimal, TooLarge> {
    before.checked_add(number).ok_or(TooLarge)
}
