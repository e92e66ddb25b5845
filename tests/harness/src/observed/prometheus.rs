//! A real Prometheus and a real Alertmanager, for one run. Knows their command lines and API.
//! Invariant: both listen on loopback and end with their value.

use super::scrape::get;
use super::{expect, free_port, root};
use crate::process::{Process, Start};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);

pub struct Prometheus {
    pub port: u16,
    _process: Process,
}

pub struct Alertmanager {
    pub port: u16,
    _process: Process,
}

fn start(program: &str, args: &[String], port: u16, log: &Path) -> Result<Process, String> {
    let start = Start { program: program.into(), args: args.to_vec(), env: Vec::new(), log: log.to_owned() };
    let process = Process::start(&start).map_err(|e| format!("{e}; tests/stack/setup gets it"))?;
    expect(START, program, || match get(port, "/-/ready")? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    });
    Ok(process)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

impl Alertmanager {
    /// Everything that fires goes to a webhook at this port.
    pub fn start(scratch: &Path, webhook: u16) -> Result<Alertmanager, String> {
        let (port, config) = (free_port(), scratch.join("alertmanager.yml"));
        let text = format!(
            "route: {{ receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [ {{ name: hook, webhook_configs: [ {{ url: 'http://127.0.0.1:{webhook}/', send_resolved: true }} ] }} ]\n"
        );
        write(&config, &text)?;
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", scratch.join("alertmanager").display()),
            "--cluster.listen-address=".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let _process = start("prometheus-alertmanager", &args, port, &scratch.join("alertmanager.log"))?;
        Ok(Alertmanager { port, _process })
    }
}

impl Prometheus {
    /// Scrapes these ports each second, with the rules of the repository.
    pub fn start(scratch: &Path, targets: &[u16], alertmanager: Option<u16>) -> Result<Prometheus, String> {
        let (port, config) = (free_port(), scratch.join("prometheus.yml"));
        let rules = root().join("observability/alerts");
        let targets: Vec<String> = targets.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        let managers = alertmanager.map_or(String::new(), |port| {
            format!(
                "alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: [ '127.0.0.1:{port}' ] }} ] }} ] }}\n"
            )
        });
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ '{}/*.yml' ]\n{managers}\
             scrape_configs: [ {{ job_name: tidemill, static_configs: [ {{ targets: [ {} ] }} ] }} ]\n",
            rules.display(),
            targets.join(", ")
        );
        write(&config, &text)?;
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", scratch.join("prometheus").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let _process = start("prometheus", &args, port, &scratch.join("prometheus.log"))?;
        Ok(Prometheus { port, _process })
    }

    /// Series that a query gives now.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expr.bytes().map(|b| format!("%{b:02x}")).collect();
        let (status, body) = get(self.port, &format!("/api/v1/query?query={escaped}"))?;
        let body: Value = serde_json::from_str(&body).map_err(|e| format!("{status}: {e}: {body}"))?;
        let found = body["data"]["result"].as_array().cloned();
        found.ok_or_else(|| format!("{expr}: {body}"))
    }
}
