//! A real Kafka cluster for one test, by `tests/stack/kafka-cluster`. Knows the script's options and its env file only;
//! tests call it. Invariant: the nodes end with the value, or with this process if that dies first.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

pub struct Cluster {
    /// For clients that go straight to the brokers.
    pub bootstrap: String,
    /// The brokers behind the proxied ports, in order; empty without such ports.
    pub upstreams: Vec<SocketAddr>,
    directory: tempfile::TempDir,
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/kafka-cluster"))
}

impl Cluster {
    /// 1 or 3 nodes. `proxied_ports`: none, or the proxy's port for each node. `extra`: broker properties `name=value`.
    /// Panics with the script's own words if the cluster does not start.
    pub fn start(nodes: usize, proxied_ports: &[u16], extra: &[&str]) -> Cluster {
        let directory = tempfile::tempdir().expect("the temporary directory takes files");
        let mut start = script();
        start.arg("start").arg(directory.path()).args(["--nodes", &nodes.to_string()]);
        start.args(["--watch", &std::process::id().to_string()]);
        if !proxied_ports.is_empty() {
            let ports: Vec<String> = proxied_ports.iter().map(u16::to_string).collect();
            start.args(["--proxy-ports", &ports.join(",")]);
        }
        for property in extra {
            start.args(["--set", property]);
        }
        let output = start.output().expect("tests/stack/kafka-cluster can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let env = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let bootstrap = value("KAFKA_BOOTSTRAP").expect("the script prints KAFKA_BOOTSTRAP").to_owned();
        let upstreams = value("KAFKA_PROXY_UPSTREAM").unwrap_or_default();
        let address = |text: &str| text.parse().expect("the script prints host:port");
        let upstreams = upstreams.split_terminator(',').map(address).collect();
        Cluster { bootstrap, upstreams, directory }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What cannot be stopped here ends with this process: the script watches it.
        drop(script().arg("stop").arg(self.directory.path()).status());
    }
}
