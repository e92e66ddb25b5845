//! The command line: one command, one file; text for people, JSON for programs.
//!
//! Called by `main.rs` alone. Knows every room, and decides nothing that they do not.
//! Invariant: 0 done, 1 failed, 2 usage, 78 configuration; results on standard output, everything else on standard error.

mod ask;
mod check;
mod doctor;
mod migrate;
mod plan;
mod query;
mod reset;
mod run;
mod simulate;
mod state;
mod status;
mod test;
mod topics;

use crate::kafka::{Connection, Fault, librdkafka_version};
use crate::process::{CONFIGURATION, DONE, FAILED, USAGE};
use clap::{Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidemill_topology::{Loaded, Settings};

/// Kafka-native stream processor: right hourly numbers, exactly once.
#[derive(Parser)]
#[command(name = "tidemill", disable_version_flag = true)]
struct Cli {
    /// Print the version, with those of librdkafka and RocksDB.
    #[arg(short = 'V', long)]
    version: bool,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run a topology until SIGTERM or SIGINT.
    Run(run::Args),
    /// Read a topology, say what it does, and what is wrong with it.
    Check(check::Args),
    /// Look at brokers, topics, rights, databases, disk and clock, and say what to mend.
    Doctor(doctor::Args),
    /// Show the graph that a topology compiles to.
    Plan(plan::Args),
    /// Run the tests that a topology holds, without Kafka.
    Test(test::Args),
    /// The topics that a topology needs: print, create, check.
    #[command(subcommand)]
    Topics(topics::Command),
    /// Work the sources again from another place, with empty state.
    Reset(reset::Args),
    /// Make the tables that a topology's sinks need and their databases lack.
    Migrate(migrate::Args),
    /// Look into the stores of a state directory: check, dump.
    #[command(subcommand)]
    State(state::Command),
    /// Ask a running process for the open windows of a grouping.
    Query(query::Args),
    /// Ask a running process how its tasks are.
    Status(status::Args),
    /// Produce events as a source system would, with faults in stated shares, and say what to expect of them.
    #[command(subcommand)]
    Simulate(simulate::Command),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { USAGE } else { DONE };
            return if e.print().is_ok() { exit(code) } else { exit(FAILED) };
        }
    };
    if cli.version {
        println!("{}", version());
        return exit(DONE);
    }
    let Some(command) = cli.command else {
        eprintln!("tidemill: no command; try 'tidemill --help'");
        return exit(USAGE);
    };
    tidemill_observability::start(matches!(command, Command::Run(_) | Command::Simulate(_)));
    crate::process::abort_on_panic();
    crate::process::hear_file_limits();
    if !matches!(command, Command::Run(_)) {
        crate::process::end_with_the_reader();
    }
    // What `run` says at its end goes where the rest of its log goes, in the same form.
    let logged = matches!(command, Command::Run(_)) && !std::io::stderr().is_terminal();
    let done = match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args, cli.output),
        Command::Doctor(args) => doctor::run(&args, cli.output),
        Command::Plan(args) => plan::run(&args, cli.output),
        Command::Test(args) => test::run(&args, cli.output),
        Command::Topics(command) => topics::run(&command, cli.output),
        Command::Reset(args) => reset::run(&args, cli.output),
        Command::Migrate(args) => migrate::run(&args, cli.output),
        Command::State(command) => state::run(&command, cli.output),
        Command::Query(args) => query::run(&args, cli.output),
        Command::Status(args) => status::run(&args, cli.output),
        Command::Simulate(command) => simulate::run(&command, cli.output),
    };
    tidemill_observability::trace::stop(crate::process::LAST_SPANS);
    match done {
        Ok(()) => exit(DONE),
        Err(fault) => {
            let code = if fault.configuration { CONFIGURATION } else { FAILED };
            crate::exits::note(crate::exits::word(&fault.cause, fault.configuration));
            for cause in fault.cause.lines() {
                if logged { tracing::error!(code, cause, "exit") } else { eprintln!("tidemill: {cause}") }
            }
            exit(code)
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(code as u8)
}

fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!("tidemill {own} (librdkafka {}, RocksDB {})", librdkafka_version(), tidemill_state::rocksdb_version())
}

fn load(file: &Path) -> Result<Loaded, Fault> {
    tidemill_topology::load(file).map_err(|e| Fault::configuration(e.to_string()))
}

/// A connection for commands that own no task.
fn connect(settings: &Settings) -> Result<Connection, Fault> {
    Connection::new(settings, "cli", 16 << 20)
}

fn state_folder(settings: &Settings, over: Option<&PathBuf>) -> PathBuf {
    over.unwrap_or(&settings.state).join(&settings.app)
}
