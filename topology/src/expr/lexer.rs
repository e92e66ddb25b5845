//! The text of an expression as tokens.
//!
//! Called by the parser, and by that of rules. Knows nothing of precedence or types. Invariant: every token says where it stands, in bytes and
//! in characters, and the last one is always [`Lexeme::End`].

use super::{ExprError, Path};
use crate::decimal::Decimal;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub lexeme: Lexeme,
    pub at: Range<usize>,
    /// Characters from 1.
    pub column: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lexeme {
    Number(Decimal),
    Text(String),
    Path(Path),
    /// A word of the language.
    Word(Word),
    /// An operator, a bracket or a comma, as it is written.
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    True,
    False,
    Null,
    In,
    Is,
    Not,
}

/// Longer ones first.
const SYMBOLS: [&str; 18] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "(", ")", "[", "]", ","];

/// What people write who come from another language; looked at before the symbols.
const FOREIGN: [(&str, &str); 5] = [
    ("===", "write == to compare"),
    ("!==", "write != to compare"),
    ("<>", "write != for unequal"),
    ("&&&", "write && for and"),
    ("|||", "write || for or"),
];

/// The same, but the beginning of a symbol is no mistake; looked at after them.
const HALF: [(&str, &str); 5] = [
    ("=", "write == to compare"),
    ("&", "write && for and"),
    ("|", "write || for or"),
    ("%", "there is no remainder; the operators are + - * /"),
    (".", "a number needs a digit before the point, as in 0.5"),
];

pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, ExprError> {
    let mut lexer = Lexer { source, at: 0, column: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.take_while(char::is_whitespace);
        let (start, column) = (lexer.at, lexer.column);
        let lexeme = lexer.lexeme()?;
        let last = lexeme == Lexeme::End;
        tokens.push(Token { lexeme, at: start..lexer.at, column });
        if last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    column: u32,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.column += 1;
        Some(c)
    }

    fn take_while(&mut self, want: impl Fn(char) -> bool) -> &'s str {
        let start = self.at;
        while self.peek().is_some_and(&want) {
            self.bump();
        }
        &self.source[start..self.at]
    }

    fn error(&self, at: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) -> ExprError {
        ExprError::new(self.source, at, message, remedy)
    }

    fn lexeme(&mut self) -> Result<Lexeme, ExprError> {
        match self.peek() {
            None => Ok(Lexeme::End),
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(quote @ ('\'' | '"')) => self.text(quote),
            Some(c) if is_name(c) || c == '`' => self.path(),
            Some(_) => self.symbol(),
        }
    }

    fn number(&mut self) -> Result<Lexeme, ExprError> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.peek() == Some('.') {
            self.bump();
            self.take_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.bump();
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
        }
        // Also takes letters, so that `12h` is one wrong number rather than two tokens.
        self.take_while(|c| is_name(c) || c == '.');
        let text = &self.source[start..self.at];
        match Decimal::parse_exact(text) {
            Ok(Some(number)) => Ok(Lexeme::Number(number)),
            Ok(None) => Err(self.error(start..self.at, "a number has at most 18 digits after the point", "round it")),
            Err(e) => Err(self.error(start..self.at, format!("`{}`: {e}", cut(text)), "write it as 12, 12.5 or 12e3")),
        }
    }

    fn text(&mut self, quote: char) -> Result<Lexeme, ExprError> {
        let start = self.at;
        self.bump();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.bump() {
                None => {
                    let remedy = format!("close it with {quote}");
                    return Err(self.error(start..start + 1, "this text has no end", remedy));
                }
                Some(c) if c == quote => return Ok(Lexeme::Text(text)),
                Some('\\') => text.push(self.escape(at)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, ExprError> {
        match self.bump() {
            Some(c @ ('\\' | '\'' | '"')) => Ok(c),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            _ => Err(self.error(start..self.at, "unknown escape", r#"the escapes are \\ \' \" \n \r \t"#)),
        }
    }

    /// Names with points between them, or one word of the language.
    fn path(&mut self) -> Result<Lexeme, ExprError> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            if self.peek() != Some('.') {
                break;
            }
            self.bump();
        }
        self.no_hyphen(start)?;
        Ok(match word(&self.source[start..self.at]) {
            Some(word) => Lexeme::Word(word),
            None => Lexeme::Path(names.into()),
        })
    }

    fn name(&mut self) -> Result<Box<str>, ExprError> {
        let start = self.at;
        if self.peek() != Some('`') {
            let name = self.take_while(is_name);
            let end = self.at + self.peek().map_or(0, char::len_utf8);
            return match name {
                "" => Err(self.error(start..end, "a name must follow the point", "name a field, or drop the point")),
                name => Ok(name.into()),
            };
        }
        self.bump();
        let name = self.take_while(|c| c != '`');
        match self.bump() {
            None => Err(self.error(start..start + 1, "this name has no end", "close it with `")),
            Some(_) if name.is_empty() => Err(self.error(start..self.at, "an empty name", "name a field")),
            Some(_) => Ok(name.into()),
        }
    }

    /// `event-type` would silently be a subtraction of two fields that do not exist.
    fn no_hyphen(&self, start: usize) -> Result<(), ExprError> {
        let joined = |c: char| is_name(c) || c == '`';
        match self.rest().strip_prefix('-') {
            Some(rest) if rest.starts_with(joined) => {
                let length = 1 + rest.find(|c| !joined(c)).unwrap_or(rest.len());
                let whole = &self.source[start..self.at + length];
                let name = whole.replace('`', "");
                let last = name.rsplit('.').next().unwrap_or(&name);
                let remedy = format!("to name a field, `{}` in backticks; to subtract, spaces around the -", cut(last));
                Err(self.error(start..self.at + length, "a name with a hyphen, or a subtraction?", remedy))
            }
            _ => Ok(()),
        }
    }

    fn symbol(&mut self) -> Result<Lexeme, ExprError> {
        let rest = self.rest();
        let foreign = FOREIGN.iter().find(|(text, _)| rest.starts_with(text));
        let symbol = SYMBOLS.iter().find(|text| rest.starts_with(**text));
        let half = HALF.iter().find(|(text, _)| rest.starts_with(text));
        match (foreign, symbol, half) {
            (None, Some(symbol), _) => {
                self.at += symbol.len();
                self.column += symbol.len() as u32;
                Ok(Lexeme::Symbol(symbol))
            }
            (Some((text, remedy)), _, _) | (None, None, Some((text, remedy))) => {
                Err(self.error(self.at..self.at + text.len(), format!("`{text}` is no operator"), *remedy))
            }
            (None, None, None) => {
                let c = rest.chars().next().unwrap_or(' ');
                let message = format!("unexpected character `{}`", c.escape_debug());
                Err(self.error(self.at..self.at + c.len_utf8(), message, "put texts in '...', odd names in `...`"))
            }
        }
    }
}

/// What a name may hold without backticks; a digit at its beginning makes it a number, or after a point a list's index.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '$')
}

fn word(text: &str) -> Option<Word> {
    Some(match text {
        "true" => Word::True,
        "false" => Word::False,
        "null" => Word::Null,
        "in" => Word::In,
        "is" => Word::Is,
        "not" => Word::Not,
        _ => return None,
    })
}

/// A message is one line, however long the mistake.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(i, _)| &text[..i])
}
