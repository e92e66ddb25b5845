//! What every handler has at hand, and how an answer is written.
//!
//! Made once by the server. Knows nothing of requests. Invariant: it can be shared by all threads, and its counters alone
//! change.

use super::access::Token;
use crate::roster::Roster;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidemill_observability::metrics::Metrics;
use tidemill_topology::{Http, TaskId, Topology};

/// Answers where a task's input ends.
pub type End = Box<dyn Fn(&TaskId) -> Option<i64> + Send + Sync>;

/// What the process is, for its answers.
pub struct Facts {
    pub app: String,
    pub instance: String,
    pub topology: Arc<Topology>,
    /// Partitions of each stage's topic.
    pub partitions: BTreeMap<String, i32>,
    pub roster: Arc<Roster>,
    /// Where a task's input ends now; may take a while. `None`: nobody said.
    pub end: End,
    pub metrics: Metrics,
}

/// See the module.
pub(super) struct Desk {
    pub facts: Facts,
    pub http: Http,
    pub token: Option<Token>,
    /// Of questions asked here; they may wait for peers.
    pub asked: Permits,
    /// Of questions that peers passed on; they wait for nobody, so that two processes never wait for each other.
    pub passed_on: Permits,
}

/// So many at a time.
#[derive(Clone)]
pub(super) struct Permits {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// Given back at the drop.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Permits {
    pub fn new(most: usize) -> Permits {
        Permits { taken: Arc::default(), most }
    }

    pub fn take(&self) -> Option<Permit> {
        let more = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit(self.taken.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer: a status and JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    pub fn ok(body: Value) -> Reply {
        Reply { status: 200, body }
    }

    /// `error`: one word for programs; `message`: a sentence for people.
    pub fn refusal(status: u16, error: &str, message: impl Into<String>) -> Reply {
        Reply { status, body: json!({ "error": error, "message": message.into() }) }
    }
}

impl From<Reply> for HttpResponse {
    fn from(reply: Reply) -> HttpResponse {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type("application/json").insert_header(("cache-control", "no-store"));
        match reply.status {
            401 => drop(response.insert_header(("www-authenticate", "Bearer"))),
            503 => drop(response.insert_header(("retry-after", "1"))),
            _ => {}
        }
        response.body(reply.body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_comes_back_when_its_holder_is_done() {
        let permits = Permits::new(2);
        let (first, _second) = (permits.take().unwrap(), permits.take().unwrap());
        assert!(permits.take().is_none());
        drop(first);
        assert!(permits.take().is_some());
    }
}
