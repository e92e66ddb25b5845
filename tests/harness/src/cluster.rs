//! A real Kafka cluster for one test, by `tests/stack/kafka-cluster`. Knows the script's options and its env file only;
//! tests call it. Invariant: the nodes end with the value, or with this process if that dies first.

use crate::segments::Segments;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub struct Cluster {
    /// For clients that go straight to the brokers.
    pub bootstrap: String,
    /// The brokers behind the proxied ports, in order; empty without such ports.
    pub upstreams: Vec<SocketAddr>,
    /// Where a password is wanted; with `--sasl`.
    pub sasl: Option<String>,
    directory: PathBuf,
    /// Removes the directory at the end, where it is this value's own.
    _scratch: Option<tempfile::TempDir>,
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/kafka-cluster"))
}

impl Cluster {
    /// 1 or 3 nodes. `proxied_ports`: none, or the proxy's port for each node. `extra`: broker properties `name=value`, and
    /// options of the script such as `--sasl`.
    /// Panics with the script's own words if the cluster does not start.
    pub fn start(nodes: usize, proxied_ports: &[u16], extra: &[&str]) -> Cluster {
        let scratch = tempfile::tempdir().expect("the temporary directory takes files");
        let mut cluster = Cluster::start_in(scratch.path(), nodes, proxied_ports, extra);
        cluster._scratch = Some(scratch);
        cluster
    }

    /// The same with logs and data in a directory that the caller keeps; it must hold no cluster yet.
    pub fn start_in(directory: &Path, nodes: usize, proxied_ports: &[u16], extra: &[&str]) -> Cluster {
        let mut start = script();
        start.arg("start").arg(directory).args(["--nodes", &nodes.to_string()]);
        start.args(["--watch", &std::process::id().to_string()]);
        if !proxied_ports.is_empty() {
            let ports: Vec<String> = proxied_ports.iter().map(u16::to_string).collect();
            start.args(["--proxy-ports", &ports.join(",")]);
        }
        for property in extra {
            match property.starts_with("--") {
                true => start.arg(property),
                false => start.args(["--set", property]),
            };
        }
        let output = start.output().expect("tests/stack/kafka-cluster can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let env = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let bootstrap = value("KAFKA_BOOTSTRAP").expect("the script prints KAFKA_BOOTSTRAP").to_owned();
        let sasl = value("KAFKA_SASL_BOOTSTRAP").map(str::to_owned);
        let upstreams = value("KAFKA_PROXY_UPSTREAM").unwrap_or_default();
        let address = |text: &str| text.parse().expect("the script prints host:port");
        let upstreams = upstreams.split_terminator(',').map(address).collect();
        Cluster { bootstrap, upstreams, sasl, directory: directory.to_owned(), _scratch: None }
    }

    /// The brokers' own files.
    pub fn segments(&self) -> Segments {
        Segments::new(&self.directory)
    }

    /// In order: its partitions have other leaders before it ends. Nodes count from 1.
    pub fn stop(&self, node: usize) -> Result<(), String> {
        self.node("stop", node)
    }

    /// kill -9.
    pub fn kill(&self, node: usize) -> Result<(), String> {
        self.node("kill", node)
    }

    /// Starts a node again and waits until it serves, not until its replicas are in sync.
    pub fn restart(&self, node: usize) -> Result<(), String> {
        self.node("restart", node)
    }

    pub fn pause(&self, node: usize) -> Result<(), String> {
        self.node("pause", node)
    }

    pub fn resume(&self, node: usize) -> Result<(), String> {
        self.node("resume", node)
    }

    fn node(&self, command: &str, node: usize) -> Result<(), String> {
        let output = script().arg(command).arg(&self.directory).arg(node.to_string()).output();
        let output = output.map_err(|e| format!("kafka-cluster {command} {node}: {e}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("kafka-cluster {command} {node}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Waits until every replica of every partition is in sync; false if that takes longer.
    pub fn wait_whole(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if is_whole(&self.bootstrap) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        false
    }
}

/// Whether all replicas of all partitions are in sync now, as far as the brokers say.
pub fn is_whole(bootstrap: &str) -> bool {
    // A handle of its own: an older one may answer from what it knew before the node died.
    let client: Result<BaseConsumer, _> = ClientConfig::new().set("bootstrap.servers", bootstrap).create();
    let Ok(metadata) = client.and_then(|client| client.fetch_metadata(None, Duration::from_secs(5))) else {
        return false;
    };
    let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    partitions.all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What cannot be stopped here ends with this process: the script watches it.
        drop(script().arg("stop").arg(&self.directory).status());
    }
}
