//! An expression as a tree, typed as far as its literals tell.
//!
//! Built by the parser through the functions here, which refuse what can never work; walked by the evaluation. Knows
//! nothing of text. Invariant: no tree is deeper than [`MAX_DEPTH`], so that every walk, and its drop, has stack enough.

use super::{ExprError, Path};
use crate::formats::Datum;
use std::ops::Range;

/// Levels of operators and brackets. People need ten.
pub(super) const MAX_DEPTH: u32 = 64;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub shape: Shape,
    pub ty: Type,
    /// Of the operator, or of the literal or path: bytes, and characters from 1.
    pub at: Range<usize>,
    pub column: u32,
    depth: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Literal(Datum<'static>),
    Field(Path),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&`: any number of operands, so that a long chain is not a deep tree.
    All(Vec<Node>),
    /// `||`
    Any(Vec<Node>),
    Compare(Comparison, Box<[Node; 2]>),
    Math(Operation, Box<[Node; 2]>),
    In {
        value: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    IsNull {
        value: Box<Node>,
        negated: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What a result can be, apart from null, which any can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Only the record can tell.
    Unknown,
    Null,
    Bool,
    Number,
    Text,
}

impl Comparison {
    pub fn from_symbol(symbol: &str) -> Option<Comparison> {
        Some(match symbol {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::Unequal => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    fn needs_order(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::Unequal)
    }
}

impl Operation {
    pub fn symbol(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
        }
    }
}

impl Type {
    pub fn article(self) -> &'static str {
        match self {
            Type::Unknown => "a value",
            Type::Null => "null",
            Type::Bool => "true or false",
            Type::Number => "a number",
            Type::Text => "a text",
        }
    }
}

/// Where an operator stands, and in which text: all that a mistake needs.
#[derive(Debug, Clone)]
pub(super) struct Place<'s> {
    pub source: &'s str,
    pub at: Range<usize>,
    pub column: u32,
}

impl Place<'_> {
    pub fn error(&self, message: impl Into<String>, remedy: impl Into<String>) -> ExprError {
        ExprError::new(self.source, self.at.clone(), message, remedy)
    }

    fn node(&self, shape: Shape, ty: Type) -> Result<Node, ExprError> {
        let depth = 1 + shape.children().map(|n| n.depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        Ok(Node { shape, ty, at: self.at.clone(), column: self.column, depth })
    }

    pub fn too_deep(&self) -> ExprError {
        self.error(format!("nested deeper than {MAX_DEPTH} levels"), "split it into several filters")
    }

    pub fn literal(&self, datum: Datum<'static>) -> Result<Node, ExprError> {
        let ty = match datum {
            Datum::Null => Type::Null,
            Datum::Bool(_) => Type::Bool,
            Datum::Number(_) => Type::Number,
            Datum::Text(_) => Type::Text,
            _ => Type::Unknown,
        };
        self.node(Shape::Literal(datum), ty)
    }

    pub fn field(&self, path: Path) -> Result<Node, ExprError> {
        self.node(Shape::Field(path), Type::Unknown)
    }

    pub fn not(&self, operand: Node) -> Result<Node, ExprError> {
        self.need_bool("!", &operand)?;
        self.node(Shape::Not(Box::new(operand)), Type::Bool)
    }

    pub fn negate(&self, operand: Node) -> Result<Node, ExprError> {
        self.need_number("-", &operand)?;
        match operand.shape {
            Shape::Literal(Datum::Number(n)) => self.literal(Datum::Number(n.negate())),
            _ => self.node(Shape::Negate(Box::new(operand)), Type::Number),
        }
    }

    /// `&&` or `||` over two operands or more.
    pub fn chain(&self, symbol: &'static str, operands: Vec<Node>) -> Result<Node, ExprError> {
        for operand in &operands {
            self.need_bool(symbol, operand)?;
        }
        let shape = if symbol == "&&" { Shape::All(operands) } else { Shape::Any(operands) };
        self.node(shape, Type::Bool)
    }

    pub fn math(&self, operation: Operation, left: Node, right: Node) -> Result<Node, ExprError> {
        self.need_number(operation.symbol(), &left)?;
        self.need_number(operation.symbol(), &right)?;
        if operation == Operation::Divide && right.is_literal_zero() {
            return Err(self.error("a division by zero", "divide by something else"));
        }
        self.node(Shape::Math(operation, Box::new([left, right])), Type::Number)
    }

    pub fn compare(&self, comparison: Comparison, left: Node, right: Node) -> Result<Node, ExprError> {
        let symbol = comparison.symbol();
        self.need_comparable(&left, &right, symbol)?;
        if comparison.needs_order() && [left.ty, right.ty].contains(&Type::Bool) {
            let message = format!("{symbol} has no order for true and false");
            return Err(self.error(message, "compare numbers or texts; or write == or !="));
        }
        self.node(Shape::Compare(comparison, Box::new([left, right])), Type::Bool)
    }

    pub fn within(&self, value: Node, list: Vec<Node>, negated: bool) -> Result<Node, ExprError> {
        if list.is_empty() {
            return Err(self.error("nothing is in an empty list", "name a value: in ['a']"));
        }
        for item in &list {
            self.need_comparable(&value, item, "in")?;
        }
        self.node(Shape::In { value: Box::new(value), list, negated }, Type::Bool)
    }

    pub fn is_null(&self, value: Node, negated: bool) -> Result<Node, ExprError> {
        self.node(Shape::IsNull { value: Box::new(value), negated }, Type::Bool)
    }

    fn need_comparable(&self, left: &Node, right: &Node, symbol: &str) -> Result<(), ExprError> {
        if left.ty == Type::Null || right.ty == Type::Null {
            let message = format!("{symbol} with null is always null, never true");
            return Err(self.error(message, "write `is null` or `is not null`"));
        }
        if left.ty == right.ty || left.ty == Type::Unknown || right.ty == Type::Unknown {
            return Ok(());
        }
        let message = format!("{symbol} between {} and {} never holds", left.ty.article(), right.ty.article());
        let remedy = match (left.ty, right.ty) {
            (Type::Bool, _) | (_, Type::Bool) => "put the comparison in brackets: !(a == b)",
            _ => "compare values of one type; a number stands without quotes",
        };
        Err(self.error(message, remedy))
    }

    fn need_bool(&self, symbol: &str, operand: &Node) -> Result<(), ExprError> {
        if matches!(operand.ty, Type::Bool | Type::Unknown) {
            return Ok(());
        }
        let message = format!("{symbol} needs true or false, not {}", operand.ty.article());
        let at = Place { at: operand.at.clone(), ..self.clone() };
        Err(at.error(message, "compare it with something, as in a == 1"))
    }

    fn need_number(&self, symbol: &str, operand: &Node) -> Result<(), ExprError> {
        if matches!(operand.ty, Type::Number | Type::Unknown) {
            return Ok(());
        }
        let at = Place { at: operand.at.clone(), ..self.clone() };
        Err(at.error(format!("{symbol} needs a number, not {}", operand.ty.article()), "calculate with numbers alone"))
    }
}

impl Node {
    fn is_literal_zero(&self) -> bool {
        matches!(&self.shape, Shape::Literal(Datum::Number(n)) if n.is_zero())
    }

    /// The paths below, in the order of the text, with repetitions.
    pub fn fields<'n>(&'n self, found: &mut Vec<&'n Path>) {
        if let Shape::Field(path) = &self.shape {
            found.push(path);
        }
        self.shape.children().for_each(|child| child.fields(found));
    }
}

impl Shape {
    fn children(&self) -> impl Iterator<Item = &Node> {
        let (first, rest): (Option<&Node>, &[Node]) = match self {
            Shape::Literal(_) | Shape::Field(_) => (None, &[]),
            Shape::Not(node) | Shape::Negate(node) => (Some(node), &[]),
            Shape::All(nodes) | Shape::Any(nodes) => (None, nodes),
            Shape::Compare(_, pair) | Shape::Math(_, pair) => (None, pair.as_slice()),
            Shape::In { value, list, .. } => (Some(value), list),
            Shape::IsNull { value, .. } => (Some(value), &[]),
        };
        first.into_iter().chain(rest)
    }
}
