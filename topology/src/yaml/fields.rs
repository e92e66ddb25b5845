//! Reading a map key by key: what is missing, unknown or of a wrong kind becomes a line, and reading goes on.
//!
//! Used by every section of the file. Knows nothing of sections. Invariant: a key that nobody asked for is a mistake.

use super::tree::{At, Key, Node, What};

/// Lines to be, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<(At, String)>);

impl Mistakes {
    pub fn add(&mut self, at: At, text: impl Into<String>) {
        self.0.push((at, text.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn lines(mut self, name: &str) -> Vec<String> {
        self.0.sort();
        self.0.dedup();
        let line = |(at, text): &(At, String)| match at.line {
            // What was built in Rust has no place.
            0 => format!("{name}: {text}"),
            _ => format!("{name}:{}:{}: {text}", at.line, at.column),
        };
        self.0.iter().map(line).collect()
    }
}

/// One map of the file, while it is read.
pub(super) struct Fields<'n> {
    /// In words: `source 'events'`.
    pub place: String,
    pub at: At,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub fn of(node: &'n Node, place: impl Into<String>, mistakes: &mut Mistakes) -> Option<Fields<'n>> {
        let place = place.into();
        let What::Map(entries) = &node.what else {
            mistakes.add(node.at, format!("{place} is {}; write a map of keys", node.kind()));
            return None;
        };
        Some(Fields { place, at: node.at, entries, known: Vec::new() })
    }

    /// The node at `key`, which is known from now on.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (_, node) = self.entries.iter().find(|(k, _)| k.name == key)?;
        (!matches!(node.what, What::Nothing)).then_some(node)
    }

    pub fn need(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'n Node> {
        let node = self.get(key);
        if node.is_none() {
            mistakes.add(self.at, format!("{} lacks '{key}'; add it", self.place));
        }
        node
    }

    /// The scalar at `key` through `read`, which answers a mistake with what to write instead.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let node = self.get(key)?;
        scalar(node, &format!("'{key}' in {}", self.place), read, mistakes)
    }

    /// As [`Fields::read`], and the key must be there.
    pub fn need_read<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let node = self.need(key, mistakes)?;
        scalar(node, &format!("'{key}' in {}", self.place), read, mistakes)
    }

    /// All keys that are not known are mistakes.
    pub fn done(self, mistakes: &mut Mistakes) {
        #[cfg(test)]
        asked::note(&self.place, &self.known, self.entries.iter().map(|(key, _)| key.name.as_str()));
        for (key, _) in self.entries.iter().filter(|(k, _)| !self.known.contains(&k.name.as_str())) {
            let hint = suggest(&key.name, self.known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("; known are {}", self.known.join(", ")));
            mistakes.add(key.at, format!("unknown key '{}' in {}{hint}", key.name, self.place));
        }
    }
}

/// A scalar through `read`.
pub(super) fn scalar<T>(
    node: &Node,
    what: &str,
    read: impl Fn(&str) -> Result<T, String>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let What::Scalar(text) = &node.what else {
        mistakes.add(node.at, format!("{what} is {}; write one value", node.kind()));
        return None;
    };
    match read(text) {
        Ok(value) => Some(value),
        Err(text) => {
            mistakes.add(node.at, format!("{what} {text}"));
            None
        }
    }
}

/// The entries of a map whose keys are names of the user's.
pub(super) fn named<'n>(node: Option<&'n Node>, place: &str, mistakes: &mut Mistakes) -> &'n [(Key, Node)] {
    match node.map(|n| (n, &n.what)) {
        None => &[],
        Some((_, What::Map(entries))) => entries,
        Some((node, _)) => {
            mistakes.add(node.at, format!("{place} is {}; write a map of names", node.kind()));
            &[]
        }
    }
}

/// `; did you mean 'x'?` for the nearest of `known`, if it is near.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let near = known.map(|k| (strsim::damerau_levenshtein(name, k), k)).min()?;
    // `form` for `format` is a word begun and left; otherwise a third of the letters may be wrong.
    let begun = name.len() >= 3 && near.1.starts_with(name);
    (begun || near.0 <= 1 + name.chars().count() / 3).then(|| format!("; did you mean '{}'?", near.1))
}

/// Which keys the sections ask for, and which a text has: for the test that each has its word in Rust.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static KEYS: RefCell<[BTreeSet<String>; 2]> = const { RefCell::new([BTreeSet::new(), BTreeSet::new()]) };
    }

    pub(super) fn note<'k>(place: &str, known: &[&str], present: impl Iterator<Item = &'k str>) {
        // Without the names that a user gives: `source 'events'` is a source like any other.
        let place: String = place.split('\'').step_by(2).collect();
        KEYS.with_borrow_mut(|[asked, used]| {
            asked.extend(known.iter().map(|key| format!("{place}: {key}")));
            used.extend(present.map(|key| format!("{place}: {key}")));
        });
    }

    /// Those asked for, and those that were there, since the last call on this thread.
    pub(in super::super) fn take() -> [BTreeSet<String>; 2] {
        KEYS.take()
    }
}
