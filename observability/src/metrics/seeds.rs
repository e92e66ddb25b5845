//! The names of the pipeline that Tidemill replaces, as its dashboards and alerts ask for them.
//!
//! Called by the engine, by sinks and by the simulator, once a batch or a commit. Invariant: names, labels and types are
//! those of that pipeline; the help says what each one means here.

use super::kinds::{Count, Level, Maker, NONE, Spread};

/// Seconds, from a microsecond a record to half a minute.
const DURATIONS: &[f64] = &[
    1e-6, 5e-6, 2.5e-5, 1e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
const SIZES: &[f64] = &[64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 16384.0, 65536.0, 1_048_576.0];
const ROWS: &[f64] = &[1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10000.0];

/// Values of `event_type` that have a series of their own; the rest is `other`.
pub const EVENT_TYPES: usize = 32;

/// Of the engine and its sinks.
#[derive(Clone)]
pub struct Seeds {
    pub consumed: Count,
    pub processed: Count,
    pub failed: Count,
    pub processing: Spread,
    pub transformation: Spread,
    pub aggregation: Spread,
    pub inserts: Count,
    pub insert_duration: Spread,
    pub insert_errors: Count,
    pub batch_size: Spread,
    pub connections: Level,
    pub last_event: Level,
    pub produce_errors: Count,
    pub consume_errors: Count,
    pub created: Count,
    pub flushed: Count,
    pub dead: Count,
    pub alerts: Count,
    pub bytes: Count,
}

impl Seeds {
    pub(super) fn new(m: &mut Maker) -> Seeds {
        m.subject("Names of the pipeline before");
        let seeds = Seeds {
            consumed: m.count("events_consumed_total", NONE, "Records of the sources that were read, whatever became of them; what a crash undid is read again."),
            processed: m.count("events_processed_total", NONE, "Records of the sources whose work is committed: given on, filtered or duplicate."),
            failed: m.count("events_failed_total", &["error_type", "topic"], "Records of the sources that became dead letters, by code and source topic, at the commit."),
            processing: m.spread("event_processing_duration_seconds", NONE, DURATIONS, "From the arrival of a record's batch to the end of its transaction; each record counts, with the time of its batch."),
            transformation: m.spread("event_transformation_duration_seconds", NONE, DURATIONS, "Work on a record by all operators: the time of a batch, shared by its records."),
            aggregation: m.spread("aggregation_duration_seconds", NONE, DURATIONS, "A task's seal: closing windows, saying updates, encoding what changed."),
            inserts: m.count("db_inserts_total", &["table"], "Rows that sinks wrote, by table."),
            insert_duration: m.spread("db_insert_duration_seconds", NONE, DURATIONS, "A sink's database transaction, from its begin to its commit."),
            insert_errors: m.count("db_insert_errors_total", &["table", "error_type"], "What went wrong in a sink's database work: connection, database, conflict, refused, unknown, row."),
            batch_size: m.spread("db_batch_size", NONE, ROWS, "Records of one database transaction."),
            connections: m.level("db_connections_active", NONE, "Connections to databases that sinks have open."),
            last_event: m.level("last_event_processed_unixtime", NONE, "When records of a source were last committed, seconds since 1970; 0: not since the start."),
            produce_errors: m.count("kafka_produce_errors_total", NONE, "Errors of producers: deliveries that failed, and what librdkafka reports."),
            consume_errors: m.count("kafka_consume_errors_total", NONE, "Errors of consumers that librdkafka reports."),
            created: m.count("aggregations_created_total", &["event_type"], "Results (updates and finals) of groupings by event_type alone, at the commit. At most 32 values, of letters, digits, '.', '_' and '-'; else 'other'."),
            flushed: m.count("aggregations_flushed_total", NONE, "Rows that sinks wrote by upsert."),
            dead: m.count("dead_letter_events_total", &["reason"], "Dead letters by code: of tasks at the commit, of sinks (sink-row) once they are acknowledged."),
            alerts: m.count("alerts_fired_total", &["alert_type", "severity"], "How often this process itself saw a threshold of the section 'alerts' crossed; the rules of Prometheus count apart."),
            bytes: m.count("bytes_total", &["direction", "source", "topic"], "Bytes of records, keys, values and headers, that were read from or sent to a topic."),
        };
        seeds.connections.set(NONE, 0.0);
        seeds.last_event.set(NONE, 0.0);
        seeds.created.at_zero([&["other"][..]]);
        for (kind, severity) in ALERTS {
            seeds.alerts.add(&[kind, severity], 0);
        }
        seeds
    }
}

/// What a process looks at itself.
pub const ALERTS: [(&str, &str); 4] = [
    ("high_error_rate", "warning"),
    ("high_consumer_lag", "warning"),
    ("high_processing_latency", "warning"),
    ("database_connection_failure", "critical"),
];

/// Of the simulator.
#[derive(Clone)]
pub struct Produced {
    pub events: Count,
    pub errors: Count,
    pub bytes: Count,
    pub size: Spread,
}

impl Produced {
    pub(super) fn new(m: &mut Maker) -> Produced {
        m.subject("The simulator");
        Produced {
            events: m.count(
                "events_produced_total",
                &["event_type"],
                "Events that were handed to the producer, by type; what no reader can accept is 'broken'.",
            ),
            errors: m.count(
                "kafka_produce_errors_total",
                NONE,
                "Errors of producers: deliveries that failed, and what librdkafka reports.",
            ),
            bytes: m.count(
                "bytes_total",
                &["direction", "source", "topic"],
                "Bytes of records, keys, values and headers, that were read from or sent to a topic.",
            ),
            size: m.spread("event_size_bytes", NONE, SIZES, "Bytes of an event's value."),
        }
    }
}
