//! `tidemill state check|dump FILE`: looks into the stores of a state directory, beside a running process too.
//!
//! Called by `cli`. Opens read-only; what an entry means is the stage's to say.
//! Invariant: nothing is written, not even a log file.

use super::{Output, load, state_folder};
use crate::kafka::Fault;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tidemill_state::{Meta, RocksStore, StateStore};
use tidemill_topology::{Checkpoint, Loaded, Stage};

#[derive(clap::Args)]
pub struct Where {
    /// The topology, as YAML.
    file: PathBuf,
    /// State directory, instead of the topology's.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Only this task: STAGE/TOPIC/PARTITION.
    #[arg(long)]
    task: Option<String>,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Read every store whole and say whether it is sound.
    Check(Where),
    /// Print every store: its checkpoint, then its entries.
    Dump(Where),
}

/// One task's folder.
struct Found<'a> {
    name: String,
    folder: PathBuf,
    stage: &'a Stage,
}

pub fn run(command: &Command, output: Output) -> Result<(), Fault> {
    let (Command::Check(place) | Command::Dump(place)) = command;
    let loaded = load(&place.file)?;
    let folder = state_folder(&loaded.settings, place.state.as_ref());
    let found = folders(&folder, &loaded, place.task.as_deref())?;
    let mut unsound = Vec::new();
    for task in &found {
        let done = match command {
            Command::Check(_) => check(task, output),
            Command::Dump(_) => dump(task),
        };
        if let Err(fault) = done {
            unsound.push(fault.cause);
        }
    }
    if unsound.is_empty() { Ok(()) } else { Err(Fault::failed(unsound.join("\n"))) }
}

fn folders<'a>(folder: &Path, loaded: &'a Loaded, only: Option<&str>) -> Result<Vec<Found<'a>>, Fault> {
    let missing = |e: std::io::Error| {
        let remedy = "check --state and the topology's 'state:' and 'app:'";
        Fault::configuration(format!("state directory {}: {e}; {remedy}", folder.display()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(missing)? {
        let path = entry.map_err(missing)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for stage in &loaded.topology.stages {
            let prefix = format!("{}-{}-", stage.name, stage.topic);
            let Some(partition) = name.strip_prefix(&prefix).and_then(|p| p.parse::<i32>().ok()) else { continue };
            let name = stage.task(partition).to_string();
            if only.is_none_or(|o| o == name) {
                found.push(Found { name, folder: path.clone(), stage });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// `None`: a store that has never had a transaction.
fn open(task: &Found<'_>) -> Result<Option<(RocksStore, Meta, Checkpoint)>, Fault> {
    let failed = |e: &dyn std::fmt::Display| Fault::failed(format!("task {}: {e}", task.name));
    let store = RocksStore::open_read_only(&task.folder).map_err(|e| failed(&e))?;
    let meta = store.meta().map_err(|e| failed(&e))?;
    let Some(meta) = meta.filter(|m| !m.checkpoint.is_empty()) else { return Ok(None) };
    let checkpoint = Checkpoint::decode(&meta.checkpoint).map_err(|e| failed(&e))?;
    Ok(Some((store, meta, checkpoint)))
}

fn check(task: &Found<'_>, output: Output) -> Result<(), Fault> {
    let Some((store, meta, checkpoint)) = open(task)? else {
        untouched(task, output);
        return Ok(());
    };
    let (mut entries, mut bytes, mut wrong) = (0u64, 0u64, None);
    each(task, &store, |key, value| {
        entries += 1;
        bytes += (key.len() + value.len()) as u64;
        if let Err(e) = task.stage.describe_entry(&checkpoint, key, value) {
            wrong.get_or_insert(e);
        }
    })?;
    if let Some(wrong) = wrong {
        let remedy = "move the folder away: the task rebuilds it from its changelog";
        return Err(Fault::failed(format!("task {}: an entry cannot be read: {wrong}; {remedy}", task.name)));
    }
    match output {
        Output::Json => {
            let line =
                json!({ "task": task.name, "position": meta.position, "entries": entries, "bytes": bytes, "ok": true });
            println!("{line}");
        }
        Output::Table => {
            println!("{}: sound; {entries} entries, {bytes} bytes, changelog position {}", task.name, meta.position)
        }
    }
    Ok(())
}

fn untouched(task: &Found<'_>, output: Output) {
    match output {
        Output::Json => println!("{}", json!({ "task": task.name, "entries": 0, "bytes": 0, "ok": true })),
        Output::Table => println!("{}: sound; no transaction yet", task.name),
    }
}

fn dump(task: &Found<'_>) -> Result<(), Fault> {
    let Some((store, meta, checkpoint)) = open(task)? else { return Ok(()) };
    let head = json!({ "task": task.name, "position": meta.position, "append_time": meta.append_time,
        "checkpoint": serde_json::to_value(&checkpoint).unwrap_or(Value::Null) });
    println!("{head}");
    let mut wrong = None;
    each(task, &store, |key, value| match task.stage.describe_entry(&checkpoint, key, value) {
        Ok(mut line) => {
            line["task"] = json!(task.name);
            println!("{line}");
        }
        Err(e) => wrong = Some(e),
    })?;
    wrong.map_or(Ok(()), |e| Err(Fault::failed(format!("task {}: an entry cannot be read: {e}", task.name))))
}

fn each(task: &Found<'_>, store: &RocksStore, mut look: impl FnMut(&[u8], &[u8])) -> Result<(), Fault> {
    let all = store.scan(&[], &[0xff; 16], &mut |key, value| {
        look(key, value);
        true
    });
    all.map_err(|e| Fault::failed(format!("task {}: {e}", task.name)))
}
