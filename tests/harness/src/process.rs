//! Processes of the product: started, signalled, and read by their log, one JSON object a line. Knows the command line
//! and the log's words, nothing else. Invariant: a process ends with its value, or with this process if that dies first.

use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How to start one.
#[derive(Clone, Debug)]
pub struct Start {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Takes everything that the process writes to stderr, behind what is there.
    pub log: PathBuf,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Instant,
    pub message: String,
    pub fields: Map<String, Value>,
}

impl Line {
    pub fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field)?.as_u64()
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }
}

/// What a process has said so far.
#[derive(Debug, Default)]
pub struct Journal {
    /// All but `committed`, of which there are many.
    pub lines: Vec<Line>,
    /// Lines that are no JSON object: a panic's, a library's.
    pub strange: Vec<String>,
    pub commits: u64,
    pub records: u64,
}

#[derive(Default)]
struct Shared {
    journal: Mutex<Journal>,
    changed: Condvar,
}

pub struct Process {
    child: Child,
    shared: Arc<Shared>,
    reader: Option<std::thread::JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// `$NAME`, else the debug build of that program.
pub fn program(variable: &str, name: &str) -> PathBuf {
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::env::var_os(variable).map_or_else(|| target().join("debug").join(name), PathBuf::from)
}

impl Process {
    /// Call it from the main thread: the process is told to end with the thread that started it.
    pub fn start(start: &Start) -> Result<Process, String> {
        let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", start.program.display());
        let mut command = Command::new(&start.program);
        command.args(&start.args).envs(start.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        end_with_parent(&mut command);
        let mut child = command.spawn().map_err(|e| failed(&e))?;
        let stderr = child.stderr.take().expect("stderr was asked for");
        let log = File::options().create(true).append(true).open(&start.log).map_err(|e| failed(&e))?;
        let shared = Arc::new(Shared::default());
        let reader = std::thread::spawn({
            let shared = shared.clone();
            move || listen(stderr, log, &shared)
        });
        Ok(Process { child, shared, reader: Some(reader), status: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does nothing to one that has ended.
    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: the child has not been waited for, so its id is still its own.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(libc::SIGKILL);
        self.wait(Duration::from_secs(30)).expect("SIGKILL ends a process")
    }

    pub fn stop(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn cont(&mut self) {
        self.signal(libc::SIGCONT);
    }

    pub fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
    }

    /// How it ended, if it did; then all its lines have been read.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
            if self.status.is_some()
                && let Some(reader) = self.reader.take()
            {
                drop(reader.join());
            }
        }
        self.status
    }

    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ended()
    }

    /// Looks at the journal.
    pub fn journal<T>(&self, look: impl FnOnce(&Journal) -> T) -> T {
        look(&self.shared.journal.lock().expect("looks do not panic"))
    }

    /// What it said last, for a report.
    pub fn last_words(&self) -> String {
        self.journal(|journal| {
            let lines = journal.lines.iter().rev().take(12).rev().map(|line| format!("{line:?}"));
            lines.chain(journal.strange.iter().rev().take(6).rev().cloned()).collect::<Vec<_>>().join("\n")
        })
    }

    /// The first line that is as wanted, also if it was said before; `None` if it does not come in time.
    pub fn wait_line(&self, within: Duration, mut is_it: impl FnMut(&Line) -> bool) -> Option<Line> {
        let mut from = 0;
        let mut found = None;
        let journal = self.shared.journal.lock().expect("looks do not panic");
        let waited = self.shared.changed.wait_timeout_while(journal, within, |journal| {
            found = journal.lines[from..].iter().find(|line| is_it(line)).cloned();
            from = journal.lines.len();
            found.is_none()
        });
        drop(waited.expect("looks do not panic"));
        found
    }

    pub fn wait_message(&self, message: &str, within: Duration) -> Option<Line> {
        self.wait_line(within, |line| line.message == message)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let set = || {
        // SAFETY: prctl is a plain system call, allowed between fork and exec.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `set` allocates nothing and takes no lock.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}

fn listen(stderr: ChildStderr, mut log: File, shared: &Shared) {
    let mut reader = BufReader::new(stderr);
    let mut text = Vec::new();
    while reader.read_until(b'\n', &mut text).is_ok_and(|read| read > 0) {
        let at = Instant::now();
        // A full disk must not stop the process by a full pipe.
        drop(log.write_all(&text));
        let read = parse(&String::from_utf8_lossy(&text), at);
        let mut journal = shared.journal.lock().expect("looks do not panic");
        journal.take(read);
        drop(journal);
        shared.changed.notify_all();
        text.clear();
    }
}

fn parse(text: &str, at: Instant) -> Result<Line, String> {
    let strange = || text.trim_end().to_owned();
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return Err(strange()) };
    let message = fields.get("message").and_then(Value::as_str).ok_or_else(strange)?.to_owned();
    Ok(Line { at, message, fields })
}

impl Journal {
    fn take(&mut self, read: Result<Line, String>) {
        match read {
            Ok(line) if line.message == "committed" => {
                self.commits += 1;
                self.records += line.number("records").unwrap_or(0);
            }
            Ok(line) => self.lines.push(line),
            Err(text) => self.strange.push(text),
        }
    }
}

/// Runs a command to its end; its stdout, or what went wrong with its stderr.
pub fn run(program: &Path, args: &[&str], env: &[(String, String)]) -> Result<String, String> {
    let output = Command::new(program).args(args).envs(env.iter().cloned()).output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let error = String::from_utf8_lossy(&output.stderr);
            Err(format!("{} {}: {}: {}", program.display(), args.join(" "), output.status, error.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Process {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let log = directory.join("log");
        Process::start(&Start { program: "/bin/sh".into(), args, env: Vec::new(), log }).unwrap()
    }

    #[test]
    fn lines_are_read_while_it_runs_and_codes_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell(
            r#"echo '{"message":"task ready","records":7}' >&2; echo '{"message":"committed","records":5}' >&2; echo oops >&2; read x; exit 3"#,
            directory.path(),
        );
        let line = process.wait_message("task ready", Duration::from_secs(10)).unwrap();
        assert_eq!(line.number("records"), Some(7));
        assert_eq!(process.wait(Duration::from_secs(10)).unwrap().code(), Some(3));
        assert_eq!(
            process.journal(|j| (j.lines.len(), j.commits, j.records, j.strange.clone())),
            (1, 1, 5, vec!["oops".to_owned()])
        );
        assert!(process.wait_message("never", Duration::from_millis(20)).is_none());
        assert_eq!(std::fs::read_to_string(directory.path().join("log")).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_stopped_process_can_be_killed() {
        use std::os::unix::process::ExitStatusExt;
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 60", directory.path());
        process.stop();
        assert!(process.wait(Duration::from_millis(50)).is_none());
        assert_eq!(process.kill().signal(), Some(libc::SIGKILL));
    }
}
