//! Exact decimal numbers: 38 digits, 18 of them after the point.
//!
//! Every number that is summed, compared or printed is one of these; the formats make them, the expressions and the
//! aggregates use them. Knows nothing of JSON documents or records.
//! Invariant: the scaled value is below 10^38, so a number never has more than 20 digits before the point, and no
//! operation rounds silently where it says that it is exact.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::io::Write;

/// Digits after the point.
pub const SCALE: u32 = 18;
const ONE: i128 = 10i128.pow(SCALE);
const LIMIT: u128 = 10u128.pow(38);

/// A number held as one `i128`, multiplied by 10^18. Copying is free; order, equality and hash are the number's own.
///
/// ```
/// use tidemill_topology::decimal::Decimal;
/// let a = Decimal::parse("0.1").unwrap();
/// let b = Decimal::parse("2e-1").unwrap();
/// assert_eq!(a.checked_add(b).unwrap().to_string(), "0.3");
/// assert_eq!(Decimal::from_i64(10).div_u64(3, 2).unwrap().to_string(), "3.33");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "i128", try_from = "i128")]
pub struct Decimal(i128);

/// Why a text or a float is no [`Decimal`]. Never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not a number as JSON writes them; also NaN and the infinities.
    #[error("not a number")]
    NotANumber,
    /// More than 20 digits before the point.
    #[error("number too large: more than 20 digits before the point")]
    TooLarge,
}

impl Decimal {
    pub const ZERO: Decimal = Decimal(0);
    pub const ONE: Decimal = Decimal(ONE);
    pub const MAX: Decimal = Decimal(LIMIT as i128 - 1);
    pub const MIN: Decimal = Decimal(-(LIMIT as i128 - 1));

    /// Reads a number as JSON writes it: `-12.5e3`, no leading zeros, no `+`, no bare point.
    ///
    /// More than 18 digits after the point are rounded there, half away from zero.
    pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
        match short(text.as_bytes()) {
            Some(number) => Ok(number),
            None => Digits::scan(text)?.value(),
        }
    }

    /// As [`Decimal::parse`], but `None` instead of a rounded number.
    pub fn parse_exact(text: &str) -> Result<Option<Decimal>, DecimalError> {
        if let Some(number) = short(text.as_bytes()) {
            return Ok(Some(number));
        }
        let digits = Digits::scan(text)?;
        let value = digits.value()?;
        Ok(digits.is_exact().then_some(value))
    }

    /// How the number of a JSON text stands to `other`: exactly, however many digits it has.
    pub fn compare_text(text: &str, other: Decimal) -> Result<Ordering, DecimalError> {
        let digits = Digits::scan(text)?;
        let rounded = match digits.value() {
            Ok(rounded) => rounded,
            Err(DecimalError::TooLarge) if digits.negative => return Ok(Ordering::Less),
            Err(DecimalError::TooLarge) => return Ok(Ordering::Greater),
            Err(e) => return Err(e),
        };
        if rounded != other || digits.is_exact() {
            return Ok(rounded.cmp(&other));
        }
        let first_gone = usize::try_from(digits.kept()).ok().and_then(|kept| digits.digits().nth(kept));
        // What was rounded away from zero lies nearer to it.
        let away = first_gone.is_some_and(|digit| digit >= 5);
        Ok(if away == digits.negative { Ordering::Greater } else { Ordering::Less })
    }

    pub const fn from_i64(n: i64) -> Decimal {
        Decimal(n as i128 * ONE)
    }

    /// Every `u64` has at most 20 digits, so this always fits.
    pub const fn from_u64(n: u64) -> Decimal {
        Decimal(n as i128 * ONE)
    }

    /// The shortest decimal text that reads back as this float, as a decimal: 0.1 is 0.1.
    pub fn from_f64(x: f64) -> Result<Decimal, DecimalError> {
        let mut text = Text::new();
        write!(text, "{x:e}").expect("a float is shorter than the buffer");
        Decimal::parse(text.as_str())
    }

    /// The number times 10^18; `None` when it has more than 38 digits.
    pub const fn from_scaled(scaled: i128) -> Option<Decimal> {
        if scaled.unsigned_abs() < LIMIT { Some(Decimal(scaled)) } else { None }
    }

    pub const fn scaled(self) -> i128 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_integer(self) -> bool {
        self.0 % ONE == 0
    }

    /// Exact; `None` when the result is too large.
    pub const fn checked_add(self, other: Decimal) -> Option<Decimal> {
        // Both are below 10^38, so the sum is below 2 * 10^38: it can pass i128.
        match self.0.checked_add(other.0) {
            Some(sum) => Decimal::from_scaled(sum),
            None => None,
        }
    }

    /// Exact; `None` when the result is too large.
    pub const fn checked_sub(self, other: Decimal) -> Option<Decimal> {
        self.checked_add(other.negate())
    }

    /// Exact, and always possible.
    pub const fn negate(self) -> Decimal {
        Decimal(-self.0)
    }

    /// Rounded at 18 digits, half away from zero; `None` when the result is too large.
    pub fn checked_mul(self, other: Decimal) -> Option<Decimal> {
        let product = Wide::product(self.0.unsigned_abs(), other.0.unsigned_abs());
        self.signed_like(other, product.divide_rounded(ONE as u128)?)
    }

    /// Rounded at 18 digits, half away from zero; `None` when the divisor is zero or the result is too large.
    pub fn checked_div(self, other: Decimal) -> Option<Decimal> {
        if other.0 == 0 {
            return None;
        }
        let dividend = Wide::product(self.0.unsigned_abs(), ONE as u128);
        self.signed_like(other, dividend.divide_rounded(other.0.unsigned_abs())?)
    }

    /// Divided by a count and rounded once, at `digits` after the point (18 at most), half away from zero: averages.
    ///
    /// `None` when `n` is 0, or when rounding up makes it too large.
    pub fn div_u64(self, n: u64, digits: u32) -> Option<Decimal> {
        if n == 0 {
            return None;
        }
        let unit = 10u128.pow(SCALE - digits.min(SCALE));
        // Below 2^64 * 10^18, so it fits.
        let quotient = divide_rounded(self.0.unsigned_abs(), n as u128 * unit);
        self.signed(quotient * unit)
    }

    /// Rounded to `digits` after the point, half away from zero, as PostgreSQL's `numeric`.
    ///
    /// `None` when rounding up makes it too large.
    pub fn round(self, digits: u32) -> Option<Decimal> {
        self.div_u64(1, digits)
    }

    /// The number, if it is whole and fits.
    pub fn to_i64(self) -> Option<i64> {
        if self.is_integer() { i64::try_from(self.0 / ONE).ok() } else { None }
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        match self.to_i64() {
            Some(whole) => whole as f64,
            None => {
                let mut text = Text::new();
                write!(text, "{self}").expect("a decimal is shorter than the buffer");
                text.as_str().parse().expect("the text of a decimal is a float's text")
            }
        }
    }

    fn signed(self, magnitude: u128) -> Option<Decimal> {
        let magnitude = i128::try_from(magnitude).ok()?;
        Decimal::from_scaled(if self.0 < 0 { -magnitude } else { magnitude })
    }

    fn signed_like(self, other: Decimal, magnitude: u128) -> Option<Decimal> {
        Decimal(if (self.0 < 0) == (other.0 < 0) { 1 } else { -1 }).signed(magnitude)
    }
}

impl From<Decimal> for i128 {
    fn from(d: Decimal) -> i128 {
        d.0
    }
}

impl TryFrom<i128> for Decimal {
    type Error = DecimalError;

    fn try_from(scaled: i128) -> Result<Decimal, DecimalError> {
        Decimal::from_scaled(scaled).ok_or(DecimalError::TooLarge)
    }
}

impl From<i64> for Decimal {
    fn from(n: i64) -> Decimal {
        Decimal::from_i64(n)
    }
}

impl std::str::FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Decimal, DecimalError> {
        Decimal::parse(text)
    }
}

/// Plain digits: no exponent, no trailing zeros, no `-0`.
impl Decimal {
    /// Appends the number as JSON writes it.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        out.extend_from_slice(self.digits(&mut [0; DIGITS]).as_bytes());
    }

    /// Its digits without a sign, no zero behind the last one that counts; set from the end on, so that nothing is moved.
    fn digits(self, out: &mut [u8; DIGITS]) -> &str {
        let magnitude = self.0.unsigned_abs();
        let (mut whole, mut part) = (magnitude / ONE as u128, (magnitude % ONE as u128) as u64);
        let mut at = DIGITS;
        if part != 0 {
            let mut left = SCALE;
            for zeros in [8, 8, 4, 2, 1] {
                if part.is_multiple_of(TENS[zeros as usize]) {
                    (part, left) = (part / TENS[zeros as usize], left - zeros);
                }
            }
            for _ in 0..left {
                at -= 1;
                out[at] = b'0' + (part % 10) as u8;
                part /= 10;
            }
            at -= 1;
            out[at] = b'.';
        }
        loop {
            at -= 1;
            out[at] = b'0' + (whole % 10) as u8;
            whole = match u64::try_from(whole) {
                Ok(small) => u128::from(small / 10),
                Err(_) => whole / 10,
            };
            if whole == 0 {
                break;
            }
        }
        std::str::from_utf8(&out[at..]).expect("only digits and a point were written")
    }
}

/// 20 digits, a point, 18 digits.
const DIGITS: usize = 39;

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(self.0 >= 0, "", self.digits(&mut [0; DIGITS]))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 10^0 to 10^18.
const TENS: [u64; SCALE as usize + 1] = {
    let mut tens = [1; SCALE as usize + 1];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

/// What nearly every number is: 18 digits at most and no exponent, so that machine words do. `None`: look closer.
fn short(text: &[u8]) -> Option<Decimal> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 || matches!(digits, [b'0', b'0'..=b'9', ..]) {
        return None;
    }
    let (mut value, mut count, mut point) = (0u64, 0, None);
    for byte in digits {
        match byte {
            b'0'..=b'9' => (value, count) = (value * 10 + u64::from(byte - b'0'), count + 1),
            b'.' if point.is_none() && count > 0 => point = Some(count),
            _ => return None,
        }
    }
    let after = point.map_or(0, |point| count - point);
    if count == 0 || count > 18 || (point.is_some() && after == 0) {
        return None;
    }
    let scaled = (u128::from(value) * u128::from(TENS[(SCALE - after) as usize])) as i128;
    Some(Decimal(if negative { -scaled } else { scaled }))
}

/// A number's text taken apart: which digits, and how many of them stand before the point.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    part: &'a [u8],
    exponent: i64,
}

impl<'a> Digits<'a> {
    fn scan(text: &'a str) -> Result<Digits<'a>, DecimalError> {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let bytes = &bytes[negative as usize..];
        let (whole, rest) = take_digits(bytes);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return Err(DecimalError::NotANumber);
        }
        let (part, rest) = match rest.split_first() {
            Some((b'.', rest)) => match take_digits(rest) {
                ([], _) => return Err(DecimalError::NotANumber),
                taken => taken,
            },
            _ => (&rest[..0], rest),
        };
        Ok(Digits { negative, whole, part, exponent: scan_exponent(rest)? })
    }

    /// How many of the digits, from the first, belong to the scaled number; the rest is rounded away.
    fn kept(&self) -> i64 {
        (self.whole.len() as i64).saturating_add(self.exponent).saturating_add(SCALE as i64)
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.part).map(|b| b - b'0')
    }

    fn value(&self) -> Result<Decimal, DecimalError> {
        let kept = self.kept();
        let count = (self.whole.len() + self.part.len()) as i64;
        let mut scaled = 0u128;
        for (i, digit) in self.digits().enumerate() {
            match (i as i64).cmp(&kept) {
                std::cmp::Ordering::Less => scaled = push_digit(scaled, digit)?,
                // Half away from zero needs no more than the first digit that goes.
                std::cmp::Ordering::Equal => scaled += (digit >= 5) as u128,
                std::cmp::Ordering::Greater => break,
            }
        }
        let mut zeros = if scaled == 0 { 0 } else { kept - count };
        while zeros > 0 {
            scaled = push_digit(scaled, 0)?;
            zeros -= 1;
        }
        let magnitude = i128::try_from(scaled).map_err(|_| DecimalError::TooLarge)?;
        Decimal::try_from(if self.negative { -magnitude } else { magnitude })
    }

    fn is_exact(&self) -> bool {
        let kept = self.kept();
        self.digits().enumerate().all(|(i, digit)| (i as i64) < kept || digit == 0)
    }
}

fn take_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|b| b.is_ascii_digit()).count())
}

/// The exponent of `e-12`; an absurd one is capped, for the sign is all that matters then.
fn scan_exponent(bytes: &[u8]) -> Result<i64, DecimalError> {
    let [b'e' | b'E', rest @ ..] = bytes else {
        return if bytes.is_empty() { Ok(0) } else { Err(DecimalError::NotANumber) };
    };
    let (sign, rest) = match rest {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, rest),
    };
    let (digits, rest) = take_digits(rest);
    if digits.is_empty() || !rest.is_empty() {
        return Err(DecimalError::NotANumber);
    }
    // Longer than any text in memory, so that no run of zeros in the digits can outweigh it.
    const CAP: i64 = i64::MAX / 4;
    let size = digits.iter().fold(0i64, |n, b| (n.saturating_mul(10).saturating_add((b - b'0') as i64)).min(CAP));
    Ok(sign * size)
}

fn push_digit(n: u128, digit: u8) -> Result<u128, DecimalError> {
    let grown = n.checked_mul(10).and_then(|n| n.checked_add(digit as u128)).filter(|n| *n < LIMIT);
    grown.ok_or(DecimalError::TooLarge)
}

fn divide_rounded(dividend: u128, divisor: u128) -> u128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    quotient + (rest >= divisor - rest) as u128
}

/// An unsigned number of 256 bits: what two scaled values multiply to.
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    fn product(a: u128, b: u128) -> Wide {
        const HALF: u128 = u64::MAX as u128;
        if let Some(low) = a.checked_mul(b) {
            return Wide { high: 0, low };
        }
        let (a1, a0, b1, b0) = (a >> 64, a & HALF, b >> 64, b & HALF);
        let (cross, carried) = (a1 * b0).overflowing_add(a0 * b1);
        let (low, carry) = (a0 * b0).overflowing_add(cross << 64);
        let high = a1 * b1 + (cross >> 64) + ((carried as u128) << 64) + carry as u128;
        Wide { high, low }
    }

    /// Rounded half up; `None` when the quotient passes 128 bits. The divisor is below 2^127, as all magnitudes here.
    fn divide_rounded(self, divisor: u128) -> Option<u128> {
        if self.high == 0 {
            return Some(divide_rounded(self.low, divisor));
        }
        if self.high >= divisor {
            return None;
        }
        let (mut rest, mut quotient) = (self.high, 0u128);
        for bit in (0..128).rev() {
            rest = (rest << 1) | ((self.low >> bit) & 1);
            quotient <<= 1;
            if rest >= divisor {
                rest -= divisor;
                quotient |= 1;
            }
        }
        quotient.checked_add((rest >= divisor - rest) as u128)
    }
}

/// A text on the stack, long enough for any float with an exponent.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; 48], len: 0 }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only digits and signs were written")
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
