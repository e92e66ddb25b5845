//! One application under test: its process, its input, and one stray after another. Knows the process's log and the proxy;
//! `run` drives it. Invariant: after each stray the process runs on, or has halted for a reason that is counted.

use super::check::check;
use super::report::Report;
use super::schedule::{Kill, Schedule};
use super::trickle::Trickle;
use super::world::{Place, World};
use crate::process::{Line, Process};
use crate::proxy::{Action, Event, Kind, Release, Rule, RuleId};
use std::time::{Duration, Instant};

/// For what must happen in a process that runs.
pub const LONG: Duration = Duration::from_secs(60);
/// For a release that may never be due.
const SHORT: Duration = Duration::from_millis(1_500);
const SLICE: Duration = Duration::from_millis(50);
/// How far our reading of a process's log may be behind on a busy machine.
const READING: Duration = Duration::from_secs(5);
/// What recovery says when state and offsets were committed apart.
const APART: [&str; 2] = ["its state stands for offset", "the changelog has no checkpoint"];
pub const PROPERTIES: &str =
    r#"session.timeout.ms: "6000", max.poll.interval.ms: "10000", transaction.timeout.ms: "5000""#;

pub struct App<'w> {
    pub world: &'w World,
    pub place: Place,
    trickle: Option<Trickle>,
    seats: Vec<Seat>,
    /// Recovery found what must not be, or nothing is committed any more: the cause.
    pub halted: Option<String>,
}

/// One instance and its process.
struct Seat {
    name: String,
    process: Process,
    /// It was ended on purpose, and is not kept running.
    is_gone: bool,
}

impl<'w> App<'w> {
    /// With so many instances, once each has its tasks and the first has committed.
    pub fn start(world: &'w World, instances: usize) -> Result<App<'w>, String> {
        App::start_with(world, instances, PROPERTIES)
    }

    pub fn start_with(world: &'w World, instances: usize, properties: &str) -> Result<App<'w>, String> {
        let place = world.place(properties)?;
        let trickle = Trickle::start(&world.cluster.bootstrap, [place.plain.clone(), place.counted.clone()]);
        let mut app = App { world, place, trickle: Some(trickle), seats: Vec::new(), halted: None };
        for _ in 0..instances {
            app.join()?;
            app.ready()?;
        }
        let from = world.last_seq();
        match world.wait_commits(from, 2, LONG) {
            true => Ok(app),
            false => Err(format!("{}: no commit within {LONG:?}; see its log", app.place.name)),
        }
    }

    /// Waits until the instance that joined last has its tasks.
    pub fn ready(&mut self) -> Result<(), String> {
        let seat = self.seats.last_mut().expect("called after a join");
        let deadline = Instant::now() + LONG;
        while seat.process.wait_message("all tasks ready", SLICE).is_none() {
            if seat.process.ended().is_some() || Instant::now() > deadline {
                let words = last_words(&seat.process);
                return Err(format!("{}: its tasks are not ready: {words}; see its log", seat.name));
            }
        }
        Ok(())
    }

    /// One more instance; its index.
    pub fn join(&mut self) -> Result<usize, String> {
        let name = format!("{}-{}", self.place.name, self.seats.len());
        let process = self.world.process(&self.place, &name)?;
        self.seats.push(Seat { name, process, is_gone: false });
        Ok(self.seats.len() - 1)
    }

    pub fn process(&mut self, index: usize) -> &mut Process {
        &mut self.seats[index].process
    }

    /// SIGKILL, or in order; it stays away until [`App::come_back`].
    pub fn leave(&mut self, index: usize, signal: i32) -> Result<(), String> {
        let seat = &mut self.seats[index];
        seat.is_gone = true;
        seat.process.signal(signal);
        match seat.process.wait(LONG) {
            Some(_) => Ok(()),
            None => Err(format!("{}: not gone {LONG:?} after signal {signal}", seat.name)),
        }
    }

    /// The same instance again, on its state.
    pub fn come_back(&mut self, index: usize) -> Result<(), String> {
        let seat = &mut self.seats[index];
        seat.process = self.world.process(&self.place, &seat.name)?;
        seat.is_gone = false;
        Ok(())
    }

    /// Holds a thread of an instance at the next such point; only in a program with controls.
    pub fn hold(&self, index: usize, point: &str) -> Result<(), String> {
        let file = self.world.hold(&self.seats[index].name).join(point);
        std::fs::write(&file, "").map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Waits until a thread is held there, or an outcome was taken away.
    pub fn is_held(&self, index: usize, point: &str) -> Result<(), String> {
        let seat = &self.seats[index];
        let says = format!("held at {point}");
        let is_there = |line: &String| line.eq_ignore_ascii_case(&says);
        let deadline = Instant::now() + LONG;
        while !seat.process.journal(|j| j.strange.iter().any(is_there)) {
            if Instant::now() > deadline {
                return Err(format!("{}: not held at {point} within {LONG:?}", seat.name));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Nothing has come to that point yet.
    pub fn is_armed(&self, index: usize, point: &str) -> bool {
        self.world.hold(&self.seats[index].name).join(point).exists()
    }

    pub fn release(&self, index: usize, point: &str) {
        // Not there: nothing was held.
        drop(std::fs::remove_file(self.world.hold(&self.seats[index].name).join(point)));
    }

    /// Waits until an instance is given tasks after this moment.
    pub fn given(&self, index: usize, after: Instant) -> Result<(), String> {
        let seat = &self.seats[index];
        let is_it =
            |line: &Line| line.message == "assigned" && line.number("tasks").unwrap_or(0) > 0 && line.at > after;
        match seat.process.wait_line(LONG, is_it) {
            Some(_) => Ok(()),
            None => Err(format!("{}: given no task within {LONG:?}", seat.name)),
        }
    }

    /// The beginnings of the transactional ids of all instances that are meant to run.
    pub fn living(&self) -> Vec<String> {
        let ids = (0..self.seats.len()).filter(|at| !self.seats[*at].is_gone);
        ids.map(|at| self.transactional_id(at)).collect()
    }

    /// Begins all transactional ids of this instance.
    pub fn transactional_id(&self, index: usize) -> String {
        format!("{}-{}-", self.place.name, self.seats[index].name)
    }

    /// How often its processes said this.
    pub fn said(&self, message: &str) -> u64 {
        let count = |seat: &Seat| seat.process.journal(|j| j.lines.iter().filter(|l| l.message == message).count());
        self.seats.iter().map(count).sum::<usize>() as u64
    }

    /// Whether its processes have said this more often than `before`; what they just said is given time to be read.
    pub fn says_again(&self, message: &str, before: u64) -> bool {
        let deadline = Instant::now() + READING;
        while self.said(message) <= before && Instant::now() < deadline {
            std::thread::sleep(SLICE);
        }
        self.said(message) > before
    }

    /// Starts again what has ended.
    pub fn keep_running(&mut self, report: &mut Report) -> Result<(), String> {
        for index in 0..self.seats.len() {
            let seat = &mut self.seats[index];
            if self.halted.is_some() || seat.is_gone || seat.process.ended().is_none() {
                continue;
            }
            let cause = last_words(&self.seats[index].process);
            if APART.iter().any(|words| cause.contains(words)) {
                report.halts += 1;
                self.halt(format!("halt: {cause}"), report);
                continue;
            }
            let cause: String = cause.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(160).collect();
            *report.exits.entry(cause).or_default() += 1;
            self.restart(index, report)?;
        }
        Ok(())
    }

    fn restart(&mut self, index: usize, report: &mut Report) -> Result<(), String> {
        self.count_recycled(index, report);
        let seat = &mut self.seats[index];
        seat.process = self.world.process(&self.place, &seat.name)?;
        Ok(())
    }

    fn count_recycled(&self, index: usize, report: &mut Report) {
        let recycled =
            |j: &crate::process::Journal| j.lines.iter().filter(|l| l.message == "producer recycled").count();
        report.recycled += self.seats[index].process.journal(recycled) as u64;
    }

    fn kill(&mut self, report: &mut Report) -> Result<(), String> {
        if self.seats[0].process.ended().is_none() {
            self.seats[0].process.kill();
            report.kills += 1;
            return self.restart(0, report);
        }
        Ok(())
    }

    /// Waits in slices, while the process is kept running; false if it never was so, or the process halted.
    pub fn wait(
        &mut self,
        within: Duration,
        report: &mut Report,
        is_so: impl Fn(&World) -> bool,
    ) -> Result<bool, String> {
        let deadline = Instant::now() + within;
        loop {
            if is_so(self.world) {
                return Ok(true);
            }
            self.keep_running(report)?;
            if self.halted.is_some() || Instant::now() > deadline {
                return Ok(false);
            }
        }
    }

    /// Takes one request by its rule and follows it to the broker's answer; then two commits must come.
    pub fn stray(&mut self, schedule: &Schedule, report: &mut Report) -> Result<(), String> {
        let proxy = &self.world.proxy;
        if schedule.kind == Kind::InitProducerId {
            // Only a recycle sends one.
            proxy.install(Rule::on(Kind::EndTxn, Action::CutAfter).committed(true));
        }
        let rule = proxy.install(schedule.rule());
        if schedule.kill == Kill::AtNextCommit {
            let never = Action::Hold(Release::by_hand());
            proxy.install(Rule::on(Kind::EndTxn, never).committed(true).nth(schedule.nth + 2));
        }
        let fired = self.wait(LONG, report, |world| world.proxy.wait_fired(rule, SLICE).is_some())?;
        if !fired {
            proxy.remove_all();
            report.missed += 1;
            return Ok(());
        }
        report.strays += 1;
        self.follow(schedule, rule, report)
    }

    fn follow(&mut self, schedule: &Schedule, rule: RuleId, report: &mut Report) -> Result<(), String> {
        let seq = self.world.proxy.fired(rule)[0];
        let event = if schedule.is_held() { Some(self.late(seq, report)?) } else { None };
        let mut from = seq;
        if schedule.kill != Kill::No {
            if schedule.kill == Kill::AtNextCommit {
                self.wait(SHORT, report, is_holding)?;
            }
            from = self.world.last_seq();
            self.kill(report)?;
        }
        self.world.proxy.remove_all();
        let goes_on = self.wait(2 * LONG, report, |world| world.wait_commits(from, 2, SLICE))?;
        // What was held for the dead process arrives in the life of the next.
        self.world.proxy.release_all();
        if let Some(event) = event {
            report.late(&event);
        }
        self.must_go_on(goes_on, &schedule.name, report);
        Ok(())
    }

    fn halt(&mut self, cause: String, report: &mut Report) {
        report.tally.examples.push(cause.clone());
        self.halted = Some(cause);
    }

    /// The process of this instance has refused to run, with these words, as it should have: no violation.
    pub fn halts_rightly(&mut self, index: usize, words: &str, report: &mut Report) -> Result<(), String> {
        self.leave(index, libc::SIGTERM)?;
        let cause = last_words(&self.seats[index].process);
        if !cause.contains(words) {
            return Err(format!("it ended otherwise: {cause}"));
        }
        self.halt(format!("as it must: {cause}"), report);
        Ok(())
    }

    /// Without commits after a stray this application is over.
    pub fn must_go_on(&mut self, goes_on: bool, after: &str, report: &mut Report) {
        if !goes_on && self.halted.is_none() {
            report.stuck += 1;
            self.halt(format!("{}: stands still after: {after}", self.place.name), report);
        }
    }

    /// The broker's answer to a request that was held; one that never became due is released by hand.
    pub fn late(&mut self, seq: u64, report: &mut Report) -> Result<Event, String> {
        let is_answered = |world: &World| world.proxy.wait_answered(seq, SLICE).is_some();
        if !self.wait(SHORT, report, is_answered)? {
            self.world.proxy.release(seq);
        }
        let answered = self.world.proxy.wait_answered(seq, LONG);
        answered.ok_or_else(|| format!("{}: request {seq} was released and never answered", self.place.name))
    }

    /// Works off the input, stops in order, and compares all that was committed.
    pub fn finish(mut self, report: &mut Report) -> Result<(), String> {
        self.world.proxy.remove_all();
        self.world.proxy.release_all();
        let sent = self.trickle.take().expect("taken here only").stop()?;
        let place = self.place.clone();
        let is_at_end = |world: &World| {
            std::thread::sleep(SLICE);
            [&place.plain, &place.counted].into_iter().all(|topic| {
                let offsets = world.broker.group_offsets(&place.name, topic).unwrap_or_default();
                offsets.len() == super::trickle::PARTITIONS as usize && offsets.values().all(|at| *at == sent as i64)
            })
        };
        let is_done = self.wait(3 * LONG, report, is_at_end)?;
        self.must_go_on(is_done, "the end of its input", report);
        for index in 0..self.seats.len() {
            let process = &mut self.seats[index].process;
            if self.halted.is_some() {
                // In order it may not end any more.
                process.kill();
            }
            if !self.seats[index].is_gone {
                self.seats[index].process.terminate();
            }
            if self.seats[index].process.wait(LONG).is_none() {
                return Err(format!("{}: not gone {LONG:?} after SIGTERM", self.seats[index].name));
            }
            self.count_recycled(index, report);
        }
        let instances: Vec<String> = self.seats.iter().map(|seat| seat.name.clone()).collect();
        report.records += sent * 2 * super::trickle::PARTITIONS as u64;
        check(self.world, &place, &instances, if is_done { Ok(sent) } else { Err(()) }, &mut report.tally)
    }
}

/// The cause of its exit, or whatever it said last.
pub fn last_words(process: &Process) -> String {
    process.journal(|journal| {
        let exit = journal.lines.iter().rev().find(|line| line.message == "exit");
        let cause = exit.and_then(|line| line.text("cause")).map(str::to_owned);
        cause.or_else(|| journal.strange.last().cloned()).unwrap_or_else(|| "it said nothing".to_owned())
    })
}

fn is_holding(world: &World) -> bool {
    std::thread::sleep(Duration::from_millis(2));
    !world.proxy.held().is_empty()
}
