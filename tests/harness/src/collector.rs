//! A collector in the test's own process: takes OTLP over gRPC and over HTTP, both on one port, and keeps the spans. Knows
//! the protocol, not the product. Invariant: what it has answered with yes is among its spans.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI ";

pub type Attributes = BTreeMap<String, String>;

/// One span, ids in hex.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub service: String,
    pub name: String,
    /// `producer`, `consumer`, `client`, ...
    pub kind: String,
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub attributes: Attributes,
    pub links: Vec<Link>,
    /// Whether its status is an error.
    pub failed: bool,
    pub nanos: (u64, u64),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub trace: String,
    pub span: String,
    pub attributes: Attributes,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Seen>>,
    changed: Condvar,
    hangs: AtomicBool,
    asked: AtomicUsize,
}

pub struct Collector {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Collector {
    /// On a free port; ends with this process.
    pub fn start() -> Collector {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        std::thread::spawn(move || runtime.block_on(serve(listener, own)));
        Collector { address, shared }
    }

    /// What an exporter is told.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes requests from now on and answers none; or answers again.
    pub fn hang(&self, hangs: bool) {
        self.shared.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Requests so far, answered or not.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.shared.spans.lock().expect("looks do not panic").clone()
    }

    /// Waits for spans that are as wanted; panics with the names of those that came.
    pub fn until<T>(&self, within: Duration, mut wanted: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        let mut spans = self.shared.spans.lock().expect("looks do not panic");
        loop {
            if let Some(found) = wanted(&spans) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let names: Vec<_> = spans.iter().map(|s| (&s.name, &s.kind)).collect();
            assert!(!left.is_zero(), "the spans do not come, but {} others: {names:?}", spans.len());
            spans = self.shared.changed.wait_timeout(spans, left).expect("looks do not panic").0;
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut first = [0; 4];
            let is_grpc = stream.peek(&mut first).await.is_ok_and(|n| n == 4 && first == PREFACE);
            // A connection that is cut is the client's affair.
            if is_grpc { drop(grpc(stream, &shared).await) } else { drop(http(stream, &shared).await) }
        });
    }
}

async fn grpc(stream: TcpStream, shared: &Arc<Shared>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                bytes.extend_from_slice(&chunk);
                drop(body.flow_control().release_capacity(chunk.len()));
            }
            // A flag and the length stand in front of the message.
            if !shared.take(bytes.get(5..).unwrap_or_default()).await {
                return;
            }
            let head = http::Response::builder().header("content-type", "application/grpc").body(());
            let Ok(mut send) = respond.send_response(head.expect("a head"), false) else { return };
            drop(send.send_data(Bytes::from_static(&[0; 5]), false));
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            drop(send.send_trailers(trailers));
        });
    }
    Ok(())
}

async fn http(mut stream: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let end = head + length.unwrap_or(0);
        while bytes.len() < end {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let right = text.starts_with("post /v1/traces ") && text.contains("application/x-protobuf");
        if !right || !shared.take(&bytes[head..end]).await {
            return Ok(());
        }
        bytes.drain(..end);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await?;
    }
}

impl Shared {
    /// False: there is to be no answer.
    async fn take(&self, body: &[u8]) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while self.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let Ok(request) = ExportTraceServiceRequest::decode(body) else { return false };
        self.spans.lock().expect("looks do not panic").extend(seen(request));
        self.changed.notify_all();
        true
    }
}

fn seen(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut all = Vec::new();
    for resource in request.resource_spans {
        let about = attributes(resource.resource.map(|r| r.attributes).unwrap_or_default());
        let service = about.get("service.name").cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let kind = SpanKind::try_from(span.kind).map_or("", |kind| kind.as_str_name());
            all.push(Seen {
                service: service.clone(),
                name: span.name,
                kind: kind.trim_start_matches("SPAN_KIND_").to_ascii_lowercase(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(span.attributes),
                links: span
                    .links
                    .into_iter()
                    .map(|l| Link {
                        trace: hex(&l.trace_id),
                        span: hex(&l.span_id),
                        attributes: attributes(l.attributes),
                    })
                    .collect(),
                failed: span.status.is_some_and(|status| status.code == 2),
                nanos: (span.start_time_unix_nano, span.end_time_unix_nano),
            });
        }
    }
    all
}

fn attributes(all: Vec<KeyValue>) -> Attributes {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(flag) => flag.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: KeyValue| (pair.key, pair.value.and_then(|v| v.value).map(text).unwrap_or_default());
    all.into_iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
