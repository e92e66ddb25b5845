//! A rule for one field: what it is, whether it may be missing, and its bounds.
//!
//! ```text
//! rule  = type ["?"] { bound }                   "?": it may be missing or null
//! type  = "text" | "number" | "integer" | "bool" | "time" | "list" | "object" | "any"
//! bound = ("<" | "<=" | ">" | ">=" | "==" | "!=") literal      of a text, a number or an integer
//!       | ("<" | "<=" | ">" | ">=" | "==" | "!=") number ("chars" | "items")      how long a text or a list is
//!       | "in" "[" literal { "," literal } "]"
//! ```
//! A text holds no NUL, which no database takes. An integer is a number without a fraction, 2.0 too. A time is what `time:`
//! reads, without a unit. Numbers are compared exactly, however many digits they have.
//!
//! Made when the topology is read. Knows nothing of steps. Invariant: a bound fits its type.

use super::INVALID;
use crate::decimal::Decimal;
use crate::event_time;
use crate::expr::lexer::{Lexeme, Token, Word, tokens};
use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::{Datum, Kind};
use std::cmp::Ordering;
use std::fmt;

#[derive(Debug)]
pub(crate) struct Rule {
    pub path: Path,
    /// As it was written.
    text: String,
    ty: Type,
    optional: bool,
    bounds: Vec<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Integer,
    Bool,
    Time,
    List,
    Object,
    Any,
}

#[derive(Debug)]
enum Bound {
    Value(Compare, Literal),
    Length(Compare, usize),
    OneOf(Vec<Literal>),
}

#[derive(Debug)]
enum Literal {
    Number(Decimal),
    Text(String),
    Bool(bool),
}

/// Whether an order is meant by a sign.
type Compare = fn(Ordering) -> bool;

const TYPES: [(&str, Type); 8] = [
    ("text", Type::Text),
    ("number", Type::Number),
    ("integer", Type::Integer),
    ("bool", Type::Bool),
    ("time", Type::Time),
    ("list", Type::List),
    ("object", Type::Object),
    ("any", Type::Any),
];

impl Rule {
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(path: Path, text: &str) -> Result<Rule, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        let ty = TYPES.iter().find(|(name, _)| *name == &text[..end]).map(|(_, ty)| *ty).ok_or_else(|| {
            let names = TYPES.map(|(name, _)| name).join(", ");
            format!("is '{text}', which begins with no type; known are {names}, with ? where it may be missing")
        })?;
        let optional = text[end..].starts_with('?');
        let begin = end + usize::from(optional);
        // Spaces for what is read already, so that a mistake shows its column in the whole.
        let rest = " ".repeat(begin) + &text[begin..];
        let mut reader = Reader { tokens: tokens(&rest).map_err(|e| format!("is '{text}': {e}"))?, at: 0, ty };
        let mut bounds = Vec::new();
        while reader.peek() != &Lexeme::End {
            bounds.push(reader.bound().map_err(|what| format!("is '{text}': {what}"))?);
        }
        Ok(Rule { path, text: text.to_owned(), ty, optional, bounds })
    }

    pub fn check(&self, lookup: &impl Lookup) -> Result<(), Failure> {
        let datum = lookup.get(&self.path);
        if datum.is_null() {
            return if self.optional { Ok(()) } else { Err(self.broken("is missing")) };
        }
        if !self.ty.is(&datum) {
            return Err(self.broken(&format!("is {}", datum.kind().article())));
        }
        if let (Type::Text, Datum::Text(text)) = (self.ty, &datum)
            && text.bytes().fold(false, |nul, byte| nul | (byte == 0))
        // to the end, many at a time
        {
            return Err(self.broken("holds a NUL character"));
        }
        match self.bounds.iter().all(|bound| bound.holds(&datum)) {
            true => Ok(()),
            false => Err(self.broken("is out of its bounds")),
        }
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(INVALID, format!("field '{}' {what}, its rule is: {}", self.path.join("."), self.text))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.text)
    }
}

impl Type {
    fn is(self, datum: &Datum<'_>) -> bool {
        match self {
            Type::Any => true,
            Type::Text => datum.kind() == Kind::Text,
            Type::Number => datum.kind() == Kind::Number,
            Type::Integer => is_whole(datum),
            Type::Bool => datum.kind() == Kind::Bool,
            Type::Time => event_time::is_time(datum),
            Type::List => datum.kind() == Kind::List,
            Type::Object => datum.kind() == Kind::Object,
        }
    }

    fn takes(self, literal: &Literal) -> bool {
        match self {
            Type::Any => true,
            Type::Text => matches!(literal, Literal::Text(_)),
            Type::Number | Type::Integer => matches!(literal, Literal::Number(_)),
            Type::Bool => matches!(literal, Literal::Bool(_)),
            Type::Time | Type::List | Type::Object => false,
        }
    }
}

fn is_whole(datum: &Datum<'_>) -> bool {
    match datum {
        Datum::Number(n) => n.is_integer(),
        Datum::Double(x) => x.is_finite() && x.fract() == 0.0,
        // Too long for a decimal, or with too fine a fraction: only plain digits are surely whole.
        Datum::Digits(text) => text.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
        _ => false,
    }
}

impl Bound {
    fn holds(&self, datum: &Datum<'_>) -> bool {
        match self {
            Bound::Value(compare, literal) => literal.order(datum).is_some_and(compare),
            Bound::Length(compare, limit) => match datum {
                // A text has a fourth as many characters as bytes, or more: long ones need no count.
                Datum::Text(text) if text.len() / 4 > *limit => compare(Ordering::Greater),
                Datum::Text(text) => compare(text.chars().count().cmp(limit)),
                Datum::Json(value) => value.as_array().is_some_and(|items| compare(items.len().cmp(limit))),
                _ => false,
            },
            Bound::OneOf(literals) => literals.iter().any(|l| l.is(datum)),
        }
    }
}

impl Literal {
    fn is(&self, datum: &Datum<'_>) -> bool {
        match (datum, self) {
            (Datum::Text(text), Literal::Text(literal)) => **text == **literal,
            _ => self.order(datum) == Some(Ordering::Equal),
        }
    }

    /// How the datum stands to it; none between types.
    fn order(&self, datum: &Datum<'_>) -> Option<Ordering> {
        match (datum, self) {
            (Datum::Number(n), Literal::Number(literal)) => Some(n.cmp(literal)),
            (Datum::Digits(text), Literal::Number(literal)) => Decimal::compare_text(text, *literal).ok(),
            (Datum::Double(x), Literal::Number(literal)) => x.partial_cmp(&literal.to_f64()),
            (Datum::Text(text), Literal::Text(literal)) => Some((**text).cmp(literal.as_str())),
            (Datum::Bool(b), Literal::Bool(literal)) => Some(b.cmp(literal)),
            _ => None,
        }
    }
}

/// The bounds of a rule, token by token.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    ty: Type,
}

impl Reader {
    fn peek(&self) -> &Lexeme {
        &self.tokens[self.at].lexeme
    }

    /// The end is never passed.
    fn next(&mut self) -> Lexeme {
        let lexeme = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        lexeme
    }

    fn bound(&mut self) -> Result<Bound, String> {
        let shape = "behind the type stand bounds, as >= 0, <= 100 chars, or in ['a', 'b']";
        match self.next() {
            Lexeme::Word(Word::In) => self.one_of(),
            Lexeme::Symbol(symbol) => {
                let compare = comparison(symbol).ok_or(shape)?;
                let literal = self.literal()?;
                self.compared(compare, literal)
            }
            _ => Err(shape.to_owned()),
        }
    }

    fn compared(&mut self, compare: Compare, literal: Literal) -> Result<Bound, String> {
        let unit = match self.peek() {
            Lexeme::Path(path) if path.len() == 1 => path[0].to_string(),
            _ => String::new(),
        };
        let wanted = match self.ty {
            Type::Text => "chars",
            Type::List => "items",
            _ => "",
        };
        if !unit.is_empty() && unit == wanted {
            self.next();
            let Literal::Number(n) = literal else { return Err(format!("a number must stand before {unit}")) };
            let limit = n.to_i64().filter(|_| n.is_integer()).and_then(|n| usize::try_from(n).ok());
            return limit.map(|n| Bound::Length(compare, n)).ok_or(format!("a whole number must stand before {unit}"));
        }
        if !unit.is_empty() {
            return Err(format!("'{unit}' is no unit here; a text has chars, a list has items"));
        }
        match self.ty {
            Type::Text | Type::List if matches!(literal, Literal::Number(_)) => {
                Err(format!("{wanted} must stand behind the number, if the length is meant"))
            }
            Type::Text | Type::Number | Type::Integer if self.ty.takes(&literal) => Ok(Bound::Value(compare, literal)),
            _ => Err("this type has no such bound".to_owned()),
        }
    }

    fn one_of(&mut self) -> Result<Bound, String> {
        let list = "a list must follow in, as in ['a', 'b']";
        if self.next() != Lexeme::Symbol("[") {
            return Err(list.to_owned());
        }
        let mut literals = Vec::new();
        loop {
            let literal = self.literal()?;
            if !self.ty.takes(&literal) {
                return Err("the list holds what the type never is".to_owned());
            }
            literals.push(literal);
            match self.next() {
                Lexeme::Symbol(",") => {}
                Lexeme::Symbol("]") => return Ok(Bound::OneOf(literals)),
                _ => return Err(list.to_owned()),
            }
        }
    }

    fn literal(&mut self) -> Result<Literal, String> {
        match self.next() {
            Lexeme::Number(n) => Ok(Literal::Number(n)),
            Lexeme::Symbol("-") => match self.next() {
                Lexeme::Number(n) => Ok(Literal::Number(n.negate())),
                _ => Err("a number must follow the -".to_owned()),
            },
            Lexeme::Text(text) => Ok(Literal::Text(text)),
            Lexeme::Word(Word::True) => Ok(Literal::Bool(true)),
            Lexeme::Word(Word::False) => Ok(Literal::Bool(false)),
            _ => Err("a number, a text in quotes, true or false must stand here".to_owned()),
        }
    }
}

fn comparison(symbol: &str) -> Option<Compare> {
    Some(match symbol {
        "<" => Ordering::is_lt,
        "<=" => Ordering::is_le,
        ">" => Ordering::is_gt,
        ">=" => Ordering::is_ge,
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::parse_path;
    use crate::formats::Format;

    fn rule(text: &str) -> Result<Rule, String> {
        Rule::parse(parse_path("x").unwrap(), text)
    }

    fn says(text: &str, value: &str) -> String {
        let json = format!("{{\"x\":{value}}}");
        let document = Format::Json.read(Some(json.as_bytes())).unwrap();
        rule(text).unwrap().check(&document).err().map_or("ok".to_owned(), |e| e.text)
    }

    #[test]
    fn a_rule_takes_what_it_says() {
        for (text, good, bad) in [
            ("text", r#""""#, "1 | null | [] | \"a\\u0000b\""),
            ("text?", "null", "1"),
            ("text in ['a', \"b\"]", r#""b""#, r#""c" | "A" | """#),
            ("text >= 2 chars <= 3 chars", r#""ü€""#, r#""a" | "abcd""#),
            ("text? >= 'b' < 'd'", r#""cz""#, r#""d" | "a""#),
            ("number >= 0 <= 1000000", "1e6 | 0 | 0.000", "-0.01 | 1000000.0000000000000000001 | \"5\" | true"),
            ("number < 1", "0.9999999999999999999999 | -1e300", "1.0000000000000000000001 | 1e300"),
            ("number > -1", "-0.9999999999999999999999 | 1e300", "-1.0000000000000000000001 | -1e300 | -1"),
            ("number != 0", "1e-30", "0.0 | -0"),
            ("integer", "1 | 2.0 | -1234567890123456789012345678901234567890", "1.5 | 1e-30 | \"1\""),
            ("integer in [1, -2]", "-2 | 1.0", "2 | 1.0000000000000000000001"),
            ("number <= 1e19", "1234567890123456789", "1234567890123456789012345678901234567890"),
            ("bool", "true | false", "\"true\" | 0"),
            ("bool in [true]", "true", "false"),
            ("list >= 1 items", "[null]", "[] | {}"),
            ("object", "{}", "[]"),
            ("any", "1 | [] | {}", "null"),
            ("any? in [1, 'a']", "1 | \"a\" | null", "2 | true"),
            (
                "time",
                "\"2026-01-01T10:00:00Z\" | \"2026-01-01 10:00:00.5\" | 1767261600000",
                "\"noon\" | true | 1.5e300",
            ),
        ] {
            for value in good.split(" | ") {
                assert_eq!(says(text, value), "ok", "{text}: {value}");
            }
            for value in bad.split(" | ") {
                assert_ne!(says(text, value), "ok", "{text}: {value}");
            }
        }
        assert_eq!(says("number? >= 0", "-5"), "field 'x' is out of its bounds, its rule is: number? >= 0");
        assert_eq!(says("number? >= 0", "\"secret\""), "field 'x' is a text, its rule is: number? >= 0");
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for (text, what) in [
            ("", "no type"),
            ("string", "no type"),
            ("number >", "must stand here"),
            ("number >= 'a'", "no such bound"),
            ("number ?", "column 8"),
            ("text <= 5", "chars must stand"),
            ("text <= 5 items", "no unit here"),
            ("text <= 1.5 chars", "whole number"),
            ("list in [1]", "never is"),
            ("text in []", "must stand here"),
            ("text in ['a'", "a list must follow"),
            ("bool >= true", "no such bound"),
            ("number 0", "bounds"),
        ] {
            let said = rule(text).unwrap_err();
            assert!(said.contains(what), "{text}: {said}");
        }
    }
}
