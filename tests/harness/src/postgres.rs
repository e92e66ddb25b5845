//! A real PostgreSQL for one test, by `tests/stack/postgres`, and a plain client. Knows the script's commands and its env
//! file; tests call it. Invariant: the server ends with the value, or with this process if that dies first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub struct Postgres {
    pub port: u16,
    directory: PathBuf,
    _scratch: tempfile::TempDir,
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/postgres"))
}

impl Postgres {
    /// `options` of the script: `--tls`. Panics with the script's own words if the server does not start.
    pub fn start(options: &[&str]) -> Postgres {
        let scratch = tempfile::tempdir().expect("the temporary directory takes files");
        let directory = scratch.path().to_owned();
        let mut start = script();
        start.arg("start").arg(&directory).args(["--watch", &std::process::id().to_string()]).args(options);
        let output = start.output().expect("tests/stack/postgres can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let env = String::from_utf8_lossy(&output.stdout).into_owned();
        let port = env.lines().find_map(|line| line.strip_prefix("PGPORT=")?.parse().ok());
        Postgres { port: port.expect("the script prints PGPORT"), directory, _scratch: scratch }
    }

    /// The certificate of the authority, with `--tls`.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// kill -9 of every process.
    pub fn kill(&self) {
        self.run("kill");
    }

    /// After a kill: the same data on the same port.
    pub fn restart(&self) {
        self.run("restart");
    }

    fn run(&self, command: &str) {
        let output = script().arg(command).arg(&self.directory).output().expect("tests/stack/postgres can be run");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A new, empty database, and a connection to it.
    pub fn create(&self, name: &str) -> Db {
        self.connect("postgres").run(&format!("CREATE DATABASE \"{name}\""));
        self.connect(name)
    }

    pub fn connect(&self, database: &str) -> Db {
        Db::open(self.port, database).unwrap_or_else(|error| panic!("{database}: {error}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(script().arg("stop").arg(&self.directory).status());
    }
}

/// One connection; every value is a text.
pub struct Db {
    client: Client,
    runtime: Runtime,
    port: u16,
    database: String,
}

impl Db {
    pub fn open(port: u16, database: &str) -> Result<Db, String> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let settings = format!("host=127.0.0.1 port={port} user=postgres dbname={database} connect_timeout=5");
        let opened = runtime.block_on(tokio_postgres::connect(&settings, NoTls));
        let (client, connection) = opened.map_err(|e| e.to_string())?;
        runtime.spawn(async move { drop(connection.await) });
        Ok(Db { client, runtime, port, database: database.to_owned() })
    }

    /// Rows of one or more statements.
    pub fn try_run(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let said = self.runtime.block_on(self.client.simple_query(sql)).map_err(|e| format!("{sql}: {e:?}"))?;
        let rows = said.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// As [`Db::try_run`]; panics with the server's words.
    pub fn run(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The first value, `-` where it is null.
    pub fn one(&self, sql: &str) -> String {
        let rows = self.run(sql);
        rows.first().and_then(|row| row.first()).cloned().flatten().unwrap_or_else(|| "-".to_owned())
    }

    /// Every row as one text, values with `|` between, nulls as `-`.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|v| v.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join("|")
        };
        self.run(sql).into_iter().map(text).collect()
    }

    /// Asks until the answer is this; panics with the last answer.
    pub fn until(&self, sql: &str, wanted: &str, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            // The server may be away at the moment.
            let found = match self.client.is_closed() {
                false => self.try_run(sql).map(|rows| rows.first().and_then(|r| r.first()).cloned().flatten()),
                true => Db::open(self.port, &self.database)
                    .and_then(|db| db.try_run(sql))
                    .map(|rows| rows.first().and_then(|r| r.first()).cloned().flatten()),
            };
            if found.as_ref().is_ok_and(|found| found.as_deref() == Some(wanted)) {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {found:?}, not {wanted} within {within:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
