//! Benchmarks of what users wait for: a commit, and a restart after SIGKILL with much state. Prints a table for people and
//! one JSON line for machines. Called by `make bench-commit` and `make bench-restart`. Invariant: figures come from the
//! program's own log and a real broker; the load of the machine stands beside them.

mod commit;
mod drip;
mod figures;
mod floor;
mod restart;
mod rig;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Latency of a lane's transactions, beside that of a bare transactional producer on the same broker
    Commit(commit::Options),
    /// Time to run again after SIGKILL, with a large store
    Restart(restart::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Commit(options) => commit::run(&options),
        Command::Restart(options) => restart::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("bench: {cause}");
            ExitCode::FAILURE
        }
    }
}
