//! Why a record goes no further: a code for counting, a line for people.
//!
//! Made by operators, read where dead letters are written. Knows nothing of the dead letter's own form.
//! Invariant: the text names fields and types, never a value of the payload.

use crate::expr::EvalError;
use crate::formats::FormatError;
use std::fmt;
use tidemill_state::StoreError;

/// Turns one record into a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: &'static str,
    pub text: String,
}

impl Failure {
    pub fn new(code: &'static str, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }

    /// What failed in a format, and where: `value`, `field 'amount'`.
    pub fn format(place: impl fmt::Display, error: &FormatError) -> Failure {
        Failure::new(error.code(), format!("{place}: {error}"))
    }

    pub fn eval(place: impl fmt::Display, error: &EvalError) -> Failure {
        Failure::new(error.code(), format!("{place}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Why an evaluation ended: the record is at fault, or the store is.
#[derive(Debug)]
pub(crate) enum Stop {
    Failure(Failure),
    Store(StoreError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}
