//! The faults, and the seeded choice among them. Called by the driver's loop. Invariant: one broker is down at a time,
//! and only while all others are in sync; a disk is never lost.

use crate::seat::Condition;
use crate::world::{Twin, World};
use std::time::{Duration, Instant};
use tidemill_harness::proxy::Cut;

/// Faults and how often each is taken, of a thousand.
const FAULTS: &[(Fault, u64)] = &[
    (Fault::Kill, 480),
    (Fault::KillTwo, 60),
    (Fault::StopShort, 80),
    (Fault::StopLong, 80),
    (Fault::Twin, 60),
    (Fault::Broker, 80),
    (Fault::Cut, 100),
    (Fault::Terminate, 60),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    KillTwo,
    StopShort,
    StopLong,
    /// The instance is started elsewhere while it is stopped.
    Twin,
    Broker,
    Cut,
    Terminate,
}

impl World {
    /// One fault. False if none of the drawn kind was possible now.
    pub fn torment(&mut self) -> Result<bool, String> {
        let mut at = self.rng.below(FAULTS.iter().map(|(_, weight)| weight).sum());
        let drawn = FAULTS.iter().find(|(_, weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let (fault, _) = drawn.expect("the draw is below the sum of the weights");
        let is_measured = self.twins.iter().any(|twin| twin.is_continued);
        if is_measured && matches!(fault, Fault::Cut | Fault::Broker) {
            return Ok(false); // how soon the older of two ends is asked of brokers that answer
        }
        if *fault == Fault::Cut {
            self.cut();
            return Ok(true);
        }
        if *fault == Fault::Broker {
            return Ok(self.fail_broker());
        }
        let free: Vec<usize> = (0..self.seats.len()).filter(|index| self.seats[*index].is_free()).collect();
        if free.is_empty() {
            return Ok(false);
        }
        let index = *self.rng.pick(&free);
        if *fault == Fault::Twin && !self.seats[index].has_joined {
            return Ok(false); // nobody knows it yet
        }
        self.say(&format!("{fault:?} {}", self.seats[index].name));
        match fault {
            Fault::Kill => self.kill(index),
            Fault::KillTwo => {
                self.kill(index);
                free.iter().filter(|other| **other != index).take(1).for_each(|other| self.kill(*other));
            }
            Fault::StopShort => self.stop(index, 50, 3_000, "stop_short"),
            Fault::StopLong => self.stop(index, 7_000, 13_000, "stop_long"),
            Fault::Twin => self.start_elsewhere(index)?,
            Fault::Terminate => self.terminate(index),
            Fault::Broker | Fault::Cut => {}
        }
        Ok(true)
    }

    /// Mostly at once; sometimes while the group still waits; sometimes after others took the tasks.
    fn restart_time(&mut self) -> Instant {
        let delay = match self.rng.below(100) {
            0..60 => self.rng.below(100),
            60..85 => self.rng.range(500, 4_000),
            _ => self.rng.range(7_000, 10_000),
        };
        Instant::now() + Duration::from_millis(delay)
    }

    fn kill(&mut self, index: usize) {
        let again = self.restart_time();
        self.kill_seat(index, again);
        self.count_kill("process");
    }

    fn stop(&mut self, index: usize, from: u64, to: u64, kind: &str) {
        let until = Instant::now() + Duration::from_millis(self.rng.range(from, to));
        let seat = &mut self.seats[index];
        if let Some(process) = &mut seat.process {
            process.stop();
            seat.condition = Condition::Stopped(until);
        }
        self.count_fault(kind);
    }

    fn terminate(&mut self, index: usize) {
        let again = self.restart_time();
        let seat = &mut self.seats[index];
        if let Some(process) = &mut seat.process {
            process.terminate();
            seat.condition = Condition::Leaving(Instant::now(), again);
        }
        self.count_fault("terminate");
    }

    /// Stops the process, starts the instance with an empty directory, and continues the old one some seconds later.
    fn start_elsewhere(&mut self, index: usize) -> Result<(), String> {
        self.listen();
        let life = self.seats[index].life();
        let cursor = self.seats[index].cursor;
        let Some(mut process) = self.seats[index].process.take() else { return Ok(()) };
        process.stop();
        let old_place = self.seats[index].move_out(&self.scratch);
        let cont_at = Instant::now() + Duration::from_millis(self.rng.range(2_000, 14_000));
        let back_to = self.rng.permille(500).then_some(old_place);
        self.start_seat(index)?;
        self.seats[index].has_twin = true;
        self.twins.push(Twin { seat: index, life, process, cursor, cont_at, is_continued: false, back_to });
        self.count_fault("started_elsewhere");
        Ok(())
    }

    fn fail_broker(&mut self) -> bool {
        if self.failing.is_some() || self.options.nodes < 3 {
            return false;
        }
        let node = self.rng.range(1, self.options.nodes as u64 + 1) as usize;
        let down = Duration::from_millis(self.rng.range(200, 9_000));
        let cluster = self.cluster.clone();
        self.say(&format!("broker {node} is killed, back in {down:?}"));
        self.failing = Some(std::thread::spawn(move || {
            cluster.kill(node)?;
            std::thread::sleep(down);
            cluster.restart(node)?;
            match cluster.wait_whole(Duration::from_secs(120)) {
                true => Ok(()),
                false => Err(format!("broker {node}: its replicas are not in sync 120 s after its restart")),
            }
        }));
        self.count_kill("broker");
        true
    }

    /// All connections, or about half of them, by FIN or RST.
    fn cut(&mut self) {
        let how = *self.rng.pick(&[Cut::Close, Cut::Reset]);
        let refuse = Duration::from_millis(*self.rng.pick(&[0, 0, 300, 2_000]));
        let cut = if self.rng.permille(500) {
            self.proxy.cut_all(how, refuse)
        } else {
            let rng = &mut self.rng;
            self.proxy.cut_where(how, |_| rng.permille(500))
        };
        self.say(&format!("{cut} connections cut: {how:?}, refused for {refuse:?}"));
        self.count_fault("cut");
    }
}
