//! Alert rules and dashboards, held: promtool takes and tests each rule, each has its entry in the runbook, and every
//! metric that a rule or a panel names is in the document (which a real scrape is held against elsewhere).
//!
//! Reads `observability/` as text; needs promtool (tests/stack/setup). Invariant: a rule without a test, an entry, or a
//! metric that exists does not pass.
#![allow(clippy::unwrap_used, reason = "a panic here is the report")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The alerts of the pipeline that Tidemill replaces.
const SEEDS: [&str; 20] = [
    "HighErrorRate",
    "HighConsumerLag",
    "HighProcessingLatency",
    "DatabaseConnectionFailure",
    "ProducerRunning",
    "ConsumerRunning",
    "LowEventRate",
    "KafkaProducerErrors",
    "KafkaConsumerErrors",
    "ProcessingFailuresDetected",
    "PipelineStoppedProcessing",
    "ProcessingLatencyHigh",
    "TransformationFailures",
    "AggregationFailures",
    "AlertsFired",
    "PipelineActive",
    "ConsumerLagGrowing",
    "ZeroThroughput",
    "HighDatabaseLatency",
    "PipelineStaleness",
];

/// Words of PromQL and labels that expressions use: whatever else stands in one is a metric.
const WORDS: &str = "abs and app by clamp_min client count deriv error_type event_type group_left histogram_quantile \
    increase instance job label_values label_replace lane le max min offset on or outcome part partition phase rate reason \
    result severity sink stage sum table task time topic unless vector why alert_type cause direction fate alertstate \
    __rate_interval datasource s m h";
/// Of Prometheus itself.
const ITS_OWN: [&str; 1] = ["up"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn promtool(args: &[&str]) -> String {
    let ran = Command::new("promtool").args(args).current_dir(folder()).output();
    let ran = ran.expect("promtool can be run: tests/stack/setup gets it");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "promtool {args:?}\n{said}");
    said
}

/// Names of alerts, and the lines of each.
fn alerts(file: &str) -> BTreeMap<String, String> {
    let text = read(file);
    let rules = text.split("      - alert: ").skip(1);
    rules.map(|rule| (rule.lines().next().unwrap().to_owned(), rule.to_owned())).collect()
}

const FILES: [&str; 2] = ["seeds", "tidemill"];

fn all_alerts() -> BTreeMap<String, String> {
    FILES.iter().flat_map(|file| alerts(&format!("alerts/{file}.yml"))).collect()
}

/// Every panel's queries: where, and what.
fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{name}: {}", panel["title"].as_str().unwrap());
                all.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert!(all.len() > 100, "{} queries", all.len());
    all
}

/// As Grafana fills it in.
fn filled(expr: &str) -> String {
    expr.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$task", ".*").replace("$app", ".*")
}

/// Words of an expression outside of quotes that are no numbers.
fn words(expr: &str) -> Vec<String> {
    let unquoted: String = expr.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let split = unquoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    split.filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')).map(str::to_owned).collect()
}

fn documented() -> BTreeSet<String> {
    let names = read("METRICS.md");
    let names = names.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

fn unknown(place: &str, expr: &str, known: &BTreeSet<String>) -> Vec<String> {
    let own: BTreeSet<&str> = WORDS.split_whitespace().chain(ITS_OWN).collect();
    let base = |w: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| w.strip_suffix(end)).map(str::to_owned);
    let is_known = |w: &String| own.contains(&**w) || known.contains(w) || base(w).is_some_and(|b| known.contains(&b));
    words(expr).into_iter().filter(|w| !is_known(w)).map(|w| format!("{place}: {w}")).collect()
}

#[test]
fn promtool_takes_every_rule_and_its_test_passes() {
    promtool(&["check", "rules", "alerts/seeds.yml", "alerts/tidemill.yml"]);
    promtool(&["test", "rules", "alerts/tests/seeds.yml", "alerts/tests/tidemill.yml"]);
}

#[test]
fn the_alerts_of_the_pipeline_before_are_all_there() {
    let names: BTreeSet<String> = alerts("alerts/seeds.yml").into_keys().collect();
    assert_eq!(names, SEEDS.iter().map(|s| (*s).to_owned()).collect());
}

#[test]
fn every_rule_has_a_case_that_fires_and_one_that_is_silent() {
    for file in FILES {
        let tests = read(&format!("alerts/tests/{file}.yml"));
        for name in alerts(&format!("alerts/{file}.yml")).keys() {
            let test = tests.split("  - name: ").find(|t| t.lines().next() == Some(name));
            let test = test.unwrap_or_else(|| panic!("{name} has no test in alerts/tests/{file}.yml"));
            let (given, then) = test.split_once("alert_rule_test:").unwrap();
            assert!(given.contains("instance=\"good\"") && given.contains("instance=\"bad\""), "{name}");
            let labels = then.matches("exp_labels").count();
            assert!(
                labels == 1 && then.contains("instance: bad") && then.contains(&format!("alertname: {name}\n")),
                "{name}"
            );
        }
    }
}

#[test]
fn every_alert_has_its_entry_in_the_runbook() {
    let runbook = read("RUNBOOK.md");
    for (name, rule) in all_alerts() {
        let entry = runbook.split("\n## ").find(|e| e.lines().next() == Some(&name));
        let entry = entry.unwrap_or_else(|| panic!("RUNBOOK.md has no entry {name}"));
        assert!(["**Means.**", "**Look at.**", "**Do.**"].iter().all(|part| entry.contains(part)), "{name}");
        let link = format!("runbook: observability/RUNBOOK.md#{}\n", name.to_lowercase());
        assert!(rule.contains(&link), "{name} lacks the annotation {link}");
    }
    let entries = runbook.matches("\n## ").count();
    assert_eq!(entries, all_alerts().len(), "an entry without an alert");
}

#[test]
fn rules_and_panels_name_metrics_that_exist() {
    let known = documented();
    assert!(known.len() > 80, "{}", known.len());
    let mut wrong = Vec::new();
    for (name, rule) in all_alerts() {
        let expr = rule.split("expr: |\n").nth(1).unwrap();
        let expr: Vec<&str> = expr.lines().take_while(|l| l.starts_with("          ")).collect();
        wrong.extend(unknown(&name, &expr.join("\n"), &known));
    }
    for (place, expr) in queries() {
        wrong.extend(unknown(&place, &filled(&expr), &known));
    }
    let runbook = read("RUNBOOK.md");
    let named = runbook.split('`').skip(1).step_by(2).filter(|w| w.starts_with("tidemill_"));
    wrong.extend(named.flat_map(|expr| unknown("RUNBOOK.md", expr, &known)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn promtool_parses_every_query_of_a_panel() {
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    for (at, (_, expr)) in queries().iter().enumerate() {
        let expr = serde_json::to_string(&filled(expr)).unwrap();
        rules += &format!("      - {{ record: 'panel:{at}', expr: {expr} }}\n");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("panels.yml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn every_dashboard_says_what_to_look_for_and_leads_on() {
    for name in ["pipeline", "tasks", "kafka", "sinks", "dead-letters"] {
        let dashboard: Value = serde_json::from_str(&read(&format!("dashboards/{name}.json"))).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert!(panels[0]["type"] == "text" && panels[0]["options"]["content"].as_str().unwrap().len() > 80, "{name}");
        let variables: Vec<&str> =
            dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
        assert!(["datasource", "app", "instance"].iter().all(|v| variables.contains(v)), "{name}: {variables:?}");
        assert_eq!(variables.contains(&"task"), name == "tasks");
        let links = dashboard["links"].to_string() + &panels.iter().map(|p| p["links"].to_string()).collect::<String>();
        assert!(links.contains("${traces}/search"), "{name} leads to no trace");
        let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: a panel's number comes twice");
        for panel in panels.iter().filter(|p| p["targets"].is_array()) {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {} has no unit", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {}", panel["title"]);
        }
    }
}
