//! What may be wrong with an expression: as it is written, and as it meets a record.
//!
//! Made by the parser and by the evaluation; read by `check` and by whoever writes a dead letter. Invariant: an
//! [`EvalError`] quotes the topology, never the record.

use crate::formats::FormatError;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A mistake in the text of an expression: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// The bytes of the text that are meant.
    pub at: Range<usize>,
    /// The same place for people: characters from 1, over all lines.
    pub column: usize,
    pub message: String,
    /// What to write instead; may be empty.
    pub remedy: String,
}

impl ExprError {
    pub(super) fn new(
        source: &str,
        at: Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ExprError {
        let column = source[..at.start].chars().count() + 1;
        ExprError { at, column, message: message.into(), remedy: remedy.into() }
    }

    /// The line of `source` that is meant, and under it the carets.
    ///
    /// ```
    /// use tidemill_topology::expr::Expr;
    /// let text = "kind = 'a'";
    /// let error = Expr::parse(text).unwrap_err();
    /// assert_eq!(error.to_string(), "column 6: `=` is no operator: write == to compare");
    /// assert_eq!(error.caret(text), "kind = 'a'\n     ^");
    /// ```
    pub fn caret(&self, source: &str) -> String {
        let start = source[..self.at.start].rfind('\n').map_or(0, |i| i + 1);
        let line = source[start..].lines().next().unwrap_or("");
        let before = source[start..self.at.start].chars().count();
        let width = source[self.at.clone()].lines().next().unwrap_or("").chars().count().max(1);
        format!("{line}\n{}{}", " ".repeat(before), "^".repeat(width))
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}

impl std::error::Error for ExprError {}

/// Why an expression has no result for this record, which becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    code: &'static str,
    column: u32,
    text: Cow<'static, str>,
}

impl EvalError {
    pub(super) fn new(code: &'static str, column: u32, text: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError { code, column, text: text.into() }
    }

    pub(super) fn number(column: u32, error: FormatError) -> EvalError {
        EvalError { code: error.code(), column, text: Cow::Owned(error.to_string()) }
    }

    /// One of `wrong-type`, `overflow`, `division-by-zero`, `not-a-number`, `number-too-large`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Where in the expression, in characters from 1.
    pub fn column(&self) -> usize {
        self.column as usize
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {} of the expression: {}", self.column, self.text)
    }
}

impl std::error::Error for EvalError {}
