//! The simulated world: fake cluster, processes, disks, and the seeded schedule that picks the next enabled step.
//!
//! Knows what can happen, and when; what then happens is in `process`, `lane`, `recover`, `broker` and `group`.
//! Called by the tests. Invariant: a seed and a shape are a run; nothing else decides.

use super::broker::{Broker, Part, Status};
use super::group::Group;
use super::input::{Fixture, Input, fixture};
use super::lane::{Cut, Late};
use super::oracle;
use super::process::Process;
use super::recover::Disk;
use super::rng::Rng;
use std::collections::BTreeMap;
use tidemill::exactly_once::Protections;

/// What a run is made of; a seed draws one, a control may narrow it.
#[derive(Debug, Clone)]
pub struct Shape {
    pub partitions: usize,
    pub instances: usize,
    pub lanes: usize,
    pub records: usize,
    pub stat: bool,
    pub stateless: bool,
    pub cache_bytes: usize,
    pub delete_retention_ms: i64,
    /// Faults of each kind, in the order of [`FAULTS`].
    pub faults: [usize; FAULTS.len()],
    /// Kinds of step that come late, for every instance or for the first alone; none: as the seed says.
    pub slow: &'static [(usize, Of)],
}

/// Whose steps of a kind are slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    All,
    First,
}

/// The kinds of fault, each with a budget.
pub const FAULTS: [&str; 6] = ["rebalance", "zombie", "crash", "cut", "unknown", "timeout"];
const REBALANCE: usize = 0;
const ZOMBIE: usize = 1;
const CRASH: usize = 2;
const CUT: usize = 3;
const UNKNOWN: usize = 4;
const TIMEOUT: usize = 5;

impl Shape {
    pub fn draw(rng: &mut Rng) -> Shape {
        let mut faults = [0; FAULTS.len()];
        for f in &mut faults {
            *f = if rng.once_in(2) { rng.below(4) } else { 0 };
        }
        Shape {
            partitions: 1 + rng.below(3),
            instances: 1 + rng.below(3),
            lanes: 1 + rng.below(2),
            records: 4 + rng.below(24),
            stat: rng.once_in(2),
            stateless: rng.once_in(8),
            cache_bytes: if rng.once_in(2) { 0 } else { 1 << 20 },
            delete_retention_ms: if rng.once_in(6) { 3_000 } else { 86_400_000 },
            faults,
            slow: &[],
        }
    }
}

/// What went wrong, in one line.
#[derive(Debug, Clone)]
pub struct Violation {
    pub kind: &'static str,
    pub what: String,
}

impl Violation {
    pub fn new(kind: &'static str, what: impl std::fmt::Display) -> Violation {
        Violation { kind, what: what.to_string() }
    }
}

/// Everything that can happen. Numbers: instance, then lane or partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Generation,
    Hear(usize),
    Join(usize),
    Serve(usize),
    Publish(usize),
    Close(usize, i32),
    Begin(usize, i32),
    Recover(usize, i32),
    Work(usize, i32),
    Stale(usize),
    Init(usize, usize),
    Seal(usize, usize),
    BeginTransaction(usize, usize),
    Send(usize, usize),
    Wait(usize, usize),
    Offsets(usize, usize),
    Commit(usize, usize),
    Abort(usize, usize),
    Again(usize, usize),
    Apply(usize, usize),
    Control(usize, Part),
    SessionEnd(usize),
    Resume(usize),
    Start(usize),
    TimeOut(usize),
    ArriveLate(usize),
    // faults
    Wish(i32, usize),
    Pause(usize),
    Zombie(usize),
    Crash(usize),
    Cut(usize, usize, Cut),
    TimeOutLiving(usize),
}

pub const KINDS: usize = 32;

impl Step {
    pub const fn kind(self) -> usize {
        match self {
            Step::Generation => 0,
            Step::Hear(_) => 1,
            Step::Join(_) => 2,
            Step::Serve(_) => 3,
            Step::Publish(_) => 4,
            Step::Close(..) => 5,
            Step::Begin(..) => 6,
            Step::Recover(..) => 7,
            Step::Work(..) => 8,
            Step::Stale(_) => 9,
            Step::Init(..) => 10,
            Step::Seal(..) => 11,
            Step::BeginTransaction(..) => 12,
            Step::Send(..) => 13,
            Step::Wait(..) => 14,
            Step::Offsets(..) => 15,
            Step::Commit(..) => 16,
            Step::Abort(..) => 17,
            Step::Again(..) => 18,
            Step::Apply(..) => 19,
            Step::Control(..) => 20,
            Step::SessionEnd(_) => 21,
            Step::Resume(_) => 22,
            Step::Start(_) => 23,
            Step::TimeOut(_) => 24,
            Step::ArriveLate(_) => 25,
            Step::Wish(..) => 26,
            Step::Pause(_) => 27,
            Step::Zombie(_) => 28,
            Step::Crash(_) => 29,
            Step::Cut(..) => 30,
            Step::TimeOutLiving(_) => 31,
        }
    }
}

pub struct World {
    pub shape: Shape,
    pub protections: Protections,
    pub rng: Rng,
    pub now: i64,
    pub fixture: &'static Fixture,
    pub inputs: Vec<Input>,
    pub broker: Broker,
    pub group: Group,
    pub procs: Vec<Option<Process>>,
    pub disks: Vec<BTreeMap<i32, Disk>>,
    pub late: Vec<Late>,
    pub rebuilds: u64,
    pub exits: u64,
    left: [usize; FAULTS.len()],
    weights: [u32; KINDS],
    pub steps: usize,
    pub digest: u64,
    pub trace: bool,
    /// How often each kind of step was taken.
    pub taken: [u64; KINDS],
    pub enabled: Vec<Step>,
}

/// No run that goes on is longer.
const MOST_STEPS: usize = 30_000;
const EXTRA_STEPS: usize = 6;

impl World {
    pub fn new(seed: u64, shape: Shape, protections: Protections) -> World {
        let mut rng = Rng::new(seed);
        let inputs = (0..shape.partitions).map(|p| Input::new(p, shape.records, &mut rng)).collect();
        let mut weights = [0; KINDS];
        for w in &mut weights {
            *w = [1, 4, 16, 64][rng.below(4)];
        }
        let ids = shape.instances * shape.lanes;
        World {
            protections,
            now: 1_800_000_000_000,
            fixture: fixture(shape.stateless),
            inputs,
            broker: Broker::new(ids, protections.on("verify")),
            group: Group::new(shape.partitions, shape.stat),
            procs: (0..shape.instances).map(|_| None).collect(),
            disks: vec![BTreeMap::new(); shape.instances],
            late: Vec::new(),
            rebuilds: 0,
            exits: 0,
            left: shape.faults,
            weights,
            steps: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            trace: false,
            taken: [0; KINDS],
            enabled: Vec::new(),
            rng,
            shape,
        }
    }

    /// Whether a fault of this kind may still happen.
    pub fn left(&self, kind: &str) -> bool {
        let at = FAULTS.iter().position(|f| *f == kind).expect("a kind of fault");
        self.left[at] > 0
    }

    pub fn on(&self, protection: &str) -> bool {
        self.protections.on(protection)
    }

    pub fn proc(&mut self, i: usize) -> &mut Process {
        self.procs[i].as_mut().expect("a living process")
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", line());
        }
    }

    /// From nothing to quiescence: faults first, then none, then the comparison with the oracle.
    pub fn run(&mut self) -> Result<(), Violation> {
        let mut leaps = 0;
        let faulty = 150 + self.rng.below(500);
        loop {
            if self.steps == faulty {
                self.left = [0; FAULTS.len()];
            }
            if self.steps > MOST_STEPS {
                return Err(Violation::new("livelock", format!("not finished after {MOST_STEPS} steps")));
            }
            self.list();
            if self.enabled.is_empty() {
                // Updates wait for wall time: only when that brings nothing either is it the end.
                if leaps == EXTRA_STEPS {
                    self.left = [0; FAULTS.len()];
                    return self.finish();
                }
                leaps += 1;
                self.now += 6_000;
                self.say(|| "      the clock leaps".into());
                continue;
            }
            leaps = 0;
            let step = self.pick();
            self.carry_out(step)?;
        }
    }

    /// The step itself, with its line in the trace.
    pub fn carry_out(&mut self, step: Step) -> Result<(), Violation> {
        self.steps += 1;
        self.taken[step.kind()] += 1;
        self.now += self.rng.within(0, 60);
        self.say(|| format!("{:5} {:7} {step:?}", self.steps, self.now - 1_800_000_000_000));
        for b in format!("{step:?}").bytes() {
            self.digest = (self.digest ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        }
        self.go(step)
    }

    fn finish(&mut self) -> Result<(), Violation> {
        let stage = &self.fixture.stage;
        for (p, input) in self.inputs.iter().enumerate() {
            let committed = self.broker.offsets.get(&(p as i32)).copied();
            if committed != Some(input.end) {
                let what = format!(
                    "nothing can happen, and {} stands at {committed:?} of {}",
                    stage.task(p as i32),
                    input.end
                );
                return Err(Violation::new("deadlock", what));
            }
        }
        if let Some(id) = (0..self.broker.txns.len()).find(|id| self.broker.txns[*id].status == Status::Ongoing) {
            return Err(Violation::new("deadlock", format!("the transaction of {id} is never ended")));
        }
        oracle::compare(self)
    }

    /// Each enabled step by the weight of its kind: one seed has slow commits, another slow consumers.
    fn pick(&mut self) -> Step {
        let total: u32 = self.enabled.iter().map(|s| self.weight(*s)).sum();
        let mut at = self.rng.below(total as usize) as u32;
        for s in &self.enabled {
            let w = self.weight(*s);
            if at < w {
                return *s;
            }
            at -= w;
        }
        unreachable!("the weights add up")
    }

    /// With slow kinds all others are fast alike.
    fn weight(&self, step: Step) -> u32 {
        let kind = step.kind();
        if self.shape.slow.is_empty() {
            return self.weights[kind];
        }
        let first = matches!(step, Step::Recover(0, _) | Step::Close(0, _) | Step::Apply(0, _) | Step::Again(0, _));
        let slow = self.shape.slow.iter().any(|(k, of)| *k == kind && (*of == Of::All || first));
        if slow { 1 } else { 64 }
    }

    fn go(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Generation => self.generation(),
            Step::Hear(i) => self.hear(i),
            Step::Join(i) => self.group.join(i),
            Step::Serve(i) => self.serve(i),
            Step::Publish(i) => self.publish(i),
            Step::Close(i, p) => drop(self.proc(i).actors.remove(&p)),
            Step::Begin(i, p) => self.begin(i, p),
            Step::Recover(i, p) => self.recover(i, p)?,
            Step::Work(i, p) => self.work(i, p)?,
            Step::Stale(i) => self.work_stale(i)?,
            Step::Init(i, l) => self.init(i, l),
            Step::Seal(i, l) => self.seal(i, l)?,
            Step::BeginTransaction(i, l) => self.begin_transaction(i, l),
            Step::Wait(i, l) => self.delivered(i, l),
            Step::Send(i, l) | Step::Offsets(i, l) | Step::Commit(i, l) | Step::Abort(i, l) => self.call(i, l),
            Step::Again(i, l) => self.again(i, l),
            Step::Apply(i, l) => self.apply(i, l),
            Step::Control(id, part) => self.broker.control(id, part, self.now),
            Step::SessionEnd(i) => self.group.leave(i),
            Step::Resume(i) => self.proc(i).paused = false,
            Step::Start(i) => self.start(i),
            Step::TimeOut(id) => self.broker.time_out(id),
            Step::ArriveLate(k) => self.arrive_late(k),
            fault => self.fault(fault),
        }
        Ok(())
    }

    fn fault(&mut self, fault: Step) {
        let budget = match fault {
            Step::Wish(..) => REBALANCE,
            Step::Pause(_) | Step::Zombie(_) => ZOMBIE,
            Step::Crash(_) => CRASH,
            Step::Cut(_, _, Cut::Never | Cut::Arrived) => UNKNOWN,
            Step::Cut(..) => CUT,
            _ => TIMEOUT,
        };
        self.left[budget] -= usize::from(!matches!(fault, Step::Pause(_)));
        match fault {
            Step::Wish(p, i) => self.group.target[p as usize] = Some(i),
            Step::Pause(i) => self.proc(i).paused = true,
            Step::Zombie(i) => self.group.leave(i),
            Step::Crash(i) => self.crash_somehow(i),
            Step::Cut(i, l, cut) => self.cut(i, l, cut),
            Step::TimeOutLiving(id) => self.broker.time_out(id),
            other => panic!("{other:?} is no fault"),
        }
    }

    /// The disk mostly survives; it may be lost with the machine, or come back damaged.
    fn crash_somehow(&mut self, i: usize) {
        let fate = self.rng.below(8);
        self.crash(i, fate == 0);
        if fate == 1 {
            self.disks[i].values_mut().for_each(|d| d.corrupt = true);
        }
    }

    fn generation(&mut self) {
        let procs = &self.procs;
        let claims = |i: usize, p: i32| procs[i].as_ref().is_some_and(|x| x.client.owned.contains_key(&p));
        self.group.new_generation(&claims, &mut self.rng);
    }
}
