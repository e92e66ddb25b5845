//! One connection, used by one thread: calls that block, and end in time.
//!
//! Used by every file of this folder. Knows tokio and the client. Invariant: no call waits longer than the server's
//! own limit and a little more; a session on which one did is of no use any more.

use super::access::access;
use super::copy::PAUSE;
use super::errors::{Failure, with_sources};
use bytes::Bytes;
use futures_util::SinkExt;
use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;
use tidemill_topology::sinks::PostgresSpec;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// Longer than the server's own limit: its answer says more than our silence.
const SLACK: Duration = Duration::from_secs(5);
/// Statements that are kept prepared.
const KEPT: usize = 64;

pub struct Session {
    client: Client,
    link: JoinHandle<()>,
    prepared: HashMap<String, Statement>,
    patience: Duration,
    /// So many batches go by INSERT, before COPY is tried again.
    inserts: u32,
    // Last: the client and its link end before the runtime that they run on.
    runtime: Runtime,
}

impl Session {
    /// Connects and sets the session up.
    ///
    /// # Errors
    /// The server is not there, refuses us, or a secret cannot be read.
    pub fn open(spec: &PostgresSpec, name: &str) -> Result<Session, Failure> {
        let access = access(spec, name).map_err(Failure::Sick)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::Sick(format!("no runtime for a connection: {e}")))?;
        let patience = spec.timeouts.connect + SLACK;
        // A timer is made on the runtime that it runs on.
        let opened = runtime.block_on(async { timeout(patience, access.config.connect(access.tls)).await });
        let silent = || Failure::Away(format!("the server did not answer within {patience:?}"));
        let (client, connection) = opened.map_err(|_| silent())?.map_err(|e| Failure::of(&e))?;
        let link = runtime.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = with_sources(&error), "a connection to PostgreSQL ended");
            }
        });
        let patience = spec.timeouts.statement + SLACK;
        let mut session = Session { client, link, prepared: HashMap::new(), patience, inserts: 0, runtime };
        session.simple(&settings(spec))?;
        Ok(session)
    }

    /// One or more statements without parameters.
    pub fn simple(&mut self, sql: &str) -> Result<(), Failure> {
        self.call(self.client.batch_execute(sql))
    }

    pub fn query(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql)?;
        self.call(self.client.query(&statement, values))
    }

    /// Rows that the statement wrote.
    pub fn execute(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure> {
        let statement = self.prepare(sql)?;
        self.call(self.client.execute(&statement, values))
    }

    /// Rows in the text format of COPY.
    pub fn copy(&mut self, sql: &str, lines: Bytes) -> Result<u64, Failure> {
        let statement = self.prepare(sql)?;
        self.call(async {
            let mut copy = pin!(self.client.copy_in(&statement).await?);
            copy.send(lines).await?;
            copy.finish().await
        })
    }

    /// Whether this batch is tried by COPY; for some after one that was refused it is not.
    pub fn tries_copy(&mut self) -> bool {
        let tries = self.inserts == 0;
        self.inserts = self.inserts.saturating_sub(1);
        tries
    }

    pub fn copy_was_refused(&mut self) {
        self.inserts = PAUSE;
    }

    /// Says goodbye, so that the server need not find out.
    pub fn close(self) {
        let Session { client, link, runtime, .. } = self;
        drop(client);
        drop(runtime.block_on(async { timeout(Duration::from_secs(1), link).await }));
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.call(self.client.prepare(sql))?;
        if self.prepared.len() >= KEPT {
            self.prepared.clear();
        }
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn call<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        match self.runtime.block_on(async { timeout(self.patience, work).await }) {
            Ok(done) => done.map_err(|e| Failure::of(&e)),
            Err(_) => Err(Failure::Away(format!("the server did not answer within {:?}", self.patience))),
        }
    }
}

fn settings(spec: &PostgresSpec) -> String {
    let t = &spec.timeouts;
    let ms = |d: Duration| d.as_millis();
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO'",
        ms(t.statement),
        ms(t.lock),
        ms(t.idle)
    )
}
