//! `avg(x)`, `avg(x, 4)`: the mean of the numbers that x was; null and missing are skipped, null before the first number.
//!
//! Called by [`Function::datum`](super::Function::datum). Invariant: sum and count are exact; it is rounded once, where it
//! speaks, half away from zero.

use crate::decimal::Decimal;
use crate::formats::Datum;

/// Digits after the point where the YAML names none.
pub(crate) const DIGITS: u32 = 2;

pub(super) fn datum(sum: Decimal, count: u64, digits: u32) -> Datum<'static> {
    sum.div_u64(count, digits).map_or(Datum::Null, Datum::Number)
}
