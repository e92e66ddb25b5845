//! Event time: read from a record, and written as RFC 3339.
//!
//! Called once a record and for each result. Knows nothing of windows. Invariant: a time that was read can be written,
//! so no result fails for its time.

use crate::expr::Path;
use crate::failure::Failure;
use crate::formats::Datum;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use std::fmt;
use std::io::Write;

/// 0001-01-01T00:00:00Z, and a few hours before the year 10000: within what can be written with four digits of a year.
const FIRST: i64 = -62_135_596_800_000;
const LAST: i64 = 253_402_207_199_999;

/// A number below this, taken as ms, lies before March 1973; taken as seconds, before the year 5139.
const SURELY_SECONDS: i64 = 100_000_000_000;

/// Where a record says when it happened.
#[derive(Debug, Clone)]
pub(crate) enum EventTime {
    /// The record's own timestamp, which must be there.
    Timestamp,
    Field(TimeField),
}

/// A field that holds the event time, and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct TimeField {
    pub path: Path,
    /// Of numbers; none: ms, unless they can only be seconds.
    pub unit: Option<Unit>,
    /// Of texts that name no offset.
    pub zone: TimeZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    pub const ALL: [(&'static str, Unit); 4] =
        [("s", Unit::Seconds), ("ms", Unit::Milliseconds), ("us", Unit::Microseconds), ("ns", Unit::Nanoseconds)];

    /// How many scaled decimals make a ms.
    fn per_ms(self) -> i128 {
        match self {
            Unit::Seconds => 10i128.pow(15),
            Unit::Milliseconds => 10i128.pow(18),
            Unit::Microseconds => 10i128.pow(21),
            Unit::Nanoseconds => 10i128.pow(24),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Unit::ALL.iter().find(|(_, unit)| unit == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

impl TimeField {
    /// ms since 1970, rounded down.
    pub fn read(&self, datum: &Datum<'_>) -> Result<i64, Failure> {
        let fail = |code, what: &str| Failure::new(code, format!("time field '{}' {what}", self.path.join(".")));
        let ms = match datum {
            Datum::Null => return Err(fail("time-missing", "is missing")),
            Datum::Text(text) => of_text(text, &self.zone).ok_or_else(|| {
                fail("time-unreadable", "is no RFC 3339 time, nor one of ISO 8601 with date and time")
            })?,
            other => {
                let number = other.number().map_err(|e| fail("time-unreadable", &format!("is no time: {e}")))?;
                let scaled = number.unwrap_or_default().scaled();
                let unit = self.unit.unwrap_or(Unit::Milliseconds);
                let ms = i64::try_from(scaled.div_euclid(unit.per_ms())).unwrap_or(i64::MAX);
                if self.unit.is_none() && ms.abs() < SURELY_SECONDS {
                    let what = "is a number too small for ms: set 'unit: s', or 'unit: ms' if ms are meant";
                    return Err(fail("time-unreadable", what));
                }
                ms
            }
        };
        let outside = "is outside of the years 1 to 9999: if it is in us or ns, set that unit";
        check(ms).ok_or_else(|| fail("time-unreadable", outside))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventTime::Field(TimeField { path, unit, zone }) = self else { return f.write_str("record.timestamp") };
        f.write_str(&path.join("."))?;
        if let Some(unit) = unit {
            write!(f, " in {unit}")?;
        }
        match zone.iana_name() {
            Some("UTC") => Ok(()),
            Some(name) => write!(f, ", zone {name}"),
            None => f.write_str(", zone a fixed offset"),
        }
    }
}

/// Whether a datum can be read as a time, in some unit.
pub(crate) fn is_time(datum: &Datum<'_>) -> bool {
    match datum {
        Datum::Text(text) => of_text(text, &TimeZone::UTC).and_then(check).is_some(),
        other => other.number().is_ok_and(|n| n.is_some()),
    }
}

/// A text with an offset says when it is. One without is a time of `zone`: where clocks were set back and it came twice, the
/// first; where they were set forward and it never came, as much later as they jumped.
fn of_text(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Some(ms) = of_common_text(text.as_bytes()) {
        return Some(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(floor_ms(time));
    }
    let pieces = Pieces::parse(text).ok()?;
    // A name of a zone in the text is not looked at, so it must not stand alone.
    if pieces.offset().is_some() || pieces.time_zone_annotation().is_some() {
        return None;
    }
    let local = DateTime::from_parts(pieces.date(), pieces.time()?);
    zone.to_ambiguous_timestamp(local).compatible().ok().map(floor_ms)
}

/// Of what nearly every producer writes, `2026-01-01T10:00:00Z` with or without a fraction: a tenth of what the parser
/// costs. `None`: ask the parser.
fn of_common_text(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = head else { return None };
    let digit = |at: usize| head[at].wrapping_sub(b'0');
    if [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18].iter().fold(false, |wrong, &at| wrong | (digit(at) > 9)) {
        return None;
    }
    let two = |at: usize| i64::from(digit(at)) * 10 + i64::from(digit(at + 1));
    let fraction = match tail {
        b"Z" => 0,
        [b'.', a, b, c, b'Z'] => number(&[*a, *b, *c])?,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let first = |place: usize| digits.get(place).copied().unwrap_or(b'0');
            let all = digits.iter().all(u8::is_ascii_digit);
            all.then(|| number(&[first(0), first(1), first(2)])).flatten()?
        }
        _ => return None,
    };
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    let day_there = (1..=28).contains(&day) || Date::new(year as i16, month as i8, day as i8).is_ok();
    if year == 0 || !(1..=12).contains(&month) || !day_there || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + fraction)
}

fn number(digits: &[u8]) -> Option<i64> {
    let digit = |n: i64, byte: &u8| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0'));
    digits.iter().try_fold(0, digit)
}

/// Days since 1970 in the Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"), years from 1 on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
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

    fn field(unit: Option<Unit>, zone: &str) -> TimeField {
        let zone = crate::yaml::zone(zone).unwrap();
        TimeField { path: vec!["t".into()].into(), unit, zone }
    }

    fn of(text: &str) -> Result<i64, Failure> {
        field(None, "UTC").read(&Datum::Text(Cow::Borrowed(text)))
    }

    fn number(unit: Option<Unit>, text: &str) -> Result<i64, Failure> {
        field(unit, "UTC").read(&Datum::Number(crate::decimal::Decimal::parse(text).unwrap()))
    }

    #[test]
    fn texts_are_times() {
        assert_eq!(of("1970-01-01T00:00:01.5Z"), Ok(1500));
        assert_eq!(of("1970-01-01T02:00:00+02:00"), Ok(0));
        assert_eq!(of("1969-12-31T23:59:59.9995Z"), Ok(-1), "rounded down, not towards zero");
        for same in [
            "2026-01-01T10:00:00Z",
            "2026-01-01 10:00:00Z",
            "2026-01-01T10:00:00",
            "2026-01-01 10:00:00",
            "2026-01-01T10:00",
            "2026-01-01T10:00:00.000999",
            "2026-01-01 12:00:00+02",
            "2026-01-01T11:00:00+01:00[Europe/Berlin]",
            "20260101T100000Z",
        ] {
            assert_eq!(of(same), Ok(1_767_261_600_000), "{same}");
        }
        for wrong in [
            "yesterday",
            "-000001-01-01T00:00:00Z",
            "1970-01-01",
            "1767261600",
            "2026-01-01T10:00:00[Europe/Berlin]",
            "2026-02-30T10:00:00",
            "2026-01-01T25:00:00",
            "",
            "2026-01-01T10:00:00+99:00",
        ] {
            assert_eq!(of(wrong).unwrap_err().code, "time-unreadable", "{wrong}");
        }
    }

    /// Over all years, and with every byte of a time spoiled: where the short way answers, it says what the parser says.
    #[test]
    fn the_short_way_says_what_the_parser_says() {
        let parser = |text: &str| text.parse::<Timestamp>().ok().map(floor_ms);
        let (mut seed, mut taken, mut left) = (7u64, 0, 0);
        for round in 0..40_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ms = FIRST + (seed >> 1) as i64 % (LAST - FIRST);
            let mut text = super::text(ms).into_bytes();
            assert_eq!(of_common_text(&text), Some(ms), "{}", super::text(ms));
            let (at, byte) = ((seed >> 40) as usize % text.len(), b"0123456789-:.TZz+ "[round as usize % 18]);
            match round % 3 {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
            let text = String::from_utf8(text).unwrap();
            match of_common_text(text.as_bytes()) {
                Some(ms) => assert_eq!((Some(ms), taken += 1), (parser(&text), ()), "{text}"),
                None => left += 1,
            }
        }
        assert!(taken > 5_000 && left > 5_000, "{taken} {left}");
        for text in ["2026-02-29T10:00:00Z", "2026-04-31T10:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T10:00:60Z"] {
            assert_eq!(of_common_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_text_without_an_offset_is_a_time_of_the_zone() {
        let at = |zone, text: &str| {
            let read = field(None, zone).read(&Datum::Text(Cow::Owned(text.to_owned()))).unwrap();
            super::text(read)
        };
        assert_eq!(at("+02:00", "2026-01-01T10:00:00"), "2026-01-01T08:00:00Z");
        assert_eq!(at("-05:30", "2026-01-01 10:00:00"), "2026-01-01T15:30:00Z");
        assert_eq!(at("Europe/Berlin", "2026-01-01T10:00:00"), "2026-01-01T09:00:00Z");
        assert_eq!(at("europe/berlin", "2026-07-01T10:00:00"), "2026-07-01T08:00:00Z");
        assert_eq!(at("Europe/Berlin", "2026-07-01T10:00:00Z"), "2026-07-01T10:00:00Z", "it says so itself");
        assert_eq!(at("Europe/Berlin", "2026-03-29T02:30:00"), "2026-03-29T01:30:00Z", "skipped: an hour later, 03:30");
        assert_eq!(at("Europe/Berlin", "2026-10-25T02:30:00"), "2026-10-25T00:30:00Z", "twice: the first");
    }

    #[test]
    fn numbers_have_units() {
        for (unit, text, ms) in [
            (Some(Unit::Seconds), "1767261600", 1_767_261_600_000),
            (Some(Unit::Seconds), "1767261600.1239", 1_767_261_600_123),
            (Some(Unit::Milliseconds), "-5", -5),
            (Some(Unit::Milliseconds), "1.9", 1),
            (Some(Unit::Microseconds), "1767261600123999", 1_767_261_600_123),
            (Some(Unit::Nanoseconds), "1767261600123999999", 1_767_261_600_123),
            (Some(Unit::Nanoseconds), "-1", -1),
            (None, "1767261600000", 1_767_261_600_000),
            (None, "100000000000", 100_000_000_000),
            (None, "-100000000000", -100_000_000_000),
        ] {
            assert_eq!(number(unit, text), Ok(ms), "{text} {unit:?}");
        }
        let small = number(None, "1767261600").unwrap_err();
        assert!(small.code == "time-unreadable" && small.text.contains("set 'unit: s'"), "{small}");
        let large = number(None, "1767261600000000").unwrap_err();
        assert!(large.text.contains("us or ns"), "{large}");
        assert!(number(Some(Unit::Seconds), "99999999999999999999").is_err());
        for edge in [FIRST, LAST] {
            assert!(Timestamp::from_millisecond(edge).is_ok(), "what is let in can be written");
            assert_eq!(number(None, &edge.to_string()), Ok(edge));
        }
        assert_eq!(field(None, "UTC").read(&Datum::Null).unwrap_err().code, "time-missing");
    }

    #[test]
    fn a_time_is_written_as_utc() {
        let mut out = Vec::new();
        write(1_767_261_600_000, &mut out);
        assert_eq!(out, b"2026-01-01T10:00:00Z");
    }
}
