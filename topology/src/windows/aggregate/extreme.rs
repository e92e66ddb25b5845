//! `min(x)` and `max(x)`: the smallest and the largest number that x was; null and missing are skipped.
//!
//! Called by [`Function`](super::Function). Invariant: numbers compare by value: 1.0 and 1 are the same.

use crate::decimal::Decimal;

pub(super) fn min(a: Decimal, b: Decimal) -> Decimal {
    a.min(b)
}

pub(super) fn max(a: Decimal, b: Decimal) -> Decimal {
    a.max(b)
}
