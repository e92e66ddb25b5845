//! `make demo` as nobody watches it: its table gets rows, it ends by itself or by Ctrl-C, and nothing of it is left.
//! Invariant: the script that people run is what is tested; only the build is left out.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tidemill_harness::process::program;

/// The demo in a process group of its own, as a terminal would have it, and what it prints.
fn demo(seconds: &str) -> (Child, Receiver<String>) {
    let mill = program("TIDEMILL_BIN", "tidemill");
    assert!(mill.exists(), "{}: not built; run `make binaries` first", mill.display());
    // Whoever runs the tests in the background has them ignore Ctrl-C, and a shell cannot take that back.
    let mut demo = Command::new("env");
    demo.arg("--default-signal=INT").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/demo"));
    demo.env("TIDEMILL_BIN", mill).env("DEMO_SECONDS", seconds).env("DEMO_HISTORY", "2000");
    demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = demo.spawn().unwrap();
    let (tell, lines) = channel();
    let outputs: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for output in outputs {
        let tell = tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
    }
    (child, lines)
}

/// Reads until a line is as wanted; all lines so far.
fn until(lines: &Receiver<String>, seen: &mut Vec<String>, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(150);
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        seen.push(line);
        if wanted(seen.last().unwrap()) {
            return;
        }
    }
    panic!("what was waited for did not come:\n{}", seen.join("\n"));
}

/// A row of the table: a type, and a count above 0; the hour stands before the first of its rows.
fn is_row(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| !["click", "page_view"].contains(word)).collect();
    words.len() == 5 && words[1].parse().is_ok_and(|total: u64| total > 0)
}

fn directory(seen: &[String]) -> String {
    let line = seen.iter().find_map(|l| l.split_once("Log of the job: ")).expect("it says where its log is").1;
    line.split("/tidemill.log").next().unwrap().to_owned()
}

/// Processes whose command line or environment names this directory.
fn left_of(directory: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let names = |path: &std::path::PathBuf| {
        let of = |file: &str| String::from_utf8_lossy(&std::fs::read(path.join(file)).unwrap_or_default()).into_owned();
        let line = of("cmdline");
        (line.contains(directory) || of("environ").contains(directory)).then_some(line)
    };
    all.filter_map(|path| names(&path)).collect()
}

fn ends_clean(mut child: Child, lines: &Receiver<String>, mut seen: Vec<String>) {
    let directory = directory(&seen);
    until(lines, &mut seen, |line| line.contains("everything that it started is stopped"));
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}\n{}", seen.join("\n"));
    assert!(!Path::new(&directory).exists(), "{directory} is still there");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !left_of(&directory).is_empty() {
        assert!(Instant::now() < deadline, "still running: {:?}", left_of(&directory));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn rows_appear_and_it_ends_by_itself() {
    let (child, lines) = demo("4");
    let mut seen = Vec::new();
    until(&lines, &mut seen, is_row);
    until(&lines, &mut seen, |line| line.contains("Log of the job"));
    ends_clean(child, &lines, seen);
}

#[test]
fn ctrl_c_ends_everything() {
    let (child, lines) = demo("600");
    let mut seen = Vec::new();
    until(&lines, &mut seen, is_row);
    until(&lines, &mut seen, |line| line.contains("Log of the job"));
    // As a terminal does: to the whole group.
    let group = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", "--", &format!("-{group}")]).status().unwrap().success());
    ends_clean(child, &lines, seen);
}
