//! Where committed outputs go outside of Kafka: typed, as `yaml/sinks.rs` or a builder made it.
//!
//! Read by the root crate's `sinks/`, which carries it out. Knows nothing of Kafka or of a database's client.
//! Invariant: a password never shows in `Debug`.

pub use crate::expr::Path as FieldPath;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One sink: a topic of ours, and where its rows go.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkSpec {
    pub name: Arc<str>,
    /// The output that it reads.
    pub topic: Arc<str>,
    /// The switch: one that is off is checked, and not run.
    pub enabled: bool,
    pub batch: BatchSpec,
    pub target: Target,
}

impl SinkSpec {
    /// Its consumer group, and its name in the database: no other application has it.
    pub fn group(&self, app: &str) -> String {
        format!("{app}-sink-{}", self.name)
    }

    /// One line for a person.
    pub fn describe(&self, app: &str) -> String {
        let Target::Postgres(postgres) = &self.target;
        let how = match postgres.mode {
            Mode::Upsert => format!("upsert by {}", postgres.key.join(", ")),
            Mode::Insert => "insert".to_owned(),
        };
        let off = if self.enabled { "" } else { ", off" };
        let (name, topic, table) = (&self.name, &self.topic, &postgres.table);
        format!("sink {name} writes {topic} to PostgreSQL's {table} ({how}), group {}{off}", self.group(app))
    }
}

/// When rows are written: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSpec {
    /// Most rows of one database transaction.
    pub rows: usize,
    /// How long a row may wait for more.
    pub interval: Duration,
}

/// What a sink writes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Postgres(Box<PostgresSpec>),
}

/// A table of PostgreSQL.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresSpec {
    pub access: Access,
    /// `table` or `schema.table`.
    pub table: String,
    pub mode: Mode,
    /// Columns that name a row; of an upsert at least one.
    pub key: Vec<String>,
    /// Columns that do not take the field of their own name.
    pub columns: Vec<(String, FieldPath)>,
    pub connections: Connections,
    pub timeouts: Timeouts,
    /// The table that takes a row of measurements with each batch.
    pub metrics: Option<String>,
    /// Make the tables that are missing, at start.
    pub migrate: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The last value of each key.
    Upsert,
    /// Each row once; one whose unique key is there already is skipped, and counted.
    Insert,
}

/// How many connections a sink keeps, and at most opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub min: usize,
    pub max: usize,
}

/// Bounds of what a database may take, so that a sick one is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection, with its handshakes.
    pub connect: Duration,
    /// Of one statement, on the server; a little more on this side, where the server does not answer.
    pub statement: Duration,
    /// For a lock that somebody else holds.
    pub lock: Duration,
    /// For a transaction of ours in which nothing happens: a frozen owner must not hold its successor up for ever.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(10),
            idle: Duration::from_secs(30),
        }
    }
}

/// Which server, as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    pub server: Server,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Server {
    /// `postgres://user:password@host:port/dbname?...`
    Url(Secret),
    /// The same, as the only line of a file.
    UrlFile(PathBuf),
    Parts {
        host: String,
        port: u16,
        dbname: String,
        user: String,
        password: Option<Password>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Password {
    Given(Secret),
    /// Read at every connection, so a password may change while we run.
    File(PathBuf),
}

/// As libpq's settings of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// None: what the URL says, else [`SslMode::Prefer`].
    pub mode: Option<SslMode>,
    /// Certificates to trust, PEM; none: the system's.
    pub root: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// TLS if the server has it, unchecked.
    Prefer,
    /// TLS, unchecked.
    Require,
    /// TLS, signed by somebody we trust.
    VerifyCa,
    /// The same, and in the server's name.
    VerifyFull,
}

impl SslMode {
    pub const NAMES: [(&str, SslMode); 5] = [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];

    pub fn from_name(name: &str) -> Option<SslMode> {
        SslMode::NAMES.iter().find(|(n, _)| *n == name).map(|(_, mode)| *mode)
    }
}

/// A text that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for whoever must hand it over.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SinkSpec {
    /// Makes the paths of secrets and certificates relative to `folder`, where the topology's file lies.
    pub(crate) fn beside(&mut self, folder: &Path) {
        let Target::Postgres(postgres) = &mut self.target;
        let Access { server, tls } = &mut postgres.access;
        let Tls { root, own, .. } = tls;
        let mut paths: Vec<&mut PathBuf> = root.iter_mut().collect();
        paths.extend(own.iter_mut().flat_map(|(certificate, key)| [certificate, key]));
        match server {
            Server::UrlFile(path) | Server::Parts { password: Some(Password::File(path)), .. } => paths.push(path),
            Server::Url(_) | Server::Parts { .. } => {}
        }
        paths.into_iter().for_each(|path| *path = folder.join(&*path));
    }
}
