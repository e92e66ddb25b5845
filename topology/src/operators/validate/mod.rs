//! `validate`: a record that breaks a rule of the topology, or its JSON Schema, is a dead letter.
//!
//! Called by [`Operator`](super::Operator). Invariant: rules are compiled when the topology is read, and a failure names the
//! field and the rule, never a value.

mod rule;
mod schema;

pub(crate) use rule::Rule;
pub(crate) use schema::Schema;

use super::Flow;
use crate::expr::Path;
use crate::failure::Failure;
use crate::view::View;
use serde_json::Value;
use std::fmt;

/// The code of its dead letters.
const INVALID: &str = "invalid";

#[derive(Debug)]
pub(crate) enum Validate {
    Rules(Vec<Rule>),
    Schema(Box<Schema>),
}

impl Validate {
    pub fn apply(&self, view: &View<'_>) -> Result<Flow, Failure> {
        match self {
            Validate::Rules(rules) => rules.iter().try_for_each(|rule| rule.check(view))?,
            Validate::Schema(schema) => schema.check(view.value.json().unwrap_or(&Value::Null))?,
        }
        Ok(Flow::On)
    }

    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Validate::Rules(rules) => rules.iter().map(|rule| &rule.path).collect(),
            Validate::Schema(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Validate::Rules(rules) => f.write_str(&rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")),
            Validate::Schema(schema) => write!(f, "{}", schema.file),
        }
    }
}
