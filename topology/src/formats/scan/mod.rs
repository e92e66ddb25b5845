//! JSON in one pass: the text is checked from its first byte to its last, and of the fields that a stage asks for it is
//! noted where they stand. Nothing else is made of it.
//!
//! Called by [`Document`](super::Document) for every record of a stage that needs no whole document. A text that this
//! pass does not take (wrong, or odd: a lone surrogate, very deep) goes to serde_json, which decides and says why.
//! Invariant: what is taken here, serde_json takes too, and each field is the same; the tests hold the two together.

mod special;
mod wanted;

pub(crate) use wanted::Wanted;

use super::Datum;
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

/// Fills a slot for each wanted field. `None`: not to be decided here.
pub(crate) fn scan(text: &str, wanted: &Wanted, slots: &mut Vec<Slot>) -> Option<()> {
    if text.len() > u32::MAX as usize {
        return None;
    }
    slots.clear();
    slots.resize(wanted.len(), Slot::default());
    let mut scanner = Scanner { text: text.as_bytes(), at: 0, wanted, slots };
    scanner.blank();
    scanner.value(Some(wanted.root()), 0)?;
    scanner.blank();
    (scanner.at == text.len()).then_some(())
}

impl Slot {
    pub fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// The field, of the text that was scanned.
    pub fn datum<'t>(&self, text: &'t str) -> Datum<'t> {
        let raw = &text[self.start as usize..self.end as usize];
        match self.kind {
            Kind::Missing | Kind::Null => Datum::Null,
            Kind::True => Datum::Bool(true),
            Kind::False => Datum::Bool(false),
            Kind::Number => match Datum::from_digits(raw) {
                // As the parser spells it: digits may become a key.
                Datum::Digits(_) => Datum::Digits(Cow::Owned(parsed::<serde_json::Number>(raw).to_string())),
                number => number,
            },
            Kind::Plain => Datum::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
            Kind::Escaped => Datum::Text(Cow::Owned(parsed(raw))),
            Kind::Object | Kind::List => Datum::Json(Cow::Owned(parsed(raw))),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(raw: &str) -> T {
    serde_json::from_str(raw).expect("it was scanned, and what the scanner takes serde_json takes")
}

struct Scanner<'t, 'w> {
    text: &'t [u8],
    at: usize,
    wanted: &'w Wanted,
    slots: &'w mut [Slot],
}

impl<'w> Scanner<'_, 'w> {
    /// One value, and what is wanted of it.
    fn value(&mut self, field: Option<&'w Field>, depth: u32) -> Option<()> {
        let start = self.at as u32;
        let kind = match self.peek()? {
            b'"' => self.string()?,
            b'{' => self.object(field, depth + 1)?,
            b'[' => self.list(field, depth + 1)?,
            b't' => self.word(b"true", Kind::True)?,
            b'f' => self.word(b"false", Kind::False)?,
            b'n' => self.word(b"null", Kind::Null)?,
            _ => self.number()?,
        };
        if let Some(slot) = field.and_then(|f| f.slot) {
            self.slots[slot] = Slot { start, end: self.at as u32, kind };
        }
        Some(())
    }

    fn object(&mut self, field: Option<&'w Field>, depth: u32) -> Option<Kind> {
        self.at += 1;
        self.blank();
        if depth > DEEPEST || self.peek()? == b'}' {
            self.at += 1;
            return (depth <= DEEPEST).then_some(Kind::Object);
        }
        let mut next = 0;
        loop {
            let start = self.at + 1;
            let spelling = if self.peek()? == b'"' { self.string()? } else { return None };
            let inner = self.named(field, (start, spelling), &mut next)?;
            self.blank();
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.blank();
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
        let name = &self.text[start..self.at - 1];
        if self.text[start] == b'$' && name.starts_with(b"$serde_json") {
            return None; // a word of the library between its own parts
        }
        let Some(field) = field.filter(|f| f.has_fields()) else { return Some(None) };
        let unescaped: String;
        let name = match spelling {
            Kind::Plain => name,
            _ => {
                unescaped = serde_json::from_slice(&self.text[start - 1..self.at]).ok()?;
                unescaped.as_bytes()
            }
        };
        let inner = self.wanted.find(field, name, next);
        if let Some(inner) = inner.filter(|f| f.has_fields()) {
            self.wanted.below(inner, &mut |slot| self.slots[slot] = Slot::default());
        }
        Some(inner)
    }

    fn list(&mut self, field: Option<&'w Field>, depth: u32) -> Option<Kind> {
        self.at += 1;
        self.blank();
        if depth > DEEPEST || self.peek()? == b']' {
            self.at += 1;
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
        self.blank();
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => {
                self.blank();
                Some(true)
            }
            byte => (byte == end).then_some(false),
        }
    }

    /// From quote to quote.
    #[inline(always)]
    fn string(&mut self) -> Option<Kind> {
        let end = plain(self.text, self.at + 1);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Some(Kind::Plain);
        }
        self.at = end;
        self.escaped()
    }

    /// The rest of a string, from the first byte that is not plain.
    #[inline(never)]
    fn escaped(&mut self) -> Option<Kind> {
        while self.peek()? != b'"' {
            if self.peek()? != b'\\' {
                return None;
            }
            self.escape()?;
            self.at = plain(self.text, self.at);
        }
        self.at += 1;
        Some(Kind::Escaped)
    }

    fn escape(&mut self) -> Option<()> {
        match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                let surrogate = matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                if surrogate || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<Kind> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Kind::Number)
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Option<Kind> {
        let there = self.text[self.at..].starts_with(word);
        self.at += word.len();
        there.then_some(kind)
    }

    #[inline(always)]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

/// Where, from `at` on, the first quote, backslash or control character stands.
#[inline(always)]
fn plain(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let found = special::first(chunk);
        at += found;
        if found < special::WIDTH {
            return at;
        }
    }
    while text.get(at).is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..b' ')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests;
