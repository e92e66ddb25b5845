//! `tidemill run FILE`: runs a topology until it is told to stop.
//!
//! Called by `cli`. Everything that it does is `runtime::run`.
//! Invariant: returns only if it could not start.

use crate::kafka::Fault;
use crate::runtime::{self, Options};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
    /// The name under which Kafka knows this process; default: $POD_NAME, else one kept in the state directory.
    #[arg(long)]
    instance: Option<String>,
    /// State directory, instead of the topology's.
    #[arg(long)]
    state: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<(), Fault> {
    let loaded = super::load(&args.file)?;
    runtime::run(loaded, Options { instance: args.instance, state: args.state })
}
