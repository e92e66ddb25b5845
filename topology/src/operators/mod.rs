//! Operators: one action on a record each, one file each; and the tree in which a stage holds them.
//!
//! Called by the task for every record. They know nothing of Kafka, of seals or of wall time. Invariant: evaluation
//! only appends to the arena and to scratch, so a record that fails anywhere can be taken back whole.

mod copy;
mod dedupe;
mod filter;
mod redact;
mod set;
mod validate;

pub(crate) use copy::{Copy, Shape};
pub(crate) use dedupe::{AT_MOST as IDS_AT_MOST, Dedupe, Seen};
pub(crate) use filter::Filter;
pub(crate) use redact::Redact;
pub(crate) use set::{Assignment, Set};
pub(crate) use validate::{Rule, Schema, Validate};

use crate::expr::Path;
use crate::failure::Stop;
use crate::sealed::Outputs;
use crate::view::View;
use crate::windows::{Fold, Group, GroupState, Hop, Partials, Target};
use std::fmt;
use std::sync::Arc;
use tidemill_state::{IdSet, StateStore};

/// One action of a mapping step.
#[derive(Debug)]
pub(crate) enum Operator {
    Validate(Validate),
    Filter(Filter),
    Set(Set),
    Redact(Redact),
    Dedupe {
        dedupe: Arc<Dedupe>,
        /// Its set among those of the task.
        set: usize,
    },
}

/// What becomes of a record: at an operator, and behind a whole tree of them. In rising order: where branches differ,
/// the highest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flow {
    Filtered,
    /// Seen before, by its `dedupe`.
    Duplicate,
    /// It goes on; of a tree: at least one branch accepted it.
    On,
}

impl Operator {
    fn apply<'a>(&'a self, view: &mut View<'a>, pass: &mut Pass<'_>) -> Result<Flow, Stop> {
        match self {
            Operator::Validate(validate) => Ok(validate.apply(view)?),
            Operator::Filter(filter) => Ok(filter.apply(view)?),
            Operator::Set(set) => Ok(set.apply(view)?),
            Operator::Redact(redact) => Ok(redact.apply(view)),
            Operator::Dedupe { dedupe, set } => Ok(dedupe.apply(*set, view, pass)?),
        }
    }

    /// Whether it works on the fields of a JSON object, so that a value of another format cannot pass it.
    pub fn needs_json(&self) -> bool {
        match self {
            Operator::Validate(validate) => matches!(validate, Validate::Schema(_)),
            Operator::Set(_) | Operator::Redact(_) => true,
            Operator::Filter(_) | Operator::Dedupe { .. } => false,
        }
    }

    /// Whether it needs more of a document than the fields that it names.
    pub fn needs_whole(&self) -> bool {
        match self {
            Operator::Set(set) => set.fields.iter().any(|a| a.path.len() > 1),
            other => other.needs_json(),
        }
    }

    /// The fields that it reads or sets.
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Operator::Validate(validate) => validate.paths(),
            Operator::Filter(filter) => filter.expr.paths(),
            Operator::Set(set) => set.fields.iter().flat_map(|a| a.expr.paths().into_iter().chain([&a.path])).collect(),
            Operator::Redact(_) => Vec::new(),
            Operator::Dedupe { dedupe, .. } => vec![&dedupe.by],
        }
    }
}

/// As in the topology, for a person.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operator::Validate(validate) => write!(f, "validate {validate}"),
            Operator::Filter(filter) => write!(f, "filter {}", filter.text),
            Operator::Set(set) => write!(f, "set {set}"),
            Operator::Redact(redact) => write!(f, "redact {redact}"),
            Operator::Dedupe { dedupe, .. } => {
                let Dedupe { by, within, at_most, .. } = &**dedupe;
                write!(f, "dedupe by {} within {within} ms of stream time, {at_most} ids at most", by.join("."))
            }
        }
    }
}

/// A source or a mapping step, and what reads it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub name: String,
    pub operators: Vec<Operator>,
    pub copies: Vec<Copy>,
    pub groups: Vec<Target>,
    pub steps: Vec<Node>,
}

/// What a record's evaluation may touch.
pub(crate) struct Pass<'a> {
    pub groups: &'a [Arc<Group>],
    pub states: &'a mut [GroupState],
    pub hops: &'a [Hop],
    pub partials: &'a [Partials],
    pub sets: &'a [IdSet],
    pub store: &'a dyn StateStore,
    pub outputs: &'a mut Outputs,
    pub fold: &'a mut Fold,
    /// Before this record moved it.
    pub stream_time: i64,
    /// The value of the header that aggregates carry.
    pub task: &'a [u8],
    pub max_record: usize,
}

impl Node {
    /// Evaluates everything below this node, and says what became of the record there.
    pub fn evaluate<'a>(&'a self, view: &mut View<'a>, pass: &mut Pass<'_>) -> Result<Flow, Stop> {
        let mark = view.mark();
        let flow = self.branch(view, pass)?;
        view.cut(mark);
        Ok(flow)
    }

    /// What it changes in the record stays changed.
    fn branch<'a>(&'a self, view: &mut View<'a>, pass: &mut Pass<'_>) -> Result<Flow, Stop> {
        for operator in &self.operators {
            match operator.apply(view, pass)? {
                Flow::On => {}
                end => return Ok(end),
            }
        }
        for copy in &self.copies {
            copy.write(view, pass)?;
        }
        for &target in &self.groups {
            match target {
                Target::Entries(i) => pass.groups[i].evaluate(target, view, pass)?,
                Target::Partials(i) => pass.hops[i].group.evaluate(target, view, pass)?,
            }
        }
        let mut flow = if self.copies.is_empty() && self.groups.is_empty() { Flow::Filtered } else { Flow::On };
        for step in &self.steps {
            flow = flow.max(step.evaluate(view, pass)?);
        }
        Ok(flow)
    }

    /// This node and all below it, in order.
    pub fn walk<'n>(&'n self, each: &mut dyn FnMut(&'n Node)) {
        each(self);
        for step in &self.steps {
            step.walk(each);
        }
    }
}
