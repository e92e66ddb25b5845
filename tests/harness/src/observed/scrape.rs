//! One scrape: asked over HTTP, read as Prometheus's text, given to promtool. Knows the format, no metric.
//! Invariant: a sample that is asked for is there, or the answer says what is missing.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

pub struct Scrape {
    pub text: String,
}

/// The status and the body.
pub fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    let failed = |e: std::io::Error| format!("port {port}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").map_err(failed)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map_err(failed)?;
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if chunked { unchunked(body) } else { body.to_owned() }))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

impl Scrape {
    pub fn of(port: u16) -> Result<Scrape, String> {
        match get(port, "/metrics")? {
            (200, text) => Ok(Scrape { text }),
            (status, body) => Err(format!("/metrics: {status}: {body}")),
        }
    }

    /// Names of all metrics that have a sample.
    pub fn names(&self) -> BTreeSet<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        types.map(str::to_owned).collect()
    }

    /// Values of a metric's series whose labels hold all of these, as `topic="t"`.
    pub fn all(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let sample = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let (shown, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            labels.iter().all(|label| shown.contains(label)).then(|| value.parse().ok())?
        };
        self.text.lines().filter_map(sample).collect()
    }

    /// Their sum; an error if there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Result<f64, String> {
        let all = self.all(name, labels);
        if all.is_empty() { Err(format!("no {name} with {labels:?}")) } else { Ok(all.iter().sum()) }
    }
}

/// Panics with its words if `promtool check metrics` has any.
pub fn promtool_finds_nothing(text: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = spawned.expect("promtool can be run: tests/stack/setup gets it");
    let mut input = tool.stdin.take().expect("stdin was asked for");
    input.write_all(text.as_bytes()).expect("promtool reads all");
    drop(input);
    let said = tool.wait_with_output().expect("promtool ends");
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.trim().is_empty(), "promtool check metrics: {words}");
}
