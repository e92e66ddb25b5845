//! `redact`: fields that must not leave; nothing behind it sees them.
//!
//! Called by [`Operator`](super::Operator). Knows nothing of copies, which lack the fields. Invariant: a field is gone
//! wherever its name stands, in every element of a list on the way, and behind an equal name.

use super::Flow;
use crate::expr::Path;
use crate::view::View;
use std::fmt;

#[derive(Debug)]
pub(crate) struct Redact {
    pub fields: Vec<Path>,
}

impl Redact {
    pub fn apply<'a>(&'a self, view: &mut View<'a>) -> Flow {
        for path in &self.fields {
            view.remove(path);
        }
        Flow::On
    }
}

impl fmt::Display for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fields.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(", "))
    }
}
