//! Exact numbers with up to six digits after the point. Called by the oracle and the verdict. Invariant: text in, the
//! same value out; what does not fit exactly is not a number.

use std::fmt;

/// Millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(i128);

const DIGITS: usize = 6;

impl Number {
    /// Plain decimal notation, as JSON has it, without an exponent.
    pub fn parse(text: &str) -> Option<Number> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = if fraction.len() > DIGITS { fraction.trim_end_matches('0') } else { fraction };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_plain(whole) || !is_plain(fraction) || fraction.len() > DIGITS {
            return None;
        }
        format!("{whole}{fraction:0<DIGITS$}").parse().ok().map(|millionths: i128| Number(sign * millionths))
    }

    pub fn plus(self, other: Number) -> Number {
        Number(self.0 + other.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let whole = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", whole / 1_000_000, whole % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_value() {
        assert_eq!(Number::parse("12.5"), Some(Number(12_500_000)));
        assert_eq!(Number::parse("-0.05"), Some(Number(-50_000)));
        assert_eq!(Number::parse("12"), Number::parse("12.0000000000"));
        for wrong in ["", "-", "1e3", ".5", "1.0000001", "+1", "ten"] {
            assert_eq!(Number::parse(wrong), None, "{wrong}");
        }
    }
}
