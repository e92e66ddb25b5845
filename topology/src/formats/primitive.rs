//! Kafka's own serdes for numbers: int32, int64 and double, big-endian.
//!
//! Called by [`Format`](super::Format). Knows nothing of text. Invariant: a number is written exactly or refused; only
//! `double` takes the nearest float.

use super::{Datum, Format, FormatError, wrong_type};
use crate::decimal::Decimal;

pub(super) fn read_int32(bytes: &[u8]) -> Result<Datum<'static>, FormatError> {
    Ok(Datum::Number(Decimal::from_i64(i32::from_be_bytes(fixed(bytes, Format::Int32)?) as i64)))
}

pub(super) fn read_int64(bytes: &[u8]) -> Result<Datum<'static>, FormatError> {
    Ok(Datum::Number(Decimal::from_i64(i64::from_be_bytes(fixed(bytes, Format::Int64)?))))
}

pub(super) fn read_double(bytes: &[u8]) -> Result<Datum<'static>, FormatError> {
    Ok(Datum::Double(f64::from_be_bytes(fixed(bytes, Format::Double)?)))
}

pub(super) fn write_int32(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let whole = whole(datum, Format::Int32)?;
    let n = i32::try_from(whole).map_err(|_| out_of_range(Format::Int32))?;
    out.extend_from_slice(&n.to_be_bytes());
    Ok(())
}

pub(super) fn write_int64(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    out.extend_from_slice(&whole(datum, Format::Int64)?.to_be_bytes());
    Ok(())
}

pub(super) fn write_double(datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let x = match datum {
        Datum::Double(x) => *x,
        Datum::Number(n) => n.to_f64(),
        // A float's text may be any number's; what is too large for a float comes back infinite.
        Datum::Digits(text) => text.parse().ok().filter(|x: &f64| x.is_finite()).ok_or(out_of_range(Format::Double))?,
        other => return Err(wrong_type(other, Format::Double)),
    };
    out.extend_from_slice(&x.to_be_bytes());
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8], format: Format) -> Result<[u8; N], FormatError> {
    bytes.try_into().map_err(|_| {
        FormatError::new("wrong-length", format!("{format} has {N} bytes, not {}: check the format", bytes.len()))
    })
}

fn whole(datum: &Datum<'_>, format: Format) -> Result<i64, FormatError> {
    let number = match datum {
        Datum::Number(n) => *n,
        Datum::Double(x) if x.is_finite() && x.fract() != 0.0 => return Err(not_whole(format)),
        Datum::Double(x) if x.is_finite() => Decimal::from_f64(*x).map_err(|_| out_of_range(format))?,
        Datum::Double(_) => {
            return Err(FormatError::new("not-a-number", format!("NaN and infinity have no form as {format}")));
        }
        // Rounding it first could make a whole number of one that is not.
        Datum::Digits(text) if Decimal::parse(text).is_ok() => return Err(not_whole(format)),
        Datum::Digits(_) => return Err(out_of_range(format)),
        other => return Err(wrong_type(other, format)),
    };
    if !number.is_integer() {
        return Err(not_whole(format));
    }
    number.to_i64().ok_or_else(|| out_of_range(format))
}

fn out_of_range(format: Format) -> FormatError {
    FormatError::new("out-of-range", format!("the number is out of the range of {format}"))
}

fn not_whole(format: Format) -> FormatError {
    FormatError::new("not-whole", format!("a number with a fraction has no form as {format}"))
}
