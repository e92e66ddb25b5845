//! What passed through the proxy, for tests to assert on: one event a request, and counts. Knows neither sockets nor
//! rules; written by `desk.rs` alone. Invariant: events lie in the order of their numbers, which is that of arrival.

use super::frame::{Kind, Request};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the proxy did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Forwarded,
    Delayed,
    Held,
    HeldAndCut,
    CutBefore,
    CutAfter,
}

/// One request. Times count from the start of the proxy.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number of the request, from 1, over all connections.
    pub seq: u64,
    pub at: Duration,
    pub kind: Kind,
    pub version: i16,
    pub txn: Option<String>,
    /// The flag of EndTxn.
    pub committed: Option<bool>,
    /// The `client.id` that the request names.
    pub client: Option<String>,
    pub connection: u64,
    /// Index of the broker in `upstream`.
    pub broker: usize,
    pub did: Did,
    /// When it went to the broker: at once, after its delay, or at the release.
    pub sent_at: Option<Duration>,
    /// When the broker's answer came. `None`: not yet, or lost with its connection.
    pub answered_at: Option<Duration>,
    /// The answer's error code, 0 for none, where the kind is transactional.
    pub error: Option<i16>,
    /// Why a release failed, in words.
    pub failure: Option<String>,
}

impl Event {
    pub fn is_held(&self) -> bool {
        matches!(self.did, Did::Held | Did::HeldAndCut)
    }
}

#[derive(Default)]
pub(super) struct Log {
    events: Vec<Event>,
    counts: BTreeMap<Kind, BTreeMap<Option<String>, u64>>,
    seq: u64,
}

impl Log {
    /// Counts a request and gives its number.
    pub fn count(&mut self, request: &Request) -> u64 {
        *self.counts.entry(request.kind).or_default().entry(request.txn.clone()).or_default() += 1;
        self.seq += 1;
        self.seq
    }

    /// Requests that are neither transactional nor acted upon are counted only: fetches and heartbeats would fill memory.
    pub fn add(&mut self, event: Event) {
        if event.kind.is_transactional() || event.did != Did::Forwarded {
            self.events.push(event);
        }
    }

    pub fn change(&mut self, seq: u64, change: impl FnOnce(&mut Event)) {
        if let Ok(index) = self.events.binary_search_by_key(&seq, |event| event.seq) {
            change(&mut self.events[index]);
        }
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    pub fn requests(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).map_or(0, |by_txn| by_txn.values().sum())
    }

    pub fn requests_of(&self, kind: Kind, txn: &str) -> u64 {
        let by_txn = self.counts.get(&kind);
        by_txn.and_then(|by_txn| by_txn.get(&Some(txn.to_owned()))).copied().unwrap_or(0)
    }
}
