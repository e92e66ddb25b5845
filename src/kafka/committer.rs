//! A lane's transactions on Kafka: SEND, WAIT, OFFSETS, COMMIT, and the recycling of the producer.
//!
//! Lives on its lane's committer thread, where blocking is allowed. Classifies what happened; decides nothing.
//! Invariant: a transaction begins only on a clean producer, and offsets go out only when every record is delivered.

use super::client::Connection;
use super::errors::{Class, Fault, classify};
use super::producer::{Client, Deaf, PLAIN, Watch};
use super::snapshots::Snapshots;
use crate::exactly_once::{Assignment, Committer, Landed, Member, Outcome, Protections, Refusal};
use crate::stop_points::{self, Point};
use crate::watchdog::{Busy, Watchdog};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemill_topology::Sealed;

/// How long an abort may take before the recycle, which follows in any case, does its work. Behind brokers so slow that
/// records timed out, librdkafka's abort acquires a new epoch first, only for the recycle to acquire the next.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);
/// The one that reads while it aborts looks so often whether it is over.
const ABORT_LOOK: Duration = Duration::from_millis(5);
/// An INIT that meets a transaction that was left open is told to come again. The broker has aborted that within some hundredths of a
/// second; librdkafka waits for half a second, unless it is called again: then it asks at once.
const LOOK: Timeout = Timeout::After(Duration::from_millis(20));
/// So many calls come soon one after the other, of which brokers that are in trouble need no more.
const SOON: usize = 25;
/// Calls behind those, before a refusal that can pass is taken for the settings' fault: ten seconds.
const MORE: usize = 20;
const LATER: Timeout = Timeout::After(Duration::from_millis(500));

/// Where the time of the last transaction went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    pub send: Duration,
    pub wait: Duration,
    pub offsets: Duration,
    pub commit: Duration,
    /// Requests that met the control records of the transaction before.
    pub concurrent: u64,
    pub records: u64,
}

/// One lane's producer, and its transactions.
pub struct KafkaCommitter {
    connection: Connection,
    lane: usize,
    producer: Link,
    protections: Protections,
    snapshots: Arc<Snapshots>,
    watchdog: Arc<Watchdog>,
    pub timings: Timings,
    pub recycled: u64,
}

/// A producer and how many of its EndTxns were answered.
struct Live {
    /// Reads the client's queue, so it goes first.
    watch: Watch,
    client: Client,
    ended: u64,
}

enum Link {
    Clean(Live),
    /// Its last transaction did not commit at the first try, or something of it may still be on its way.
    Tainted(Option<Live>, String),
}

/// How a transaction failed before COMMIT was called.
struct Failed {
    error: KafkaError,
    what: String,
}

impl KafkaCommitter {
    /// Opens the lane's producer, which settles every transaction of its id.
    ///
    /// # Errors
    /// A broker that refuses the id or the credentials.
    pub fn open(
        connection: Connection,
        lane: usize,
        protections: Protections,
        snapshots: Arc<Snapshots>,
        watchdog: Arc<Watchdog>,
    ) -> Result<KafkaCommitter, Fault> {
        let live = make(&connection, lane)?;
        let (producer, timings) = (Link::Clean(live), Timings::default());
        Ok(KafkaCommitter { connection, lane, producer, protections, snapshots, watchdog, timings, recycled: 0 })
    }

    /// Reads what the producer has to say while it has nothing to do.
    pub fn rest(&mut self) {
        if let Link::Clean(live) = &mut self.producer {
            live.watch.serve(Duration::ZERO);
            live.watch.serve_log(Duration::ZERO);
        }
    }

    /// Drops a tainted producer and makes a new one; the epoch bump fences whatever is still on its way.
    fn recycle(&mut self) -> Result<(), Outcome> {
        let Link::Tainted(old, cause) = &mut self.producer else { return Ok(()) };
        let began = Instant::now();
        drop(old.take());
        let cause = std::mem::take(cause);
        match make(&self.connection, self.lane) {
            Ok(live) => {
                let ms = began.elapsed().as_millis() as u64;
                tracing::info!(lane = self.lane, cause, ms, "producer recycled");
                self.recycled += 1;
                self.producer = Link::Clean(live);
                Ok(())
            }
            Err(fault) => {
                self.producer = Link::Tainted(None, cause);
                let text = format!("lane {}: {}", self.lane, fault.cause);
                Err(if fault.configuration { Outcome::Fatal(text) } else { Outcome::Fenced(text) })
            }
        }
    }

    fn taint(&mut self, cause: String) {
        let link = std::mem::replace(&mut self.producer, Link::Tainted(None, String::new()));
        self.producer = match link {
            Link::Clean(live) => Link::Tainted(Some(live), cause),
            tainted => tainted,
        };
    }

    fn before_commit(&mut self, at: &Assignment, sealed: &[Sealed], busy: &Busy<'_>) -> Result<(), Failed> {
        let Link::Clean(live) = &mut self.producer else { unreachable!("recycled before") };
        let began = Instant::now();
        live.client.begin_transaction().map_err(|e| failed(e, "begin"))?;
        let sent = live.send(sealed)?;
        stop_points::reached(Point::Send);
        let all_sent = Instant::now();
        busy.begins("WAIT");
        live.watch.wait(sent).map_err(|(e, topic)| failed(e, &format!("a record for topic {topic}")))?;
        stop_points::reached(Point::Wait);
        let delivered = Instant::now();
        busy.begins("OFFSETS");
        let fresh = if self.protections.on("frozen_meta") { None } else { self.snapshots.live_metadata() };
        live.offsets(at, sealed, fresh)?;
        stop_points::reached(Point::Offsets);
        let (send, wait, offsets) = (all_sent - began, delivered - all_sent, delivered.elapsed());
        self.timings = Timings { send, wait, offsets, commit: Duration::ZERO, concurrent: 0, records: sent };
        Ok(())
    }

    fn give_up(&mut self, failed: Failed, busy: &Busy<'_>) -> Outcome {
        busy.begins("ABORT");
        let text = format!("{}: {}", failed.what, failed.error);
        match classify(&failed.error) {
            Class::Fenced => return Outcome::Fenced(format!("lane {}: fenced: {text}", self.lane)),
            Class::Configuration => {
                let remedy = "check the topic's max.message.bytes and this user's rights";
                return Outcome::Fatal(format!("lane {}: {text}; {remedy}", self.lane));
            }
            Class::GroupMoved => {
                self.abort(&text);
                return Outcome::Aborted(Refusal::GroupMoved(text));
            }
            _ => self.abort(&text),
        }
        Outcome::Aborted(Refusal::Trouble(text))
    }

    /// COMMIT was not called, so whatever becomes of this abort, nothing will be visible: the recycle settles it.
    fn abort(&mut self, cause: &str) {
        let Link::Clean(live) = &mut self.producer else { return };
        let aborted = live.abort();
        if let Err(error) = &aborted {
            tracing::warn!(lane = self.lane, %error, "abort failed; the recycle will end the transaction");
        }
        if aborted.is_err() || self.protections.on("recycle_abort") {
            self.taint(format!("aborted: {cause}"));
        } else {
            live.ended += 1;
        }
    }

    fn finish(&mut self, busy: &Busy<'_>) -> Outcome {
        busy.begins("COMMIT");
        let began = Instant::now();
        let Link::Clean(live) = &mut self.producer else { unreachable!("clean until COMMIT answers") };
        // Every record has its report; what is left has no part in the transaction.
        while live.client.in_flight_count() > 0 {
            live.watch.serve(Duration::ZERO);
        }
        if stop_points::is_unknown(Point::Unsent) {
            return self.unknown("COMMIT: not sent".to_owned());
        }
        let mut tries = 1;
        let error = loop {
            match live.client.commit_transaction(Timeout::Never) {
                Ok(()) if stop_points::is_unknown(Point::Unheard) => {
                    return self.unknown("COMMIT: not heard".to_owned());
                }
                Ok(()) => return self.committed(began.elapsed(), tries),
                Err(error) if classify(&error) == Class::Retriable => tries += 1,
                Err(error) => break error,
            }
        };
        let text = format!("COMMIT: {error}");
        match classify(&error) {
            Class::Fenced => Outcome::Fenced(format!("lane {}: fenced: {text}", self.lane)),
            Class::GroupMoved | Class::Abortable => self.give_up(failed(error, "COMMIT"), busy),
            _ => self.unknown(text),
        }
    }

    fn unknown(&mut self, cause: String) -> Outcome {
        self.taint(cause.clone());
        Outcome::Unknown(cause)
    }

    fn committed(&mut self, took: Duration, tries: u32) -> Outcome {
        stop_points::reached(Point::Commit);
        let Link::Clean(live) = &mut self.producer else { unreachable!("clean until here") };
        live.ended += 1;
        let trouble = live.watch.trouble(live.ended);
        self.timings.commit = took;
        self.timings.concurrent = live.watch.take_concurrent();
        let landed = live.watch.landed();
        let trouble = trouble.or_else(|| (tries > 1).then(|| format!("COMMIT needed {tries} tries")));
        if let Some(cause) = trouble
            && self.protections.on("recycle_error")
        {
            self.taint(cause);
        }
        let place = |(offset, append_time): (i64, i64)| Landed { position: offset + 1, append_time };
        Outcome::Committed(landed.into_iter().map(place).collect())
    }
}

impl Committer for KafkaCommitter {
    fn commit(&mut self, assignment: &Assignment, sealed: &[Sealed]) -> Outcome {
        if let Err(outcome) = self.recycle() {
            return outcome;
        }
        let watchdog = self.watchdog.clone();
        let busy = watchdog.busy(self.lane, "SEND");
        match self.before_commit(assignment, sealed, &busy) {
            Err(failed) => self.give_up(failed, &busy),
            Ok(()) => self.finish(&busy),
        }
    }
}

impl Live {
    /// librdkafka hears the reports of what it gives up while it aborts, and somebody must read them meanwhile.
    fn abort(&mut self) -> Result<(), KafkaError> {
        let (client, watch, over) = (&self.client, &mut self.watch, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let reading = || {
                while !over.load(Ordering::Relaxed) {
                    watch.serve(ABORT_LOOK);
                }
            };
            scope.spawn(reading);
            let aborted = client.abort_transaction(ABORT_PATIENCE);
            over.store(true, Ordering::Relaxed);
            aborted
        })
    }

    /// SEND: outputs and dead letters, changed entries, then each task's checkpoint, last. How many were sent.
    fn send(&mut self, sealed: &[Sealed]) -> Result<u64, Failed> {
        self.watch.expect(sealed.len());
        let mut sent = 0;
        for s in sealed {
            for out in s.outputs.iter() {
                let mut record = BaseRecord::with_opaque_to(out.topic, PLAIN).timestamp(out.timestamp.max(1));
                record.partition = out.partition;
                record.key = out.key;
                record.payload = out.value;
                if !out.headers.is_empty() {
                    record.headers = Some(headers(&out.headers));
                }
                self.produce(record)?;
                sent += 1;
            }
        }
        for (at, s) in sealed.iter().enumerate() {
            sent += self.send_changelog(s, at + 1)?;
        }
        Ok(sent)
    }

    fn send_changelog(&mut self, sealed: &Sealed, tag: usize) -> Result<u64, Failed> {
        let Some(topic) = &sealed.changelog else { return Ok(0) };
        let mut sent = 0;
        let partition = sealed.task.partition;
        for (key, value) in sealed.changes.iter() {
            let mut record = BaseRecord::with_opaque_to(topic, PLAIN).partition(partition).key(key);
            record.payload = value;
            self.produce(record)?;
            sent += 1;
        }
        let checkpoint = sealed.checkpoint.encode();
        let key = tidemill_state::keys::CHECKPOINT_KEY;
        self.produce(BaseRecord::with_opaque_to(topic, tag).partition(partition).key(key).payload(&checkpoint[..]))?;
        Ok(sent + 1)
    }

    fn produce(&mut self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), Failed> {
        let mut record = record;
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    // Reports make room.
                    self.watch.serve(Duration::from_millis(1));
                    record = again;
                }
                Err((error, record)) => return Err(failed(error, &format!("a record for topic {}", record.topic))),
            }
        }
    }

    /// OFFSETS: the sealed next offsets, under the snapshot's metadata.
    /// `fresh` is for the control that shows why it must not be metadata of another moment.
    fn offsets(&self, at: &Assignment, sealed: &[Sealed], fresh: Option<ConsumerGroupMetadata>) -> Result<(), Failed> {
        let mut list = TopicPartitionList::new();
        for p in sealed.iter().flat_map(|s| &s.checkpoint.positions) {
            list.add_partition_offset(&p.topic, p.partition, Offset::Offset(p.offset))
                .map_err(|e| failed(e, "OFFSETS"))?;
        }
        let kept = match &at.member {
            Member::Of { metadata, .. } => metadata.downcast_ref::<ConsumerGroupMetadata>(),
            Member::Nobody => None,
        };
        let metadata = fresh.as_ref().or(kept).expect("only a member's snapshot owns a task");
        loop {
            match self.client.send_offsets_to_transaction(&list, metadata, Timeout::Never) {
                Ok(()) => return Ok(()),
                Err(e) if classify(&e) == Class::Retriable => {}
                Err(e) => return Err(failed(e, "OFFSETS")),
            }
        }
    }
}

fn headers(all: &[(&str, Option<&[u8]>)]) -> OwnedHeaders {
    all.iter()
        .fold(OwnedHeaders::new_with_capacity(all.len()), |h, (key, value)| h.insert(Header { key, value: *value }))
}

fn failed(error: KafkaError, what: &str) -> Failed {
    Failed { error, what: what.to_owned() }
}

fn make(connection: &Connection, lane: usize) -> Result<Live, Fault> {
    let id = connection.transactional_id(lane);
    let client: Client = connection
        .producer(lane)
        .create_with_context(Deaf)
        .map_err(|e| Fault::configuration(format!("producer {id}: {e}; check kafka.properties")))?;
    let watch = Watch::new(&client, connection.seen.of(format!("lane-{lane}")));
    let watch =
        watch.ok_or_else(|| Fault::failed(format!("producer {id}: librdkafka does not let its log be read")))?;
    let mut looks = 0;
    loop {
        looks += 1;
        match client.init_transactions(if looks <= SOON { LOOK } else { LATER }) {
            Ok(()) => return Ok(Live { watch, client, ended: 0 }),
            Err(e) => match classify(&e) {
                Class::Retriable => {}
                // A broker that has just started may not know a password yet.
                Class::Configuration if is_retriable(&e) && looks < SOON + MORE => {}
                Class::Configuration => {
                    let remedy = "check the credentials and the rights on the transactional id";
                    return Err(Fault::configuration(format!("producer {id}: init_transactions: {e}; {remedy}")));
                }
                _ => return Err(Fault::failed(format!("producer {id}: init_transactions: {e}"))),
            },
        }
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(e) if e.is_retriable())
}
