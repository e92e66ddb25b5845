//! The proxy between librdkafka's transactional producer and a real broker: what it holds, cuts and records is what the
//! broker sees. Knows rdkafka and nothing of the product. Invariant: whatever was cut, committed records are there once.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_harness::cluster::Cluster;
use tidemill_harness::proxy::{Action, Cut, Did, Event, Kind, Proxy, Release, Rule};

const LONG: Duration = Duration::from_secs(30);
const TOPIC: &str = "records";
const KINDS: [Kind; 5] =
    [Kind::AddPartitionsToTxn, Kind::Produce, Kind::AddOffsetsToTxn, Kind::TxnOffsetCommit, Kind::EndTxn];

/// A producer behind the proxy, and a group whose offsets it commits.
struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
    group: BaseConsumer,
    txn: String,
    written: i64,
}

impl Writer {
    fn new(cluster: &Cluster, proxy: &Proxy, txn: &str) -> Writer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", proxy.bootstrap()).set("transactional.id", txn).set("linger.ms", "0");
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50").set("retry.backoff.ms", "10");
        let producer: ThreadedProducer<_> = config.create().unwrap();
        producer.init_transactions(Timeout::Never).unwrap();
        let mut config = ClientConfig::new();
        let group = config.set("bootstrap.servers", &cluster.bootstrap).set("group.id", txn).create().unwrap();
        Writer { producer, group, txn: txn.to_owned(), written: 0 }
    }

    /// One transaction of three records and an offset.
    fn transaction(&mut self) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        for number in self.written..self.written + 3 {
            let (key, payload) = (&self.txn, number.to_string());
            self.producer.send(BaseRecord::to(TOPIC).key(key).payload(&payload)).map_err(|(error, _)| error)?;
        }
        self.producer.flush(LONG)?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(TOPIC, 0, Offset::Offset(self.written + 3))?;
        let member = self.group.group_metadata().unwrap();
        self.producer.send_offsets_to_transaction(&offsets, &member, Timeout::Never)?;
        self.producer.commit_transaction(Timeout::Never)?;
        self.written += 3;
        Ok(())
    }

    /// The same, aborted and sent again where the library asks for it; how often.
    fn transaction_at_last(&mut self) -> u32 {
        for aborts in 0..10 {
            match self.transaction() {
                Ok(()) => return aborts,
                Err(error) => {
                    assert!(self.producer.client().fatal_error().is_none(), "{}: {error}", self.txn);
                    self.producer.abort_transaction(Timeout::Never).unwrap();
                }
            }
        }
        panic!("{}: ten transactions were aborted", self.txn);
    }
}

/// Keys with their committed values in the order of the log.
fn committed(cluster: &Cluster) -> BTreeMap<String, Vec<i64>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &cluster.bootstrap).set("group.id", "reader").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let mut read: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    loop {
        match consumer.poll(LONG).expect("a record or the end within the time") {
            Ok(record) => {
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                read.entry(text(record.key())).or_default().push(text(record.payload()).parse().unwrap());
            }
            Err(KafkaError::PartitionEOF(_)) => return read,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Its committed records are those written, once and in order.
fn assert_once(cluster: &Cluster, writer: &Writer) {
    let expected: Vec<i64> = (0..writer.written).collect();
    // The control records of the last commit may still be on their way when the commit is answered.
    let enough = || committed(cluster).remove(&writer.txn).filter(|values| values.len() >= expected.len());
    let deadline = std::time::Instant::now() + LONG;
    let values = loop {
        match enough() {
            Some(values) => break values,
            None => assert!(std::time::Instant::now() < deadline, "{}: records are missing", writer.txn),
        }
    };
    assert_eq!(values, expected, "{}", writer.txn);
}

fn of_kind(events: &[Event], kind: Kind) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

fn without_rules_all_is_passed_on_and_recorded(cluster: &Cluster, proxy: &Proxy) {
    let mut writer = Writer::new(cluster, proxy, "plain");
    for _ in 0..3 {
        writer.transaction().unwrap();
    }
    assert_once(cluster, &writer);
    for kind in KINDS {
        let events = proxy.events();
        let answered: Vec<_> = of_kind(&events, kind).into_iter().filter(|event| event.error == Some(0)).collect();
        assert!(answered.len() >= 3, "{kind:?}: {events:#?}");
        assert!(answered.iter().all(|event| event.txn.as_deref() == Some("plain") && event.did == Did::Forwarded));
        assert_eq!(proxy.requests_of(kind, "plain"), proxy.requests(kind));
    }
    assert!(of_kind(&proxy.events(), Kind::EndTxn).iter().all(|event| event.committed == Some(true)));
    let inits = of_kind(&proxy.events(), Kind::InitProducerId).iter().filter(|e| e.error == Some(0)).count();
    assert_eq!(inits, 1);
}

fn a_held_commit_succeeds_by_its_retry_and_arrives_late(cluster: &Cluster, proxy: &Proxy) {
    for (txn, reset) in [("late-close", false), ("late-reset", true)] {
        let mut writer = Writer::new(cluster, proxy, txn);
        writer.transaction().unwrap();
        let late = Action::HoldAndCut(Release::after_answer(Kind::EndTxn, 1));
        let rule = Rule::on(Kind::EndTxn, late).txn("late-").committed(true);
        let rule = proxy.install(if reset { rule.reset() } else { rule });
        writer.transaction().unwrap();
        let seq = proxy.wait_fired(rule, LONG).unwrap();
        let held = proxy.wait_answered(seq, LONG).unwrap();
        let retry = proxy.events_after(seq).into_iter().find(|event| event.kind == Kind::EndTxn).unwrap();
        println!("{txn}: retry {:?}, held one {:?}", retry.error, held.error);
        assert_eq!((held.did, retry.did, retry.error), (Did::HeldAndCut, Did::Forwarded, Some(0)));
        // The broker knows it for the same commit, or is still at work on that: never another outcome.
        assert!(matches!(held.error, Some(0 | 51)), "{held:?}");
        assert!(held.sent_at > retry.answered_at);
        writer.transaction_at_last();
        assert_once(cluster, &writer);
    }
}

/// The danger itself: the late commit ends the transaction after its own, of the same epoch.
fn a_held_commit_can_end_the_next_transaction(cluster: &Cluster, proxy: &Proxy) {
    let mut writer = Writer::new(cluster, proxy, "stray");
    let stray = Action::HoldAndCut(Release::before(Kind::AddOffsetsToTxn, 1));
    let rule = proxy.install(Rule::on(Kind::EndTxn, stray).txn("stray"));
    writer.transaction().unwrap();
    let outcome = writer.transaction();
    let held = proxy.wait_answered(proxy.wait_fired(rule, LONG).unwrap(), LONG).unwrap();
    println!("stray: {:?}; the transaction it met: {outcome:?}", held.error);
    assert_eq!(held.error, Some(0), "{held:?}");
}

fn each_kind_cut_before_and_after(cluster: &Cluster, proxy: &Proxy) {
    let mut writer = Writer::new(cluster, proxy, "cut");
    for (action, kind) in [Action::CutBefore, Action::CutAfter].into_iter().flat_map(|a| KINDS.map(|kind| (a, kind))) {
        let rule = proxy.install(Rule::on(kind, action).txn("cut"));
        let aborts = writer.transaction_at_last();
        let fired = proxy.fired(rule);
        assert_eq!(fired.len(), 1, "{kind:?} {action:?}");
        let event = proxy.events_after(fired[0] - 1).swap_remove(0);
        println!("{kind:?} {action:?}: answer {:?}, aborts {aborts}", event.error);
        assert_eq!(event.answered_at.is_some(), action == Action::CutAfter, "{event:?}");
    }
    writer.transaction_at_last();
    assert_once(cluster, &writer);
}

fn cuts_of_everything_are_survived(cluster: &Cluster, proxy: &Proxy) {
    let mut writer = Writer::new(cluster, proxy, "torn");
    for how in [Cut::Close, Cut::Reset] {
        writer.transaction_at_last();
        assert!(proxy.cut_all(how, Duration::from_millis(200)) > 0);
        writer.transaction_at_last();
    }
    assert_once(cluster, &writer);
}

#[test]
fn a_transactional_producer_behind_the_proxy() {
    let bound = Proxy::bind(1).unwrap();
    let cluster = Cluster::start(1, &bound.ports(), &["auto.create.topics.enable=true"]);
    let proxy = bound.upstream(&cluster.upstreams);
    without_rules_all_is_passed_on_and_recorded(&cluster, &proxy);
    a_held_commit_succeeds_by_its_retry_and_arrives_late(&cluster, &proxy);
    each_kind_cut_before_and_after(&cluster, &proxy);
    cuts_of_everything_are_survived(&cluster, &proxy);
    a_held_commit_can_end_the_next_transaction(&cluster, &proxy);
}
