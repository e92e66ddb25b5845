//! What all cases share: one broker, one PostgreSQL. Knows the harness.
//! Invariant: who breaks a server starts one of its own.

use std::path::{Path, PathBuf};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::postgres::Postgres;
use tidemill_harness::verdict::Broker;

pub struct World {
    pub bootstrap: String,
    pub broker: Broker,
    pub postgres: Postgres,
    scratch: tempfile::TempDir,
    _cluster: Cluster,
}

impl World {
    pub fn start() -> World {
        let cluster = Cluster::start(1, &[], &[]);
        let (bootstrap, broker) = (cluster.bootstrap.clone(), Broker::new(&cluster.bootstrap));
        let scratch = tempfile::tempdir().unwrap();
        World { bootstrap, broker, postgres: Postgres::start(&[]), scratch, _cluster: cluster }
    }

    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends the servers, and leaves what the cases wrote.
    pub fn keep(self) -> PathBuf {
        self.scratch.keep()
    }
}
