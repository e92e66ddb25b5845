//! The way to a field: a name for each step into a document.
//!
//! Made where a topology is read; asked with for every record, so it knows its own hash and whether it leaves the value.
//! Knows nothing of documents. Invariant: equal names give equal hashes, on every machine.

use std::ops::Deref;
use xxhash_rust::xxh3::Xxh3Default;

/// `user.address.0` has three names. A field named `record` that has fields stands for what is around the value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    names: Box<[Box<str>]>,
    hash: u64,
    around: bool,
}

impl Path {
    /// The hash of its names.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Of `record.key.user`: `key`, and `[user]`; `None` for a field of the value.
    pub(crate) fn around(&self) -> Option<(&str, &[Box<str>])> {
        match &*self.names {
            [_, name, rest @ ..] if self.around => Some((name, rest)),
            _ => None,
        }
    }
}

impl From<Vec<Box<str>>> for Path {
    fn from(names: Vec<Box<str>>) -> Path {
        let mut hash = Xxh3Default::new();
        for name in &names {
            hash.update(&(name.len() as u32).to_le_bytes());
            hash.update(name.as_bytes());
        }
        let around = names.len() > 1 && &*names[0] == "record";
        Path { names: names.into(), hash: hash.digest(), around }
    }
}

impl Deref for Path {
    type Target = [Box<str>];

    fn deref(&self) -> &[Box<str>] {
        &self.names
    }
}
