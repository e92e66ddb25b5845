//! Jaeger, all in one and in memory, and its query API. Knows tests/stack/jaeger. Invariant: it ends with the value.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Jaeger {
    child: Child,
    grpc: u16,
    http: u16,
    query: u16,
}

/// One span as the API has it.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    /// µs since 1970.
    pub began: i64,
    tags: Value,
}

impl Span {
    pub fn tag(&self, name: &str) -> &str {
        let tag = self.tags.as_array().into_iter().flatten().find(|tag| tag["key"] == name);
        tag.and_then(|tag| tag["value"].as_str()).unwrap_or_default()
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

impl Jaeger {
    pub fn start() -> Result<Jaeger, String> {
        let program = std::env::var("JAEGER_BIN").map_err(|_| "JAEGER_BIN is not set; use `make trace`".to_owned())?;
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/jaeger/jaeger.yaml");
        let (grpc, http, query, query_grpc) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let ports = [
            ("JAEGER_GRPC_PORT", grpc),
            ("JAEGER_HTTP_PORT", http),
            ("JAEGER_QUERY_PORT", query),
            ("JAEGER_QUERY_GRPC_PORT", query_grpc),
        ];
        let mut command = Command::new(&program);
        command
            .arg("--config")
            .arg(config)
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .envs(ports.map(|(name, port)| (name, port.to_string())));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let jaeger = Jaeger { child, grpc, http, query };
        let deadline = Instant::now() + Duration::from_secs(30);
        while jaeger.get("/api/services").is_err() {
            if Instant::now() > deadline {
                return Err("Jaeger does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(jaeger)
    }

    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let failed = |e: std::io::Error| format!("Jaeger: {path}: {e}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.query)).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        // 1.0: the answer ends with the connection, and comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(format!("Jaeger: {path}: no answer"))?;
        if !head.contains(" 200 ") {
            return Err(format!("Jaeger: {path}: {}", head.lines().next().unwrap_or_default()));
        }
        serde_json::from_str(body).map_err(|e| format!("Jaeger: {path}: {e}"))
    }

    /// All spans of a trace.
    ///
    /// # Errors
    /// It has not heard of it, or not yet.
    pub fn trace(&self, id: &str) -> Result<Vec<Span>, String> {
        let answer = self.get(&format!("/api/traces/{id}"))?;
        let data = &answer["data"][0];
        let spans = data["spans"].as_array().ok_or(format!("Jaeger: no trace {id}"))?;
        Ok(spans.iter().map(|span| read(span, &data["processes"])).collect())
    }
}

fn read(span: &Value, processes: &Value) -> Span {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (mut parent, mut links) = (None, Vec::new());
    for of in span["references"].as_array().into_iter().flatten() {
        match of["refType"] == "CHILD_OF" {
            true => parent = Some(text(&of["spanID"])),
            false => links.push((text(&of["traceID"]), text(&of["spanID"]))),
        }
    }
    Span {
        service: text(&processes[span["processID"].as_str().unwrap_or_default()]["serviceName"]),
        name: text(&span["operationName"]),
        trace: text(&span["traceID"]),
        id: text(&span["spanID"]),
        parent,
        links,
        began: span["startTime"].as_i64().unwrap_or_default(),
        tags: span["tags"].clone(),
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
