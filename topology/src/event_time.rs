//! Event time: read from a record, and written as RFC 3339.
//!
//! Called once a record and for each result. Knows nothing of windows. Invariant: a time that was read can be written,
//! so no result fails for its time.

use crate::expr::Path;
use crate::failure::Failure;
use crate::formats::Datum;
use jiff::Timestamp;
use std::io::Write;

/// 0001-01-01T00:00:00Z, and a few hours before the year 10000: within what can be written with four digits of a year.
const FIRST: i64 = -62_135_596_800_000;
const LAST: i64 = 253_402_207_199_999;

/// ms since 1970 that a datum says: a whole number of ms, or an RFC 3339 text.
pub(crate) fn read(datum: &Datum<'_>, path: &Path) -> Result<i64, Failure> {
    let place = || format!("time field '{}'", path.join("."));
    let unreadable = |what: &str| Failure::new("time-unreadable", format!("{} is {what}", place()));
    let ms = match datum {
        Datum::Null => return Err(Failure::new("time-missing", format!("{} is missing", place()))),
        Datum::Text(text) => text.parse().map(floor_ms).map_err(|_| unreadable("no RFC 3339 time"))?,
        other => {
            let number = other.number().map_err(|e| Failure::new("time-unreadable", format!("{}: {e}", place())))?;
            number.and_then(|n| n.to_i64()).ok_or_else(|| unreadable("no whole number of ms"))?
        }
    };
    check(ms).ok_or_else(|| unreadable("outside of the years 1 to 9999"))
}

/// Whether a time can be written.
pub(crate) fn check(ms: i64) -> Option<i64> {
    (FIRST..=LAST).contains(&ms).then_some(ms)
}

fn floor_ms(time: Timestamp) -> i64 {
    let ms = time.as_millisecond();
    if time.as_nanosecond() < i128::from(ms) * 1_000_000 { ms - 1 } else { ms }
}

/// Appends a time as RFC 3339, in UTC.
pub(crate) fn write(ms: i64, out: &mut Vec<u8>) {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => write!(out, "{time}"),
        Err(_) => write!(out, "{ms}"),
    }
    .expect("memory takes every byte");
}

/// Of RFC 3339 text with an offset, in ms since 1970.
pub fn parse_text(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(floor_ms)
}

/// A time as RFC 3339, in UTC.
pub(crate) fn text(ms: i64) -> String {
    let mut out = Vec::new();
    write(ms, &mut out);
    String::from_utf8(out).expect("a time is written in ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn of(text: &str) -> Result<i64, Failure> {
        read(&Datum::Text(Cow::Borrowed(text)), &vec!["t".into()].into_boxed_slice())
    }

    #[test]
    fn texts_and_numbers_are_times() {
        assert_eq!(of("1970-01-01T00:00:01.5Z"), Ok(1500));
        assert_eq!(of("1970-01-01T02:00:00+02:00"), Ok(0));
        assert_eq!(of("1969-12-31T23:59:59.9995Z"), Ok(-1), "rounded down, not towards zero");
        assert_eq!(of("yesterday").unwrap_err().code, "time-unreadable");
        assert_eq!(of("-000001-01-01T00:00:00Z").unwrap_err().code, "time-unreadable");
        assert_eq!(of("1970-01-01").unwrap_err().code, "time-unreadable");
        let path: Path = vec!["t".into()].into_boxed_slice();
        let number = |n: i64| read(&Datum::Number(crate::decimal::Decimal::from_i64(n)), &path);
        assert_eq!(number(-5), Ok(-5));
        assert!(number(i64::MAX).is_err());
        for edge in [FIRST, LAST] {
            assert!(Timestamp::from_millisecond(edge).is_ok(), "what is let in can be written");
            assert_eq!(number(edge), Ok(edge));
        }
        assert_eq!(read(&Datum::Null, &path).unwrap_err().code, "time-missing");
    }

    #[test]
    fn a_time_is_written_as_utc() {
        let mut out = Vec::new();
        write(1_767_261_600_000, &mut out);
        assert_eq!(out, b"2026-01-01T10:00:00Z");
    }
}
