//! The partitions of running tasks between the client's queue and the tasks' mailboxes: batches that are built, and those that wait.
//!
//! Owned by the consumer thread, which carries out what is to be paused. Knows nothing of the group.
//! Invariant: a task gets its batches in the order of their offsets, each once, whatever waits meanwhile.

use super::native::Message;
use crate::clock;
use rdkafka::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tidemill_topology::{Batch, TaskId};

/// So much of one partition may wait for its mailbox before nothing more is read: batches, and bytes of them.
const CROWD: (usize, usize) = (4, 4 << 20);
/// So long do others wait for a partition that is crowded. Then it is paused, which throws away what the client has fetched of it, and
/// may cost it a second: nothing tells a librdkafka client that waits for the next fetch that a partition was resumed (2.12.1).
const PATIENCE: Duration = Duration::from_millis(50);

/// A mailbox that is full gives the batch back; `None`: it is gone, and so is the task.
pub type Full = Option<Box<Batch>>;

/// Hands one batch over, or gives it back.
pub type Sink = Box<dyn Fn(Batch) -> Result<(), Full> + Send>;

/// What a partition may say instead of a record, and what stops the process.
pub enum Trouble {
    /// The next offset is not there.
    Gap,
}

/// One partition of a running task.
pub struct Flow {
    pub task: TaskId,
    assignment: u64,
    /// Where the next batch begins.
    pub at: i64,
    building: Option<Batch>,
    /// Records of the last batch and their bytes: the next one is mostly as large, and need not grow to it.
    last: (usize, usize),
    /// Batches that found the mailbox full.
    held: VecDeque<Batch>,
    paused: bool,
    sink: Sink,
}

/// All of them.
#[derive(Default)]
pub struct Flows {
    all: Vec<Flow>,
    /// The flow of a message, by the address of its topic and its partition; forgotten when the flows change.
    routes: HashMap<(usize, i32), usize>,
    /// Since when others wait for those that are crowded.
    crowded: Option<Instant>,
}

/// Partitions that are to be paused, and those that are to go on.
#[derive(Default)]
pub struct Turned {
    pub pause: TopicPartitionList,
    pub resume: TopicPartitionList,
}

impl Flows {
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Partitions of which something waits for a place in a mailbox.
    pub fn waiting(&self) -> usize {
        self.all.iter().filter(|f| !f.held.is_empty()).count()
    }

    /// Begins one, in the place of an earlier one of its task.
    pub fn add(&mut self, flow: Flow) {
        self.keep(|task| *task != flow.task);
        self.all.push(flow);
    }

    pub fn keep(&mut self, keep: impl Fn(&TaskId) -> bool) {
        self.all.retain(|f| keep(&f.task));
        self.routes.clear();
    }

    /// Whose a message is. `last`: what was found for the one before; messages come in runs of one partition.
    pub fn of(&mut self, message: &Message<'_>, last: &mut Option<((usize, i32), usize)>) -> Option<&mut Flow> {
        let key = (message.topic_key(), message.partition());
        let at = match last.filter(|(known, _)| *known == key) {
            Some((_, at)) => at,
            None => match self.routes.entry(key) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let topic = message.topic();
                    let is = |f: &Flow| *f.task.topic == *topic && f.task.partition == key.1;
                    *new.insert(self.all.iter().position(is)?)
                }
            },
        };
        *last = Some((key, at));
        self.all.get_mut(at)
    }

    /// Hands over what was built.
    pub fn deliver(&mut self) {
        self.all.iter_mut().for_each(Flow::deliver);
    }

    /// Hands over what waits, as far as there is room. What has been crowded for long is to be paused if it keeps others from work.
    pub fn deliver_held(&mut self) -> Turned {
        let mut turned = Turned::default();
        for flow in self.all.iter_mut().filter(|f| !f.held.is_empty()) {
            flow.deliver_held();
            if flow.held.is_empty() && std::mem::take(&mut flow.paused) {
                turned.resume.add_partition(&flow.task.topic, flow.task.partition);
            }
        }
        if !self.all.iter().any(Flow::is_crowded) {
            self.crowded = None;
        } else if self.crowded.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
            && self.all.iter().any(|f| f.held.is_empty())
        {
            for flow in self.all.iter_mut().filter(|f| f.is_crowded()) {
                flow.paused = true;
                turned.pause.add_partition(&flow.task.topic, flow.task.partition);
            }
            self.crowded = None;
        }
        turned
    }

    /// Whether more may be read.
    pub fn have_room(&self) -> bool {
        !self.all.iter().any(Flow::is_crowded)
    }
}

impl Flow {
    /// `at`: its first offset.
    pub fn new(task: TaskId, assignment: u64, at: i64, sink: Sink) -> Flow {
        Flow { task, assignment, at, building: None, last: (0, 0), held: VecDeque::new(), paused: false, sink }
    }

    /// So much of it waits that nobody's records are read, for they may be behind its own.
    fn is_crowded(&self) -> bool {
        !self.paused && (self.held.len() >= CROWD.0 || self.held.iter().map(Batch::bytes).sum::<usize>() >= CROWD.1)
    }

    fn deliver(&mut self) {
        let Some(mut batch) = self.building.take() else { return };
        self.last = (batch.len(), batch.bytes());
        batch.arrived = clock::now();
        self.held.push_back(batch);
        self.deliver_held();
    }

    fn deliver_held(&mut self) {
        while let Some(batch) = self.held.pop_front() {
            if let Err(Some(batch)) = (self.sink)(batch) {
                self.held.push_front(*batch);
                break;
            }
        }
    }

    pub fn take(&mut self, message: &Message<'_>) -> Result<(), Trouble> {
        match message.error() {
            None => self.record(message),
            // Behind control records too: nothing is left to be read there.
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF) => {
                let end = message.offset();
                let batch = self.batch();
                batch.next = batch.next.max(end);
                batch.at_end = true;
                self.at = self.at.max(end);
            }
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) => return Err(Trouble::Gap),
            Some(code) => {
                tracing::warn!(task = %self.task, code = ?code, text = message.error_text(), "partition");
            }
        }
        Ok(())
    }

    fn record(&mut self, message: &Message<'_>) {
        let offset = message.offset();
        if offset < self.at {
            return; // fetched before the seek
        }
        let batch = self.batch();
        batch.push(offset, message.timestamp(), message.key(), message.value());
        batch.at_end = false;
        message.headers(|name, value| batch.push_header(name, value));
        self.at = offset + 1;
    }

    fn batch(&mut self) -> &mut Batch {
        let (task, assignment, at, (records, bytes)) = (&self.task, self.assignment, self.at, self.last);
        self.building.get_or_insert_with(|| {
            let mut batch = Batch::new(task.topic.clone(), task.partition, assignment, at);
            batch.reserve(records, bytes);
            batch
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A mailbox with so many places, and the first offsets of what it got.
    #[derive(Clone, Default)]
    struct Mailbox(Arc<Mutex<(usize, Vec<i64>)>>);

    impl Mailbox {
        fn makes_room(&self, places: usize) {
            self.0.lock().expect("nobody panics").0 = places;
        }

        fn got(&self) -> Vec<i64> {
            self.0.lock().expect("nobody panics").1.clone()
        }

        fn sink(&self) -> Sink {
            let mailbox = self.clone();
            Box::new(move |batch| {
                let (places, got) = &mut *mailbox.0.lock().expect("nobody panics");
                if *places == 0 {
                    return Err(Some(Box::new(batch)));
                }
                *places -= 1;
                got.push(batch.from);
                Ok(())
            })
        }
    }

    fn flows(of: i32) -> (Flows, Vec<Mailbox>) {
        let mailboxes: Vec<Mailbox> = (0..of).map(|_| Mailbox::default()).collect();
        let mut flows = Flows::default();
        for (partition, mailbox) in (0..of).zip(&mailboxes) {
            let task = TaskId { stage: "s".into(), topic: "t".into(), partition };
            flows.add(Flow::new(task, 1, 0, mailbox.sink()));
        }
        (flows, mailboxes)
    }

    /// A batch of one record comes for each of these partitions.
    fn come(flows: &mut Flows, partitions: &[usize]) {
        for &at in partitions {
            let flow = &mut flows.all[at];
            let offset = flow.at;
            flow.batch().push(offset, 1, None, Some(b"{}"));
            flow.at += 1;
        }
        flows.deliver();
    }

    fn names(list: &TopicPartitionList) -> Vec<i32> {
        list.elements().iter().map(|e| e.partition()).collect()
    }

    #[test]
    fn what_waits_is_handed_over_in_its_order_before_what_comes_later() {
        let (mut flows, mailboxes) = flows(1);
        come(&mut flows, &[0]);
        come(&mut flows, &[0]);
        mailboxes[0].makes_room(1);
        come(&mut flows, &[0]);
        assert_eq!((mailboxes[0].got(), flows.waiting()), (vec![0], 1));
        mailboxes[0].makes_room(9);
        flows.deliver_held();
        assert_eq!((mailboxes[0].got(), flows.waiting()), (vec![0, 1, 2], 0));
    }

    #[test]
    fn a_crowd_stops_the_reading_and_is_paused_only_where_others_have_waited_for_it_for_long() {
        let (mut flows, mailboxes) = flows(2);
        (0..CROWD.0).for_each(|_| come(&mut flows, &[0]));
        assert!(!flows.have_room());
        // Not at once,
        assert!(names(&flows.deliver_held().pause).is_empty());
        // but when the other has waited.
        std::thread::sleep(PATIENCE);
        assert_eq!(names(&flows.deliver_held().pause), [0]);
        assert!(flows.have_room());
        // It goes on when all of it has been handed over, and is told to once.
        mailboxes[0].makes_room(CROWD.0);
        assert_eq!(names(&flows.deliver_held().resume), [0]);
        assert!(names(&flows.deliver_held().resume).is_empty());
    }

    #[test]
    fn nothing_is_paused_where_nobody_else_could_go_on() {
        let (mut flows, _) = flows(2);
        (0..CROWD.0).for_each(|_| come(&mut flows, &[0, 1]));
        assert!(names(&flows.deliver_held().pause).is_empty());
        std::thread::sleep(PATIENCE);
        assert!(names(&flows.deliver_held().pause).is_empty());
        assert!(!flows.have_room());
    }
}
