//! `tidemill check FILE`: says what a topology does and what is wrong with it; `--live` also asks brokers and databases.
//!
//! Called by `cli`. Changes nothing anywhere.
//! Invariant: what `run` would refuse at start, this refuses too.

use super::{Output, connect, load};
use crate::kafka::{Brokers, Fault, Topics};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
    /// Also ask the brokers and the sinks' databases: are they fit, are topics and tables as they should be?
    #[arg(long)]
    live: bool,
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let connection = connect(&loaded.settings)?;
    if args.live {
        let brokers = Brokers::reach(&connection)?;
        brokers.refuse_unfit()?;
        let differences = Topics::of(&brokers, &loaded.topology, &loaded.settings).check()?;
        if !differences.is_empty() {
            let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
            return Err(Fault::configuration(all.join("\n")));
        }
        crate::sinks::check(&loaded.sinks, &loaded.settings.app)?;
    }
    let stages: Vec<&str> = loaded.topology.stages.iter().map(|s| &*s.name).collect();
    match output {
        Output::Table => {
            print!("{}", loaded.topology.describe());
            loaded.sinks.iter().for_each(|sink| println!("{}", sink.describe(&loaded.settings.app)));
        }
        Output::Json => println!("{}", serde_json::json!({ "app": loaded.settings.app, "stages": stages, "ok": true })),
    }
    Ok(())
}
