//! How processes of a state directory ended, by cause: counted in a file there, for nobody can count its own end.
//!
//! Opened by `runtime`, told by `process`. Knows nothing of metrics. Invariant: a process that ends without a word leaves its
//! mark, which the next one counts as a kill; a file that cannot be written ends nothing.

use crate::state_dir::write_whole;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const FILE: &str = "exits";
/// Stands in the file while a process runs.
const MARK: &str = "running";

static OPEN: OnceLock<PathBuf> = OnceLock::new();

/// Counts so far; from now on this process is marked as running.
pub fn open(folder: &Path) -> BTreeMap<String, u64> {
    let path = folder.join(FILE);
    let counts = counted(&fs::read_to_string(&path).unwrap_or_default());
    if let Err(error) = write_whole(&path, &text(&counts, true)) {
        tracing::warn!(%error, file = %path.display(), "exits are not counted");
    }
    _ = OPEN.set(path);
    counts
}

/// This process ends for this cause; nothing to say for one that opened no directory.
pub fn note(cause: &str) {
    let Some(path) = OPEN.get() else { return };
    let text_now = fs::read_to_string(path).unwrap_or_default();
    let text_now = text_now.lines().filter(|line| *line != MARK).collect::<Vec<_>>().join("\n");
    let mut counts = counted(&text_now);
    *counts.entry(cause.to_owned()).or_default() += 1;
    _ = write_whole(path, &text(&counts, false));
}

/// A word for what `process::exit` says.
pub fn word(cause: &str, configuration: bool) -> &'static str {
    match cause {
        _ if configuration => "configuration",
        _ if cause.contains("fenced") || cause.contains("no longer accepts this instance") => "fenced",
        _ if cause.contains("a transaction takes too long") => "stuck",
        _ => "failed",
    }
}

fn counted(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (cause, count) = line.split_once(' ')?;
        Some((cause.to_owned(), count.trim().parse().ok()?))
    };
    let mut counts: BTreeMap<String, u64> = text.lines().filter_map(line).collect();
    if text.lines().any(|line| line == MARK) {
        *counts.entry("killed".to_owned()).or_default() += 1;
    }
    counts
}

fn text(counts: &BTreeMap<String, u64>, runs: bool) -> String {
    let lines: String = counts.iter().map(|(cause, count)| format!("{cause} {count}\n")).collect();
    if runs { format!("{lines}{MARK}\n") } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_says_nothing_was_killed() {
        assert!(counted("").is_empty());
        let first = text(&counted(""), true);
        assert_eq!(counted(&first), [("killed".to_owned(), 1)].into());
        let second = text(&counted("done 2\nfenced 1\nrunning\n"), true);
        assert_eq!(second, "done 2\nfenced 1\nkilled 1\nrunning\n");
    }

    #[test]
    fn causes_are_told_apart_by_what_is_said() {
        assert_eq!(word("lane 0: fenced: COMMIT: x", false), "fenced");
        assert_eq!(word("lane 1: a transaction takes too long: WAIT", false), "stuck");
        assert_eq!(word("topic t is missing", true), "configuration");
        assert_eq!(word("the supervisor does not listen", false), "failed");
    }
}
