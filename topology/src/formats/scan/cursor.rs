//! A place in a JSON text, and how scalars are passed over from there.
//!
//! Used by the scanner and by the shapes that it learns. Knows nothing of fields. Invariant: `at` stands behind what was
//! taken; after a `None` it means nothing.

use super::{Kind, special};

#[derive(Clone, Copy)]
pub(super) struct Cursor<'t> {
    pub text: &'t [u8],
    pub at: usize,
}

impl Cursor<'_> {
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline(always)]
    pub fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// A string, a number or a word; of an object or a list, nothing.
    #[inline(always)]
    pub fn scalar(&mut self) -> Option<Kind> {
        match self.peek()? {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Kind::True),
            b'f' => self.word(b"false", Kind::False),
            b'n' => self.word(b"null", Kind::Null),
            _ => None,
        }
    }

    /// From quote to quote.
    #[inline(always)]
    pub fn string(&mut self) -> Option<Kind> {
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
}

/// Where, from `at` on, the first quote, backslash or control character stands.
#[inline(always)]
pub(super) fn plain(text: &[u8], mut at: usize) -> usize {
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
