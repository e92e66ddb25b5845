//! Operators: one action on a record each, one file each; and the tree in which a stage holds them.
//!
//! Called by the task for every record. They know nothing of Kafka, of seals or of wall time. Invariant: evaluation
//! only appends to the arena and to scratch, so a record that fails anywhere can be taken back whole.

mod copy;
mod filter;

pub(crate) use copy::Copy;
pub(crate) use filter::Filter;

use crate::failure::{Failure, Stop};
use crate::sealed::Outputs;
use crate::view::View;
use crate::windows::{Fold, Group, GroupState};
use tidemill_state::StateStore;

/// One action of a mapping step.
#[derive(Debug)]
pub(crate) enum Operator {
    Filter(Filter),
}

impl Operator {
    /// Whether the record goes on.
    fn accepts(&self, view: &View<'_>) -> Result<bool, Failure> {
        match self {
            Operator::Filter(filter) => filter.accepts(view),
        }
    }

    pub fn paths(&self) -> Vec<&[Box<str>]> {
        match self {
            Operator::Filter(filter) => filter.expr.paths(),
        }
    }
}

/// A source or a mapping step, and what reads it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub name: String,
    pub operators: Vec<Operator>,
    pub copies: Vec<Copy>,
    /// Indexes into the stage's groups.
    pub groups: Vec<usize>,
    pub steps: Vec<Node>,
}

/// What a record's evaluation may touch.
pub(crate) struct Pass<'a> {
    pub groups: &'a [Group],
    pub states: &'a mut [GroupState],
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
    /// Evaluates everything below this node. True if at least one branch accepted the record.
    pub fn evaluate(&self, view: &View<'_>, pass: &mut Pass<'_>) -> Result<bool, Stop> {
        for operator in &self.operators {
            if !operator.accepts(view)? {
                return Ok(false);
            }
        }
        for copy in &self.copies {
            copy.write(view, pass)?;
        }
        for &index in &self.groups {
            pass.groups[index].evaluate(index, view, pass)?;
        }
        let mut accepted = !self.copies.is_empty() || !self.groups.is_empty();
        for step in &self.steps {
            accepted |= step.evaluate(view, pass)?;
        }
        Ok(accepted)
    }

    /// This node and all below it, in order.
    pub fn walk<'n>(&'n self, each: &mut dyn FnMut(&'n Node)) {
        each(self);
        for step in &self.steps {
            step.walk(each);
        }
    }
}
