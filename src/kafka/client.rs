//! Client settings by role: what the guarantees rest on is ours, everything else passes through.
//!
//! Used by every file of this room that opens a client. Each setting has its reason in DESIGN section 5.8 or beside it.
//! Invariant: a user's property can never weaken a guarantee; one that would is refused by name.

use super::errors::Fault;
use super::statistics::{EVERY_MS, Seen};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use std::collections::BTreeMap;
use std::time::Duration;

/// Properties that a user may not set, and what to use instead.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "use kafka.brokers"),
    ("metadata.broker.list", "use kafka.brokers"),
    ("group.id", "use kafka.group"),
    ("group.instance.id", "use --instance"),
    ("group.protocol", "static members need the classic protocol"),
    ("partition.assignment.strategy", "cooperative-sticky keeps unmoved tasks running"),
    ("isolation.level", "aborted records must stay invisible"),
    ("enable.auto.commit", "offsets are committed with the state"),
    ("enable.auto.offset.store", "offsets are committed with the state"),
    ("auto.offset.reset", "a gap must be seen; use start in the source"),
    ("enable.partition.eof", "positions at the end of a partition rest on it"),
    ("transactional.id", "it names app, instance and lane"),
    ("enable.idempotence", "transactions need it"),
    ("acks", "transactions need all"),
    ("request.required.acks", "transactions need all"),
    ("partitioner", "keys go where the Java clients send them"),
    ("log.queue", "logs are watched for late requests"),
    ("debug", "logs are watched for late requests"),
];

/// Properties that only a producer, or only a consumer, knows: given to the other they would only cause a warning.
const PRODUCER_ONLY: &[&str] = &[
    "transaction.timeout.ms",
    "linger.ms",
    "queue.buffering.",
    "compression.",
    "batch.",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "retries",
    "message.send.max.retries",
    "retry.backoff.",
    "max.in.flight",
    "sticky.",
];
const CONSUMER_ONLY: &[&str] = &[
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "fetch.",
    "queued.",
    "check.crcs",
    "max.partition.fetch.bytes",
    "receive.message.max.bytes",
];

/// What a producer may hold where no memory is set.
const SEND_BYTES: u64 = 1 << 30;
/// Default of `transaction.timeout.ms`: bounds how long a dead owner holds others up.
const TRANSACTION_TIMEOUT_MS: u64 = 15_000;

/// An answer of so many bytes is worth its request.
const FETCH_MIN_BYTES: &str = "65536";

/// An answer has no more, of however many partitions: beyond some 30 MiB the memory of each comes anew from the kernel, which clears it.
const FETCH_MAX_BYTES: u64 = 8 << 20;

/// Nor more than this part of the memory for what is fetched: beside a small record librdkafka holds five times as much for each, and while
/// one answer waits the next comes.
const FETCH_PART: u64 = 16;

/// No fetch waits longer, however rare commits are; and a commit interval that leaves time to spare.
const LONG: Duration = Duration::from_millis(100);

/// How this process reaches Kafka, and as whom.
#[derive(Debug, Clone)]
pub struct Connection {
    pub brokers: String,
    pub group: String,
    pub app: String,
    pub instance: String,
    properties: BTreeMap<String, String>,
    /// Bytes that fetched records may take before they are read.
    fetch_bytes: u64,
    /// How long the broker may wait until it has [`FETCH_MIN_BYTES`] to answer with.
    fetch_wait: Duration,
    /// Bytes that a lane's producer may hold.
    send_bytes: u64,
    /// Who is shown what its clients say of themselves.
    pub(super) seen: Seen,
}

impl Connection {
    /// # Errors
    /// A property that the guarantees rest on.
    pub fn new(settings: &tidemill_topology::Settings, instance: &str, fetch_bytes: u64) -> Result<Connection, Fault> {
        for (name, instead) in OURS {
            if settings.properties.contains_key(*name) {
                let cause =
                    format!("kafka.properties: {name} is set by Tidemill and may not be changed: {instead}; remove it");
                return Err(Fault::configuration(cause));
            }
        }
        Ok(Connection {
            brokers: settings.brokers.clone(),
            group: settings.group.clone(),
            app: settings.app.clone(),
            instance: instance.to_owned(),
            properties: settings.properties.clone(),
            fetch_bytes,
            fetch_wait: (settings.commit_interval / 10).min(LONG),
            send_bytes: SEND_BYTES,
            seen: Seen::default(),
        })
    }

    /// For a tool that owns no task and has no topology; `properties` come from its command line.
    ///
    /// # Errors
    /// A property that Tidemill sets itself.
    pub fn of_tool(name: &str, brokers: &str, properties: BTreeMap<String, String>) -> Result<Connection, Fault> {
        if let Some((name, _)) = OURS.iter().find(|(name, _)| properties.contains_key(*name)) {
            return Err(Fault::configuration(format!("--property {name}: is set by Tidemill; leave it out")));
        }
        let (app, instance) = (name.to_owned(), std::process::id().to_string());
        let (brokers, group) = (brokers.to_owned(), format!("tidemill-{name}"));
        let (fetch_bytes, fetch_wait) = (16 << 20, Duration::from_millis(10));
        let (send_bytes, seen) = (SEND_BYTES, Seen::default());
        Ok(Connection { brokers, group, app, instance, properties, fetch_bytes, fetch_wait, send_bytes, seen })
    }

    /// The same, and what its clients say of themselves is shown.
    pub fn seen(self, seen: Seen) -> Connection {
        Connection { seen, ..self }
    }

    /// The same where every record is fetched once on its way: from intervals of [`LONG`] on, fetches may wait for twice as long as where a
    /// repartition has them wait twice.
    pub fn fetching_once(self, interval: Duration) -> Connection {
        let fetch_wait = if interval < LONG { self.fetch_wait } else { (interval / 5).min(LONG) };
        Connection { fetch_wait, ..self }
    }

    /// The same, with lanes whose producers hold so many bytes at most: SEND then waits until some have left.
    pub fn sending(self, send_bytes: u64) -> Connection {
        Connection { send_bytes, ..self }
    }

    /// The same cluster for a sink: a group of its own, so its pace is nobody else's.
    pub fn for_sink(&self, group: &str, fetch_bytes: u64) -> Connection {
        Connection { group: group.to_owned(), fetch_bytes, ..self.clone() }
    }

    pub fn transactional_id(&self, lane: usize) -> String {
        format!("{}-{}-{lane}", self.app, self.instance)
    }

    pub fn transaction_timeout(&self) -> Duration {
        let set = self.properties.get("transaction.timeout.ms").and_then(|v| v.parse().ok());
        Duration::from_millis(set.unwrap_or(TRANSACTION_TIMEOUT_MS))
    }

    /// The one consumer of the process's tasks.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut c = self.base(PRODUCER_ONLY);
        default(&mut c, "session.timeout.ms", "45000");
        default(&mut c, "heartbeat.interval.ms", "1000");
        queue(&mut c);
        // Records that trickle in would be answered one by one, thousands of times a second. What a commit waits for anyway can
        // wait a part of that for its like.
        default(&mut c, "fetch.min.bytes", FETCH_MIN_BYTES);
        let answer = (self.fetch_bytes / FETCH_PART).clamp(1 << 20, FETCH_MAX_BYTES);
        default(&mut c, "fetch.max.bytes", &answer.to_string());
        default(&mut c, "fetch.wait.max.ms", &self.fetch_wait.as_millis().clamp(1, 500).to_string());
        default(&mut c, "check.crcs", "true");
        default(&mut c, "statistics.interval.ms", EVERY_MS);
        default(&mut c, "queued.max.messages.kbytes", &(self.fetch_bytes / 1024).clamp(1024, 2_097_151).to_string());
        self.group(&mut c);
        c.set("group.instance.id", &self.instance);
        c.set("group.protocol", "classic");
        c.set("partition.assignment.strategy", "cooperative-sticky");
        c.set("isolation.level", "read_committed");
        c.set("auto.offset.reset", "error");
        c
    }

    /// A lane's transactional producer.
    pub(super) fn producer(&self, lane: usize) -> ClientConfig {
        let mut c = self.base(CONSUMER_ONLY);
        // 5 ms of lingering cost 4 ms a commit; a burst fills its batches without.
        default(&mut c, "linger.ms", "0");
        // AddOffsets is told "concurrent" now and then; the default would wait 100 ms each time.
        default(&mut c, "retry.backoff.ms", "1");
        default(&mut c, "compression.type", "lz4");
        default(&mut c, "transaction.timeout.ms", &TRANSACTION_TIMEOUT_MS.to_string());
        // SEND waits where they are full, so they are above most transactions.
        default(&mut c, "queue.buffering.max.messages", "2000000");
        default(&mut c, "queue.buffering.max.kbytes", &(self.send_bytes / 1024).clamp(4096, 2_097_151).to_string());
        default(&mut c, "statistics.interval.ms", EVERY_MS);
        c.set("transactional.id", self.transactional_id(lane));
        c.set("partitioner", "murmur2_random");
        // eos names every EndTxn's answer; broker names every lost connection, also those that the log would suppress.
        c.set("debug", "eos,broker");
        c.set_log_level(RDKafkaLogLevel::Debug);
        c
    }

    /// A producer outside of any transaction: each record once, in order, on all replicas.
    pub(super) fn plain_producer(&self) -> ClientConfig {
        let mut c = self.base(CONSUMER_ONLY);
        default(&mut c, "compression.type", "lz4");
        c.set("acks", "all");
        c.set("enable.idempotence", "true");
        c.set("partitioner", "murmur2_random");
        // The missing topic is reported, not made with a broker's defaults.
        c.set("allow.auto.create.topics", "false");
        c
    }

    /// Dead letters of sinks: given up after a time, so that the sink hears of it.
    pub(super) fn letters(&self) -> ClientConfig {
        let mut c = self.plain_producer();
        c.remove("transaction.timeout.ms");
        default(&mut c, "delivery.timeout.ms", "20000");
        c
    }

    /// Stable committed offsets, and ends as a committed reader sees them. Never subscribed, so it never joins.
    pub(super) fn stable(&self) -> ClientConfig {
        let mut c = self.base(PRODUCER_ONLY);
        self.group(&mut c);
        c.set("isolation.level", "read_committed");
        c
    }

    /// Reads a changelog up to its end, which a fetch of nothing tells: it must not wait for more to come. It never goes on elsewhere
    /// than where it was told to begin.
    pub(super) fn roller(&self) -> ClientConfig {
        let mut c = self.stable();
        c.set("auto.offset.reset", "error");
        c.set("fetch.wait.max.ms", "5");
        queue(&mut c);
        c
    }

    /// Ends as they are, open transactions included.
    pub(super) fn raw(&self) -> ClientConfig {
        let mut c = self.base(PRODUCER_ONLY);
        self.group(&mut c);
        c.set("isolation.level", "read_uncommitted");
        c
    }

    /// Topics and broker settings.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut c = self.base(PRODUCER_ONLY);
        for name in CONSUMER_ONLY {
            c.remove(name);
        }
        c
    }

    fn group(&self, c: &mut ClientConfig) {
        c.set("group.id", &self.group);
        c.set("enable.auto.commit", "false");
        c.set("enable.auto.offset.store", "false");
        c.set("enable.partition.eof", "true");
    }

    fn base(&self, not: &[&str]) -> ClientConfig {
        let mut c = ClientConfig::new();
        for (name, value) in &self.properties {
            if !not.iter().any(|n| name.starts_with(n)) {
                c.set(name, value);
            }
        }
        c.set("bootstrap.servers", &self.brokers);
        default(&mut c, "client.id", &format!("{}-{}", self.app, self.instance));
        default(&mut c, "enable.metrics.push", "false");
        // A broker that was away is tried again soon, but not in a tight loop.
        default(&mut c, "reconnect.backoff.max.ms", "1000");
        c.set_log_level(RDKafkaLogLevel::Warning);
        c
    }
}

/// What waits between the client's thread and ours: little, so that it still lies in the processor's cache when it is read. (The default
/// is 100 000 records; 5 000 take a fifth off the cost of a whole event.) And a fetcher that was ahead goes on soon, where the default of a
/// second would stall the reader.
fn queue(c: &mut ClientConfig) {
    default(c, "queued.min.messages", "5000");
    default(c, "fetch.queue.backoff.ms", "10");
}

fn default(c: &mut ClientConfig, name: &str, value: &str) {
    if c.get(name).is_none() {
        c.set(name, value);
    }
}

/// The version of librdkafka that is linked in.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
