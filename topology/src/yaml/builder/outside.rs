//! Words for what lies outside of the graph: sinks, live queries, dead letters.
//!
//! Part of the [builder](super). Knows nothing of databases. Invariant: each method sets the key of its name.

use super::{Map, Part};
use std::fmt::Display;

/// An output that is written to a database as well.
///
/// ```
/// use tidemill_topology::builder::{App, Output, Postgres, Sink, Source};
/// let table = Postgres::upsert("orders").key(["id"]).host("localhost").dbname("shop").user("mill");
/// let loaded = App::new("orders")
///     .set("kafka.brokers", "localhost:9092")
///     .source("given", Source::topic("orders"))
///     .output("orders-clean", Output::from("given"))
///     .sink("table", Sink::from("orders-clean").rows(500).postgres(table.password_file("/run/secrets/db")))
///     .build()?;
/// assert_eq!(&*loaded.sinks[0].topic, "orders-clean");
/// # Ok::<(), tidemill_topology::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sink(pub(super) Map);

/// A table of PostgreSQL, and how to reach it.
#[derive(Debug, Clone)]
pub struct Postgres(Map);

/// Where queries and status are answered.
#[derive(Debug, Clone)]
pub struct Http(pub(super) Map);

/// Where records go that could not be processed.
#[derive(Debug, Clone)]
pub struct DeadLetters(pub(super) Map);

impl Sink {
    /// `output` is the topic that it reads.
    pub fn from(output: impl Display) -> Sink {
        Sink(Map::default()).reading(output)
    }

    keys! {
        reading => "from",
        enabled => "enabled",
        /// Records in one database transaction at most.
        rows => "batch.rows",
        /// What a transaction waits for.
        interval => "batch.interval",
    }

    pub fn postgres(mut self, table: Postgres) -> Sink {
        self.0.put("postgres", Part::Map(table.0));
        self
    }
}

impl Postgres {
    /// Writes the last value of each [`Postgres::key`].
    pub fn upsert(table: impl Display) -> Postgres {
        Postgres(Map::default()).table(table).mode("upsert")
    }

    /// Adds rows, but those whose unique key is there.
    pub fn insert(table: impl Display) -> Postgres {
        Postgres(Map::default()).table(table).mode("insert")
    }

    keys! {
        table => "table",
        mode => "mode",
        url => "url",
        url_file => "url_file",
        host => "host",
        port => "port",
        dbname => "dbname",
        user => "user",
        password => "password",
        password_file => "password_file",
        /// `disable`, `prefer`, `require`, `verify-ca`, `verify-full`.
        sslmode => "sslmode",
        sslrootcert => "sslrootcert",
        sslcert => "sslcert",
        sslkey => "sslkey",
        /// Connections that are kept without work.
        min_connections => "connections.min",
        max_connections => "connections.max",
        connect_timeout => "timeouts.connect",
        statement_timeout => "timeouts.statement",
        lock_timeout => "timeouts.lock",
        idle_timeout => "timeouts.idle",
        /// The table that takes what the sink measures.
        metrics => "metrics.table",
        metrics_enabled => "metrics.enabled",
        /// Makes the tables that are known and lacking.
        migrate => "migrate",
    }

    /// Columns of a unique index.
    pub fn key<'a>(mut self, columns: impl IntoIterator<Item = &'a str>) -> Postgres {
        self.0.put("key", Part::list(columns));
        self
    }

    /// A column that takes a field of another name.
    pub fn column(mut self, column: &str, field: &str) -> Postgres {
        self.0.map("columns").put(column, Part::Text(field.to_owned()));
        self
    }
}

impl Http {
    /// An address and a port.
    pub fn listen(address: impl Display) -> Http {
        Http(Map::default()).listening(address)
    }

    keys! {
        listening => "listen",
        token_file => "token_file",
    }

    /// Others of this application: `http://HOST:PORT`, `dns:NAME:PORT`.
    pub fn peers<'a>(mut self, peers: impl IntoIterator<Item = &'a str>) -> Http {
        self.0.put("peers", Part::list(peers));
        self
    }
}

impl DeadLetters {
    pub fn topic(name: impl Display) -> DeadLetters {
        DeadLetters(Map::default()).named(name)
    }

    keys! {
        named => "topic",
        /// Whether what came too late is copied there.
        late => "late",
        keep => "keep",
    }

    /// Fields that even dead letters must not hold.
    pub fn redact<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> DeadLetters {
        self.0.put("redact", Part::list(fields));
        self
    }
}
