//! The controls: for each protection a schedule of few real events on a real broker that does no harm, and does harm once
//! that protection is gone. Knows the product by its command line, its log, its topics and its stop points
//! (`src/stop_points.rs`); called by the driver `controls` and its short form. Invariant: a schedule is the same
//! function with everything on and with something removed, so what it finds is that protection's doing.

mod aborts;
mod late;
mod member;
mod moves;
mod standstill;
mod takeover;

use super::report::Report;
use super::world::{Program, World};
use std::path::Path;

type Schedule = fn(&World, &mut Report) -> Result<(), String>;

/// The cluster that a schedule needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brokers {
    One,
    /// Three, each with partitions of its own, whose requests to each other go through the proxy.
    Three,
    /// Forgets a producer that was silent for half a second, as a real one does after a day.
    Forgetful,
    /// The same, and does not verify partitions.
    Unverified,
}

/// What the run with something removed must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    Violation,
    /// It holds all the same, for this reason.
    Nothing(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// What is taken away; names with commas between. The first is what the row is about.
    pub removed: &'static str,
    /// What happens, in words: whoever reads the table should be able to tell it.
    pub events: &'static str,
    pub finds: Finds,
    pub brokers: Brokers,
    /// For the run with something removed, where that needs another cluster.
    pub brokers_without: Brokers,
    schedule: Schedule,
}

const fn control(removed: &'static str, events: &'static str, schedule: Schedule) -> Control {
    let (brokers, brokers_without) = (Brokers::One, Brokers::One);
    Control { removed, events, finds: Finds::Violation, brokers, brokers_without, schedule }
}

impl Control {
    const fn on(self, brokers: Brokers) -> Control {
        Control { brokers, brokers_without: brokers, ..self }
    }

    const fn holds(self, because: &'static str) -> Control {
        Control { finds: Finds::Nothing(because), ..self }
    }

    pub fn is_about(&self, protection: &str) -> bool {
        self.removed.split(',').next() == Some(protection)
    }

    /// Two rows with equal names run the same with everything on.
    pub fn schedule_name(&self) -> (&'static str, Brokers) {
        (self.events, self.brokers)
    }

    /// The schedule, with everything on.
    pub fn with(&self, world: &mut World) -> (Report, Result<(), String>) {
        self.run(world, "")
    }

    /// The schedule, with something removed.
    pub fn without(&self, world: &mut World) -> (Report, Result<(), String>) {
        self.run(world, self.removed)
    }

    fn run(&self, world: &mut World, removed: &str) -> (Report, Result<(), String>) {
        let mut report = Report::default();
        world.program = Program::without(removed);
        let done = (self.schedule)(world, &mut report);
        world.proxy.remove_all();
        world.proxy.release_all();
        (report, done)
    }

    /// With everything on nothing may be found, and no process may end by itself.
    pub fn is_clean((report, done): &(Report, Result<(), String>)) -> bool {
        done.is_ok() && report.violations() == 0 && report.exits.is_empty()
    }

    pub fn is_shown(&self, (report, done): &(Report, Result<(), String>)) -> bool {
        match self.finds {
            Finds::Violation => report.violations() > 0 || !report.exits.is_empty(),
            Finds::Nothing(_) => done.is_ok() && report.violations() == 0,
        }
    }
}

/// A cluster of this kind and the program with controls. `keep`: for logs and states.
pub fn start(brokers: Brokers, keep: Option<&Path>) -> Result<World, String> {
    const FORGETS: [&str; 2] = ["producer.id.expiration.ms=500", "producer.id.expiration.check.interval.ms=100"];
    let (nodes, settings): (usize, &[&str]) = match brokers {
        Brokers::One => (1, &[]),
        Brokers::Three => (
            3,
            &[
                "inter.broker.listener.name=PROXY",
                "default.replication.factor=1",
                "min.insync.replicas=1",
                "offsets.topic.replication.factor=1",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
            ],
        ),
        Brokers::Forgetful => (1, &FORGETS),
        Brokers::Unverified => (1, &[FORGETS[0], FORGETS[1], "transaction.partition.verification.enable=false"]),
    };
    let keep = keep.map(|keep| keep.join(format!("{brokers:?}").to_lowercase()));
    World::start_nodes(nodes, Program::without(""), settings, keep)
}

const LATE_COMMIT: &str = "a commit comes late, when the next transaction has sent its data and not its offsets";
const LATE_ABORT: &str = "requests come late past an abort";
const LATE_JOB: &str = "values are sealed and not sent; the tasks go to another, who commits; then they are sent";
const LATE_MARKER: &str = "a process dies; its offsets are committed, its changelog's control record is late";
const OWN_RESTART: &str =
    "a process dies when its offsets are sent; its commit is late, and so is its successor's init";
const LOST_UNHEARD: &str =
    "a member is lost between a rebalance and its snapshot; another has its tasks, commits, and leaves the group empty";
const UNHEARD: &str = "a COMMIT succeeds and its outcome is called unknown (by a stop point)";
const UNSENT: &str = "a COMMIT is never sent and its outcome is called unknown (by a stop point)";

/// Every protection is the first of at least one row.
pub const CONTROLS: &[Control] = &[
    control("recycle_error", LATE_COMMIT, late::late_commit),
    control("recycle_abort", LATE_ABORT, aborts::late_abort),
    Control {
        brokers_without: Brokers::Unverified,
        ..control(
            "verify",
            "a Produce comes late past its abort, to a broker that has forgotten the producer",
            aborts::late_produce,
        )
        .on(Brokers::Forgetful)
    },
    control("wait_lso", LATE_MARKER, takeover::late_marker).on(Brokers::Three),
    control("raw_end", LATE_MARKER, takeover::late_marker).on(Brokers::Three),
    control(
        "order",
        "a task is lost while it recovers; its next owner commits before the offset is answered",
        takeover::lost_while_recovering,
    ),
    control("stable", "a commit is on its way when the tasks go to another", takeover::slow_commit),
    control("step7", "a changelog is made again and the offsets stay", takeover::changelog_made_again),
    control("frozen_meta", LATE_JOB, moves::late_job),
    control(
        "atomic_snapshot",
        "a seal falls between a rebalance and its snapshot, while another wants the tasks",
        moves::seal_in_between,
    )
    .holds(moves::WHY),
    control(
        "incarnation",
        "values are sealed and not sent; the tasks go to another, who commits, and come back; then they are sent",
        moves::away_and_back,
    ),
    control("filter_lost", LATE_JOB, moves::late_job),
    control("unknown_recovers", UNHEARD, late::unheard),
    control("unknown_commits", UNSENT, late::unsent),
    control("publish_empty", "another member joins and takes no task of ours", standstill::generation_moves),
    control(
        "newer_than_used",
        "another member joins while offsets are on their way, and takes no task of ours",
        standstill::generation_moves_in_flight,
    ),
    control("unbroken", LOST_UNHEARD, member::nobody),
    control("real_member", LOST_UNHEARD, member::nobody).holds(member::WHY),
    control("init_first", OWN_RESTART, takeover::own_restart)
        .holds("the second line: steps 2 and 4 wait for what init would settle; see the next two rows"),
    control("init_first,stable", OWN_RESTART, takeover::own_restart),
    control("stable", OWN_RESTART, takeover::own_restart)
        .holds("init has settled before the offsets are read: the first line, where the row above has neither"),
    control("let_go", "a commit is not yet applied when the tasks go to another and come back", moves::late_apply),
];

/// Those that take the least time, for the test command.
pub const QUICK: &[&str] = &["unknown_recovers", "filter_lost"];
