//! YAML as it is written: maps, lists and scalars, each with its place.
//!
//! Made by serde, read by [`Fields`](super::fields::Fields). Knows nothing of what keys mean. Invariant: every node
//! knows its line and column, so every mistake can be shown.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;
use std::ops::Range;

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct At {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub at: At,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Nothing,
    /// Any scalar, as a text.
    Scalar(String),
    /// A scalar that YAML takes for a number or a truth value, and where it stands; [`parse`] makes it the text that was
    /// written, for a key `1.10`, a password `007` and a field `n` mean what they say.
    Typed(Range<usize>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub at: At,
    pub name: String,
}

impl Node {
    /// What it is, for a mistake.
    pub fn kind(&self) -> &'static str {
        match self.what {
            What::Nothing => "nothing",
            What::Scalar(_) | What::Typed(_) => "a scalar",
            What::List(_) => "a list",
            What::Map(_) => "a map",
        }
    }

    fn as_written(&mut self, text: &str) {
        match &mut self.what {
            What::Nothing | What::Scalar(_) => {}
            What::Typed(place) => {
                let written = text.get(place.clone()).unwrap_or_default();
                self.what = What::Scalar(written.trim().to_owned());
            }
            What::List(nodes) => nodes.iter_mut().for_each(|n| n.as_written(text)),
            What::Map(entries) => entries.iter_mut().for_each(|(_, n)| n.as_written(text)),
        }
    }
}

fn at(location: serde_saphyr::Location) -> At {
    At { line: location.line() as usize, column: location.column() as usize }
}

/// Parses one document; an error has its place and one line of text.
pub(super) fn parse(text: &str) -> Result<Node, (At, String)> {
    // YAML 1.1 takes `n`, `y`, `on` and `off` for truth values; here they are names.
    let options = serde_saphyr::options! { strict_booleans: true };
    let parsed = serde_saphyr::from_str_with_options::<Node>(text, options);
    let mut root = parsed.map_err(|e| {
        let message = e.without_snippet().to_string();
        let line = message.lines().next().unwrap_or("not YAML").trim_start_matches("error: ").to_owned();
        (e.location().map(at).unwrap_or_default(), line)
    })?;
    root.as_written(text);
    Ok(root)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let node = Spanned::<What>::deserialize(deserializer)?;
        let span = node.defined.span();
        let start = span.byte_offset().unwrap_or_default() as usize;
        let end = start + span.byte_len().unwrap_or_default() as usize;
        let what = match node.value {
            What::Typed(_) => What::Typed(start..end),
            other => other,
        };
        Ok(Node { at: at(node.referenced), what })
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<What, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = What;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list or a scalar")
    }

    fn visit_unit<E: Error>(self) -> Result<What, E> {
        Ok(What::Nothing)
    }

    fn visit_none<E: Error>(self) -> Result<What, E> {
        Ok(What::Nothing)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<What, E> {
        Ok(What::Typed(0..0))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<What, E> {
        Ok(What::Scalar(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<What, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(What::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<What, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((Key { at: at(key.referenced), name: key.value }, map.next_value()?));
        }
        Ok(What::Map(entries))
    }
}
