//! What a test asks of the proxy: which request, and what happens to it. Plain values; knows neither sockets nor time.
//! Tests build rules, `desk.rs` matches them. Invariant: a rule counts from the moment it is installed.

use super::frame::{Kind, Request};
use std::time::Duration;

/// How a client's connection ends. The broker's side always sees an orderly close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// FIN: the client reads an end of file.
    Close,
    /// RST: the client reads "connection reset by peer".
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    ByHand,
    BeforeForwarding,
    AfterForwarding,
    AfterAnswer,
}

/// When a held request goes to its broker. Counted are later requests with the same transactional id (also none is the
/// same as none) of the given kind, `None` for any kind. Whoever brings about the release waits for the broker's answer
/// to the released request before going on, so the order at the broker is the one named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub(super) when: When,
    pub(super) kind: Option<Kind>,
    pub(super) m: u64,
}

impl Release {
    /// Only when the test calls `Proxy::release` or `Proxy::release_all`.
    pub fn by_hand() -> Release {
        Release { when: When::ByHand, kind: None, m: 0 }
    }

    /// Answered by the broker before the `m`-th (from 1) following request is sent to it.
    pub fn before(kind: impl Into<Option<Kind>>, m: u64) -> Release {
        Release { when: When::BeforeForwarding, kind: kind.into(), m }
    }

    /// Sent right after the `m`-th following request was written to its broker, which may still be at work on it.
    pub fn after_forwarding(kind: impl Into<Option<Kind>>, m: u64) -> Release {
        Release { when: When::AfterForwarding, kind: kind.into(), m }
    }

    /// Sent after the `m`-th answer to a following request came from the broker, and before the client gets that answer.
    pub fn after_answer(kind: impl Into<Option<Kind>>, m: u64) -> Release {
        Release { when: When::AfterAnswer, kind: kind.into(), m }
    }

    pub(super) fn counts(&self, when: When, kind: Kind) -> bool {
        self.when == when && self.kind.is_none_or(|wanted| wanted == kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keeps the request in the proxy. The client waits until its own timeout; a later answer is recorded, not passed on.
    Hold(Release),
    /// The same, and cuts the client's connection at once, so that its library sends the request again.
    HoldAndCut(Release),
    /// Cuts without forwarding: the request is lost.
    CutBefore,
    /// Forwards, waits for the answer, swallows it and cuts: only the answer is lost.
    CutAfter,
    /// Forwards later; what follows on the same connection waits behind it.
    Delay(Duration),
}

/// Which requests, which of them, and what to do. As built, it acts once, on the first match.
#[derive(Clone, Debug)]
pub struct Rule {
    kind: Option<Kind>,
    txn_prefix: Option<String>,
    client_prefix: Option<String>,
    broker: Option<usize>,
    committed: Option<bool>,
    nth: u64,
    times: u64,
    pub(super) action: Action,
    pub(super) cut: Cut,
}

impl Rule {
    pub fn on(kind: Kind, action: Action) -> Rule {
        Rule { kind: Some(kind), ..Rule::on_any(action) }
    }

    pub fn on_any(action: Action) -> Rule {
        let (txn_prefix, client_prefix) = (None, None);
        let (broker, committed, cut) = (None, None, Cut::Close);
        Rule { kind: None, txn_prefix, client_prefix, broker, committed, nth: 1, times: 1, action, cut }
    }

    /// Only requests whose transactional id begins so.
    pub fn txn(self, prefix: impl Into<String>) -> Rule {
        Rule { txn_prefix: Some(prefix.into()), ..self }
    }

    /// Only requests whose `client.id` begins so.
    pub fn client(self, prefix: impl Into<String>) -> Rule {
        Rule { client_prefix: Some(prefix.into()), ..self }
    }

    /// Only requests to this broker, by its index in `upstream`.
    pub fn broker(self, broker: usize) -> Rule {
        Rule { broker: Some(broker), ..self }
    }

    /// Only an EndTxn that commits (true) or aborts (false).
    pub fn committed(self, committed: bool) -> Rule {
        Rule { committed: Some(committed), ..self }
    }

    /// The `k`-th match from now, from 1.
    pub fn nth(self, k: u64) -> Rule {
        Rule { nth: k, ..self }
    }

    /// Acts on this many matches, beginning with the `nth`.
    pub fn times(self, times: u64) -> Rule {
        Rule { times, ..self }
    }

    /// Cuts are resets instead of closes.
    pub fn reset(self) -> Rule {
        Rule { cut: Cut::Reset, ..self }
    }

    pub(super) fn matches(&self, request: &Request, broker: usize) -> bool {
        let begins = |wanted: &Option<String>, name: &Option<String>| {
            wanted.as_ref().is_none_or(|prefix| name.as_ref().is_some_and(|name| name.starts_with(prefix)))
        };
        self.kind.is_none_or(|kind| kind == request.kind)
            && begins(&self.txn_prefix, &request.txn)
            && begins(&self.client_prefix, &request.client)
            && self.broker.is_none_or(|wanted| wanted == broker)
            && self.committed.is_none_or(|committed| request.committed == Some(committed))
    }

    /// Whether the match with this number, from 1, is one to act on.
    pub(super) fn is_due(&self, number: u64) -> bool {
        number >= self.nth && number - self.nth < self.times
    }
}
