//! The process: what it is, what it uses, its memory's bounds, and how its predecessors ended.
//!
//! Read from /proc once a second by the process's meter. Invariant: names without a prefix are those that every
//! Prometheus client gives to the same thing.

use super::kinds::{Count, Level, Maker, NONE, Sum};
use std::fs;

/// Why a process can have ended.
pub const EXITS: [&str; 6] = ["done", "fenced", "stuck", "configuration", "failed", "killed"];

/// What the process is.
#[derive(Debug, Clone)]
pub struct About {
    pub app: String,
    pub instance: String,
    pub version: String,
    pub librdkafka: String,
    pub rocksdb: String,
}

#[derive(Clone)]
pub struct Process {
    cpu: Sum,
    resident: Level,
    virtual_bytes: Level,
    threads: Level,
    files: Level,
    files_limit: Level,
    started: Level,
    /// By part; of what is bounded.
    pub used: Level,
    pub limit: Level,
    pub exits: Count,
}

impl Process {
    pub(super) fn new(m: &mut Maker, about: &About) -> Process {
        m.subject("The process");
        let names = &["app", "instance_name", "version", "librdkafka", "rocksdb"];
        let info = m.level(
            "tidemill_build_info",
            names,
            "1, with what runs in its labels: the application, the instance's name, and versions.",
        );
        info.set(&[&about.app, &about.instance, &about.version, &about.librdkafka, &about.rocksdb], 1.0);
        let process = Process {
            cpu: m.sum("process_cpu_seconds_total", "CPU time of the process, user and system."),
            resident: m.level("process_resident_memory_bytes", NONE, "Memory of the process that is in RAM."),
            virtual_bytes: m.level("process_virtual_memory_bytes", NONE, "Address space of the process."),
            threads: m.level("process_threads", NONE, "Threads of the process."),
            files: m.level("process_open_fds", NONE, "Files and sockets that the process has open."),
            files_limit: m.level("process_max_fds", NONE, "How many it may have open."),
            started: m.level("process_start_time_seconds", NONE, "When the process started, seconds since 1970."),
            used: m.level("tidemill_memory_bytes", &["part"], "Memory that is in use: cache (values of tasks), seen and counted (ids of dedupe and of distinct counts), mailboxes (batches that wait), stores (block cache and memtables). Of fetched records: tidemill_kafka_queued_bytes."),
            limit: m.level("tidemill_memory_limit_bytes", &["part"], "The setting 'memory' (part=\"whole\"), and its parts."),
            exits: m.count("tidemill_exits_total", &["cause"], "How processes of this state directory ended: done, fenced, stuck (a transaction without an answer), configuration, failed, killed (without a word). Kept in the directory."),
        };
        EXITS.iter().for_each(|cause| process.exits.add(&[cause], 0));
        process.look();
        process
    }

    /// What the system says of this process now. Where there is no /proc, nothing is said.
    pub(super) fn look(&self) {
        let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else { return };
        // The name may hold spaces and parentheses: fields are counted behind its end.
        let fields: Vec<f64> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().map(number).collect();
        let field = |n: usize| fields.get(n).copied().unwrap_or(0.0);
        let ticks = ticks_a_second();
        self.cpu.reach((field(11) + field(12)) / ticks);
        self.threads.set(NONE, field(17));
        self.virtual_bytes.set(NONE, field(20));
        self.resident.set(NONE, field(21) * PAGE);
        if let Some(boot) = line_of("/proc/stat", "btime") {
            self.started.set(NONE, boot + field(19) / ticks);
        }
        self.files.set(NONE, fs::read_dir("/proc/self/fd").map_or(0.0, |all| all.count() as f64));
        self.files_limit.set(NONE, line_of("/proc/self/limits", "Max open files").unwrap_or(0.0));
    }
}

/// Of Linux on the platforms that there are builds for.
const PAGE: f64 = 4096.0;

fn ticks_a_second() -> f64 {
    100.0 // USER_HZ, which Linux shows to programs on every platform that there are builds for
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(0.0)
}

/// The first number behind a word at the beginning of a line.
fn line_of(file: &str, word: &str) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next().map(number)
}
