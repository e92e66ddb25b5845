//! `make alerts` and `make panels`: a real Prometheus scrapes the hourly job and the simulator.
//!
//! `alerts`: PostgreSQL is killed, then the broker stopped; both alerts arrive at a webhook through a real Alertmanager, and
//! are over once both are healed. `panels`: every query of every dashboard gives data, with broken events and one restart of
//! PostgreSQL. Knows the product from outside. Invariant: nothing is asserted that a person with the same URLs cannot see.

use clap::Parser;
use serde_json::Value;
use std::time::{Duration, Instant};
use tidemill_harness::observed::{Alertmanager, Observed, Prometheus, Webhook, expect, get, root};
use tidemill_harness::process::Process;

const LONG: Duration = Duration::from_secs(90);
const FAULTS: [&str; 8] = ["--broken", "0.05", "--late", "0.02", "--duplicates", "0.05", "--disorder", "0.05"];

#[derive(Parser)]
enum Command {
    /// Kill PostgreSQL, stop the broker, heal both; look at the webhook.
    Alerts,
    /// Every panel's query gives data.
    Panels {
        /// How long to run, with a restart of PostgreSQL in the middle.
        #[arg(long, default_value_t = 75)]
        seconds: u64,
    },
}

fn main() -> Result<(), String> {
    match Command::parse() {
        Command::Alerts => alerts(),
        Command::Panels { seconds } => panels(seconds),
    }
}

fn say(began: Instant, text: &str) {
    println!("{:6.1} {text}", began.elapsed().as_secs_f64());
}

fn start(world: &Observed) -> Result<(Process, Process), String> {
    let job = world.job("tidemill")?;
    expect(LONG, "/ready", || match get(world.ports[0], "/ready")? {
        (200, _) => Ok(()),
        (_, body) => Err(body),
    });
    Ok((job, world.simulator(60, &FAULTS)?))
}

fn alerts() -> Result<(), String> {
    let began = Instant::now();
    let world = Observed::build(3)?;
    let webhook = Webhook::start()?;
    let manager = Alertmanager::start(world.scratch.path(), webhook.port)?;
    let _prometheus = Prometheus::start(world.scratch.path(), &world.ports, Some(manager.port))?;
    let (mut job, _simulator) = start(&world)?;
    webhook.expect("PipelineActive", true, 0, LONG);
    say(began, "PipelineActive fires: work is being committed");
    if webhook.count("DatabaseConnectionFailure", true) + webhook.count("LaneStuck", true) > 0 {
        return Err("an alert fires though nothing is wrong".to_owned());
    }
    world.postgres.kill();
    say(began, "PostgreSQL is killed");
    webhook.expect("DatabaseConnectionFailure", true, 0, LONG);
    say(began, "DatabaseConnectionFailure fires");
    world.postgres.restart();
    webhook.expect("DatabaseConnectionFailure", false, 0, LONG);
    say(began, "PostgreSQL is back, and the alert is over");
    world.cluster.pause(1)?;
    say(began, "the broker is stopped");
    // Before the process gives up, at twice transaction.timeout.ms.
    webhook.expect("LaneStuck", true, 0, Duration::from_secs(28));
    say(began, "LaneStuck fires");
    world.cluster.resume(1)?;
    webhook.expect("LaneStuck", false, 0, LONG);
    say(began, "the broker goes on, and the alert is over");
    let before = world.scrape()?.sum("events_processed_total", &[])?;
    expect(LONG, "work goes on", || match world.scrape()?.sum("events_processed_total", &[])? {
        now if now > before => Ok(()),
        now => Err(format!("{now}")),
    });
    match job.ended() {
        Some(status) => Err(format!("the job has ended: {status}")),
        None => {
            say(began, "the job worked on all the time");
            Ok(())
        }
    }
}

fn panels(seconds: u64) -> Result<(), String> {
    let began = Instant::now();
    let world = Observed::build(3)?;
    let prometheus = Prometheus::start(world.scratch.path(), &world.ports, None)?;
    let (_job, _simulator) = start(&world)?;
    std::thread::sleep(Duration::from_secs(seconds / 2));
    world.postgres.kill();
    std::thread::sleep(Duration::from_secs(5));
    world.postgres.restart();
    say(began, "PostgreSQL was restarted");
    std::thread::sleep(Duration::from_secs(seconds / 2));
    let (mut asked, mut empty) = (0, Vec::new());
    for (place, expr) in queries()? {
        asked += 1;
        match prometheus.query(&expr) {
            Ok(found) if !found.is_empty() => {}
            Ok(_) => empty.push(format!("{place}: no data: {expr}")),
            Err(error) => empty.push(format!("{place}: {error}")),
        }
    }
    say(began, &format!("{asked} queries of all panels, {} without data", empty.len()));
    if empty.is_empty() { Ok(()) } else { Err(empty.join("\n")) }
}

/// As Grafana fills them in.
fn queries() -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for name in ["pipeline", "tasks", "kafka", "sinks", "dead-letters"] {
        let file = root().join(format!("observability/dashboards/{name}.json"));
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let dashboard: Value = serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))?;
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = target["expr"].as_str().unwrap_or_default().replace("$__rate_interval", "30s");
                let expr = expr.replace("$instance", ".*").replace("$task", ".*");
                all.push((format!("{name}: {}", panel["title"]), expr));
            }
        }
    }
    Ok(all)
}
