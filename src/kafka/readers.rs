//! A few changelog readers, shared by all recoveries of a process: a client of its own for each task would open a
//! connection and start a thread for every broker, all at the moment when a group has just moved.
//!
//! Used by `restore.rs`. Knows nothing of stores.
//! Invariant: at most [`MOST`] at a time, and none when nobody recovers.

use super::client::Connection;
use super::errors::Fault;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Readers at a time: enough to keep two cores and a broker busy.
const MOST: usize = 4;

#[derive(Default)]
struct Shelf {
    busy: usize,
    idle: Vec<BaseConsumer>,
}

/// See the module.
pub(super) struct Readers {
    connection: Connection,
    shelf: Mutex<Shelf>,
    returned: Condvar,
}

impl Readers {
    pub fn new(connection: &Connection) -> Readers {
        Readers { connection: connection.clone(), shelf: Mutex::default(), returned: Condvar::new() }
    }

    /// Lends a reader without an assignment; waits for one. It comes back only if the work went well.
    ///
    /// # Errors
    /// Those of the work, or a setting that librdkafka refuses.
    pub fn lend<R>(&self, work: impl FnOnce(&BaseConsumer) -> Result<R, Fault>) -> Result<R, Fault> {
        let idle = self.take();
        let done = self.work_with(idle, work);
        let (reader, done) = match done {
            Ok((reader, result)) => (Some(reader), Ok(result)),
            Err(fault) => (None, Err(fault)),
        };
        self.give_back(reader);
        done
    }

    fn work_with<R>(
        &self,
        idle: Option<BaseConsumer>,
        work: impl FnOnce(&BaseConsumer) -> Result<R, Fault>,
    ) -> Result<(BaseConsumer, R), Fault> {
        let wrong = |e| Fault::configuration(format!("{e}; check kafka.properties"));
        let reader = match idle {
            Some(reader) => reader,
            None => self.connection.roller().create().map_err(wrong)?,
        };
        let result = work(&reader)?;
        reader.unassign().map_err(|e| Fault::failed(format!("a changelog reader: {e}")))?;
        Ok((reader, result))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<BaseConsumer> {
        let mut shelf = self.shelf();
        while shelf.busy == MOST {
            shelf = self.returned.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        shelf.busy += 1;
        shelf.idle.pop()
    }

    fn give_back(&self, reader: Option<BaseConsumer>) {
        let mut shelf = self.shelf();
        shelf.busy -= 1;
        shelf.idle.extend(reader);
        let spare = if shelf.busy == 0 { std::mem::take(&mut shelf.idle) } else { Vec::new() };
        drop(shelf);
        self.returned.notify_one();
        if !spare.is_empty() {
            // Closing a client takes a tenth of a second, and the task that was the last one waits for nobody any more. Without a
            // thread they are closed here.
            let closed = std::thread::Builder::new().name("close-readers".to_owned()).spawn(move || drop(spare));
            drop(closed);
        }
    }
}
