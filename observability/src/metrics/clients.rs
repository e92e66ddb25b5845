//! What librdkafka and RocksDB say of themselves: the few figures that tell one trouble from another.
//!
//! librdkafka's come with its statistics, every five seconds; RocksDB's are asked by the process's meter.
//! Invariant: a client is the consumer, a lane's producer or a sink's consumer: never more series than these.

use super::kinds::{Count, Level, Maker, NONE};

/// One client's statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub brokers_up: u64,
    /// Requests that wait to be sent or answered.
    pub requests: u64,
    /// Seconds, the slowest broker's mean.
    pub round_trip: f64,
    /// Records in its queues.
    pub queued: u64,
    /// Bytes of them.
    pub queued_bytes: u64,
    /// Since the client was made.
    pub timeouts: u64,
    pub errors: u64,
    pub disconnects: u64,
}

#[derive(Clone)]
pub struct Clients {
    brokers: Level,
    requests: Level,
    round_trip: Level,
    queued: Level,
    queued_bytes: Level,
    timeouts: Count,
    errors: Count,
    disconnects: Count,
}

impl Clients {
    pub(super) fn new(m: &mut Maker) -> Clients {
        m.subject("Kafka clients (librdkafka, every five seconds)");
        let client = &["client"];
        Clients {
            brokers: m.level("tidemill_kafka_brokers_up", client, "Brokers that a client is connected to. Clients: consumer, lane-N, sink-NAME."),
            requests: m.level("tidemill_kafka_requests_waiting", client, "Requests that wait to be sent, or for their answer."),
            round_trip: m.level("tidemill_kafka_round_trip_seconds", client, "Mean round trip of a request, of the slowest broker; a fetch waits for records, so of a consumer up to fetch.wait.max.ms is normal."),
            queued: m.level("tidemill_kafka_queued_records", client, "Records in a client's queues: fetched and not read, or sent and not delivered."),
            queued_bytes: m.level("tidemill_kafka_queued_bytes", client, "Bytes of them; bound for consumers: tidemill_memory_limit_bytes{part=\"fetch\"}."),
            timeouts: m.count("tidemill_kafka_timeouts_total", client, "Requests that were given up."),
            errors: m.count("tidemill_kafka_transport_errors_total", client, "Errors of sending and receiving."),
            disconnects: m.count("tidemill_kafka_disconnects_total", client, "Connections that ended."),
        }
    }

    /// New statistics of a client, and what it said before: a client that was made anew counts from 0 again.
    pub fn show(&self, client: &str, now: &Figures, before: &Figures) {
        let client = &[client];
        self.brokers.set(client, now.brokers_up as f64);
        self.requests.set(client, now.requests as f64);
        self.round_trip.set(client, now.round_trip);
        self.queued.set(client, now.queued as f64);
        self.queued_bytes.set(client, now.queued_bytes as f64);
        self.timeouts.add(client, now.timeouts.saturating_sub(before.timeouts));
        self.errors.add(client, now.errors.saturating_sub(before.errors));
        self.disconnects.add(client, now.disconnects.saturating_sub(before.disconnects));
    }
}

/// Stores of the tasks here, together.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoresNow {
    pub disk_bytes: u64,
    pub compaction_bytes: u64,
    /// Stores that refuse writes until a compaction has ended.
    pub stopped: u64,
    pub cache_bytes: u64,
}

#[derive(Clone)]
pub struct Stores {
    disk: Level,
    compaction: Level,
    stopped: Level,
    cache: Level,
}

impl Stores {
    pub(super) fn new(m: &mut Maker) -> Stores {
        m.subject("Stores (RocksDB)");
        Stores {
            disk: m.level("tidemill_store_bytes", NONE, "Bytes of table files of the tasks that run here."),
            compaction: m.level(
                "tidemill_store_compaction_bytes",
                NONE,
                "Bytes that compactions still have to rewrite.",
            ),
            stopped: m.level(
                "tidemill_stores_stopped",
                NONE,
                "Stores that take no writes until a compaction has ended.",
            ),
            cache: m.level(
                "tidemill_store_cache_bytes",
                NONE,
                "Block cache and memtables of all stores; bound: tidemill_memory_limit_bytes{part=\"stores\"}.",
            ),
        }
    }

    pub(super) fn show(&self, now: &StoresNow) {
        self.disk.set(NONE, now.disk_bytes as f64);
        self.compaction.set(NONE, now.compaction_bytes as f64);
        self.stopped.set(NONE, now.stopped as f64);
        self.cache.set(NONE, now.cache_bytes as f64);
    }
}
