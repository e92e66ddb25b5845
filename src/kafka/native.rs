//! What rdkafka has no safe form of: one queue of our own for records, a client's events by the batch, and the group's member.
//!
//! Every unsafe call of librdkafka is here. Called by `reader.rs`, `rebalance.rs`, `restore.rs` and `producer.rs`.
//! Invariant: a pointer from librdkafka never leaves a call of this file; what leaves is copied or borrowed for a call.

use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Duration;

/// What comes so soon after the first messages belongs to them: mostly the other partitions of the same fetch.
const GATHER: Duration = Duration::from_millis(1);

/// A queue to which partitions are forwarded, so that records are read without rust-rdkafka's rebalance events: a plain
/// read of the consumer's own queue would take those too and answer them with "unassign everything", silently.
pub struct DataQueue {
    queue: *mut sys::rd_kafka_queue_t,
    batch: usize,
}

// SAFETY: librdkafka's queues are thread-safe.
unsafe impl Send for DataQueue {}

/// The address of a [`DataQueue`], for the assign callback. Valid as long as the reader, which owns both.
#[derive(Clone, Copy)]
pub struct QueueRef(*mut sys::rd_kafka_queue_t);

// SAFETY: only handed back to librdkafka, whose queues are thread-safe.
unsafe impl Send for QueueRef {}
// SAFETY: as above.
unsafe impl Sync for QueueRef {}

impl DataQueue {
    /// A queue that gives at most `batch` messages a read.
    pub fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, batch: usize) -> DataQueue {
        // SAFETY: the client outlives the call; the queue is destroyed in drop.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        DataQueue { queue, batch }
    }

    pub fn reference(&self) -> QueueRef {
        QueueRef(self.queue)
    }

    /// Waits `wait_ms` for the first message, then [`GATHER`] for those that are on their way with it: asleep, for who waits for each
    /// of them is woken by each. No further than a batch, or to where `each` breaks off; each message is freed after `each`.
    ///
    /// By callback, which takes the queue's lock once for all of them. librdkafka's batch read takes the event "end of partition" for
    /// a record at that offset and moves the partition's position behind it (rd_kafka_q_serve_rkmessages, 2.12.1): the next
    /// pause, be it ours or that of a rebalance, then goes on one record too far: a record lost, or an offset that does not exist.
    pub fn read<F: FnMut(Message<'_>) -> ControlFlow<()>>(&mut self, wait_ms: i32, each: F) {
        let mut reading = Reading { each, left: self.batch };
        self.take(wait_ms, &mut reading);
        if (1..self.batch).contains(&reading.left) {
            std::thread::sleep(GATHER);
            self.take(0, &mut reading);
        }
    }

    fn take<F: FnMut(Message<'_>) -> ControlFlow<()>>(&self, wait_ms: i32, reading: &mut Reading<F>) {
        // SAFETY: the queue lives as long as this value; `reading` outlives the call, which alone uses it meanwhile.
        unsafe {
            let told = std::ptr::from_mut(reading).cast();
            sys::rd_kafka_consume_callback_queue(self.queue, wait_ms, Some(Reading::<F>::take), told);
        }
    }
}

/// A read under way.
struct Reading<F> {
    each: F,
    left: usize,
}

impl<F: FnMut(Message<'_>) -> ControlFlow<()>> Reading<F> {
    /// Called by librdkafka, within the read, with a message that it frees afterwards.
    unsafe extern "C" fn take(raw: *mut sys::rd_kafka_message_t, told: *mut std::ffi::c_void) {
        // SAFETY: `read` gave librdkafka this address for the time of the call.
        let reading = unsafe { &mut *told.cast::<Reading<F>>() };
        let more = (reading.each)(Message { raw, lives: PhantomData });
        reading.left = if more.is_continue() { reading.left - 1 } else { 0 };
        if reading.left == 0 {
            // What has been taken from the queue and not been given to us goes back to its front.
            // SAFETY: it sets a flag of this thread; the client is not looked at.
            unsafe { sys::rd_kafka_yield(std::ptr::null_mut()) };
        }
    }
}

impl Drop for DataQueue {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new and not destroyed before.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

/// What a client has to say, read without rust-rdkafka's poll, which spins through the last millisecond of each of its waits. Reports,
/// statistics and errors are in one queue and its log in another, each in its order: who waits for reports is not woken by each line.
pub struct Events {
    queue: *mut sys::rd_kafka_queue_t,
    log: *mut sys::rd_kafka_queue_t,
}

// SAFETY: librdkafka's queues are thread-safe.
unsafe impl Send for Events {}

/// One thing said, borrowed for a call.
pub enum Said<'a> {
    /// What became of a message that was sent, and the opaque that it went with.
    Report(Message<'a>, usize),
    /// Level as syslog's, facility, text.
    Log(i32, &'a str, &'a str),
    /// As JSON.
    Statistics(&'a str),
    Error(RDKafkaErrorCode, &'a str),
}

impl Events {
    /// Those of a client, which must outlive them; `None` if it does not let its log go.
    pub fn of<C: ClientContext>(client: &Client<C>) -> Option<Events> {
        let client = client.native_ptr();
        // SAFETY: the client outlives the call; the queues are references of our own, destroyed in drop.
        unsafe {
            let (queue, log) = (sys::rd_kafka_queue_get_main(client), sys::rd_kafka_queue_new(client));
            let events = Events { queue, log };
            let moved = sys::rd_kafka_set_log_queue(client, log);
            (moved == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(events)
        }
    }

    /// Hands over what is there beside the log; if nothing is, what comes first within `wait`, and all with it.
    pub fn serve(&mut self, wait: Duration, each: impl FnMut(Said<'_>)) {
        serve(self.queue, wait, each);
    }

    /// The same of the log.
    pub fn serve_log(&mut self, wait: Duration, each: impl FnMut(Said<'_>)) {
        serve(self.log, wait, each);
    }
}

fn serve(queue: *mut sys::rd_kafka_queue_t, wait: Duration, mut each: impl FnMut(Said<'_>)) {
    let mut wait_ms = wait.as_millis().min(i32::MAX as u128) as i32;
    loop {
        // SAFETY: the queue lives, for its owner calls this; the event is ours until it is destroyed, behind its last use.
        unsafe {
            let event = sys::rd_kafka_queue_poll(queue, wait_ms);
            if event.is_null() {
                return;
            }
            hand_over(event, &mut each);
            sys::rd_kafka_event_destroy(event);
        }
        wait_ms = 0;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: both are references of our own that were not destroyed before; the client has its own of the log's.
        unsafe {
            sys::rd_kafka_queue_destroy(self.log);
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// The event lives.
unsafe fn hand_over(event: *mut sys::rd_kafka_event_t, each: &mut impl FnMut(Said<'_>)) {
    // SAFETY: what an event says lives as long as it does, which is longer than `each` is called.
    unsafe {
        match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_DR => loop {
                let raw = sys::rd_kafka_event_message_next(event).cast_mut();
                if raw.is_null() {
                    return;
                }
                each(Said::Report(Message { raw, lives: PhantomData }, (*raw)._private as usize));
            },
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
                if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                    each(Said::Log(level, &text(facility), &text(line)));
                }
            }
            sys::RD_KAFKA_EVENT_STATS => each(Said::Statistics(&text(sys::rd_kafka_event_stats(event)))),
            sys::RD_KAFKA_EVENT_ERROR => {
                let code = sys::rd_kafka_event_error(event).into();
                each(Said::Error(code, text(sys::rd_kafka_event_error_string(event)).trim()));
            }
            other => tracing::warn!(event = other, "an event that nobody asked for"),
        }
    }
}

/// # Safety
/// `at` is null, or a text with a NUL at its end that lives for the lifetime that the caller gives it.
unsafe fn text<'a>(at: *const c_char) -> Cow<'a, str> {
    if at.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(at) }.to_string_lossy()
}

/// Sends the messages of one partition to `queue` from now on. Called in the assign callback, before the assign.
pub fn forward<C: ConsumerContext>(consumer: &BaseConsumer<C>, queue: QueueRef, topic: &str, partition: i32) -> bool {
    let Ok(topic) = CString::new(topic) else { return false };
    // SAFETY: the partition's queue is ours until destroyed; forwarding takes its own reference.
    unsafe {
        let of_partition = sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
        if of_partition.is_null() {
            return false;
        }
        sys::rd_kafka_queue_forward(of_partition, queue.0);
        sys::rd_kafka_queue_destroy(of_partition);
    }
    true
}

/// Generation and member id as librdkafka knows them now; `None` while the client closes or has no group.
pub fn member<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<(i32, String)> {
    // SAFETY: the metadata is a copy that we own and destroy; its strings are copied before.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let id = sys::rd_kafka_consumer_group_metadata_member_id(metadata);
        let id = text(id).into_owned();
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some((generation, id))
    }
}

/// Where a partition ended at its last fetch; `None` before one. Asks no broker and waits for nothing.
pub fn known_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client outlives the call; both places are our own.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Whether librdkafka is the one of which it is known where it leaves headers: 2.12.1. Of another one they are always asked for.
static AS_KNOWN: LazyLock<bool> = LazyLock::new(|| {
    // SAFETY: it reads a constant.
    unsafe { sys::rd_kafka_version() == 0x020c_01ff }
});

/// One message, or one event of a partition, borrowed for a call.
pub struct Message<'a> {
    raw: *mut sys::rd_kafka_message_t,
    lives: PhantomData<&'a ()>,
}

impl<'a> Message<'a> {
    fn get(&self) -> &'a sys::rd_kafka_message_t {
        // SAFETY: alive until `read` frees it, which is after the borrow.
        unsafe { &*self.raw }
    }

    /// `None` for a record; an event of the partition otherwise.
    pub fn error(&self) -> Option<RDKafkaRespErr> {
        match self.get().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            e => Some(e),
        }
    }

    /// What librdkafka says about the event: not payload of a record.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(self.value().unwrap_or_default()).into_owned()
    }

    /// Equal for messages of one topic: a cheap key until the name is needed.
    pub fn topic_key(&self) -> usize {
        self.get().rkt as usize
    }

    pub fn topic(&self) -> String {
        let topic = self.get().rkt;
        if topic.is_null() {
            return String::new();
        }
        // SAFETY: the topic handle lives as long as the message.
        unsafe { text(sys::rd_kafka_topic_name(topic)).into_owned() }
    }

    pub fn partition(&self) -> i32 {
        self.get().partition
    }

    pub fn offset(&self) -> i64 {
        self.get().offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: key and length belong together and live as long as the message.
        unsafe { bytes(self.get().key, self.get().key_len) }
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.get().payload, self.get().len) }
    }

    /// ms since 1970; -1 when the record has none.
    pub fn timestamp(&self) -> i64 {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives; `kind` is a place of our own.
        unsafe { sys::rd_kafka_message_timestamp(self.raw, &mut kind) }
    }

    /// Whether it is plain to see that there are none. librdkafka makes a buffer to parse them from, and throws it away, also where
    /// there is nothing to parse: more work than all the rest of a short record's reading.
    ///
    /// A record of format 2 has the count of its headers right behind its value, and librdkafka's pointers lead into what was fetched
    /// (rd_kafka_msgset_reader_msg_v2). Leader epochs are in format 2 alone; a value that is null or empty may lie anywhere.
    fn has_no_headers(&self) -> bool {
        let raw = self.get();
        // SAFETY: the message lives, and of a record as described a byte stands behind the value: it is part of the record.
        *AS_KNOWN
            && raw.len > 0
            && !raw.payload.is_null()
            && unsafe { sys::rd_kafka_message_leader_epoch(self.raw) >= 0 }
            && unsafe { *raw.payload.cast::<u8>().add(raw.len) == 0 }
    }

    /// Calls `each` with every header's name and value.
    pub fn headers(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        if self.has_no_headers() {
            return;
        }
        let mut headers = std::ptr::null_mut();
        // SAFETY: the headers belong to the message; names and values live as long as it does.
        unsafe {
            if sys::rd_kafka_message_headers(self.raw, &mut headers) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            for at in 0.. {
                let found = sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut len);
                if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                each(CStr::from_ptr(name).to_bytes(), bytes(value, len));
            }
        }
    }
}

/// # Safety
/// `at` is null, or `len` bytes stand there for the lifetime that the caller gives them.
unsafe fn bytes<'a>(at: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    if at.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(at.cast(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::config::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    use rdkafka::{Offset, TopicPartitionList};
    use std::time::Instant;

    /// As far as a test can say it: key, value, headers, and whether those were asked for.
    type Read = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>, bool);

    fn owned(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
        bytes.map(<[u8]>::to_vec)
    }

    fn write(brokers: &str, codec: &str, records: &[Read]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("compression.type", codec).set("linger.ms", "50");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        for (key, value, headers, _) in records {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("t").partition(0);
            (record.key, record.payload) = (key.as_deref(), value.as_deref());
            record.headers = (!headers.is_empty()).then(|| {
                headers.iter().fold(OwnedHeaders::new(), |all, (name, value)| {
                    all.insert(Header { key: str::from_utf8(name).unwrap(), value: value.as_deref() })
                })
            });
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn read(brokers: &str, records: usize) -> Vec<Read> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "g").create().unwrap();
        let mut queue = DataQueue::new(&consumer, 100);
        assert!(forward(&consumer, queue.reference(), "t", 0));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let (mut all, until) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        while all.len() < records && Instant::now() < until {
            consumer.poll(Duration::ZERO);
            queue.read(100, |message| {
                if message.error().is_none() {
                    let mut headers = Vec::new();
                    message.headers(|name, value| headers.push((name.to_vec(), owned(value))));
                    all.push((owned(message.key()), owned(message.value()), headers, !message.has_no_headers()));
                }
                ControlFlow::Continue(())
            });
        }
        all
    }

    #[test]
    fn headers_are_asked_for_where_there_may_be_some() {
        assert!(
            *AS_KNOWN,
            "another librdkafka: read in rd_kafka_msgset_reader_msg_v2 where it leaves headers, then name it"
        );
        let some = |bytes: &[u8]| Some(bytes.to_vec());
        let header = |value| vec![(b"h".to_vec(), value)];
        let records: Vec<Read> = vec![
            (some(b"k"), some(b"no header"), vec![], false),
            (some(b"k"), some(b"one"), header(some(b"1")), true),
            (None, some(b"of nothing"), header(None), true),
            (some(b"k"), None, header(some(b"on a tombstone")), true),
            (some(b"k"), None, vec![], true),
            (None, some(b""), header(some(b"")), true),
            (some(b""), some(b""), vec![], true),
            (some(b""), some(&[0; 300]), vec![], false),
            (None, some(&[0; 300]), (0..200).flat_map(|_| header(None)).collect(), true),
            (None, some(b"the last one"), vec![], false),
        ];
        for codec in ["none", "lz4", "gzip", "zstd", "snappy"] {
            let cluster = MockCluster::new(1).unwrap();
            let brokers = cluster.bootstrap_servers();
            cluster.create_topic("t", 1, 1).unwrap();
            write(&brokers, codec, &records);
            assert_eq!(read(&brokers, records.len()), records, "{codec}");
        }
    }
}
