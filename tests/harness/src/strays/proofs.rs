//! Single facts that the protocol rests on: a broker that verifies partitions refuses a Produce past its abort, and every
//! lost connection leads to a recycle. Called by the driver and the short form. Invariant: what is claimed is read from
//! the broker's answers or from the order of requests at the proxy, never from the product's word alone.

use super::app::{App, LONG, last_words};
use super::report::Report;
use super::schedule::KINDS;
use super::world::{World, is_commit};
use crate::proxy::{Action, Event, Kind, Release, Rule};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::Duration;

const NOT_CONFIGURED: i32 = 78;

/// What became of a Produce that came after the abort of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The broker's error code, 0 if it took it.
    pub answer: Option<i16>,
    /// The partition has a transaction that nobody will end.
    pub hangs: bool,
}

/// A plain producer of librdkafka, whose own commit of the abort before comes late and aborts the transaction that its
/// Produce belongs to; the Produce itself comes later still, of the same epoch and never seen before.
pub fn late_produce(world: &World) -> Result<Verification, String> {
    let (topic, txn) = ("verified", "verified-writer");
    world.broker.create_topic(topic, 1, 1)?;
    let wrong = |e: rdkafka::error::KafkaError| format!("{txn}: {e}");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", world.proxy.bootstrap()).set("transactional.id", txn).set("linger.ms", "0");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50").set("retry.backoff.ms", "10");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(wrong)?;
    producer.init_transactions(LONG).map_err(wrong)?;
    let send = |text: &str| {
        producer.send(BaseRecord::to(topic).partition(0).key("k").payload(text)).map_err(|(e, _)| wrong(e))
    };

    producer.begin_transaction().map_err(wrong)?;
    send("aborted")?;
    producer.flush(LONG).map_err(wrong)?;
    let held = Action::HoldAndCut(Release::by_hand());
    let abort = world.proxy.install(Rule::on(Kind::EndTxn, held).txn(txn));
    producer.abort_transaction(LONG).map_err(wrong)?;
    let abort = world.proxy.wait_fired(abort, LONG).ok_or("no EndTxn was sent")?;

    producer.begin_transaction().map_err(wrong)?;
    let first = world.proxy.install(Rule::on(Kind::Produce, held).txn(txn));
    world.proxy.install(Rule::on(Kind::Produce, Action::CutBefore).txn(txn).times(100_000));
    send("late")?;
    let produce = world.proxy.wait_fired(first, LONG).ok_or("no Produce was sent")?;
    if world.proxy.release(abort) != Some(0) {
        return Err("the late abort was refused, so nothing can be shown".to_owned());
    }
    world.broker.wait_settled(&[topic], LONG)?;
    // The coordinator is done once the marker is written and its own log says so.
    std::thread::sleep(Duration::from_millis(500));
    let answer = world.proxy.release(produce);
    let hangs = world.broker.ends(topic, true)? != world.broker.ends(topic, false)?;
    drop(producer);
    world.proxy.remove_all();
    Ok(Verification { answer, hangs })
}

/// `run` on a broker that does not verify partitions: its last word. An error if it runs, or ends otherwise.
pub fn refused_by_run(world: &World) -> Result<String, String> {
    let place = world.place(r#"session.timeout.ms: "6000""#)?;
    let mut process = world.process(&place, &place.name)?;
    let status = process.wait(LONG).ok_or("it runs on a broker that does not verify partitions")?;
    let cause = last_words(&process);
    match status.code() {
        Some(NOT_CONFIGURED) if cause.contains("transaction.partition.verification.enable") => Ok(cause),
        _ => Err(format!("it ended with {status}: {cause}")),
    }
}

/// So many transactions that nothing disturbs; how often the producer was recycled meanwhile.
pub fn healthy(world: &World, transactions: usize, report: &mut Report) -> Result<u64, String> {
    let app = App::start(world, 1)?;
    if !world.wait_commits(world.last_seq(), transactions, 3 * LONG) {
        return Err(format!("{}: not {transactions} commits within {:?}", app.place.name, 3 * LONG));
    }
    let recycled = app.said("producer recycled");
    app.finish(report)?;
    Ok(recycled)
}

/// Cuts each kind once before it reaches the broker and once after. What did not lead to a recycle before the next
/// transaction, in words.
pub fn cuts_recycle(world: &World, report: &mut Report) -> Result<Vec<String>, String> {
    let mut app = App::start(world, 1)?;
    let mut wrong = Vec::new();
    for (action, kind) in [Action::CutBefore, Action::CutAfter].into_iter().flat_map(|a| KINDS.map(|kind| (a, kind))) {
        let before = app.said("producer recycled");
        let rule = world.proxy.install(Rule::on(kind, action).txn(app.transactional_id(0)));
        let seq = world.proxy.wait_fired(rule, LONG).ok_or_else(|| format!("no {kind:?} was sent"))?;
        report.strays += 1;
        if !app.wait(LONG, report, |world| world.wait_commits(seq, 3, Duration::from_millis(50)))? {
            return Err(format!("{kind:?} {action:?}: no commit for {LONG:?}"));
        }
        world.proxy.remove_all();
        if !report.exits.is_empty() {
            return Err(format!("{kind:?} {action:?}: the process ended instead of recycling: {:?}", report.exits));
        }
        // Said before those commits; the thread of ours that reads it may be behind.
        if !app.says_again("producer recycled", before) {
            wrong.push(format!("{kind:?} {action:?}: the log does not say that the producer was recycled"));
        }
        if let Err(text) = begins_clean(&world.proxy.events_after(seq - 1)) {
            wrong.push(format!("{kind:?} {action:?}: {text}"));
        }
    }
    app.finish(report)?;
    Ok(wrong)
}

/// From the cut on: after the transaction's end there is an InitProducerId before anything else is begun.
fn begins_clean(events: &[Event]) -> Result<(), String> {
    let end =
        events.iter().position(|event| event.kind == Kind::EndTxn && (is_commit(event) || event.error == Some(0)));
    let end = end.ok_or("its transaction did not end")?;
    let next = events[end + 1..].iter().find(|event| event.kind != Kind::EndTxn);
    match next.map(|event| event.kind) {
        Some(Kind::InitProducerId) => Ok(()),
        other => Err(format!("after the end of its transaction came {other:?}, not InitProducerId")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Did;

    fn event(seq: u64, kind: Kind, error: Option<i16>) -> Event {
        let committed = (kind == Kind::EndTxn).then_some(true);
        Event {
            seq,
            at: Duration::ZERO,
            kind,
            version: 3,
            txn: Some("t".to_owned()),
            committed,
            client: None,
            connection: 1,
            broker: 0,
            did: Did::Forwarded,
            sent_at: None,
            answered_at: None,
            error,
            failure: None,
        }
    }

    #[test]
    fn a_transaction_that_begins_without_a_recycle_is_seen() {
        let cut = event(1, Kind::EndTxn, None);
        let retry = event(2, Kind::EndTxn, Some(0));
        let init = event(3, Kind::InitProducerId, Some(0));
        let begin = event(4, Kind::AddPartitionsToTxn, Some(0));
        assert!(begins_clean(&[cut.clone(), retry.clone(), init, begin.clone()]).is_ok());
        assert!(begins_clean(&[cut.clone(), retry, begin]).is_err());
        assert!(begins_clean(&[cut]).is_err());
    }
}
