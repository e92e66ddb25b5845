//! `min(x)` and `max(x)`: the smallest and the largest number that x was; null and missing are skipped.
//!
//! Called by [`Function::fold`](super::Function::fold). Invariant: numbers compare by value: 1.0 and 1 are the same.

use crate::decimal::Decimal;

pub(super) fn min(before: Decimal, number: Decimal) -> Decimal {
    before.min(number)
}

pub(super) fn max(before: Decimal, number: Decimal) -> Decimal {
    before.max(number)
}
