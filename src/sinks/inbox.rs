//! A writer's inbox: batches up to a bound, commands always.
//!
//! Filled by the sink's consumer thread, emptied by the writer. Knows nothing of databases.
//! Invariant: offering a batch never waits; one that finds no room goes back, and its partition is paused.

use crate::kafka::Full;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidemill_topology::{Batch, TaskId};

/// Bytes of batches that wait here.
const BYTES: usize = 8 << 20;
/// Batches, for some are empty.
const BATCHES: usize = 256;

#[derive(Debug, PartialEq)]
pub enum Command {
    /// A partition is ours, under this number.
    Take(TaskId, u64),
    /// It is no more.
    Leave(TaskId, u64),
    /// Write what is here, then end.
    Stop,
}

#[derive(Default)]
struct Held {
    commands: VecDeque<Command>,
    batches: VecDeque<Batch>,
    bytes: usize,
}

#[derive(Default)]
pub struct Inbox {
    held: Mutex<Held>,
    bell: Condvar,
}

impl Inbox {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tell(&self, command: Command) {
        self.held().commands.push_back(command);
        self.bell.notify_one();
    }

    /// # Errors
    /// There is no room: the batch, back.
    pub fn offer(&self, batch: Batch) -> Result<(), Full> {
        let mut held = self.held();
        if !held.batches.is_empty() && (held.bytes + batch.bytes() > BYTES || held.batches.len() >= BATCHES) {
            return Err(Some(Box::new(batch)));
        }
        held.bytes += batch.bytes();
        held.batches.push_back(batch);
        drop(held);
        self.bell.notify_one();
        Ok(())
    }

    /// What is here: at once if there is something, else what comes within `patience`. Batches are left where they are
    /// if the writer has no room for more.
    pub fn wait(&self, patience: Duration, room: bool) -> (VecDeque<Command>, VecDeque<Batch>) {
        let until = Instant::now() + patience;
        let mut held = self.held();
        while held.commands.is_empty() && (held.batches.is_empty() || !room) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            held = self.bell.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let commands = std::mem::take(&mut held.commands);
        if !room {
            return (commands, VecDeque::new());
        }
        held.bytes = 0;
        (commands, std::mem::take(&mut held.batches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 0, None, Some(&vec![b'x'; bytes]));
        batch
    }

    #[test]
    fn a_full_inbox_gives_batches_back_and_takes_commands() {
        let inbox = Inbox::default();
        assert!(inbox.offer(batch(BYTES + 1)).is_ok(), "one is taken, whatever its size");
        assert!(matches!(inbox.offer(batch(1)), Err(Some(_))));
        inbox.tell(Command::Stop);
        let (commands, batches) = inbox.wait(Duration::ZERO, false);
        assert_eq!((commands.len(), batches.len()), (1, 0));
        assert_eq!(inbox.wait(Duration::ZERO, true).1.len(), 1);
        assert!(inbox.offer(batch(1)).is_ok());
    }
}
