//! One trace context, as W3C writes it in the header `traceparent`.
//!
//! Used wherever records come in and go out. Knows nothing of samples. Invariant: what is no context is none; it never fails.

use crate::record::Headers;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// W3C's header. Where there are several the last one counts, as everywhere in Kafka.
pub const TRACEPARENT: &str = "traceparent";
/// The same as it lies in a batch.
pub(super) const NAME: &[u8; 11] = b"traceparent";
/// What producers call the id that goes with a conversation, in its two spellings.
const CORRELATION: [&str; 2] = ["correlation_id", "correlation-id"];
/// A longer one is no id.
const CORRELATION_MOST: usize = 128;
/// `00-<32 hex>-<16 hex>-<2 hex>`
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// Which trace, which span of it, and whether somebody keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Context {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub flags: u8,
}

/// What the headers of a record say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No context, or none that can be read.
    None,
    /// One that nobody keeps.
    Unsampled,
    Sampled(Context),
}

impl Context {
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The context of these headers, sampled or not.
    pub fn of(headers: Headers<'_>) -> Option<Context> {
        raw(headers).and_then(Context::parse)
    }

    /// As [`Context::of`], for the sampled ones alone: most are not, and cost a look at one digit.
    pub(crate) fn look(headers: Headers<'_>) -> Look {
        let Some(text) = raw(headers) else { return Look::None };
        match Context::is_unsampled(text) {
            true => Look::Unsampled,
            false => Context::parse(text).map_or(Look::None, Look::Sampled),
        }
    }

    /// Whether this is the context of something that nobody keeps.
    pub(crate) fn is_unsampled(text: &[u8]) -> bool {
        text.get(LENGTH - 1).is_some_and(|digit| NIBBLES[usize::from(*digit)] & (NONE | SAMPLED) == 0)
    }

    /// `None` for whatever is no context: W3C says to go on as if there were none.
    pub fn parse(text: &[u8]) -> Option<Context> {
        let fields = text.get(..LENGTH)?;
        let separated = [2, 35, 52].iter().all(|at| fields[*at] == b'-');
        let version = byte(&fields[..2])?;
        // A version to come may say more behind a further dash; this one says just that.
        let rest = &text[LENGTH..];
        if !separated || version == 0xff || (version == 0 && !rest.is_empty()) || !matches!(rest, [] | [b'-', ..]) {
            return None;
        }
        let context =
            Context { trace: bytes(&fields[3..35])?, span: bytes(&fields[36..52])?, flags: byte(&fields[53..])? };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// As it stands in the header.
    pub fn text(&self) -> [u8; LENGTH] {
        let mut out = [b'-'; LENGTH];
        out[..2].copy_from_slice(b"00");
        write(&self.trace, &mut out[3..35]);
        write(&self.span, &mut out[36..52]);
        write(&[self.flags & SAMPLED], &mut out[53..]);
        out
    }

    /// The trace's id in hex, as tools show it.
    pub fn trace_id(&self) -> String {
        let mut out = [0; 32];
        write(&self.trace, &mut out);
        out.iter().map(|b| char::from(*b)).collect()
    }

    /// A sampled context made of what it stands for: the same every time. In the trace of `parent`, if there is one.
    pub(crate) fn made(parent: Option<&Context>, about: &[u8], seed: u64) -> Context {
        let span = xxh3_64_with_seed(about, seed).max(1).to_be_bytes();
        let own = || xxh3_128_with_seed(about, seed).max(1).to_be_bytes();
        Context { trace: parent.map_or_else(own, |p| p.trace), span, flags: SAMPLED }
    }

    /// Its place among others: the smallest are the sample.
    pub(crate) fn rank(&self, seed: u64) -> u64 {
        let mut about = [0; 24];
        about[..16].copy_from_slice(&self.trace);
        about[16..].copy_from_slice(&self.span);
        xxh3_64_with_seed(&about, seed)
    }
}

/// The correlation id of a record, if it has one that can stand in a span or a log line: visible ASCII, not long.
pub fn correlation_of(headers: Headers<'_>) -> Option<String> {
    let ours = headers.iter().filter(|(name, _)| CORRELATION.iter().any(|c| c.as_bytes() == *name));
    let value = ours.last()?.1?;
    let fits = (1..=CORRELATION_MOST).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fits.then(|| value.iter().map(|b| char::from(*b)).collect())
}

fn raw<'a>(headers: Headers<'a>) -> Option<&'a [u8]> {
    let mut found = None;
    for (name, value) in headers.iter() {
        if name.len() == TRACEPARENT.len() && name == TRACEPARENT.as_bytes() {
            found = value;
        }
    }
    found
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Has bits that no digit has.
const NONE: u8 = 0xf0;

/// What a digit stands for, or [`NONE`]: asked of every record, so by a table.
static NIBBLES: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut digit = 0;
    while digit < table.len() {
        if let Some(nibble) = nibble(digit as u8) {
            table[digit] = nibble;
        }
        digit += 1;
    }
    table
};

fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = [digits[0], digits[1]].map(|digit| NIBBLES[usize::from(digit)]);
    ((high | low) & NONE == 0).then_some(high << 4 | low)
}

fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (place, digits) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *place = byte(digits)?;
    }
    Some(out)
}

fn write(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in out.chunks_exact_mut(2).zip(bytes) {
        place[0] = DIGITS[usize::from(byte >> 4)];
        place[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(headers: &[(&str, Option<&str>)]) -> Batch {
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 0, None, None);
        headers.iter().for_each(|(name, value)| batch.push_header(name.as_bytes(), value.map(str::as_bytes)));
        batch
    }

    #[test]
    fn a_context_is_written_as_it_was_read() {
        let context = Context::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(context.text(), TEXT.as_bytes());
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = format!("cc{}-more", &TEXT[2..]);
        assert_eq!(Context::parse(later.as_bytes()), Some(context), "a version to come");
    }

    #[test]
    fn what_is_no_context_is_none() {
        let short = &TEXT[..54];
        let long = format!("{TEXT}-x");
        let glued = format!("cc{}x", &TEXT[2..]);
        let none = |at: usize, with: &str| format!("{}{with}{}", &TEXT[..at], &TEXT[at + with.len()..]);
        let wrong = [none(0, "ff"), none(3, "A"), none(2, "_"), none(53, "0x"), none(54, "G")];
        let zero = [none(3, &"0".repeat(32)), none(36, &"0".repeat(16))];
        for text in [short, &long, &glued, "", "00"].into_iter().chain(wrong.iter().chain(&zero).map(String::as_str)) {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_last_header_counts_and_only_sampled_contexts_are_looked_at() {
        let unsampled = TEXT.replace("-01", "-00");
        let look = |headers: &[(&str, Option<&str>)]| Context::look(with(headers).iter().next().unwrap().headers);
        let sampled = Look::Sampled(Context::parse(TEXT.as_bytes()).unwrap());
        assert_eq!(look(&[("a", Some("b"))]), Look::None);
        assert_eq!(look(&[(TRACEPARENT, None)]), Look::None);
        assert_eq!(look(&[(TRACEPARENT, Some(&unsampled)), (TRACEPARENT, Some(TEXT))]), sampled);
        assert_eq!(look(&[(TRACEPARENT, Some(TEXT)), (TRACEPARENT, Some(&unsampled))]), Look::Unsampled);
        assert_eq!(look(&[(TRACEPARENT, Some("x"))]), Look::None);
    }

    #[test]
    fn a_correlation_id_is_short_and_visible() {
        let of = |value: &str| correlation_of(with(&[("correlation_id", Some(value))]).iter().next().unwrap().headers);
        assert_eq!(of("a-1"), Some("a-1".to_owned()));
        for wrong in ["", "a b", "a\nb", "\u{1b}[31m", "ü", &"x".repeat(129)] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn made_contexts_depend_on_what_they_stand_for() {
        let made = |about: &[u8], seed| Context::made(None, about, seed);
        assert_eq!(made(b"a", 1), made(b"a", 1));
        assert!(made(b"a", 1) != made(b"b", 1) && made(b"a", 1) != made(b"a", 2));
        let parent = Context::parse(TEXT.as_bytes()).unwrap();
        let child = Context::made(Some(&parent), b"a", 1);
        assert!(child.trace == parent.trace && child.span != parent.span && child.is_sampled());
    }
}
