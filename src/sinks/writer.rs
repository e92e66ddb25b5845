//! A writer: one thread, one connection, some partitions.
//!
//! Commanded by its crew, fed by the sink's reader. Knows Kafka only as where a topic begins and where dead letters go.
//! Invariant: after any doubt (a lost connection, a refusal, an unknown COMMIT) the database's row is read before
//! another row is written, and it alone says where to go on.

use super::health::Backoff;
use super::inbox::{Command, Inbox};
use super::part::{Life, Part};
use super::postgres::{self, Ended, Failure, Place, Session, Standing, Table, Work, Written};
use super::seen::{Open, reason};
use super::shared::Shared;
use crate::traces;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidemill_topology::{Batch, Outputs, TaskId, dead_letters};

/// Bytes at which a partition is written, however few its rows.
const FULL: usize = 4 << 20;
/// Bytes that a writer takes out of its inbox before it has written some.
const ROOM: usize = 16 << 20;
/// How long a partition that another owner took is left alone.
const ASIDE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(1);

pub struct Writer {
    shared: Arc<Shared>,
    number: usize,
    inbox: Arc<Inbox>,
    instance: String,
    parts: BTreeMap<TaskId, Part>,
    link: Option<(Session, Table, Open)>,
    backoff: Backoff,
    /// Not before: the database was sick.
    again: Instant,
    /// A transaction committed in this round.
    wrote: bool,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, number: usize, inbox: Arc<Inbox>, instance: &str) -> Writer {
        let backoff = Backoff::new(number);
        let instance = instance.to_owned();
        let (parts, again) = (BTreeMap::new(), Instant::now());
        Writer { shared, number, inbox, instance, parts, link: None, backoff, again, wrote: false }
    }

    /// Until it is told to stop.
    pub fn run(mut self) {
        loop {
            let (commands, batches) = self.inbox.wait(self.patience(), self.has_room());
            let stopping = self.obey(commands);
            self.receive(batches);
            if stopping {
                return self.finish();
            }
            if Instant::now() < self.again {
                continue;
            }
            self.wrote = false;
            match self.work(false) {
                Ok(()) if self.is_well() => {
                    self.backoff.reset();
                    self.shared.health.well(self.number);
                }
                Ok(()) => {}
                Err(failure) => self.fall_ill(&failure),
            }
        }
    }

    /// A connection alone proves nothing: rows went in, or there are none to write.
    fn is_well(&self) -> bool {
        let idle = |part: &Part| matches!(part.life, Life::Ours(_) | Life::Aside(_)) && part.backlog.is_empty();
        self.wrote || self.parts.values().all(idle)
    }

    fn obey(&mut self, commands: VecDeque<Command>) -> bool {
        let mut stopping = false;
        for command in commands {
            match command {
                Command::Take(task, number) => {
                    let place = Place {
                        sink: self.shared.group.clone(),
                        topic: task.topic.to_string(),
                        partition: task.partition,
                        owner: format!("{}/{}/{number}", self.instance, self.shared.mark),
                    };
                    self.parts.insert(task.clone(), Part::new(task, number, place));
                }
                Command::Leave(task, number) => {
                    if let Some(part) = self.parts.get(&task).filter(|part| part.number == number) {
                        part.ignore();
                        self.shared.seen.stands(&task, None);
                        self.parts.remove(&task);
                    }
                }
                Command::Stop => stopping = true,
            }
        }
        stopping
    }

    fn receive(&mut self, batches: VecDeque<Batch>) {
        let now = Instant::now();
        for batch in batches {
            let of = |p: &&mut Part| p.number == batch.assignment && p.task.partition == batch.partition;
            if let Some(part) = self.parts.values_mut().find(of) {
                part.backlog.take(batch, now);
            }
        }
    }

    fn has_room(&self) -> bool {
        let (mut rows, mut bytes) = (0, 0);
        for part in self.parts.values() {
            rows += part.backlog.rows();
            bytes += part.backlog.bytes();
        }
        bytes < ROOM && rows < 4 * self.shared.spec.batch.rows.max(1000)
    }

    fn patience(&self) -> Duration {
        let now = Instant::now();
        if self.again > now {
            return self.again - now;
        }
        if self.link.is_none() && self.wants_link() {
            return Duration::ZERO;
        }
        let due = self.parts.values().filter_map(|part| self.due(part)).min();
        due.map_or(IDLE, |due| due.saturating_duration_since(now)).min(IDLE)
    }

    fn due(&self, part: &Part) -> Option<Instant> {
        let batch = self.shared.spec.batch;
        part.due(batch.rows, FULL, batch.interval)
    }

    /// Connections up to `min` are kept without work.
    fn wants_link(&self) -> bool {
        !self.parts.is_empty() || self.number < self.shared.postgres().connections.min
    }

    /// One round: a connection, and for each partition the next thing to do. `all`: also what is not due.
    fn work(&mut self, all: bool) -> Result<(), Failure> {
        if !self.wants_link() {
            if let Some((session, ..)) = self.link.take() {
                session.close();
            }
            return Ok(());
        }
        if self.link.is_none() {
            self.link = Some(self.connect()?);
        }
        let tasks: Vec<TaskId> = self.parts.keys().cloned().collect();
        for task in tasks {
            let mut part = self.parts.remove(&task).expect("its own key");
            let done = self.attend(&mut part, all);
            self.parts.insert(task, part);
            done?;
        }
        Ok(())
    }

    fn connect(&self) -> Result<(Session, Table, Open), Failure> {
        let spec = self.shared.postgres();
        let mut session = Session::open(spec, &self.shared.group)?;
        if spec.migrate && !self.shared.migrated.load(Ordering::Relaxed) {
            let done = postgres::migrate(&mut session, &[spec])?;
            tracing::info!(sink = %self.shared.spec.name, ?done, "sink migrated");
            self.shared.migrated.store(true, Ordering::Relaxed);
        }
        let table = postgres::inspect(&mut session, spec)?;
        tracing::debug!(sink = %self.shared.spec.name, writer = self.number, "connected");
        Ok((session, table, self.shared.seen.connected()))
    }

    fn attend(&mut self, part: &mut Part, all: bool) -> Result<(), Failure> {
        match part.life {
            Life::New => self.take(part, "taken"),
            Life::Aside(until) if Instant::now() >= until => self.take(part, "taken back"),
            Life::Aside(_) => Ok(()),
            Life::Unsure(standing) => self.resume(part, standing),
            Life::Ours(standing) => {
                let due = self.due(part).is_some_and(|due| all || due <= Instant::now());
                if due { self.write(part, standing) } else { Ok(()) }
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        &mut self.link.as_mut().expect("work begins with a connection").0
    }

    fn take(&mut self, part: &mut Part, why: &str) -> Result<(), Failure> {
        let first = match part.place.look(self.session())? {
            Some(_) => 0,
            None => {
                let (topic, partition) = (&part.place.topic, part.place.partition);
                self.shared.outlet.first_offset(topic, partition).map_err(Failure::Sick)?
            }
        };
        let standing = part.place.take(self.session(), first)?;
        self.begin(part, standing, why);
        Ok(())
    }

    fn begin(&self, part: &mut Part, standing: Standing, why: &str) {
        let Standing { position, epoch } = standing;
        let sink = &self.shared.spec.name;
        tracing::info!(%sink, topic = %part.task.topic, partition = part.task.partition, position, epoch, why, "sink writes");
        self.stands(part, position);
        let start = part.begin(standing, &self.inbox);
        self.shared.reader().start(start);
    }

    /// The partition's row stands here. The group is told each time, not only of what is written: whoever ended between the
    /// two would leave a lag behind until the next record.
    fn stands(&self, part: &Part, position: i64) {
        self.shared.seen.stands(&part.task, Some(position));
        if position > 0 {
            self.shared.reader().done(&part.task, position);
        }
    }

    /// The row says whether it is still ours, and how far the last connection came.
    fn resume(&mut self, part: &mut Part, before: Standing) -> Result<(), Failure> {
        if !self.shared.protections.on("resume") {
            part.life = Life::Ours(before);
            return Ok(());
        }
        match part.place.keep(self.session())? {
            Some(standing) if part.backlog.reaches(standing.position) => {
                let (position, committed) = (standing.position, standing.position > before.position);
                tracing::debug!(task = %part.task, position, epoch = standing.epoch, committed, "sink resumed");
                part.backlog.done(position, Instant::now());
                self.stands(part, position);
                part.life = Life::Ours(standing);
            }
            Some(standing) => self.begin(part, standing, "resumed"),
            None => {
                let sink = &self.shared.spec.name;
                let (topic, partition) = (&part.task.topic, part.task.partition);
                tracing::warn!(%sink, %topic, partition, epoch = before.epoch, "sink fenced: another owner has the partition");
                part.ignore();
                self.shared.seen.stands(&part.task, None);
                part.backlog.done(i64::MAX, Instant::now());
                part.life = Life::Aside(Instant::now() + ASIDE);
            }
        }
        Ok(())
    }

    fn write(&mut self, part: &mut Part, standing: Standing) -> Result<(), Failure> {
        let began = Instant::now();
        let shared = self.shared.clone();
        let (session, table, _) = self.link.as_mut().expect("work begins with a connection");
        let slice = part.backlog.slice(shared.spec.batch.rows);
        let letters = |slice: &super::backlog::Slice<'_>, bad: &[(usize, String)]| -> Result<(), String> {
            let mut records = Outputs::default();
            for (at, reason) in bad {
                let reason = format!("sink-row: sink '{}': {reason}", shared.spec.name);
                let place = (&part.task, shared.letters.1);
                dead_letters::write(&mut records, &shared.letters.0, place, &slice.records[*at], &reason);
            }
            if records.is_empty() {
                return Ok(());
            }
            shared.outlet.send(&records)?;
            let written = traces::Written { sink: &shared.spec, task: &part.task, count: bad.len() };
            bad.iter().for_each(|(at, _)| traces::refused(&written, &slice.records[*at]));
            Ok(())
        };
        let work = Work {
            table,
            place: &part.place,
            standing,
            metrics: shared.postgres().metrics.as_deref(),
            since: part.backlog.since().unwrap_or(began),
            letters: &letters,
            protections: shared.protections,
        };
        let (from, next) = (slice.from, slice.next);
        let rows = traces::rows(&slice.records);
        match postgres::write(session, &slice, &work) {
            Ok(written) => {
                let since = work.since.elapsed();
                shared.seen.wrote(&written, (began.elapsed(), since));
                let of = traces::Written { sink: &shared.spec, task: &part.task, count: written.records };
                rows.iter().for_each(|rows| rows.stored(&of));
                self.wrote(part, (standing, next), &written, began)
            }
            Err(ended) => {
                tracing::debug!(task = %part.task, from, next, ?ended, "sink's transaction ended");
                self.ended(part, ended)
            }
        }
    }

    fn wrote(
        &mut self,
        part: &mut Part,
        (standing, next): (Standing, i64),
        written: &Written,
        began: Instant,
    ) -> Result<(), Failure> {
        let Written { records, rows, folded, skipped, dead } = *written;
        let (sink, ms) = (&self.shared.spec.name, began.elapsed().as_millis() as u64);
        let (topic, partition, from) = (&part.task.topic, part.task.partition, standing.position);
        tracing::debug!(%sink, %topic, partition, from, next, records, rows, folded, skipped, dead, ms, "sink wrote");
        self.shared.totals.add(written);
        self.wrote = true;
        part.backlog.done(next, Instant::now());
        part.life = Life::Ours(Standing { position: next, ..standing });
        self.stands(part, next);
        Ok(())
    }

    /// A transaction that did not end in a known commit.
    fn ended(&mut self, part: &mut Part, ended: Ended) -> Result<(), Failure> {
        part.doubt();
        match &ended {
            Ended::Refused => self.shared.seen.failed("refused"),
            Ended::Failed(failure @ Failure::Again(_)) => self.shared.seen.failed(reason(failure)),
            Ended::Unknown(_) => self.shared.seen.failed("unknown"),
            // Is said where the writer falls ill.
            Ended::Failed(_) => {}
        }
        match ended {
            // Nothing is wrong with the connection; the row will say whose the partition is.
            Ended::Refused | Ended::Failed(Failure::Again(_)) => self.session().simple("ROLLBACK"),
            Ended::Failed(failure) => Err(failure),
            Ended::Unknown(cause) => Err(Failure::Away(format!("COMMIT was not answered: {cause}"))),
        }
    }

    fn fall_ill(&mut self, failure: &Failure) {
        self.link = None;
        self.parts.values_mut().for_each(Part::doubt);
        self.again = Instant::now() + self.backoff.after();
        self.shared.seen.failed(reason(failure));
        if self.shared.health.ill(self.number, failure.said()) {
            self.shared.seen.waits();
        }
    }

    /// What is here and can be written now is; nothing is waited for.
    fn finish(mut self) {
        let (_, batches) = self.inbox.wait(Duration::ZERO, true);
        self.receive(batches);
        let left = |w: &Writer| w.parts.values().any(|p| matches!(p.life, Life::Ours(_)) && !p.backlog.is_empty());
        while self.link.is_some() && left(&self) {
            if let Err(failure) = self.work(true) {
                tracing::debug!(sink = %self.shared.spec.name, cause = failure.said(), "left for the next start");
                return;
            }
        }
        if let Some((session, ..)) = self.link.take() {
            session.close();
        }
    }
}
