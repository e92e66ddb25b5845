//! Scalars with units and rules: durations, sizes, names, formats.
//!
//! Used by every section of the file. Invariant: a text that is no such scalar is answered with what to write instead.

use crate::expr::{Path, parse_path};
use crate::formats::Format;
use crate::view;
use std::time::Duration;

pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("is empty; write a text".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// `100ms`, `5s`, `10m`, `1h`, `14d`.
///
/// # Errors
/// What to write instead, as the end of a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("is '{text}', no duration; write a whole number with ms, s, m, h or d");
    let (number, unit) = split(text);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A thousand years: what is longer is a slip, and ms stay far from overflow.
    let all = number.checked_mul(ms).filter(|all| *all <= 366 * 1_000 * 86_400_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(all))
}

/// As [`duration`], and not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|d| match d.is_zero() {
        true => Err("is zero; write a longer duration".to_owned()),
        false => Ok(d),
    })
}

/// `16MiB`, `64KiB`, `1GiB`, `100MB`, or bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("is '{text}', no size; write a whole number with B, KiB, MiB or GiB");
    let (number, unit) = split(text);
    let one: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(one).filter(|all| *all > 0).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A whole number of 1 or more.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (1..=i32::MAX as usize).contains(&n) => Ok(n),
        _ => Err(format!("is '{text}'; write a whole number of 1 or more")),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("is '{text}'; write true or false")),
    }
}

/// The application's name.
pub(super) fn app(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    legal(text, fits, "a-z, 0-9, '.', '_' and '-'", 100)
}

/// A topic, or a name that becomes part of one.
pub(super) fn topic(text: &str) -> Result<String, String> {
    if text == "." || text == ".." {
        return Err(format!("is '{text}'; write a name"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    legal(text, fits, "letters, digits, '.', '_' and '-'", 249)
}

fn legal(text: &str, fits: impl Fn(char) -> bool, what: &str, longest: usize) -> Result<String, String> {
    match !text.is_empty() && text.len() <= longest && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!("is '{text}'; use 1 to {longest} of {what}")),
    }
}

pub(super) fn format(text: &str) -> Result<Format, String> {
    Format::from_name(text).ok_or_else(|| {
        let names = Format::ALL.map(Format::name);
        let hint = super::fields::suggest(text, names.into_iter());
        format!("is '{text}', no format{}", hint.unwrap_or_else(|| format!("; known are {}", names.join(", "))))
    })
}

/// A dotted field, or a name behind `record.`.
pub(super) fn path(text: &str) -> Result<Path, String> {
    let path = parse_path(text).map_err(|e| format!("is no field: {e}"))?;
    known(&path).map(|()| path)
}

/// Refuses a name behind `record.` that does not exist.
pub(super) fn known(path: &[Box<str>]) -> Result<(), String> {
    match path {
        [record, name, ..] if &**record == "record" && !view::NAMES.contains(&&**name) => {
            let hint = super::fields::suggest(name, view::NAMES.into_iter());
            let hint = hint.unwrap_or_else(|| format!("; known are {}", view::NAMES.join(", ")));
            Err(format!("names record.{name}, which there is not{hint}"))
        }
        [record] if &**record == "record" => Err(format!("names record alone; add one of {}", view::NAMES.join(", "))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("512"), Ok(512));
        for wrong in ["5", "s", "5 years", "-1s", "1.5h", "999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["MiB", "0", "1TiB", "-1"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
