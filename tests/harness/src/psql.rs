//! A real PostgreSQL for one test, by `tests/stack/postgres`, and SQL to it through `psql`, as a person would. Called by
//! tests. Invariant: the server ends with the value, or with this process if that dies first.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Postgres {
    pub host: String,
    pub port: u16,
    /// A superuser without a password.
    pub user: String,
    directory: PathBuf,
    psql: PathBuf,
    _scratch: tempfile::TempDir,
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/postgres"))
}

/// The client of the newest server, where it is not on the path.
fn client() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|v| v.path().join("bin/psql")).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| "psql".into())
}

impl Postgres {
    /// Panics with the script's own words if the server does not start.
    pub fn start() -> Postgres {
        let scratch = tempfile::tempdir().expect("the temporary directory takes files");
        let directory = scratch.path().join("postgres");
        let watch = std::process::id().to_string();
        let output = script().arg("start").arg(&directory).args(["--watch", &watch]).output();
        let output = output.expect("tests/stack/postgres can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let env = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |name: &str| {
            let found = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("the script prints {name}")).to_owned()
        };
        let port = value("PGPORT").parse().expect("a port is a number");
        Postgres { host: value("PGHOST"), port, user: value("PGUSER"), directory, psql: client(), _scratch: scratch }
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &self.host, "-p", &self.port.to_string()]);
        psql.args(["-U", &self.user, "-d", database]).env("PGTZ", "UTC").env("PGCLIENTENCODING", "UTF8");
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
        let failed = |e: std::io::Error| format!("{}: {e}", self.psql.display());
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

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(script().arg("stop").arg(&self.directory).status());
    }
}
