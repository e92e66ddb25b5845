//! What may be wrong with the bytes of a key or a value.
//!
//! Made by the formats and by [`Datum`](super::Datum); read by whoever writes a dead letter. Invariant: a text names
//! types, lengths and positions, and never quotes a byte of the payload.

use crate::decimal::DecimalError;
use std::borrow::Cow;
use std::fmt;

/// A short code for metrics and headers, and a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    code: &'static str,
    text: Cow<'static, str>,
}

impl FormatError {
    pub(crate) fn new(code: &'static str, text: impl Into<Cow<'static, str>>) -> FormatError {
        FormatError { code, text: text.into() }
    }

    /// One of `not-json`, `not-utf8`, `wrong-length`, `wrong-type`, `not-a-number`, `number-too-large`, `out-of-range`,
    /// `not-whole`, `null`.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for FormatError {}

impl From<DecimalError> for FormatError {
    fn from(error: DecimalError) -> FormatError {
        let code = match error {
            DecimalError::NotANumber => "not-a-number",
            DecimalError::TooLarge => "number-too-large",
        };
        FormatError::new(code, error.to_string())
    }
}
