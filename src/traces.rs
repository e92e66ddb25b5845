//! Spans of what tasks, lanes and sinks have done: between the engine, which knows contexts, and the room that makes spans.
//!
//! Called by `actors/` and `sinks/` around their work. Decides nothing: what links to what is the engine's to say, what is kept
//! the sampler's. Invariant: while tracing is off nothing in here looks at a record.

use std::sync::Arc;
use std::time::SystemTime;
use tidemill_observability::trace::{self, Database, Ids, Link, Place, Sent, Stored, Working};
use tidemill_topology::sinks::{Server, SinkSpec, Target};
use tidemill_topology::trace::{Context, Emitted, Failed, Origin, correlation_of};
use tidemill_topology::{Batch, Record, Sealed, Task, TaskError, TaskId};

/// Records of one database transaction that have a span each, at most.
const ROWS: usize = 128;

/// What all tasks of the process share.
#[derive(Debug)]
pub struct Traces {
    group: String,
    seed: u64,
}

/// A batch at work.
pub struct Begun {
    span: Working,
    at: SystemTime,
}

fn ids(context: &Context) -> Ids {
    let Context { trace, span, flags } = *context;
    Ids { trace, span, flags }
}

fn context(ids: Ids) -> Context {
    let Ids { trace, span, flags } = ids;
    Context { trace, span, flags }
}

fn link<'a>(context: &Context, offset: i64, correlation: Option<&'a str>) -> Link<'a> {
    Link { ids: ids(context), offset: Some(offset), correlation }
}

impl Traces {
    /// `None`: tracing is off. The seed is the application's, so all its processes take the same samples.
    pub fn start(app: &str, group: &str) -> Option<Arc<Traces>> {
        let seed = tidemill_state::fingerprint(app.as_bytes()) as u64;
        trace::is_on().then(|| Arc::new(Traces { group: group.to_owned(), seed }))
    }

    /// The task keeps samples from now on.
    ///
    /// # Errors
    /// Its store failed.
    pub fn open(&self, task: Task) -> Result<Task, TaskError> {
        task.traced(self.seed)
    }

    fn place<'a>(&'a self, task: &'a TaskId) -> Place<'a> {
        Place { topic: &task.topic, partition: task.partition, group: &self.group, stage: &task.stage }
    }

    /// Before a batch is processed.
    pub fn begin(&self, task: &mut Task, batch: &Batch) -> Option<Begun> {
        let at = SystemTime::now();
        let brought = task.look(batch).filter(|_| !batch.is_empty())?;
        let origins = brought.origins.iter();
        let links: Vec<Link<'_>> = origins.map(|o| link(&o.context, o.offset, o.correlation.as_deref())).collect();
        let id = task.id().clone();
        let first = batch.get(0).map_or(batch.from, |record| record.offset);
        let span = trace::process(&self.place(&id), (first, batch.len()), &links, brought.contexts)?;
        if brought.bare {
            task.continue_in(span.ids().map(context));
        }
        Some(Begun { span, at })
    }

    /// Behind it: its failures have spans of their own, and a line each at `debug`.
    pub fn end(&self, begun: &Begun, task: &mut Task) {
        let failed = task.take_failed();
        begun.span.failed(failed.len());
        for one in &failed {
            self.failed(task.id(), one, begun.at);
        }
        trace::left_out(task.take_left_out());
    }

    fn failed(&self, task: &TaskId, failed: &Failed, began: SystemTime) {
        let Failed { offset, code, parent, context, correlation } = failed;
        let failure = trace::Failure {
            place: self.place(task),
            offset: *offset,
            code,
            parent: parent.as_ref().map(ids),
            ids: ids(context),
            correlation: correlation.as_deref(),
            began,
        };
        let _here = trace::failed(&failure);
        tracing::debug!(topic = %task.topic, partition = task.partition, offset, code, "dead letter");
    }
}

/// What these tasks have said is committed; `began`: when they handed it over.
pub fn committed(sealed: &[Sealed], began: SystemTime) {
    for of in sealed.iter().filter(|sealed| !sealed.traces.is_empty()) {
        let task = of.task.to_string();
        of.traces.iter().for_each(|emitted| sent(&task, emitted, began));
    }
}

fn sent(task: &str, emitted: &Emitted, began: SystemTime) {
    let text = |ms: i64| jiff::Timestamp::from_millisecond(ms).map_or(String::new(), |time| time.to_string());
    trace::sent(Sent {
        topic: &emitted.topic,
        task,
        step: &emitted.step,
        window: emitted.window.map(|(start, end)| (text(start), text(end))),
        result: emitted.result,
        ids: ids(&emitted.context),
        parent: emitted.parent.as_ref().map(ids),
        links: emitted.links.iter().map(ids).collect(),
        began,
    });
}

/// What a sink must know of a slice before it writes it: the sampled contexts, each once, in their order.
pub struct Rows {
    began: SystemTime,
    origins: Vec<Origin>,
    more: u64,
}

/// `None`: tracing is off.
pub fn rows(records: &[Record<'_>]) -> Option<Rows> {
    let mut rows = trace::is_on().then(|| Rows { began: SystemTime::now(), origins: Vec::new(), more: 0 })?;
    for record in records {
        let Some(context) = Context::of(record.headers).filter(Context::is_sampled) else { continue };
        if rows.origins.iter().any(|known| known.context == context) {
            continue;
        }
        if rows.origins.len() == ROWS {
            rows.more += 1;
            continue;
        }
        let correlation = correlation_of(record.headers);
        rows.origins.push(Origin { context, offset: record.offset, correlation });
    }
    Some(rows)
}

/// Which transaction of which sink.
pub struct Written<'a> {
    pub sink: &'a SinkSpec,
    pub task: &'a TaskId,
    pub count: usize,
}

fn stored<'a>(written: &Written<'a>, began: SystemTime) -> Stored<'a> {
    let Target::Postgres(postgres) = &written.sink.target;
    let database = match &postgres.access.server {
        Server::Parts { host, port, dbname, .. } => Some(Database { name: dbname, host, port: *port }),
        Server::Url(_) | Server::UrlFile(_) => None,
    };
    let (sink, table, count) = (&*written.sink.name, &*postgres.table, written.count);
    Stored { sink, topic: &written.task.topic, partition: written.task.partition, table, database, count, began }
}

impl Rows {
    /// The transaction has committed.
    pub fn stored(&self, written: &Written<'_>) {
        let origins = self.origins.iter();
        let links: Vec<Link<'_>> = origins.map(|o| link(&o.context, o.offset, o.correlation.as_deref())).collect();
        trace::stored(&stored(written, self.began), &links);
        trace::left_out(self.more);
    }
}

/// The table has refused this record's row, which is a dead letter now.
pub fn refused(written: &Written<'_>, record: &Record<'_>) {
    if !trace::is_on() {
        return;
    }
    let (context, correlation) = (Context::of(record.headers), correlation_of(record.headers));
    let of = context.as_ref().map(|context| link(context, record.offset, correlation.as_deref()));
    trace::refused(&stored(written, SystemTime::now()), of.as_ref(), record.offset);
}
