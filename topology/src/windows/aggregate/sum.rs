//! `sum(x)`: the exact sum of the numbers that x was; null and missing are skipped, null before the first number.
//!
//! Called by [`Function`](super::Function). Invariant: never rounded; a sum that does not fit is a failure.

use crate::decimal::Decimal;

/// None: more than 20 digits before the point.
pub(super) fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    a.checked_add(b)
}
