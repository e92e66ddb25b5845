//! Tokens to tree: one function a line of the grammar in `mod.rs`.
//!
//! Called by [`Expr`](super::Expr) alone. Knows nothing of records; types are checked where nodes are made, in `tree.rs`.
//! Invariant: the recursion is counted, so that no text, however hostile, ends the stack.

use super::lexer::{self, Lexeme, Token, Word, cut};
use super::tree::{Comparison, MAX_DEPTH, Node, Operation, Place};
use super::{ExprError, Path};
use crate::formats::Datum;
use std::borrow::Cow;

/// Longer ones are generated, and wrong.
const MAX_BYTES: usize = 64 * 1024;

pub(super) fn expression(source: &str) -> Result<Node, ExprError> {
    let mut parser = Parser::new(source)?;
    let node = parser.any()?;
    parser.end()?;
    Ok(node)
}

pub(super) fn path(source: &str) -> Result<Path, ExprError> {
    let mut parser = Parser::new(source)?;
    let token = parser.next();
    let Lexeme::Path(path) = token.lexeme else {
        let remedy = "name a field, as in user.age; odd names and the language's own words in backticks";
        return Err(ExprError::new(source, token.at.clone(), format!("{} is no field", parser.shown(&token)), remedy));
    };
    match parser.peek().lexeme {
        Lexeme::End => Ok(path),
        _ => Err(parser.place().error("only one field can stand here", "drop what follows the name")),
    }
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    nesting: u32,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Result<Parser<'s>, ExprError> {
        if source.len() > MAX_BYTES {
            let message = format!("{} bytes; an expression has at most {MAX_BYTES}", source.len());
            return Err(ExprError::new(source, 0..0, message, "split it into several filters"));
        }
        Ok(Parser { source, tokens: lexer::tokens(source)?, at: 0, nesting: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    /// The end is never passed: it is handed out again and again.
    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().lexeme, Lexeme::Symbol(s) if s == symbol);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: Word) -> bool {
        let found = self.peek().lexeme == Lexeme::Word(word);
        if found {
            self.next();
        }
        found
    }

    /// Of the next token.
    fn place(&self) -> Place<'s> {
        let token = self.peek();
        Place { source: self.source, at: token.at.clone(), column: token.column }
    }

    fn shown(&self, token: &Token) -> String {
        match token.lexeme {
            Lexeme::End => "the end".to_string(),
            _ => format!("`{}`", cut(&self.source[token.at.clone()])),
        }
    }

    fn any(&mut self) -> Result<Node, ExprError> {
        self.chain("||", Parser::all)
    }

    fn all(&mut self) -> Result<Node, ExprError> {
        self.chain("&&", Parser::comparison)
    }

    fn chain(
        &mut self,
        symbol: &'static str,
        operand: fn(&mut Parser<'s>) -> Result<Node, ExprError>,
    ) -> Result<Node, ExprError> {
        let first = operand(self)?;
        let place = self.place();
        if !self.take(symbol) {
            return Ok(first);
        }
        let mut operands = vec![first, operand(self)?];
        while self.take(symbol) {
            operands.push(operand(self)?);
        }
        place.chain(symbol, operands)
    }

    fn comparison(&mut self) -> Result<Node, ExprError> {
        let left = self.sum()?;
        let place = self.place();
        let node = match self.peek().lexeme {
            Lexeme::Symbol(symbol) => match Comparison::from_symbol(symbol) {
                Some(comparison) => {
                    self.next();
                    place.compare(comparison, left, self.sum()?)?
                }
                None => return Ok(left),
            },
            Lexeme::Word(Word::Is) => self.is_null(left)?,
            Lexeme::Word(Word::In | Word::Not) => self.within(left)?,
            _ => return Ok(left),
        };
        let chained = matches!(self.peek().lexeme, Lexeme::Symbol(s) if Comparison::from_symbol(s).is_some());
        if chained || matches!(self.peek().lexeme, Lexeme::Word(Word::Is | Word::In | Word::Not)) {
            return Err(self.place().error("a comparison of a comparison", "write a < b && b < c, or use brackets"));
        }
        Ok(node)
    }

    fn is_null(&mut self, value: Node) -> Result<Node, ExprError> {
        let place = self.place();
        self.next();
        let negated = self.take_word(Word::Not);
        if !self.take_word(Word::Null) {
            let message = format!("only null can follow `is`, not {}", self.shown(self.peek()));
            return Err(self.place().error(message, "write == to compare"));
        }
        place.is_null(value, negated)
    }

    fn within(&mut self, value: Node) -> Result<Node, ExprError> {
        let place = self.place();
        let negated = self.take_word(Word::Not);
        if !self.take_word(Word::In) {
            return Err(self.place().error("`not` stands only in `not in` and `is not null`", "write ! for not"));
        }
        if !self.take("[") {
            return Err(self.place().error("a list must follow `in`", "write in ['a', 'b']"));
        }
        let mut list = Vec::new();
        while !self.take("]") {
            list.push(self.sum()?);
            let closed = matches!(self.peek().lexeme, Lexeme::Symbol("]"));
            if !closed && !self.take(",") {
                let message = format!("expected , or ] but found {}", self.shown(self.peek()));
                return Err(self.place().error(message, "close the list with ]"));
            }
        }
        place.within(value, list, negated)
    }

    fn sum(&mut self) -> Result<Node, ExprError> {
        let mut left = self.product()?;
        loop {
            let place = self.place();
            let operation = match self.peek().lexeme {
                Lexeme::Symbol("+") => Operation::Add,
                Lexeme::Symbol("-") => Operation::Subtract,
                _ => return Ok(left),
            };
            self.next();
            left = place.math(operation, left, self.product()?)?;
        }
    }

    fn product(&mut self) -> Result<Node, ExprError> {
        let mut left = self.unary()?;
        loop {
            let place = self.place();
            let operation = match self.peek().lexeme {
                Lexeme::Symbol("*") => Operation::Multiply,
                Lexeme::Symbol("/") => Operation::Divide,
                _ => return Ok(left),
            };
            self.next();
            left = place.math(operation, left, self.unary()?)?;
        }
    }

    /// Every recursion of the grammar comes through here.
    fn unary(&mut self) -> Result<Node, ExprError> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(self.place().too_deep());
        }
        let place = self.place();
        let node = match self.peek().lexeme {
            Lexeme::Symbol("!") => {
                self.next();
                place.not(self.unary()?)
            }
            Lexeme::Symbol("-") => {
                self.next();
                place.negate(self.unary()?)
            }
            _ => self.primary(),
        };
        self.nesting -= 1;
        node
    }

    fn primary(&mut self) -> Result<Node, ExprError> {
        let place = self.place();
        let token = self.next();
        match token.lexeme {
            Lexeme::Number(n) => place.literal(Datum::Number(n)),
            Lexeme::Text(text) => place.literal(Datum::Text(Cow::Owned(text))),
            Lexeme::Word(Word::True) => place.literal(Datum::Bool(true)),
            Lexeme::Word(Word::False) => place.literal(Datum::Bool(false)),
            Lexeme::Word(Word::Null) => place.literal(Datum::Null),
            Lexeme::Path(path) if matches!(self.peek().lexeme, Lexeme::Symbol("(")) => {
                let message = format!("`{}` is called like a function, and there are none", cut(&path.join(".")));
                Err(place.error(message, "compare fields; count() and sum() belong under aggregate:"))
            }
            Lexeme::Path(path) => place.field(path),
            Lexeme::Symbol("(") => {
                let node = self.any()?;
                if self.take(")") {
                    return Ok(node);
                }
                Err(self.unexpected("expected ) but found"))
            }
            Lexeme::Word(Word::Not) => Err(place.error("`not` cannot stand here", "write ! for not, as in !(a == b)")),
            Lexeme::Symbol("[") => Err(place.error("a list stands only behind `in`", "write a in ['b', 'c']")),
            _ => {
                let message = format!("expected a value but found {}", self.shown(&token));
                Err(place.error(message, "write a field, a number, a text in quotes, true, false or ( ... )"))
            }
        }
    }

    fn end(&mut self) -> Result<(), ExprError> {
        match self.peek().lexeme {
            Lexeme::End => Ok(()),
            _ => Err(self.unexpected("expected an operator but found")),
        }
    }

    fn unexpected(&self, expected: &str) -> ExprError {
        let token = self.peek();
        let remedy = match self.source[token.at.clone()].to_ascii_lowercase().as_str() {
            "and" => "write && for and",
            "or" => "write || for or",
            "" => "close the bracket with )",
            ")" => "drop it, or open a bracket before",
            _ => "join two conditions with && or ||",
        };
        self.place().error(format!("{expected} {}", self.shown(token)), remedy)
    }
}
