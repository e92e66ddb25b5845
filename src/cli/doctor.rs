//! `tidemill doctor FILE`: looks at everything that `run` needs and says what is wrong and what to mend.
//!
//! Called by `cli`. Changes nothing. Asks brokers, databases, the disk, and the running process if there is one.
//! Invariant: every look has its line, also one that is fine; the exit code is 0 only if none is bad.

use super::{Output, ask, connect, load, state_folder};
use crate::http::client;
use crate::kafka::{Brokers, Connection, Fault, Topics, rights};
use crate::{memory, process, sinks};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_topology::Loaded;

/// Files that a store may have open, and sockets.
const FILES_A_TASK: u64 = 300;
const ANSWER: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// The topology, as YAML.
    file: PathBuf,
    /// Where the stores are, if not where the topology says.
    #[arg(long)]
    state: Option<PathBuf>,
}

/// One look.
struct Look {
    what: &'static str,
    /// What is well, or what is not and what to do.
    found: Result<String, String>,
}

pub fn run(args: &Args, output: Output) -> Result<(), Fault> {
    let loaded = load(&args.file)?;
    let connection = connect(&loaded.settings)?;
    let mut looks = Vec::new();
    let mut look = |what, found| looks.push(Look { what, found });
    match Brokers::reach(&connection).and_then(|brokers| brokers.refuse_unfit().map(|()| brokers)) {
        Err(fault) => look("brokers", Err(fault.cause)),
        Ok(brokers) => {
            look("brokers", Ok(format!("{} answers, and verifies partitions", connection.brokers)));
            topics(&connection, &brokers, &loaded, &mut look);
        }
    }
    for spec in loaded.sinks.iter().filter(|spec| spec.enabled) {
        let checked = sinks::check(std::slice::from_ref(spec), &loaded.settings.app);
        look("database", checked.map(|()| format!("sink '{}': its table is fit", spec.name)).map_err(|f| f.cause));
    }
    let folder = state_folder(&loaded.settings, args.state.as_ref());
    look("disk", disk(&folder, memory::split(loaded.settings.memory, (false, false)).whole));
    look("files", files(&loaded));
    if loaded.settings.http.is_some() {
        running(&loaded, &mut look);
    }
    said(&looks, output)
}

fn topics(
    connection: &Connection,
    brokers: &Brokers,
    loaded: &Loaded,
    look: &mut impl FnMut(&'static str, Result<String, String>),
) {
    match Topics::of(brokers, &loaded.topology, &loaded.settings).check() {
        Err(fault) => look("topics", Err(fault.cause)),
        Ok(all) if all.is_empty() => look("topics", Ok("all are as they should be".to_owned())),
        Ok(all) => all.iter().for_each(|difference| look("topics", Err(difference.to_string()))),
    }
    let Some(stage) = loaded.topology.stages.first() else { return };
    for (what, tried) in rights(connection, &stage.topic) {
        let remedy = |e| format!("cannot {what}: {e}; grant this user that right, or look at the brokers");
        look("rights", tried.map(|()| format!("may {what}")).map_err(remedy));
    }
}

/// The nearest folder that is there tells of the disk.
fn disk(folder: &Path, memory: u64) -> Result<String, String> {
    let there = folder.ancestors().find(|path| path.exists() && !path.as_os_str().is_empty());
    let place = there.unwrap_or(Path::new("."));
    let (free, all) =
        process::disk(place).ok_or_else(|| format!("{}: cannot be asked for its space", place.display()))?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let said = format!("{}: {:.1} GiB of {:.1} are free", place.display(), gib(free), gib(all));
    match free < all / 20 || free < memory {
        true => Err(format!("{said}; make room, or move 'state' to a larger disk")),
        false => Ok(said),
    }
}

fn files(loaded: &Loaded) -> Result<String, String> {
    let limit = process::file_limit().ok_or("the limit of open files cannot be asked")?;
    let wanted = 256 + FILES_A_TASK * loaded.topology.stages.len() as u64;
    match limit < wanted {
        true => Err(format!("{limit} may be open, which is little for {wanted}; raise it: ulimit -n 65536")),
        false => Ok(format!("{limit} may be open")),
    }
}

/// The process that listens where the topology says, if one does.
fn running(loaded: &Loaded, look: &mut impl FnMut(&'static str, Result<String, String>)) {
    let Ok(told) = ask::get(&loaded.settings, None, "/status") else {
        return look("process", Ok("none answers where http.listen says".to_owned()));
    };
    let waiting: Vec<&str> = told["waiting"].as_array().into_iter().flatten().filter_map(|w| w.as_str()).collect();
    look(
        "process",
        match waiting.is_empty() {
            true => Ok("it runs, and is ready".to_owned()),
            false => Err(format!("not ready: {}; wait, or look at its log", waiting.join(", "))),
        },
    );
    let listen = loaded.settings.http.as_ref().map(|http| format!("http://127.0.0.1:{}", http.listen.port()));
    let scrape = listen.and_then(|base| client::get(&base, "/metrics", &[], ANSWER).ok());
    let text = scrape.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
    let skew = text.lines().find_map(|line| line.strip_prefix("tidemill_clock_skew_seconds ")?.parse::<f64>().ok());
    let most = loaded.settings.alerts.clock_skew.as_secs_f64();
    look("clock", clock(skew, most));
}

/// Of the process: `skew` and `most` in seconds.
fn clock(skew: Option<f64>, most: f64) -> Result<String, String> {
    match skew {
        None => Ok("the broker's is not known: no checkpoint was written since the start".to_owned()),
        Some(s) if s.abs() > most => {
            Err(format!("the broker's is {s:.1} s from ours; mend time synchronisation on one of them"))
        }
        Some(s) => Ok(format!("the broker's is {s:.3} s from ours")),
    }
}

fn said(looks: &[Look], output: Output) -> Result<(), Fault> {
    for Look { what, found } in looks {
        let (good, text) = found.as_ref().map_or_else(|bad| (false, bad), |good| (true, good));
        match output {
            Output::Json => println!("{}", serde_json::json!({ "look": what, "ok": good, "said": text })),
            Output::Table => {
                text.lines().for_each(|line| println!("{:3}  {what:8}  {line}", if good { "ok" } else { "BAD" }))
            }
        }
    }
    match looks.iter().filter(|look| look.found.is_err()).count() {
        0 => Ok(()),
        bad => {
            Err(Fault::configuration(format!("{bad} of {} looks are bad; each line says what to mend", looks.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_holds_less_than_the_memory_setting_is_too_small() {
        let place = tempfile::tempdir().unwrap();
        // The folder itself is not there yet: the disk is that of the nearest one that is.
        let folder = place.path().join("state/app");
        let (free, all) = process::disk(place.path()).unwrap();
        let small = disk(&folder, all + 1).unwrap_err();
        assert!(small.contains("make room") && small.contains(&place.path().display().to_string()), "{small}");
        // A twentieth must be free in any case.
        assert_eq!(disk(&folder, 1).is_ok(), free >= all / 20);
    }

    #[test]
    fn a_clock_that_is_off_is_bad_in_both_directions() {
        for (skew, good) in
            [(None, true), (Some(1.9), true), (Some(-1.9), true), (Some(2.1), false), (Some(-2.1), false)]
        {
            assert_eq!(clock(skew, 2.0).is_ok(), good, "{skew:?}");
        }
        assert!(clock(Some(-7.04), 2.0).unwrap_err().contains("-7.0 s from ours; mend time synchronisation"));
    }
}
