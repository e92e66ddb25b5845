//! One broker behind the proxy, and the program that runs against it. Knows how an application's files and topics are
//! made; parts of a run share it. Invariant: every application has a name, topics and a state directory of its own.

use super::trickle::PARTITIONS;
use crate::cluster::Cluster;
use crate::process::{Process, Start, program, run};
use crate::proxy::{Event, Kind, Proxy};
use crate::verdict::Broker;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is tested: the product, or the product with protections taken away.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    control: Option<String>,
}

impl Program {
    pub fn product() -> Program {
        Program { path: program("TIDEMILL", "tidemill"), control: None }
    }

    /// Without these protections (names with commas between).
    pub fn without(protections: &str) -> Program {
        let path = program("TIDEMILL_CONTROLS", "tidemill-controls");
        Program { path, control: Some(protections.to_owned()) }
    }
}

pub struct World {
    // Before the cluster, so that it ends first.
    pub proxy: Proxy,
    pub cluster: Cluster,
    pub broker: Broker,
    pub program: Program,
    scratch: PathBuf,
    _scratch: Option<tempfile::TempDir>,
    apps: AtomicU32,
}

/// Where an application lives.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: String,
    pub file: PathBuf,
    pub plain: String,
    pub counted: String,
    pub copies: String,
    pub running: String,
}

impl Place {
    pub fn changelog(&self) -> String {
        format!("{}-counted-{}-changelog", self.name, self.counted)
    }
}

impl World {
    /// `broker`: properties `name=value`. `keep`: a directory for logs and states that stays, else a temporary one.
    pub fn start(program: Program, broker: &[&str], keep: Option<PathBuf>) -> Result<World, String> {
        World::start_nodes(1, program, broker, keep)
    }

    /// The same with so many brokers (1 or 3), each behind a port of the proxy.
    pub fn start_nodes(
        nodes: usize,
        program: Program,
        broker: &[&str],
        keep: Option<PathBuf>,
    ) -> Result<World, String> {
        let bound = Proxy::bind(nodes).map_err(|e| format!("the proxy's port: {e}"))?;
        let cluster = Cluster::start(nodes, &bound.ports(), broker);
        let proxy = bound.upstream(&cluster.upstreams);
        let (scratch, own) = match keep {
            Some(kept) => (kept, None),
            None => {
                let own = tempfile::tempdir().map_err(|e| format!("a temporary directory: {e}"))?;
                (own.path().to_owned(), Some(own))
            }
        };
        std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        let broker = Broker::new(&cluster.bootstrap);
        Ok(World { proxy, cluster, broker, program, scratch, _scratch: own, apps: AtomicU32::new(0) })
    }

    /// A new application: its topology file and all its topics.
    pub(super) fn place(&self, properties: &str) -> Result<Place, String> {
        let name = format!("strays-{}", self.apps.fetch_add(1, Ordering::Relaxed));
        let topic = |what: &str| format!("{name}-{what}");
        let (plain, counted) = (topic("plain"), topic("counted"));
        let (copies, running) = (topic("copies"), topic("running"));
        let place = Place { file: self.scratch.join(format!("{name}.yaml")), name, plain, counted, copies, running };
        std::fs::write(&place.file, self.topology(&place, properties)).map_err(|e| format!("{}: {e}", place.name))?;
        for topic in [&place.plain, &place.counted] {
            self.broker.create_topic(topic, PARTITIONS, 1)?;
        }
        self.make_topics(&place)?;
        Ok(place)
    }

    /// Those that are missing.
    pub(super) fn make_topics(&self, place: &Place) -> Result<(), String> {
        run(&self.program.path, &["topics", "create", &place.file.display().to_string()], &[])?;
        self.wait_topics(place)
    }

    /// Created is not yet known: a busy broker says for a while that such a topic is missing, and `run` ends then.
    fn wait_topics(&self, place: &Place) -> Result<(), String> {
        let changelog = place.changelog();
        let dead = format!("{}-dead", place.name);
        let deadline = Instant::now() + Duration::from_secs(20);
        for topic in [&place.plain, &place.counted, &place.copies, &place.running, &changelog, &dead] {
            while let Err(error) = self.broker.partitions(topic) {
                if Instant::now() > deadline {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn topology(&self, place: &Place, properties: &str) -> String {
        let Place { name, plain, counted, copies, running, .. } = place;
        let brokers = self.proxy.bootstrap();
        format!(
            r#"app: {name}
kafka:
  brokers: "{brokers}"
  properties: {{ heartbeat.interval.ms: "100", reconnect.backoff.ms: "10", {properties} }}
lanes: 1
commit: {{ interval: 50ms }}
memory: 256MiB
topics: {{ replication: 1, min_insync_replicas: 1 }}
sources:
  plain: {{ topic: {plain}, key_format: string, format: json, start: earliest }}
  counted: {{ topic: {counted}, key_format: string, format: json, start: earliest }}
steps:
  running:
    from: counted
    group_by: record.key
    aggregate: {{ total: count() }}
    emit: every
outputs:
  {copies}: {{ from: plain }}
  {running}: {{ from: running, key_format: string, format: string, fields: [total] }}
dead_letters: {{ topic: {name}-dead }}
"#
        )
    }

    fn state(&self, instance: &str) -> String {
        self.scratch.join(format!("state-{instance}")).display().to_string()
    }

    pub(super) fn process(&self, place: &Place, instance: &str) -> Result<Process, String> {
        let (file, state) = (place.file.display().to_string(), self.state(instance));
        let args = ["run", &file, "--instance", instance, "--state", &state];
        let mut env = Vec::new();
        if let Some(names) = &self.program.control {
            let folder = self.hold(instance);
            std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            env.push(("TIDEMILL_CONTROL".to_owned(), names.clone()));
            env.push(("TIDEMILL_HOLD".to_owned(), folder.display().to_string()));
        }
        let log = self.scratch.join(format!("{}-{instance}.log", place.name));
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Process::start(&Start { program: self.program.path.clone(), args, env, log })
    }

    /// Where files hold threads of an instance; see `src/stop_points.rs`.
    pub(super) fn hold(&self, instance: &str) -> PathBuf {
        self.scratch.join(format!("hold-{instance}"))
    }

    /// `state dump` of an instance's directory.
    pub(super) fn dump(&self, place: &Place, instance: &str) -> Result<String, String> {
        let (file, state) = (place.file.display().to_string(), self.state(instance));
        run(&self.program.path, &["state", "dump", &file, "--state", &state, "-o", "json"], &[])
    }

    /// Waits until so many commits that came after this request were answered without an error.
    pub(super) fn wait_commits(&self, after: u64, n: usize, within: Duration) -> bool {
        self.proxy.wait(within, |events| {
            let later = &events[events.partition_point(|event| event.seq <= after)..];
            later.iter().filter(|event| is_commit(event)).count() >= n
        })
    }

    /// How often producers whose ids begin so have committed after this request.
    pub(super) fn commits_of(&self, txn: &str, after: u64) -> usize {
        let events = self.proxy.events_after(after);
        let is_theirs = |event: &&Event| event.txn.as_ref().is_some_and(|id| id.starts_with(txn));
        events.iter().filter(is_theirs).filter(|event| is_commit(event)).count()
    }

    pub(super) fn last_seq(&self) -> u64 {
        let mut last = 0;
        self.proxy.wait(Duration::ZERO, |events| {
            last = events.last().map_or(0, |event| event.seq);
            true
        });
        last
    }
}

/// A commit that went its usual way, or whose answer alone was lost.
pub(super) fn is_commit(event: &Event) -> bool {
    event.kind == Kind::EndTxn && event.committed == Some(true) && event.error == Some(0) && !event.is_held()
}
