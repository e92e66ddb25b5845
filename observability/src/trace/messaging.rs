//! The spans of Tidemill, with the names and attributes of OpenTelemetry's conventions for messaging and databases.
//!
//! Called by whoever has done the work, with plain values. Invariant: no attribute holds a key, a value or a header of a record,
//! but for the correlation id, which is the producer's own name for a conversation.

use super::spans::{Whole, whole};
use super::{Ids, TARGET, Within, is_on, is_plain, running, within};
use opentelemetry::trace::{Link as OtelLink, SpanKind, Status, TraceContextExt};
use opentelemetry::{KeyValue, Value};
use std::time::SystemTime;
use tracing::span::EnteredSpan;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Names of the conventions; the rest is ours.
mod names {
    pub const SYSTEM: &str = "messaging.system";
    pub const OPERATION: &str = "messaging.operation.name";
    pub const OPERATION_TYPE: &str = "messaging.operation.type";
    pub const DESTINATION: &str = "messaging.destination.name";
    pub const PARTITION: &str = "messaging.destination.partition.id";
    pub const GROUP: &str = "messaging.consumer.group.name";
    pub const COUNT: &str = "messaging.batch.message_count";
    pub const OFFSET: &str = "messaging.kafka.offset";
    pub const CONVERSATION: &str = "messaging.message.conversation_id";
    pub const ERROR: &str = "error.type";
}

fn messaging(operation: &'static str, topic: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new(names::SYSTEM, "kafka"),
        KeyValue::new(names::OPERATION, operation),
        KeyValue::new(names::OPERATION_TYPE, operation),
        KeyValue::new(names::DESTINATION, topic.to_owned()),
    ]
}

/// A context that a span comes from, and which record had it.
#[derive(Debug, Clone)]
pub struct Link<'a> {
    pub ids: Ids,
    pub offset: Option<i64>,
    pub correlation: Option<&'a str>,
}

impl Link<'_> {
    fn attributes(&self) -> Vec<KeyValue> {
        let offset = self.offset.map(|o| KeyValue::new(names::OFFSET, o));
        let correlation = self.correlation.filter(|id| is_plain(id));
        offset.into_iter().chain(correlation.map(|id| KeyValue::new(names::CONVERSATION, id.to_owned()))).collect()
    }
}

/// Where a batch or a record lies, and who works it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub group: &'a str,
    pub stage: &'a str,
}

impl Place<'_> {
    fn attributes(&self) -> Vec<KeyValue> {
        let mut all = messaging("process", self.topic);
        all.push(KeyValue::new(names::PARTITION, self.partition.to_string()));
        all.push(KeyValue::new(names::GROUP, self.group.to_owned()));
        all.push(KeyValue::new("tidemill.stage", self.stage.to_owned()));
        all
    }
}

/// A batch of a task at work: the span of this thread, until it is dropped.
pub struct Working {
    span: EnteredSpan,
}

/// Begins `process TOPIC`. `contexts`: how many records brought one that is sampled. `None`: tracing is off.
pub fn process(place: &Place<'_>, (from, count): (i64, usize), links: &[Link<'_>], contexts: u64) -> Option<Working> {
    running()?;
    let name = format!("process {}", place.topic);
    let span = tracing::info_span!(target: TARGET, parent: None, "process", otel.name = name, otel.kind = "consumer");
    for KeyValue { key, value, .. } in place.attributes() {
        span.set_attribute(key, value);
    }
    span.set_attribute(names::COUNT, Value::I64(count as i64));
    span.set_attribute(if count == 1 { names::OFFSET } else { "tidemill.offset.first" }, Value::I64(from));
    span.set_attribute("tidemill.contexts", Value::I64(contexts as i64));
    for link in links {
        span.add_link_with_attributes(link.ids.remote(), link.attributes());
    }
    Some(Working { span: span.entered() })
}

impl Working {
    /// Its own context, if it is kept.
    pub fn ids(&self) -> Option<Ids> {
        let context = self.span.context();
        let span = context.span();
        let own = span.span_context();
        if own.is_sampled() { Ids::of(own) } else { None }
    }

    /// So many of its records failed.
    pub fn failed(&self, count: usize) {
        if count > 0 {
            self.span.set_attribute("tidemill.dead_letters", Value::I64(count as i64));
        }
    }
}

/// A record that became a dead letter.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    pub place: Place<'a>,
    pub offset: i64,
    /// The word for its reason.
    pub code: &'a str,
    /// What it came with.
    pub parent: Option<Ids>,
    /// Those of the span.
    pub ids: Ids,
    pub correlation: Option<&'a str>,
    pub began: SystemTime,
}

/// Makes `process TOPIC` of one record that failed. Lines that are written while the answer lives belong to it.
pub fn failed(failure: &Failure<'_>) -> Option<Within> {
    running()?;
    let Failure { place, offset, code, parent, ids, correlation, began } = failure;
    let mut attributes = place.attributes();
    attributes.push(KeyValue::new(names::OFFSET, *offset));
    attributes.push(KeyValue::new(names::ERROR, (*code).to_owned()));
    if let Some(id) = correlation.filter(|id| is_plain(id)) {
        attributes.push(KeyValue::new(names::CONVERSATION, id.to_owned()));
    }
    whole(Whole {
        name: format!("process {}", place.topic),
        kind: SpanKind::Consumer,
        attributes,
        parent: *parent,
        ids: Some(*ids),
        links: Vec::new(),
        began: *began,
        ended: SystemTime::now(),
        status: Status::error((*code).to_owned()),
    });
    Some(within(Some(*ids), *correlation))
}

/// A result that a task has said, and that is committed.
#[derive(Debug, Clone)]
pub struct Sent<'a> {
    pub topic: &'a str,
    pub task: &'a str,
    pub step: &'a str,
    /// Start and end, RFC 3339.
    pub window: Option<(String, String)>,
    /// `update` or `final`.
    pub result: &'static str,
    pub ids: Ids,
    pub parent: Option<Ids>,
    pub links: Vec<Ids>,
    pub began: SystemTime,
}

/// Makes `send TOPIC`.
pub fn sent(sent: Sent<'_>) {
    let Sent { topic, task, step, window, result, ids, parent, links, began } = sent;
    let mut attributes = messaging("send", topic);
    attributes.push(KeyValue::new("tidemill.task", task.to_owned()));
    attributes.push(KeyValue::new("tidemill.step", step.to_owned()));
    attributes.push(KeyValue::new("tidemill.result", result));
    if let Some((start, end)) = window {
        attributes.push(KeyValue::new("tidemill.window.start", start));
        attributes.push(KeyValue::new("tidemill.window.end", end));
    }
    whole(Whole {
        name: format!("send {topic}"),
        kind: SpanKind::Producer,
        attributes,
        parent,
        ids: Some(ids),
        links: links.iter().map(|link| OtelLink::with_context(link.remote())).collect(),
        began,
        ended: SystemTime::now(),
        status: Status::Unset,
    });
}

/// A database transaction of a sink that committed.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    pub sink: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub table: &'a str,
    /// Where the topology names them, and not a URL, which may be secret.
    pub database: Option<Database<'a>>,
    /// Records in it.
    pub count: usize,
    pub began: SystemTime,
}

#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    pub name: &'a str,
    pub host: &'a str,
    pub port: u16,
}

impl Stored<'_> {
    fn attributes(&self) -> Vec<KeyValue> {
        let mut all = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.name", "INSERT"),
            KeyValue::new("db.collection.name", self.table.to_owned()),
            KeyValue::new("db.operation.batch.size", self.count as i64),
            KeyValue::new("tidemill.sink", self.sink.to_owned()),
            KeyValue::new(names::DESTINATION, self.topic.to_owned()),
            KeyValue::new(names::PARTITION, self.partition.to_string()),
        ];
        if let Some(Database { name, host, port }) = self.database {
            all.push(KeyValue::new("db.namespace", name.to_owned()));
            all.push(KeyValue::new("server.address", host.to_owned()));
            all.push(KeyValue::new("server.port", i64::from(port)));
        }
        all
    }

    fn span(&self, link: &Link<'_>) -> Whole {
        let mut attributes = self.attributes();
        attributes.extend(link.attributes());
        Whole {
            name: format!("INSERT {}", self.table),
            kind: SpanKind::Client,
            attributes,
            parent: Some(link.ids),
            ids: None,
            links: Vec::new(),
            began: self.began,
            ended: SystemTime::now(),
            status: Status::Unset,
        }
    }
}

/// Makes `INSERT TABLE` in the trace of each of these records.
pub fn stored(stored: &Stored<'_>, of: &[Link<'_>]) {
    if is_on() {
        of.iter().for_each(|link| whole(stored.span(link)));
    }
}

/// Makes `INSERT TABLE` of a record whose row the table has refused; it is a dead letter now. Kept, whatever the sampler says.
pub fn refused(stored: &Stored<'_>, link: Option<&Link<'_>>, offset: i64) {
    if !is_on() {
        return;
    }
    let nobody = Link { ids: Ids { trace: [0; 16], span: [0; 8], flags: 0 }, offset: Some(offset), correlation: None };
    let mut span = stored.span(link.unwrap_or(&nobody));
    span.parent = link.map(|link| link.ids);
    span.attributes.push(KeyValue::new(names::ERROR, "sink-row"));
    span.status = Status::error("sink-row");
    span.ids = Some(Ids::random());
    whole(span);
}

/// A record that is being sent by a producer of ours: the span of this thread, until it is dropped.
pub struct Sending {
    span: EnteredSpan,
}

/// Begins `send TOPIC`; of what this thread is at work for, if anything. `None`: tracing is off.
pub fn send(topic: &str, correlation: &str) -> Option<Sending> {
    running()?;
    let name = format!("send {topic}");
    let span = tracing::info_span!(target: TARGET, "send", otel.name = name, otel.kind = "producer");
    for KeyValue { key, value, .. } in messaging("send", topic) {
        span.set_attribute(key, value);
    }
    if is_plain(correlation) {
        span.set_attribute(names::CONVERSATION, correlation.to_owned());
    }
    Some(Sending { span: span.entered() })
}

impl Sending {
    /// What goes into the record's header `traceparent`, be it kept or not.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.span.context();
        let span = context.span();
        let own = span.span_context();
        let flags = if own.is_sampled() { "01" } else { "00" };
        own.is_valid().then(|| format!("00-{}-{}-{flags}", own.trace_id(), own.span_id()))
    }
}
