//! `tidemill status FILE`: how the running process is, task by task.
//!
//! Called by `cli`. Asks over HTTP. Invariant: it says what the process said, and nothing of its own.

use super::{Output, ask, load};
use crate::kafka::Fault;
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML: says where the process listens.
    file: PathBuf,
    /// Another process than the one that the topology's `http.listen` names.
    #[arg(long)]
    url: Option<String>,
}

const OWN: [&str; 6] = ["task", "phase", "position", "end", "lag", "stream_time"];
const COUNTS: [&str; 6] = ["in", "out", "filtered", "duplicate", "late", "dead"];

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let told = ask::get(&loaded.settings, args.url.as_deref(), "/status")?;
    match output {
        Output::Json => println!("{told}"),
        Output::Table => print!("{}", shown(&told)),
    }
    Ok(())
}

fn shown(told: &Value) -> String {
    let word = |name: &str| told[name].as_str().unwrap_or("?").to_owned();
    let ready = if told["ready"] == true { "ready" } else { "not ready" };
    let mut out = format!("{} {}, version {}: {ready}\n", word("app"), word("instance"), word("version"));
    for waiting in told["waiting"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out += &format!("waiting: {waiting}\n");
    }
    let heads: Vec<String> = OWN.iter().chain(&COUNTS).map(|head| head.replace('_', " ")).collect();
    let row = |task: &Value| -> Vec<Value> {
        let counts = COUNTS.iter().map(|name| task["counts"][name].clone());
        OWN.iter().map(|name| task[name].clone()).chain(counts).collect()
    };
    let rows: Vec<Vec<Value>> = told["tasks"].as_array().into_iter().flatten().map(row).collect();
    out + &if rows.is_empty() { "no tasks here\n".to_owned() } else { ask::table(&heads, &rows) }
}
