//! JSON in one pass: the text is checked from its first byte to its last, and of the fields that a stage asks for it is
//! noted where they stand. Nothing else is made of it.
//!
//! Called by [`Document`](super::Document) for every record of a stage that needs no whole document. A text that this
//! pass does not take (wrong, or odd: a lone surrogate, very deep) goes to serde_json, which decides and says why.
//! Invariant: what is taken here, serde_json takes too, and each field is the same; the tests hold the two together.

mod cursor;
mod shape;
mod special;
mod wanted;

pub(crate) use wanted::Wanted;

use cursor::Cursor;
use shape::{Learner, Shapes};

use super::{Datum, Spelled};
use std::borrow::Cow;
use wanted::Field;

/// serde_json takes 127 levels; at this depth it is asked.
const DEEPEST: u32 = 120;

/// Where a wanted field stands in its text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    start: u32,
    end: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Missing,
    Null,
    True,
    False,
    Number,
    /// A text without escapes: what stands between its quotes.
    Plain,
    Escaped,
    Object,
    List,
}

/// What a stage keeps from one text to the next: memory, and what the texts have in common. Of one [`Wanted`] only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    slots: Vec<Slot>,
    shapes: Shapes,
}

/// A slot for each wanted field. `None`: not to be decided here.
pub(crate) fn scan<'s>(text: &str, wanted: &Wanted, scratch: &'s mut Scratch) -> Option<&'s [Slot]> {
    if text.len() > u32::MAX as usize {
        return None;
    }
    let Scratch { slots, shapes } = scratch;
    slots.clear();
    slots.resize(wanted.len(), Slot::default());
    if !shapes.fill(text.as_bytes(), slots) {
        slots.fill(Slot::default());
        parse(text.as_bytes(), wanted, slots, shapes)?;
    }
    Some(slots)
}

#[inline(never)]
fn parse(text: &[u8], wanted: &Wanted, slots: &mut [Slot], shapes: &mut Shapes) -> Option<()> {
    let mut scanner = Scanner { cursor: Cursor { text, at: 0 }, wanted, slots, learner: Learner::new(shapes) };
    scanner.cursor.blank();
    scanner.value(Some(wanted.root()), 0)?;
    scanner.cursor.blank();
    if scanner.cursor.at < text.len() {
        return None;
    }
    scanner.learner.end(text);
    Some(())
}

impl Slot {
    pub fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// The field as it is spelled, in the text that was scanned.
    pub fn spelled<'t>(&self, text: &'t str) -> Spelled<'t> {
        let raw = &text[self.start as usize..self.end as usize];
        match self.kind {
            Kind::Missing => Spelled::Missing,
            Kind::Null => Spelled::Null,
            Kind::True => Spelled::Flag(true),
            Kind::False => Spelled::Flag(false),
            Kind::Number => Spelled::Number(Cow::Borrowed(raw)),
            Kind::Plain => Spelled::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
            Kind::Escaped => Spelled::Text(Cow::Owned(parsed(raw))),
            Kind::Object | Kind::List => Spelled::Json(Cow::Borrowed(raw)),
        }
    }

    /// The field, of the text that was scanned.
    pub fn datum<'t>(&self, text: &'t str) -> Datum<'t> {
        let within = |cut: usize| &text[self.start as usize + cut..self.end as usize - cut];
        if self.kind == Kind::Plain {
            return Datum::Text(Cow::Borrowed(within(1)));
        }
        let raw = within(0);
        match self.kind {
            Kind::Missing | Kind::Null => Datum::Null,
            Kind::True => Datum::Bool(true),
            Kind::False => Datum::Bool(false),
            Kind::Number => match Datum::from_digits(raw) {
                // As the parser spells it: digits may become a key.
                Datum::Digits(_) => Datum::Digits(Cow::Owned(parsed::<serde_json::Number>(raw).to_string())),
                number => number,
            },
            Kind::Plain | Kind::Escaped => Datum::Text(Cow::Owned(parsed(raw))),
            Kind::Object | Kind::List => Datum::Json(Cow::Owned(parsed(raw))),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(raw: &str) -> T {
    serde_json::from_str(raw).expect("it was scanned, and what the scanner takes serde_json takes")
}

struct Scanner<'t, 'w> {
    cursor: Cursor<'t>,
    wanted: &'w Wanted,
    slots: &'w mut [Slot],
    learner: Learner<'w>,
}

impl<'w> Scanner<'_, 'w> {
    /// One value, and what is wanted of it.
    fn value(&mut self, field: Option<&'w Field>, depth: u32) -> Option<()> {
        let start = self.cursor.at;
        let slot = field.and_then(|f| f.slot);
        let kind = match self.cursor.peek()? {
            b'{' => self.object(field, depth + 1)?,
            b'[' => self.list(field, depth + 1)?,
            _ => {
                let kind = self.cursor.scalar()?;
                self.learner.scalar(self.cursor.text, (start, self.cursor.at), slot);
                kind
            }
        };
        if let Some(slot) = slot {
            if !self.slots[slot].is_missing() || matches!(kind, Kind::Object | Kind::List) {
                self.learner.refuse();
            }
            self.slots[slot] = Slot { start: start as u32, end: self.cursor.at as u32, kind };
        }
        Some(())
    }

    fn object(&mut self, field: Option<&'w Field>, depth: u32) -> Option<Kind> {
        self.cursor.at += 1;
        self.cursor.blank();
        if depth > DEEPEST || self.cursor.peek()? == b'}' {
            self.cursor.at += 1;
            return (depth <= DEEPEST).then_some(Kind::Object);
        }
        let mut next = 0;
        loop {
            let start = self.cursor.at + 1;
            let spelling = if self.cursor.peek()? == b'"' { self.cursor.string()? } else { return None };
            let inner = self.named(field, (start, spelling), &mut next)?;
            self.cursor.blank();
            if self.cursor.peek()? != b':' {
                return None;
            }
            self.cursor.at += 1;
            self.cursor.blank();
            self.value(inner, depth)?;
            if !self.goes_on(b'}')? {
                return Some(Kind::Object);
            }
        }
    }

    /// The wanted field of the name that ends here. The last of equal names counts, so what stood below an earlier one goes.
    #[inline(always)]
    fn named(
        &mut self,
        field: Option<&'w Field>,
        (start, spelling): (usize, Kind),
        next: &mut usize,
    ) -> Option<Option<&'w Field>> {
        let name = &self.cursor.text[start..self.cursor.at - 1];
        if self.cursor.text[start] == b'$' && name.starts_with(b"$serde_json") {
            return None; // a word of the library between its own parts
        }
        let Some(field) = field.filter(|f| f.has_fields()) else { return Some(None) };
        let unescaped: String;
        let name = match spelling {
            Kind::Plain => name,
            _ => {
                unescaped = serde_json::from_slice(&self.cursor.text[start - 1..self.cursor.at]).ok()?;
                unescaped.as_bytes()
            }
        };
        let inner = self.wanted.find(field, name, next);
        if let Some(inner) = inner.filter(|f| f.has_fields()) {
            self.wanted.below(inner, &mut |slot| {
                if !std::mem::take(&mut self.slots[slot]).is_missing() {
                    self.learner.refuse();
                }
            });
        }
        Some(inner)
    }

    fn list(&mut self, field: Option<&'w Field>, depth: u32) -> Option<Kind> {
        self.cursor.at += 1;
        self.cursor.blank();
        if depth > DEEPEST || self.cursor.peek()? == b']' {
            self.cursor.at += 1;
            return (depth <= DEEPEST).then_some(Kind::List);
        }
        let field = field.filter(|f| f.has_fields());
        for index in 0.. {
            let inner = field.and_then(|f| self.wanted.element(f, index));
            self.value(inner, depth)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        Some(Kind::List)
    }

    /// Behind an element: whether another one follows.
    #[inline(always)]
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        self.cursor.blank();
        let byte = self.cursor.peek()?;
        self.cursor.at += 1;
        match byte {
            b',' => {
                self.cursor.blank();
                Some(true)
            }
            byte => (byte == end).then_some(false),
        }
    }
}

#[cfg(test)]
mod tests;
