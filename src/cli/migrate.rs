//! `tidemill migrate FILE`: the tables that its sinks need and their databases lack.
//!
//! Called by `cli`. Everything that it does is `sinks::migrate`.
//! Invariant: may be repeated, and alters nothing that is there.

use super::{Output, load};
use crate::kafka::Fault;
use crate::sinks::{self, Done};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let all = sinks::migrate(&loaded.sinks, &loaded.settings.app)?;
    if all.is_empty() {
        return Err(Fault::configuration(format!(
            "{}: no sink is on; there is nothing to migrate",
            args.file.display()
        )));
    }
    for (sink, done) in all {
        for one in done {
            let (table, created) = match one {
                Done::Created(table) => (table, true),
                Done::Found(table) => (table, false),
            };
            match output {
                Output::Json => {
                    println!("{}", serde_json::json!({ "sink": &*sink, "table": table, "created": created }))
                }
                Output::Table if created => println!("{sink}: created {table}"),
                Output::Table => println!("{sink}: {table} is there"),
            }
        }
    }
    Ok(())
}
