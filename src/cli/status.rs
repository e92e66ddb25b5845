//! `tidemill status FILE`: how the running process is, task by task.
//!
//! Called by `cli`. Asks over HTTP. Invariant: it says what the process said, and nothing of its own.

use super::{Output, ask, load};
use crate::kafka::Fault;
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML: says where the process listens.
    file: PathBuf,
    /// Another process than the one that the topology's `http.listen` names.
    #[arg(long)]
    url: Option<String>,
    /// Look again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

const AGAIN: Duration = Duration::from_secs(1);

const OWN: [&str; 7] = ["task", "phase", "restored", "position", "end", "lag", "stream_time"];
const COUNTS: [&str; 6] = ["in", "out", "filtered", "duplicate", "late", "dead"];

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let look = || ask::get(&loaded.settings, args.url.as_deref(), "/status");
    if !args.watch {
        return print(&look()?, output);
    }
    loop {
        match look() {
            Ok(told) => {
                if std::io::stdout().is_terminal() && output == Output::Table {
                    print!("\x1b[H\x1b[2J");
                }
                print(&told, output)?;
            }
            // It may be starting again.
            Err(fault) => eprintln!("tidemill: {}", fault.cause),
        }
        std::thread::sleep(AGAIN);
    }
}

fn print(told: &Value, output: Output) -> Result<(), Fault> {
    match output {
        Output::Json => println!("{told}"),
        Output::Table => print!("{}", shown(told)),
    }
    std::io::stdout().flush().map_err(|e| Fault::failed(format!("standard output: {e}")))
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
