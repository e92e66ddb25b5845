//! `tidemill query FILE STEP [FIELD=VALUE ...]`: the open windows of a grouping, from the running process.
//!
//! Called by `cli`. What an answer means is `http/`'s. Invariant: what is printed stands for the positions beside it.

use super::{Output, ask, load};
use crate::http::client::escaped;
use crate::kafka::Fault;
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML: says where the process listens.
    file: PathBuf,
    /// A step that groups.
    step: String,
    /// Fields of the group's key, as results name them; `key` where it is the record key. None: all groups.
    #[arg(value_name = "FIELD=VALUE", value_parser = pair)]
    fields: Vec<(String, String)>,
    /// The window that begins then, RFC 3339 or ms; default: all that are open.
    #[arg(long, value_name = "START")]
    window: Option<String>,
    /// Rows at most.
    #[arg(long)]
    limit: Option<usize>,
    /// Another process than the one that the topology's `http.listen` names.
    #[arg(long)]
    url: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let fields = args.fields.iter().map(|(name, value)| (format!("field.{name}"), value.clone()));
    let window = args.window.iter().map(|window| ("window".to_owned(), window.clone()));
    let limit = args.limit.iter().map(|limit| ("limit".to_owned(), limit.to_string()));
    let asked: Vec<String> = fields
        .chain(window)
        .chain(limit)
        .map(|(name, value)| format!("{}={}", escaped(&name), escaped(&value)))
        .collect();
    let path = format!("/query/{}?{}", escaped(&args.step), asked.join("&"));
    let told = ask::get(&loaded.settings, args.url.as_deref(), &path)?;
    match output {
        Output::Json => println!("{told}"),
        Output::Table => print!("{}", shown(&told)),
    }
    Ok(())
}

fn shown(told: &Value) -> String {
    let rows: Vec<Vec<(String, Value)>> = told["rows"].as_array().into_iter().flatten().map(flat).collect();
    let mut heads: Vec<String> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !heads.contains(name) {
            heads.push(name.clone());
        }
    }
    let cell = |row: &Vec<(String, Value)>, head: &String| {
        row.iter().find(|(name, _)| name == head).map_or(Value::Null, |(_, value)| value.clone())
    };
    let cells: Vec<Vec<Value>> = rows.iter().map(|row| heads.iter().map(|head| cell(row, head)).collect()).collect();
    let mut out = match cells.is_empty() {
        true => "no rows\n".to_owned(),
        false => ask::table(&heads, &cells),
    };
    if told["truncated"] == true {
        out += &format!("only the first {} rows; name a group or a window, or raise --limit\n", cells.len());
    }
    for (topic, positions) in told["positions"].as_object().into_iter().flatten() {
        let each = positions.as_object().into_iter().flatten().map(|(partition, at)| format!("{partition}:{at}"));
        out += &format!("as of {topic} {}\n", each.collect::<Vec<_>>().join(" "));
    }
    out
}

/// A row's columns; a window has two.
fn flat(row: &Value) -> Vec<(String, Value)> {
    let mut columns = Vec::new();
    for (name, value) in row.as_object().into_iter().flatten() {
        match value.as_object().filter(|_| name == "window") {
            Some(window) => columns.extend(window.iter().map(|(part, time)| (format!("window {part}"), time.clone()))),
            None => columns.push((name.clone(), value.clone())),
        }
    }
    columns
}
