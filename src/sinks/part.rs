//! One partition in the hands of a writer: how we stand in the database, and what is to be written.
//!
//! Owned by a writer. Knows no connection. Invariant: a partition is written only while it is ours under a known epoch.

use super::backlog::Backlog;
use super::inbox::Inbox;
use super::postgres::{Place, Standing};
use crate::kafka::{Full, Start};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tidemill_topology::{Batch, TaskId};

/// ```text
/// New --take--> Ours --connection lost, or refused--> Unsure --row read: still ours--> Ours
///                                                        \--row read: another's--> Aside --a while--> New
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Life {
    New,
    Ours(Standing),
    /// It was ours; the row must be read before it is again.
    Unsure(Standing),
    /// Another owner has it. Should the group still say that it is ours after a while, it is taken again.
    Aside(Instant),
}

pub struct Part {
    pub task: TaskId,
    pub number: u64,
    pub place: Place,
    pub life: Life,
    pub backlog: Backlog,
    /// Whether the reader's batches are still wanted.
    wanted: Arc<AtomicBool>,
}

impl Part {
    pub fn new(task: TaskId, number: u64, place: Place) -> Part {
        let wanted = Arc::new(AtomicBool::new(true));
        Part { task, number, place, life: Life::New, backlog: Backlog::at(0), wanted }
    }

    /// Begins at a position: what was here is forgotten. What the reader must be told.
    pub fn begin(&mut self, standing: Standing, inbox: &Arc<Inbox>) -> Start {
        self.ignore();
        self.life = Life::Ours(standing);
        self.backlog = Backlog::at(standing.position);
        let wanted = Arc::new(AtomicBool::new(true));
        self.wanted = wanted.clone();
        let inbox = inbox.clone();
        let sink = move |batch: Batch| -> Result<(), Full> {
            if wanted.load(Ordering::Relaxed) { inbox.offer(batch) } else { Err(None) }
        };
        Start { task: self.task.clone(), assignment: self.number, position: standing.position, sink: Box::new(sink) }
    }

    /// The reader's batches go nowhere from now on.
    pub fn ignore(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// The connection is gone: the row must be read.
    pub fn doubt(&mut self) {
        if let Life::Ours(standing) = self.life {
            self.life = Life::Unsure(standing);
        }
    }

    /// When there is something to do; `None`: not until something comes.
    pub fn due(&self, rows: usize, bytes: usize, interval: std::time::Duration) -> Option<Instant> {
        match self.life {
            Life::New | Life::Unsure(_) => Some(Instant::now()),
            Life::Aside(until) => Some(until),
            Life::Ours(_) => {
                let since = self.backlog.since()?;
                let full = self.backlog.rows() >= rows || self.backlog.bytes() >= bytes;
                Some(if full { since } else { since + interval })
            }
        }
    }
}
