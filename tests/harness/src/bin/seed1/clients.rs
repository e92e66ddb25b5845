//! What is sent, and by whom: two streams of `tidemill simulate`, one a client, merged by time and handed to the Python
//! clients in their process. Knows `simulate --print` and `clients/send.py`.
//! Invariant: a stream is sent by one client in its order, so a duplicate takes the way of its original; the clients are
//! never further apart than one batch.

use serde_json::Value;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tidemill_harness::process::run;

/// Records between two moments in which both clients have delivered everything.
const BATCH: usize = 200;
/// Where event times begin, and how far they go.
const START: &str = "2026-01-01T10:00:00Z";
const SPAN: &str = "6h";

/// One record, and its client's letter.
pub struct Line {
    client: char,
    timestamp: i64,
    key: String,
    value: String,
}

/// The records of both clients in the order of their times.
pub fn lines(mill: &Path, records: u64, seed: u64) -> Result<Vec<Line>, String> {
    let mut all = Vec::new();
    for (client, records, seed) in [('k', records / 2, seed), ('c', records - records / 2, seed ^ 0x5eed)] {
        let (records, seed) = (records.to_string(), seed.to_string());
        let mut args = vec!["simulate", "user-events", "--print", "--records", &records, "--seed", &seed];
        args.extend(["--start", START, "--span", SPAN, "--duplicates", "0.05", "--disorder", "0.05"]);
        args.extend(["--late", "0.01", "--broken", "0.01"]);
        for text in run(mill, &args, &[])?.lines() {
            all.push(line(client, text).ok_or_else(|| format!("simulate --print: cannot read: {text}"))?);
        }
    }
    // Stable: each stream keeps its own order.
    all.sort_by_key(|line| line.timestamp);
    Ok(all)
}

fn line(client: char, text: &str) -> Option<Line> {
    let record: Value = serde_json::from_str(text).ok()?;
    let text = |field: &str| record.get(field)?.as_str().map(str::to_owned);
    let (key, value) = (text("key")?, text("value")?);
    let fits = |text: &str| !text.contains(['\t', '\n']);
    (fits(&key) && fits(&value)).then_some(())?;
    Some(Line { client, timestamp: record.get("timestamp")?.as_i64()?, key, value })
}

/// The Python process with both clients.
pub struct Clients {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What they are, in their own words.
    pub versions: String,
}

impl Clients {
    pub fn start(bootstrap: &str, topic: &str) -> Result<Clients, String> {
        let python = python();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/send.py");
        let mut command = Command::new(&python);
        command.arg(script).args([bootstrap, topic]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}; run tests/stack/setup", python.display()))?;
        let input = BufWriter::new(child.stdin.take().expect("a pipe was asked for"));
        let output = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let mut clients = Clients { child, input, output, versions: String::new() };
        clients.versions = clients.answer()?;
        Ok(clients)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut text = String::new();
        match self.output.read_line(&mut text) {
            Ok(1..) => Ok(text.trim_end().to_owned()),
            Ok(0) => Err("the Python clients have ended; their words are above".to_owned()),
            Err(e) => Err(format!("the Python clients: {e}")),
        }
    }

    /// Sends everything, at this many records a second.
    pub fn send(mut self, lines: &[Line], rate: f64) -> Result<u64, String> {
        let began = Instant::now();
        for (at, batch) in lines.chunks(BATCH).enumerate() {
            let due = began + Duration::from_secs_f64((at * BATCH) as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.batch(batch).map_err(|e| format!("the Python clients do not listen: {e}"))?;
            self.answer()?;
        }
        drop(self.input);
        let mut last = String::new();
        self.output.read_line(&mut last).map_err(|e| format!("the Python clients: {e}"))?;
        let status = self.child.wait().map_err(|e| format!("the Python clients: {e}"))?;
        let sent = last.trim().parse().unwrap_or(0);
        match status.success() && sent == lines.len() as u64 {
            true => Ok(sent),
            false => Err(format!("the Python clients ended with {status} after {sent} of {} records", lines.len())),
        }
    }

    fn batch(&mut self, batch: &[Line]) -> std::io::Result<()> {
        for Line { client, timestamp, key, value } in batch {
            writeln!(self.input, "{client}\t{timestamp}\t{key}\t{value}")?;
        }
        writeln!(self.input)?;
        self.input.flush()
    }
}

/// The one into which `tests/stack/setup` has put the clients.
fn python() -> PathBuf {
    let cache = std::env::var_os("TIDEMILL_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidemill");
    cache.unwrap_or_else(home).join("python/bin/python")
}
