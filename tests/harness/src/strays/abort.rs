//! Requests that come late past an abort. The abort is a real one: the group moves while the offsets of a transaction are
//! on their way. Knows the group's name and the proxy. Invariant: no task moves, only the generation.

use super::app::{App, LONG};
use super::report::Report;
use super::schedule::KINDS;
use super::world::World;
use crate::proxy::{Action, Kind, Release, Rule};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const ROUND: usize = 12;
/// Longer than a rebalance takes, shorter than a transaction may.
pub(super) const HOLDS_OFFSETS: Duration = Duration::from_millis(1_500);
const SLICE: Duration = Duration::from_millis(50);

/// A member of the application's group that reads a topic of its own: whenever it joins or leaves, the generation moves.
pub(super) struct Mover {
    is_in: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    pub(super) fn start(world: &World, group: &str) -> Result<Mover, String> {
        let topic = format!("{group}-other");
        world.broker.create_topic(&topic, 1, 1)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &world.cluster.bootstrap).set("group.id", group).set("client.id", "mover");
        config.set("partition.assignment.strategy", "cooperative-sticky").set("heartbeat.interval.ms", "100");
        let consumer: BaseConsumer = config.create().map_err(|e| format!("mover: {e}"))?;
        let (is_in, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (is_in.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut was_in = false;
            while !flags.1.load(Ordering::Relaxed) {
                let is_in = flags.0.load(Ordering::Relaxed);
                if is_in != was_in {
                    was_in = is_in;
                    match is_in {
                        true => consumer.subscribe(&[&topic]).expect("a plain topic's name"),
                        false => consumer.unsubscribe(),
                    }
                }
                drop(consumer.poll(Duration::from_millis(20)));
            }
        });
        Ok(Mover { is_in, is_over, thread: Some(thread) })
    }

    pub(super) fn toggle(&self) {
        self.is_in.fetch_xor(true, Ordering::Relaxed);
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What is held back past an abort: its EndTxn, by where it comes out, or a Produce of the aborted transaction.
fn sweep(n: usize) -> Vec<(Rule, Kind)> {
    let abort = |release| (Rule::on(Kind::EndTxn, Action::HoldAndCut(release)).committed(false), Kind::EndTxn);
    let produce = |release, nth| (Rule::on(Kind::Produce, Action::HoldAndCut(release)).nth(nth), Kind::Produce);
    let mut all = vec![
        abort(Release::before(Kind::AddOffsetsToTxn, 1)),
        produce(Release::after_answer(Kind::EndTxn, 1), 1),
        abort(Release::after_answer(Kind::Produce, 3)),
        produce(Release::before(Kind::Produce, 8), 2),
        abort(Release::before(Kind::TxnOffsetCommit, 1)),
        produce(Release::after_answer(Kind::AddPartitionsToTxn, 3), 3),
    ];
    for kind in KINDS {
        all.push(abort(Release::before(kind, 2)));
        all.push(abort(Release::after_answer(kind, 1)));
        all.push(abort(Release::after_forwarding(kind, 1)));
        all.push(produce(Release::before(kind, 3), 1));
    }
    all.into_iter().cycle().take(n).collect()
}

/// So many aborts of the product, each with a request that comes late past it.
pub fn aborts(world: &World, n: usize, report: &mut Report, is_enough: impl Fn(&Report) -> bool) -> Result<(), String> {
    for round in sweep(n).chunks(ROUND) {
        let mut app = App::start(world, 1)?;
        let mover = Mover::start(world, &app.place.name)?;
        for (rule, kind) in round {
            one(&mut app, &mover, (rule, *kind), report)?;
            if app.halted.is_some() {
                break;
            }
        }
        drop(mover);
        app.finish(report)?;
        if is_enough(report) {
            break;
        }
    }
    Ok(())
}

fn one(app: &mut App<'_>, mover: &Mover, (rule, kind): (&Rule, Kind), report: &mut Report) -> Result<(), String> {
    let world = app.world;
    // Right after a commit, so that both rules meet the same transaction.
    world.wait_commits(world.last_seq(), 1, LONG);
    let late = world.proxy.install(rule.clone());
    let offsets = world.proxy.install(Rule::on(Kind::TxnOffsetCommit, Action::Delay(HOLDS_OFFSETS)));
    let Some(delayed) = world.proxy.wait_fired(offsets, LONG) else {
        world.proxy.remove_all();
        report.missed += 1;
        return app.keep_running(report);
    };
    mover.toggle();
    let refused = world.proxy.wait_answered(delayed, LONG).and_then(|event| event.error);
    let is_aborted = refused.is_some_and(|code| code != 0);
    report.aborted += u64::from(is_aborted);
    let patience = if is_aborted { Duration::from_secs(3) } else { Duration::ZERO };
    if !app.wait(patience, report, |world| world.proxy.wait_fired(late, SLICE).is_some())? {
        world.proxy.remove_all();
        report.missed += 1;
        return Ok(());
    }
    report.strays += 1;
    let seq = world.proxy.fired(late)[0];
    let event = app.late(seq, report)?;
    debug_assert_eq!(event.kind, kind);
    report.late(&event);
    world.proxy.remove_all();
    let goes_on = app.wait(2 * LONG, report, |world| world.wait_commits(seq, 2, SLICE))?;
    app.must_go_on(goes_on, &format!("a late {kind:?} past an abort"), report);
    Ok(())
}
