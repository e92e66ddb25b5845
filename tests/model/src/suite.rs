//! Every run that `MODEL.md` reports, with the verdict and the count it must give.
//!
//! Knows no step. The command line runs a suite by name; the tests run the short runs, all controls and the owner runs.
//! Invariant: each protection is taken away by at least one control.

use crate::config::Config;
use crate::invariants::Broken;
use crate::search::{Report, Verdict, check};
use Verdict::{Bound, Deadlock, Holds};

/// A run and what it must show.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// As on the command line.
    pub args: &'static str,
    pub verdict: Verdict,
    pub states: usize,
}

const fn run(args: &'static str, verdict: Verdict, states: usize) -> Run {
    Run { args, verdict, states }
}

const fn breaks(args: &'static str, what: Broken, states: usize) -> Run {
    Run { args, verdict: Verdict::Broken(what), states }
}

/// All protections, one task, two instances.
pub const BASE: [Run; 20] = [
    run("--records 3 --rebalances 1", Holds, 361_842),
    run("--records 2 --rebalances 2", Holds, 2_742_585),
    run("--records 2 --rebalances 1 --crashes 1", Holds, 3_482_768),
    run("--records 1 --rebalances 1 --crashes 2", Holds, 5_188_568),
    run("--records 2 --rebalances 1 --zombies 1", Holds, 16_758_849),
    run("--records 3 --late 2", Holds, 1_800_213),
    run("--records 2 --late 1 --crashes 1", Holds, 956_263),
    run("--records 1 --late 1 --crashes 2", Holds, 2_063_074),
    run("--records 2 --late 1 --rebalances 1", Holds, 3_481_828),
    run("--records 1 --late 2 --rebalances 1", Holds, 5_729_638),
    run("--records 1 --late 1 --rebalances 1 --crashes 1", Holds, 10_585_308),
    run("--records 2 --late 1 --rebalances 1 --unknowns 1", Holds, 23_992_092),
    run("--records 2 --rebalances 1 --timeouts 1", Holds, 1_634_199),
    run("--records 1 --late 1 --rebalances 1 --timeouts 1", Holds, 3_992_913),
    run("--records 1 --rebalances 1 --zombies 1 --on dynamic", Holds, 1_600_248),
    run("--records 1 --rebalances 1 --crashes 1 --on fence_owner", Holds, 410_979),
    run("--records 1 --late 1 --crashes 1 --on fence_owner --on late_init", Holds, 151_240),
    run("--records 1 --zombies 1 --crashes 1 --on unheard", Holds, 1_549_536),
    run("--records 1 --zombies 1 --crashes 2 --on unheard", Holds, 20_533_105),
    run("--records 1 --late 1 --rebalances 1 --zombies 1 --bound 30000000", Bound, 30_000_001),
];

/// All protections; more tasks, lanes or instances.
pub const WIDE: [Run; 9] = [
    run("--records 1 --tasks 2 --rebalances 1", Holds, 491_286),
    run("--records 1 --tasks 2 --lanes 2 --rebalances 1", Holds, 1_355_632),
    run("--records 1 --tasks 2 --late 1", Holds, 101_139),
    run("--records 1 --tasks 2 --lanes 2 --late 1", Holds, 356_810),
    run("--records 1 --tasks 2 --rebalances 1 --unknowns 1", Holds, 3_116_043),
    run("--records 1 --tasks 2 --lanes 2 --crashes 1", Holds, 538_906),
    run("--records 1 --instances 3 --rebalances 1", Holds, 206_902),
    run("--records 1 --instances 3 --rebalances 1 --crashes 1", Holds, 10_885_507),
    run("--records 1 --tasks 2 --late 1 --rebalances 1 --bound 14000000", Bound, 14_000_001),
];

/// Each protection taken away, and the second look of RECOVER 7. The first `--off` of a run is the protection it is about.
pub const CONTROLS: [Run; 30] = [
    breaks("--off recycle_error --late 1", Broken::Torn, 880),
    breaks("--off recycle_abort --late 1", Broken::Store, 783),
    breaks("--off recycle_abort --late 1 --rebalances 1", Broken::Store, 8_837),
    breaks("--off recycle_abort --late 2 --rebalances 1 --records 1", Broken::Torn, 13_127),
    breaks("--off recycle_abort --late 2 --rebalances 1 --records 1 --tasks 2", Broken::Torn, 98_710),
    breaks("--off recycle_abort --off verify --late 1 --rebalances 1 --records 1 --tasks 2", Broken::Store, 37_850),
    breaks("--off verify --late 1", Broken::Duplicate, 807),
    breaks("--off wait_lso --rebalances 1", Broken::Halt, 16_791),
    breaks("--off wait_lso --off step7 --rebalances 1", Broken::Loss, 35_248),
    breaks("--off raw_end --rebalances 1", Broken::Halt, 16_439),
    breaks("--off raw_end --off step7 --rebalances 1", Broken::Loss, 34_937),
    breaks("--off order --rebalances 1", Broken::Halt, 18_111),
    run("--off order --off step7 --rebalances 1", Holds, 79_578),
    breaks("--off stable --rebalances 1", Broken::Halt, 17_632),
    breaks("--off stable --off step7 --rebalances 1", Broken::Duplicate, 38_847),
    run("--off step7 --rebalances 1", Holds, 76_690),
    breaks("--on halt_at_once --rebalances 1", Broken::Halt, 14_589),
    breaks("--off frozen_meta --rebalances 1", Broken::Duplicate, 42_096),
    breaks("--off atomic_snapshot --rebalances 1", Broken::Duplicate, 45_262),
    breaks("--off incarnation --rebalances 2", Broken::Loss, 80_765),
    breaks("--off filter_lost --rebalances 1", Broken::Duplicate, 98_378),
    breaks("--off unknown_recovers --unknowns 1", Broken::Duplicate, 106),
    breaks("--off unknown_commits --unknowns 1", Broken::Store, 31),
    run("--off publish_empty --zombies 1", Deadlock(108_876), 272_591),
    run("--off newer_than_used --zombies 1", Deadlock(29_302), 548_113),
    breaks("--off real_member --rebalances 1 --zombies 1 --on dynamic", Broken::Duplicate, 4_144_354),
    breaks("--off real_member --rebalances 1 --zombies 1 --crashes 1 --records 1", Broken::Duplicate, 7_655_409),
    run("--off init_first --late 1 --crashes 1", Holds, 1_159_697),
    run("--off let_go --rebalances 2", Holds, 3_577_791),
    breaks("--off unbroken --records 1 --zombies 1 --crashes 1 --on unheard", Broken::Duplicate, 509_065),
];

/// The broker never times out. Does fencing a dead owner replace the timeout, if nobody restarts? And the initialising of all
/// lanes at the first assignment, if somebody does?
pub const OWNER: [Run; 9] = [
    run("--rebalances 1 --crashes 1 --on no_timeouts --on no_restart", Deadlock(22_521), 218_035),
    run("--rebalances 1 --crashes 1 --on no_timeouts --on no_restart --on fence_owner", Holds, 233_092),
    run(
        "--rebalances 1 --crashes 1 --on no_timeouts --on no_restart --on fence_owner --on fence_named",
        Deadlock(14_842),
        221_592,
    ),
    run("--crashes 1 --on no_timeouts", Deadlock(1_110), 18_332),
    run("--crashes 1 --on no_timeouts --on init_owner", Deadlock(1_110), 19_088),
    run("--crashes 1 --on no_timeouts --on init_all", Holds, 30_045),
    run("--crashes 1 --on no_timeouts --on init_all --records 1 --rebalances 1", Holds, 425_897),
    run("--crashes 1 --on no_timeouts --records 1 --tasks 2 --lanes 2", Deadlock(39_320), 282_700),
    run("--crashes 1 --on no_timeouts --on init_all --records 1 --tasks 2 --lanes 2", Holds, 793_375),
];

/// The suites by name.
pub const SUITES: [(&str, &[Run]); 4] = [("base", &BASE), ("wide", &WIDE), ("controls", &CONTROLS), ("owner", &OWNER)];

impl Run {
    pub fn config(&self) -> Config {
        Config::parse(self.args.split_whitespace()).expect("a run of the suite is written correctly")
    }

    /// Whether it ends within a few seconds.
    pub fn short(&self) -> bool {
        self.states < 2_500_000
    }

    /// The protection that a control is about.
    pub fn removes(&self) -> Option<&'static str> {
        self.args.split_whitespace().skip_while(|word| *word != "--off").nth(1)
    }

    /// The report, or what differs from the one expected: one line, and the trace.
    pub fn show(&self) -> Result<Report, String> {
        let report = check(&self.config());
        if (report.verdict, report.states) == (self.verdict, self.states) {
            return Ok(report);
        }
        let Run { args, verdict, states } = self;
        let trace = report.trace.join("\n");
        Err(format!("{args}: {report}; expected {verdict:?} with {states} states\n{trace}"))
    }
}
