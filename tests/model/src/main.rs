//! The command line of the checker: one run, with its trace, or a suite with the verdicts it must give.
//!
//! Knows no protocol. Called by hand and by `make model`. Invariant: exit 0 only if nothing was broken (a run) or all was as
//! expected (a suite); 1 otherwise; 2 for wrong words.

use std::process::ExitCode;
use std::time::Instant;
use tidemill_model::suite::{Run, SUITES};
use tidemill_model::words::{EXTRAS, PROTECTIONS, Word};
use tidemill_model::{Config, Verdict, check};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["--help"] => {
            help();
            ExitCode::SUCCESS
        }
        [] => suites("all"),
        ["--suite", name] => suites(name),
        _ => match Config::parse(words.into_iter()) {
            Ok(config) => one(&config),
            Err(why) => wrong(&why),
        },
    }
}

fn wrong(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}

fn one(config: &Config) -> ExitCode {
    let report = check(config);
    println!("{report}");
    for line in &report.trace {
        println!("{line}");
    }
    ExitCode::from(u8::from(!matches!(report.verdict, Verdict::Holds | Verdict::Bound)))
}

fn suites(name: &str) -> ExitCode {
    let known = SUITES.iter().filter(|(suite, _)| name == "all" || name == *suite);
    let runs: Vec<&Run> = known.flat_map(|(_, runs)| *runs).collect();
    if runs.is_empty() {
        return wrong(&format!("--suite {name}: not one of base, wide, controls, owner, all"));
    }
    let mut differ = 0;
    for run in &runs {
        let began = Instant::now();
        match run.show() {
            Ok(report) => println!("{:6.1} s  {:<88} {report}", began.elapsed().as_secs_f64(), run.args),
            Err(why) => {
                differ += 1;
                println!("DIFFERS  {why}");
            }
        }
    }
    println!("{} runs, {differ} not as expected", runs.len());
    ExitCode::from(u8::from(differ > 0))
}

fn help() {
    println!("tidemill-model: explicit-state check of the exactly-once protocol\n");
    println!(
        "--suite base|wide|controls|owner|all    the runs of MODEL.md, each with the verdict it must give; all, if nothing is given"
    );
    println!("--tasks N --instances N --lanes N       lanes: of one instance");
    println!("--records N                             input records of a task");
    println!("--late N --crashes N --rebalances N --zombies N --timeouts N --unknowns N");
    println!("                                        how often each fault may happen");
    println!("--bound N                               give up after so many states");
    table("--off NAME", &PROTECTIONS);
    table("--on NAME", &EXTRAS);
}

fn table(option: &str, words: &[Word]) {
    println!("\n{option}:");
    for Word { name, says, file } in words {
        println!("  {name:<18} {says} ({file})");
    }
}
