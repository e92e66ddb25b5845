//! `tidemill topics print|create|check FILE`: the topics that a topology needs besides its sources.
//!
//! Called by `cli`. What a topic should be is `kafka::Topics`.
//! Invariant: `create` may be repeated, and alters nothing that is there.

use super::{Output, connect, load};
use crate::kafka::{Brokers, Fault, TopicPlan, Topics};
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print every topic as it should be.
    Print { file: PathBuf },
    /// Create what is missing.
    Create { file: PathBuf },
    /// Compare with what is there; exit code 78 on a difference.
    Check { file: PathBuf },
}

pub fn run(command: &Command, output: Output) -> Result<(), Fault> {
    match command {
        Command::Print { file } => with(file, |topics| {
            print(&topics.plan()?, output);
            Ok(())
        }),
        Command::Create { file } => with(file, |topics| {
            let created = topics.create()?;
            match output {
                Output::Json => println!("{}", serde_json::json!({ "created": created })),
                Output::Table if created.is_empty() => println!("all topics are there"),
                Output::Table => created.iter().for_each(|name| println!("created {name}")),
            }
            Ok(())
        }),
        Command::Check { file } => with(file, |topics| {
            let all: Vec<String> = topics.check()?.iter().map(ToString::to_string).collect();
            if !all.is_empty() {
                return Err(Fault::configuration(all.join("\n")));
            }
            println!("all topics are as they should be");
            Ok(())
        }),
    }
}

fn with(file: &Path, work: impl FnOnce(&Topics<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    let loaded = load(file)?;
    let connection = connect(&loaded.settings)?;
    work(&Topics::of(&Brokers::reach(&connection)?, &loaded.topology, &loaded.settings))
}

fn print(plans: &[TopicPlan], output: Output) {
    if output == Output::Json {
        for p in plans {
            let line = serde_json::json!({ "name": p.name, "role": p.role, "partitions": p.partitions,
                "replication": p.replication, "config": p.config });
            println!("{line}");
        }
        return;
    }
    let width = plans.iter().map(|p| p.name.len()).max().unwrap_or(5).max(5);
    println!("{:width$}  {:12}  partitions  replication  config", "topic", "role");
    for p in plans {
        let config: Vec<String> = p.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let (partitions, replication) = (p.partitions, p.replication);
        println!("{:width$}  {:12}  {partitions:>10}  {replication:>11}  {}", p.name, p.role, config.join(" "));
    }
}
