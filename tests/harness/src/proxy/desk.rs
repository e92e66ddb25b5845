//! Decides what happens to each request, keeps those that are held and says when they are due. Pure values under one
//! lock of the caller: no sockets, no clock. Called by `connection.rs` for requests and answers, by `mod.rs` for tests.
//! Invariant: a held request is in `held` exactly until one caller takes it out to send it.

use super::frame::{Kind, Request};
use super::log::{Did, Event, Log};
use super::rules::{Action, Cut, Release, Rule, When};
use std::time::Duration;

/// Names an installed rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

struct Armed {
    id: RuleId,
    rule: Rule,
    matched: u64,
    fired: Vec<u64>,
}

/// A request kept in the proxy, with its four bytes of length.
#[derive(Debug)]
pub(super) struct Held {
    pub seq: u64,
    pub kind: Kind,
    pub version: i16,
    pub broker: usize,
    pub frame: Vec<u8>,
    txn: Option<String>,
    release: Release,
    seen: u64,
}

pub(super) struct Arrival<'a> {
    pub request: &'a Request,
    /// With its four bytes of length.
    pub frame: &'a [u8],
    pub broker: usize,
    pub connection: u64,
    pub now: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Forward,
    Delay(Duration),
    Kept(Option<Cut>),
    CutBefore(Cut),
    CutAfter(Cut),
}

/// What is to be sent around one forwarded request.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub before: Vec<Held>,
    pub after: Vec<Held>,
}

/// A request that its broker has yet to answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub seq: u64,
    pub kind: Kind,
    pub version: i16,
    pub txn: Option<String>,
    /// Swallow the answer and cut.
    pub cut: Option<Cut>,
}

#[derive(Default)]
pub(super) struct Desk {
    rules: Vec<Armed>,
    next_rule: u64,
    held: Vec<Held>,
    pub log: Log,
}

impl Desk {
    pub fn install(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next_rule);
        self.next_rule += 1;
        self.rules.push(Armed { id, rule, matched: 0, fired: Vec::new() });
        id
    }

    pub fn remove(&mut self, id: RuleId) {
        self.rules.retain(|armed| armed.id != id);
    }

    pub fn remove_all(&mut self) {
        self.rules.clear();
    }

    /// Numbers of the requests that a rule acted on.
    pub fn fired(&self, id: RuleId) -> Vec<u64> {
        self.rules.iter().find(|armed| armed.id == id).map_or(Vec::new(), |armed| armed.fired.clone())
    }

    /// A request has come: gives it its number, and what to do. A request to hold is kept here already.
    pub fn arrive(&mut self, arrival: &Arrival) -> (u64, Step) {
        let request = arrival.request;
        let seq = self.log.count(request);
        let acting = self.match_rules(seq, arrival);
        let (did, step) = match acting {
            None => (Did::Forwarded, Step::Forward),
            Some((Action::Delay(by), _)) => (Did::Delayed, Step::Delay(by)),
            Some((Action::CutBefore, cut)) => (Did::CutBefore, Step::CutBefore(cut)),
            Some((Action::CutAfter, cut)) => (Did::CutAfter, Step::CutAfter(cut)),
            Some((Action::Hold(release), _)) => {
                self.keep(seq, arrival, release);
                (Did::Held, Step::Kept(None))
            }
            Some((Action::HoldAndCut(release), cut)) => {
                self.keep(seq, arrival, release);
                (Did::HeldAndCut, Step::Kept(Some(cut)))
            }
        };
        self.log.add(Event {
            seq,
            at: arrival.now,
            kind: request.kind,
            version: request.version,
            txn: request.txn.clone(),
            committed: request.committed,
            client: request.client.clone(),
            connection: arrival.connection,
            broker: arrival.broker,
            did,
            sent_at: None,
            answered_at: None,
            error: None,
            failure: None,
        });
        (seq, step)
    }

    /// Every rule counts its matches; the first due one acts.
    fn match_rules(&mut self, seq: u64, arrival: &Arrival) -> Option<(Action, Cut)> {
        let mut acting = None;
        for armed in self.rules.iter_mut().filter(|armed| armed.rule.matches(arrival.request, arrival.broker)) {
            armed.matched += 1;
            if acting.is_none() && armed.rule.is_due(armed.matched) {
                armed.fired.push(seq);
                acting = Some((armed.rule.action, armed.rule.cut));
            }
        }
        acting
    }

    fn keep(&mut self, seq: u64, arrival: &Arrival, release: Release) {
        let request = arrival.request;
        self.held.push(Held {
            seq,
            kind: request.kind,
            version: request.version,
            broker: arrival.broker,
            frame: arrival.frame.to_vec(),
            txn: request.txn.clone(),
            release,
            seen: 0,
        });
    }

    /// A request is about to be written to its broker: takes out what is due around it.
    pub fn forwarding(&mut self, pending: &Pending) -> Due {
        let before = self.take_due(When::BeforeForwarding, pending);
        Due { before, after: self.take_due(When::AfterForwarding, pending) }
    }

    /// Its broker has answered: takes out what is due before the client hears of it.
    pub fn answered(&mut self, pending: &Pending, error: Option<i16>, now: Duration) -> Vec<Held> {
        self.log.change(pending.seq, |event| {
            event.answered_at = Some(now);
            event.error = error;
        });
        self.take_due(When::AfterAnswer, pending)
    }

    fn take_due(&mut self, when: When, pending: &Pending) -> Vec<Held> {
        for held in &mut self.held {
            let follows = pending.seq > held.seq && pending.txn == held.txn;
            held.seen += u64::from(follows && held.release.counts(when, pending.kind));
        }
        self.held.extract_if(.., |held| held.release.when == when && held.seen >= held.release.m.max(1)).collect()
    }

    /// Takes a held request out to send it now.
    pub fn take(&mut self, seq: u64) -> Option<Held> {
        let index = self.held.iter().position(|held| held.seq == seq)?;
        Some(self.held.remove(index))
    }

    pub fn held(&self) -> Vec<u64> {
        self.held.iter().map(|held| held.seq).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: Kind, txn: &str, committed: Option<bool>) -> Request {
        let txn = Some(txn.to_owned());
        Request { kind, version: 1, correlation: 1, client: None, txn, committed, is_answered: true }
    }

    fn commit(txn: &str) -> Request {
        request(Kind::EndTxn, txn, Some(true))
    }

    fn arrive(desk: &mut Desk, request: &Request) -> (u64, Step) {
        let arrival = Arrival { request, frame: &[0, 0, 0, 0], broker: 0, connection: 1, now: Duration::ZERO };
        desk.arrive(&arrival)
    }

    /// Arrives, is forwarded and answered; the numbers of what was released at each of the three moments.
    fn pass(desk: &mut Desk, request: &Request) -> [Vec<u64>; 3] {
        let (seq, step) = arrive(desk, request);
        assert_eq!(step, Step::Forward);
        let pending =
            Pending { seq, kind: request.kind, version: request.version, txn: request.txn.clone(), cut: None };
        let due = desk.forwarding(&pending);
        let after_answer = desk.answered(&pending, Some(0), Duration::ZERO);
        [due.before, due.after, after_answer].map(|held| held.iter().map(|held| held.seq).collect())
    }

    #[test]
    fn a_rule_acts_on_the_nth_match_only() {
        let mut desk = Desk::default();
        let id = desk.install(Rule::on(Kind::EndTxn, Action::CutBefore).txn("a-").committed(true).nth(2).reset());
        assert_eq!(arrive(&mut desk, &commit("a-1")).1, Step::Forward);
        assert_eq!(arrive(&mut desk, &commit("b-1")).1, Step::Forward);
        assert_eq!(arrive(&mut desk, &request(Kind::EndTxn, "a-1", Some(false))).1, Step::Forward);
        assert_eq!(arrive(&mut desk, &request(Kind::Produce, "a-1", None)).1, Step::Forward);
        assert_eq!(arrive(&mut desk, &commit("a-2")), (5, Step::CutBefore(Cut::Reset)));
        assert_eq!(arrive(&mut desk, &commit("a-2")).1, Step::Forward);
        assert_eq!(desk.fired(id), [5]);
        assert_eq!(desk.log.requests(Kind::EndTxn), 5);
        assert_eq!(desk.log.requests_of(Kind::EndTxn, "a-2"), 2);
    }

    #[test]
    fn one_rule_acts_and_all_count() {
        let mut desk = Desk::default();
        desk.install(Rule::on_any(Action::CutAfter).times(2));
        desk.install(Rule::on(Kind::EndTxn, Action::Delay(Duration::ZERO)).nth(3));
        let steps: Vec<Step> = (0..4).map(|_| arrive(&mut desk, &commit("a")).1).collect();
        let cut = Step::CutAfter(Cut::Close);
        assert_eq!(steps, [cut, Step::CutAfter(Cut::Close), Step::Delay(Duration::ZERO), Step::Forward]);
    }

    #[test]
    fn a_rule_may_name_the_client_and_the_broker() {
        let mut desk = Desk::default();
        desk.install(Rule::on(Kind::OffsetFetch, Action::CutBefore).client("app-1").broker(1));
        let mut step = |client: &str, broker| {
            let client = Some(client.to_owned());
            let request = Request { client, txn: None, ..request(Kind::OffsetFetch, "", None) };
            let arrival = Arrival { request: &request, frame: &[0; 4], broker, connection: 1, now: Duration::ZERO };
            desk.arrive(&arrival).1
        };
        assert_eq!([step("app-1", 0), step("app-2", 1)], [Step::Forward, Step::Forward]);
        assert_eq!(step("app-1", 1), Step::CutBefore(Cut::Close));
    }

    #[test]
    fn releases_at_each_moment() {
        let moments = [Release::before as fn(Kind, u64) -> Release, Release::after_forwarding, Release::after_answer];
        for (index, moment) in moments.into_iter().enumerate() {
            let mut desk = Desk::default();
            desk.install(Rule::on(Kind::EndTxn, Action::HoldAndCut(moment(Kind::EndTxn, 2))));
            assert_eq!(arrive(&mut desk, &commit("a")), (1, Step::Kept(Some(Cut::Close))));
            let none: [Vec<u64>; 3] = Default::default();
            assert_eq!(pass(&mut desk, &commit("a")), none);
            // Another producer and another kind do not count.
            assert_eq!(pass(&mut desk, &commit("b")), none);
            assert_eq!(pass(&mut desk, &request(Kind::Produce, "a", None)), none);
            let mut second = none.clone();
            second[index] = vec![1];
            assert_eq!(pass(&mut desk, &commit("a")), second);
            assert_eq!(desk.held(), [0u64; 0]);
        }
    }

    #[test]
    fn any_kind_releases_and_the_hand_does() {
        let mut desk = Desk::default();
        desk.install(Rule::on(Kind::EndTxn, Action::Hold(Release::before(None, 1))));
        desk.install(Rule::on(Kind::EndTxn, Action::Hold(Release::by_hand())).nth(2));
        assert_eq!(arrive(&mut desk, &commit("a")).1, Step::Kept(None));
        assert_eq!(arrive(&mut desk, &commit("a")).1, Step::Kept(None));
        assert_eq!(pass(&mut desk, &request(Kind::Produce, "a", None))[0], [1]);
        assert_eq!(desk.held(), [2]);
        assert!(desk.take(1).is_none());
        assert_eq!(desk.take(2).map(|held| held.seq), Some(2));
    }

    #[test]
    fn an_answer_to_an_earlier_request_releases_nothing() {
        let mut desk = Desk::default();
        let produce = request(Kind::Produce, "a", None);
        let (seq, _) = arrive(&mut desk, &produce);
        let pending = Pending { seq, kind: produce.kind, version: 1, txn: produce.txn.clone(), cut: None };
        desk.install(Rule::on(Kind::EndTxn, Action::Hold(Release::after_answer(None, 1))));
        arrive(&mut desk, &commit("a"));
        assert!(desk.answered(&pending, Some(0), Duration::ZERO).is_empty());
        assert_eq!(pass(&mut desk, &produce)[2], [2]);
    }
}
