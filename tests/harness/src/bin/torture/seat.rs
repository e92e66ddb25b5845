//! One instance: its name, its state directory, its process now and what will be done with it next. The world moves it.
//! Invariant: at most one running process is the seat's own; a twin that was stopped is the world's.

use crate::ledger::Life;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tidemill_harness::process::{Line, Process, Start};

/// What a seat waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Up,
    /// No process; start one then.
    Down(Instant),
    /// SIGSTOP until then.
    Stopped(Instant),
    /// SIGTERM was sent at the first time; start again at the second.
    Leaving(Instant, Instant),
}

/// A stop point that the process was started with.
#[derive(Clone, Debug)]
pub struct Trap {
    pub step: &'static str,
    pub kills: bool,
}

pub struct Seat {
    pub name: String,
    /// How many directories this instance has had.
    pub places: u64,
    pub place: PathBuf,
    pub starts: u64,
    pub process: Option<Process>,
    pub condition: Condition,
    pub trap: Option<Trap>,
    /// Lines that were read.
    pub cursor: usize,
    pub strange_cursor: usize,
    /// The process has been told what it owns: it is a member of the group.
    pub has_joined: bool,
    /// A stopped older process of the same instance is around.
    pub has_twin: bool,
}

impl Seat {
    pub fn new(number: u64, scratch: &Path) -> Seat {
        let name = format!("mill-{number}");
        let place = scratch.join(format!("{name}-disk-1"));
        Seat {
            name,
            places: 1,
            place,
            starts: 0,
            process: None,
            condition: Condition::Down(Instant::now()),
            trap: None,
            cursor: 0,
            strange_cursor: 0,
            has_joined: false,
            has_twin: false,
        }
    }

    pub fn life(&self) -> Life {
        Life { place: self.place.display().to_string(), start: self.starts }
    }

    /// Starts the process; `start` has everything but what is the seat's own.
    pub fn start(&mut self, mut start: Start, file: &Path) -> Result<(), String> {
        let state = self.place.display().to_string();
        start.args =
            ["run", &file.display().to_string(), "--instance", &self.name, "--state", &state].map(str::to_owned).into();
        self.starts += 1;
        self.process = Some(Process::start(&start)?);
        self.condition = Condition::Up;
        self.has_joined = false;
        (self.cursor, self.strange_cursor) = (0, 0);
        Ok(())
    }

    /// Lines since the last look.
    pub fn lines(&mut self) -> Vec<Line> {
        let Some(process) = &self.process else { return Vec::new() };
        let from = self.cursor;
        let lines = process.journal(|journal| journal.lines[from..].to_vec());
        self.cursor += lines.len();
        self.has_joined |= lines.iter().any(|line| line.message == "assigned");
        lines
    }

    pub fn strange(&mut self) -> Vec<String> {
        let Some(process) = &self.process else { return Vec::new() };
        let from = self.strange_cursor;
        let lines = process.journal(|journal| journal.strange[from..].to_vec());
        self.strange_cursor += lines.len();
        lines
    }

    /// Another, empty directory from now on; the old one as it was.
    pub fn move_out(&mut self, scratch: &Path) -> PathBuf {
        self.places += 1;
        let place = scratch.join(format!("{}-disk-{}", self.name, self.places));
        std::mem::replace(&mut self.place, place)
    }

    /// Up, and nobody has other plans with it.
    pub fn is_free(&self) -> bool {
        self.condition == Condition::Up && !self.has_twin
    }
}
