//! One value of a record: what a field is, and what an expression yields.
//!
//! Made by a [`Document`](super::Document), by literals and by operators; written by a [`Format`](super::Format).
//! Knows nothing of bytes on the wire. Invariant: a number keeps its digits until somebody calculates with it.

use super::FormatError;
use crate::decimal::Decimal;
use serde_json::Value;
use std::borrow::Cow;

/// A value, borrowed from its record where it can be. A missing field is `Null`.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum<'a> {
    Null,
    Bool(bool),
    /// A number that a decimal holds exactly.
    Number(Decimal),
    /// A number's text as JSON writes it, which a decimal does not hold exactly: too many digits, before or after the
    /// point.
    Digits(Cow<'a, str>),
    /// A float from Kafka's `double`; may be NaN or infinite.
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// An object or a list; never a scalar.
    Json(Cow<'a, Value>),
}

impl<'a> Datum<'a> {
    /// `value` as a datum: scalars in their own variant, objects and lists as [`Datum::Json`].
    pub fn from_json(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(b) => Datum::Bool(*b),
            Value::Number(n) => Datum::from_digits(n.as_str()),
            Value::String(s) => Datum::Text(Cow::Borrowed(s)),
            Value::Array(_) | Value::Object(_) => Datum::Json(Cow::Borrowed(value)),
        }
    }

    pub(super) fn from_digits(text: &'a str) -> Datum<'a> {
        match Decimal::parse_exact(text) {
            Ok(Some(exact)) => Datum::Number(exact),
            _ => Datum::Digits(Cow::Borrowed(text)),
        }
    }

    /// The number that it is; `None` for null.
    ///
    /// Rounded at 18 digits after the point. An error for what is no number, for NaN and infinities, and for numbers
    /// with more than 20 digits before the point.
    pub fn number(&self) -> Result<Option<Decimal>, FormatError> {
        match self {
            Datum::Null => Ok(None),
            Datum::Number(n) => Ok(Some(*n)),
            Datum::Digits(text) => Ok(Some(Decimal::parse(text)?)),
            Datum::Double(x) => Ok(Some(Decimal::from_f64(*x)?)),
            other => Err(FormatError::new("not-a-number", format!("not a number but {}", other.kind().article()))),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Datum::Null => Kind::Null,
            Datum::Bool(_) => Kind::Bool,
            Datum::Number(_) | Datum::Digits(_) | Datum::Double(_) => Kind::Number,
            Datum::Text(_) => Kind::Text,
            Datum::Bytes(_) => Kind::Bytes,
            Datum::Json(value) if value.is_array() => Kind::List,
            Datum::Json(_) => Kind::Object,
        }
    }

    /// The same value as JSON: bytes as base64.
    pub(crate) fn into_json(self) -> Result<Value, FormatError> {
        super::json::value(self)
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Datum<'static> {
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(b) => Datum::Bool(b),
            Datum::Number(n) => Datum::Number(n),
            Datum::Digits(text) => Datum::Digits(Cow::Owned(text.into_owned())),
            Datum::Double(x) => Datum::Double(x),
            Datum::Text(text) => Datum::Text(Cow::Owned(text.into_owned())),
            Datum::Bytes(bytes) => Datum::Bytes(Cow::Owned(bytes.into_owned())),
            Datum::Json(value) => Datum::Json(Cow::Owned(value.into_owned())),
        }
    }

    /// The same value, borrowed from this one.
    pub fn as_borrowed(&self) -> Datum<'_> {
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(b) => Datum::Bool(*b),
            Datum::Number(n) => Datum::Number(*n),
            Datum::Digits(text) => Datum::Digits(Cow::Borrowed(text)),
            Datum::Double(x) => Datum::Double(*x),
            Datum::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Datum::Bytes(bytes) => Datum::Bytes(Cow::Borrowed(bytes)),
            Datum::Json(value) => Datum::Json(Cow::Borrowed(value)),
        }
    }
}

/// What a datum is, in the words of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Bytes,
    List,
    Object,
}

impl Kind {
    /// `a text`, `an object`: for a sentence.
    pub fn article(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::Bytes => "bytes",
            Kind::List => "a list",
            Kind::Object => "an object",
        }
    }
}
