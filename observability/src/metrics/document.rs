//! The document of all metrics, made from what the handles say of themselves.
//!
//! `observability/METRICS.md` is its output; a test holds the two together. Knows no metric.
//! Invariant: every metric that a process can show stands in it once.

use super::Described;
use std::fmt::Write;

const HEAD: &str = "\
# Metrics

`GET /metrics` on the port of the section `http` (README, \"Live queries\"), and on `METRICS_PORT_PRODUCER` of the simulator, in
Prometheus's text format. It wants no token, as `/live` and `/ready`: names of topics, tasks and sinks stand in it, nothing of a record
but the values of `event_type` that are said below. Counters are added once a batch or a commit, gauges are of the last second;
what is not known yet has no series. This file is made from the handles in `observability/src/metrics/`: `make metrics` writes it.

**How many series.** By task: at most 200 tasks of a process have their own, seven each; with more, each topic has one, `STAGE/TOPIC/all`
(sums of records, else the worst), and `tidemill_tasks_aggregated` is 1. All other labels have values that this file or the topology bounds:
`stage`, `sink`, `topic`, `table`, `lane`, `client`, and the codes in `reason` and `error_type`.
";

/// The text, of the engine's metrics and the simulator's.
pub fn document(engine: &[Described], simulator: &[Described]) -> String {
    let mut text = HEAD.to_owned();
    let mut subject = "";
    let own = simulator.iter().filter(|s| engine.iter().all(|e| e.name != s.name));
    for metric in engine.iter().chain(own) {
        if metric.subject != subject {
            subject = metric.subject;
            write!(text, "\n## {subject}\n\n| metric | type | labels | means |\n|---|---|---|---|\n").expect("memory");
        }
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let help = metric.help.replace('|', "\\|");
        writeln!(text, "| `{}` | {} | {} | {help} |", metric.name, metric.kind, labels.join(", ")).expect("memory");
    }
    let shared = simulator.iter().filter(|s| engine.iter().any(|e| e.name == s.name));
    let names: Vec<String> = shared.map(|s| format!("`{}`", s.name)).collect();
    write!(text, "\nThe simulator also shows {}.\n", names.join(", ")).expect("memory");
    text
}
