//! SQL through `psql`, as a person would: whole scripts, and rows in bulk. Knows a server's port; called by what must not
//! share a client with the product. Invariant: the first statement that fails ends a script.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A server of `tests/stack/postgres`, as its superuser.
pub struct Psql {
    port: u16,
    program: PathBuf,
}

/// The client of the newest server, where it is not on the path.
fn client() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|v| v.path().join("bin/psql")).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| "psql".into())
}

impl Psql {
    pub fn of(port: u16) -> Psql {
        Psql { port, program: client() }
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(&self.program);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.args(["-U", "postgres", "-d", database]).env("PGTZ", "UTC").env("PGCLIENTENCODING", "UTF8");
        psql
    }

    /// Runs statements; the rows of the last, one a line, columns with `|` between.
    pub fn sql(&self, database: &str, text: &str) -> Result<Vec<String>, String> {
        let lines = self.feed(self.psql(database), std::iter::once(text.to_owned()))?;
        Ok(lines.lines().map(str::to_owned).collect())
    }

    /// Puts rows, each as COPY's text form has it, into `table`.
    pub fn copy(&self, database: &str, table: &str, rows: impl Iterator<Item = String>) -> Result<(), String> {
        let mut psql = self.psql(database);
        psql.arg("-c").arg(format!("COPY {table} FROM STDIN"));
        self.feed(psql, rows).map(drop)
    }

    fn feed(&self, mut psql: Command, lines: impl Iterator<Item = String>) -> Result<String, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.program.display());
        let mut child =
            psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let mut input = std::io::BufWriter::new(child.stdin.take().expect("a pipe was asked for"));
        // A client that has given up reads no more; what it said is better than that its pipe is broken.
        let _ = lines.map(|line| writeln!(input, "{line}")).take_while(Result::is_ok).count();
        drop(input);
        let output = child.wait_with_output().map_err(failed)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}
