//! The command line of the tormentor. Invariant: a run is told again by its options; the seed is printed.

use clap::Parser;

/// Kills, stops and cuts Tidemill and Kafka under load, then compares all that was committed with an oracle. Prints one
/// JSON line; exit code 1 on a violation, and then the scratch folder stays.
#[derive(Clone, Debug, Parser)]
#[command(name = "torture")]
pub struct Options {
    /// SIGKILLs of processes and brokers until the torment ends.
    #[arg(long, default_value_t = 100)]
    pub kills: u64,
    #[arg(long, default_value_t = 1_000_000)]
    pub records: u64,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=200))]
    pub partitions: i32,
    /// Default: from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub processes: u64,
    /// Brokers: 1 or 3. One alone is never killed.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Runs `tidemill-controls` without this protection (names with commas between); then violations are wanted.
    #[arg(long)]
    pub control: Option<String>,
    /// Ends the torment after so many minutes, whatever is left of it.
    #[arg(long, default_value_t = 45)]
    pub minutes: u64,
    /// Keeps the scratch folder also when all is well.
    #[arg(long)]
    pub keep: bool,
    /// Says on stderr what is done when.
    #[arg(long, short)]
    pub verbose: bool,
}
