//! The writers of one sink, and which partition each of them has.
//!
//! Hears the sink's consumer thread. Knows no database.
//! Invariant: a partition has one writer at a time; there are never more writers than `connections.max`, nor fewer than
//! `connections.min`.

use super::inbox::{Command, Inbox};
use super::shared::Shared;
use super::writer::Writer;
use crate::kafka::{Event, ReaderHandle};
use crate::process;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tidemill_topology::TaskId;

#[derive(Default)]
struct Placed {
    writers: Vec<Arc<Inbox>>,
    of: BTreeMap<TaskId, usize>,
    stopping: bool,
}

pub struct Crew {
    shared: Arc<Shared>,
    instance: String,
    placed: Mutex<Placed>,
    /// Writers that have ended.
    ended: Arc<(Mutex<usize>, Condvar)>,
}

impl Crew {
    pub fn new(shared: Arc<Shared>, instance: String) -> Crew {
        Crew { shared, instance, placed: Mutex::default(), ended: Arc::default() }
    }

    fn placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first writers connect before there is anything to write.
    pub fn begin(&self, reader: ReaderHandle) {
        self.shared.read_by(reader);
        let mut placed = self.placed();
        for _ in 0..self.shared.postgres().connections.min {
            self.hire(&mut placed);
        }
    }

    fn hire(&self, placed: &mut Placed) -> usize {
        let (number, inbox) = (placed.writers.len(), Arc::new(Inbox::default()));
        let writer = Writer::new(self.shared.clone(), number, inbox.clone(), &self.instance);
        let ended = self.ended.clone();
        let work = move || {
            writer.run();
            *ended.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            ended.1.notify_all();
        };
        let named = std::thread::Builder::new().name(format!("writer {} {number}", self.shared.spec.name));
        if let Err(e) = named.spawn(work) {
            process::exit(&format!("no thread for a sink's writer: {e}; raise the limit of processes"), false);
        }
        placed.writers.push(inbox);
        number
    }

    /// What the sink's consumer thread says.
    pub fn hear(&self, event: Event) {
        match event {
            Event::Assigned(tasks) => tasks.into_iter().for_each(|(task, number)| self.take(task, number)),
            Event::Revoked(tasks) => tasks.into_iter().for_each(|(task, number)| self.leave(task, number)),
            Event::Fatal(fault) => {
                let remedy = "mend it and start again; to go on behind records that are gone, set next_offset in tidemill_sink_offsets";
                tracing::error!(sink = %self.shared.spec.name, cause = fault.cause, remedy, "sink cannot go on");
                self.stop();
            }
            Event::Closed => {}
        }
    }

    fn take(&self, task: TaskId, number: u64) {
        let mut placed = self.placed();
        let load = |placed: &Placed, writer: usize| placed.of.values().filter(|w| **w == writer).count();
        let least = (0..placed.writers.len()).min_by_key(|writer| load(&placed, *writer));
        let writer = match least {
            Some(writer) if load(&placed, writer) == 0 => writer,
            Some(writer) if placed.writers.len() >= self.shared.postgres().connections.max => writer,
            _ if placed.stopping => return,
            _ => self.hire(&mut placed),
        };
        placed.of.insert(task.clone(), writer);
        placed.writers[writer].tell(Command::Take(task, number));
    }

    fn leave(&self, task: TaskId, number: u64) {
        let mut placed = self.placed();
        if let Some(writer) = placed.of.remove(&task) {
            placed.writers[writer].tell(Command::Leave(task, number));
        }
    }

    pub fn stop(&self) {
        let mut placed = self.placed();
        if !std::mem::replace(&mut placed.stopping, true) {
            placed.writers.iter().for_each(|writer| writer.tell(Command::Stop));
        }
    }

    /// Waits for the writers; what was done, in one line.
    pub fn finish(&self, until: Instant) {
        let writers = self.placed().writers.len();
        let mut ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *ended < writers {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            ended = self.ended.1.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.shared.totals.say(&self.shared.spec.name, *ended == writers);
    }
}
