//! The helper of these tests: processes that answer on ports of their own, and questions to them. Knows the command line
//! and plain HTTP. Invariant: a question has its own connection and ends in time.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::process::{Process, Start, program, run};
use tidemill_harness::verdict::Broker;

pub struct Mills {
    pub ports: [u16; 2],
    pub topology: String,
    bootstrap: String,
    scratch: tempfile::TempDir,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Asked {
    pub status: u16,
    pub body: Value,
}

/// Asks until it is so; panics with `what` when that takes too long.
pub fn expect<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `None`: nobody answers there.
pub fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Option<Asked> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").ok()?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let text = String::from_utf8(all).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    // A process that is killed leaves half an answer.
    (length == Some(body.len())).then(|| Asked { status, body: serde_json::from_str(body).unwrap() })
}

pub fn cli(mills: &Mills, args: &[&str]) -> Result<String, String> {
    run(&program("TIDEMILL_BIN", "tidemill"), args, &mills.env(mills.ports[0]))
}

pub fn at_the_end(broker: &Broker, topic: &str) {
    let is = || broker.group_offsets("queries", topic).unwrap() == broker.ends(topic, false).unwrap();
    expect(Duration::from_secs(60), topic, || is().then_some(()));
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Mills {
    pub fn new(cluster: &Cluster) -> Mills {
        let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/queries.yaml").display().to_string();
        let ports = [free_port(), free_port()];
        Mills { ports, topology, bootstrap: cluster.bootstrap.clone(), scratch: tempfile::tempdir().unwrap() }
    }

    fn env(&self, port: u16) -> Vec<(String, String)> {
        let ports = [("PORT", port), ("PORT_A", self.ports[0]), ("PORT_B", self.ports[1])];
        let ports = ports.map(|(name, port)| (name.to_owned(), port.to_string()));
        [("KAFKA_BOOTSTRAP_SERVERS".to_owned(), self.bootstrap.clone())].into_iter().chain(ports).collect()
    }

    pub fn file(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// A copy of the topology with these words replaced.
    pub fn edited(&self, replace: &[(&str, &str)]) -> String {
        let text = std::fs::read_to_string(&self.topology).unwrap();
        let text = replace.iter().fold(text, |text, (old, new)| {
            assert!(text.contains(old), "the topology has no '{old}'");
            text.replace(old, new)
        });
        let file = self.file("edited.yaml");
        std::fs::write(&file, text).unwrap();
        file
    }

    pub fn create_topics(&self) {
        cli(self, &["topics", "create", &self.topology]).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }

    pub fn start(&self, name: &str, port: u16) -> Process {
        self.start_file(name, port, &self.topology)
    }

    pub fn start_file(&self, name: &str, port: u16, file: &str) -> Process {
        let state = self.file(&format!("{name}-disk"));
        let args = ["run", file, "--instance", name, "--state", &state].map(str::to_owned).into();
        let (program, log) = (program("TIDEMILL_BIN", "tidemill"), self.file(&format!("{name}.log")).into());
        Process::start(&Start { program, args, env: self.env(port), log }).unwrap()
    }

    /// Records of three kinds by turns, ten users each, thirty keys.
    pub fn feed(&self, records: u64, at: i64) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        for i in 0..records {
            let (kind, user, key) = (["a", "b", "c"][(i % 3) as usize], i / 3 % 10, format!("key-{}", i % 30));
            let value =
                format!("{{\"at\":{},\"kind\":\"{kind}\",\"user\":\"u{user}\",\"x\":{}}}", at + i as i64, i % 2);
            producer.send(BaseRecord::to("queries-input").key(&key).payload(&value)).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }
}
