//! `tidemill test FILE`: runs the section `tests` of a topology in memory, without Kafka.
//!
//! Called by `cli`. Knows nothing of how a case is run. Invariant: exit code 1 if a test fails, 78 if there is none.

use super::{Output, load};
use crate::kafka::Fault;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    if loaded.cases.is_empty() {
        let file = args.file.display();
        return Err(Fault::configuration(format!("{file} has no tests; write some in its section 'tests'")));
    }
    let mut failed = 0;
    for case in &loaded.cases {
        let lines = case.run(&loaded.topology).unwrap_or_else(|error| vec![error.to_string()]);
        failed += usize::from(!lines.is_empty());
        match output {
            Output::Json => {
                println!("{}", serde_json::json!({ "test": case.name, "ok": lines.is_empty(), "differences": lines }));
            }
            Output::Table => {
                println!("{}  {}", if lines.is_empty() { "ok    " } else { "FAILED" }, case.name);
                lines.iter().for_each(|line| println!("          {line}"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Fault::failed(format!("{n} of {} tests failed", loaded.cases.len()))),
    }
}
