//! `tidemill reset FILE --to earliest|latest|TIME`: works the sources again from there, with empty state.
//!
//! Called by `cli`. Says what it would do; `--apply` does it. Invariant: nothing changes while a process of the app runs.

use super::{Output, connect, load};
use crate::kafka::{Fault, Reset, ResetTo, partitions_of};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
    /// `earliest`, `latest`, or the time of the records to begin with, as 2026-01-01T10:00:00Z.
    #[arg(long, value_parser = target)]
    to: ResetTo,
    /// Do it; else it only says what would be done.
    #[arg(long)]
    apply: bool,
}

fn target(text: &str) -> Result<ResetTo, String> {
    match text {
        "earliest" => Ok(ResetTo::Earliest),
        "latest" => Ok(ResetTo::Latest),
        text => match tidemill_topology::parse_time(text) {
            Some(ms) => Ok(ResetTo::Time(ms)),
            None => Err("write earliest, latest, or a time as 2026-01-01T10:00:00Z".to_owned()),
        },
    }
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let connection = connect(&loaded.settings)?;
    let partitions = partitions_of(&connection, &loaded.topology, &loaded.settings)?;
    let reset = Reset::plan(&connection, &loaded.topology, &partitions, args.to)?;
    if args.apply {
        reset.apply()?;
    }
    for one in reset.moves() {
        let from = one.from.map_or("-".to_owned(), |offset| offset.to_string());
        match output {
            Output::Json => println!(
                "{}",
                serde_json::json!({ "task": one.task.to_string(), "from": one.from, "to": one.to,
                    "forgotten_keys": one.keys, "applied": args.apply })
            ),
            Output::Table => {
                println!("{:48}  {from:>12} -> {:<12}  forgets {} keys", one.task.to_string(), one.to, one.keys);
            }
        }
    }
    if !args.apply && output == Output::Table {
        println!("nothing was changed; add --apply to do it. Results will be said again.");
    }
    Ok(())
}
