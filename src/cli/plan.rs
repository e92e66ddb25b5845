//! `tidemill plan FILE`: the graph that a topology compiles to, in words, as a Mermaid flowchart or as JSON.
//!
//! Called by `cli`. Asks nobody. Invariant: what it shows is what `run` runs.

use super::{Output, load};
use crate::kafka::Fault;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
    /// As a Mermaid flowchart, for a document.
    #[arg(long)]
    mermaid: bool,
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let topology = load(&args.file)?.topology;
    match (output, args.mermaid) {
        (_, true) => print!("{}", topology.plan_mermaid()),
        (Output::Json, _) => println!("{}", topology.plan_json()),
        (Output::Table, _) => print!("{}", topology.describe()),
    }
    Ok(())
}
