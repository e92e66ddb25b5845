//! The consumer thread: the one place that polls, makes batches, and publishes assignment snapshots.
//!
//! Commanded by the supervisor (start a task's partition at its recovered position, end), heard through [`Event`]s.
//! Invariant: after every poll that served a rebalance, ownership and group metadata are read together and published.

use super::client::Connection;
use super::ends;
use super::errors::{Fault, is_configuration};
use super::flows::{Flow, Flows, Sink, Trouble, Turned};
use super::native::{self, DataQueue};
use super::rebalance::Group;
use super::snapshots::Snapshots;
use super::statistics::Seen;
use crate::exactly_once::{Assignment, Kept, Member, Membership, Protections};
use crate::stop_points::{self, Point};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tidemill_topology::TaskId;

/// Most messages of one read.
const READ: usize = 4_000;
/// Longest wait for messages; rebalances and commands wait as long.
const READ_WAIT_MS: i32 = 25;
/// The same while tasks wait to begin, or have no room for what was read.
const SHORT_WAIT_MS: i32 = 5;
/// Room is looked for so often.
const FULL_WAIT: Duration = Duration::from_millis(1);
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
/// The group is told so often how far sinks are: each time is a record of the broker's own log, and a request for it.
const TELL: Duration = Duration::from_secs(1);

/// Where a task's input ended at its last fetch; `None`: not known.
pub type KnownEnds = Box<dyn Fn(&TaskId) -> Option<i64> + Send + Sync>;

/// Where a task's batches go, and from which offset on.
pub struct Start {
    pub task: TaskId,
    pub assignment: u64,
    pub position: i64,
    pub sink: Sink,
}

/// What the reader tells the supervisor.
#[derive(Debug)]
pub enum Event {
    Assigned(Vec<(TaskId, u64)>),
    Revoked(Vec<(TaskId, u64)>),
    /// Nothing more will be read; the process must end.
    Fatal(Fault),
    Closed,
}

enum Command {
    Start(Start),
    /// Tell the group how far the task's partition is done: of use to lag tools alone.
    Done(TaskId, i64),
    /// Stop reading; keep serving the group.
    Quiet,
    Close,
}

/// A handle to the consumer thread.
#[derive(Clone)]
pub struct ReaderHandle(Sender<Command>);

impl ReaderHandle {
    pub fn start(&self, start: Start) {
        self.tell(Command::Start(start));
    }

    /// For the lag that Kafka's tools show; nothing rests on it.
    pub fn done(&self, task: &TaskId, next: i64) {
        self.tell(Command::Done(task.clone(), next));
    }

    /// No more batches; the member stays in the group until [`ReaderHandle::close`].
    pub fn quiet(&self) {
        self.tell(Command::Quiet);
    }

    pub fn close(&self) {
        self.tell(Command::Close);
    }

    fn tell(&self, command: Command) {
        if self.0.send(command).is_err() {
            tracing::debug!("the consumer thread has ended already");
        }
    }
}

/// The consumer thread's own state.
pub struct Reader {
    consumer: Arc<BaseConsumer<Group>>,
    queue: DataQueue,
    commands: Receiver<Command>,
    events: Box<dyn Fn(Event) + Send>,
    snapshots: Arc<Snapshots>,
    flows: Flows,
    /// Of those, as last shown: partitions that wait for mailboxes.
    waiting: Option<usize>,
    /// How far partitions are that the group was not told of yet, and when it was last told.
    done: BTreeMap<TaskId, i64>,
    told: Option<Instant>,
    version: u64,
    /// Tasks that the last snapshot has.
    owned: usize,
    quiet: bool,
    /// The first assignment has been told, be it empty: every lane then settles what it left open.
    joined: bool,
    membership: Membership,
    protections: Protections,
    seen: Seen,
}

impl Reader {
    /// Opens the consumer and subscribes; [`Reader::run`] then belongs on a thread of its own.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn open(
        connection: &Connection,
        stages: BTreeMap<Arc<str>, Arc<str>>,
        snapshots: Arc<Snapshots>,
        events: Box<dyn Fn(Event) + Send>,
        protections: Protections,
    ) -> Result<(Reader, ReaderHandle), Fault> {
        let topics: Vec<Arc<str>> = stages.keys().cloned().collect();
        let names: Vec<&str> = topics.iter().map(|t| &**t).collect();
        let wrong = |e: KafkaError| Fault::configuration(format!("consumer: {e}; check kafka.properties"));
        let group = Group::new(stages, protections, connection.seen.clone());
        let consumer: BaseConsumer<Group> = connection.consumer().create_with_context(group).map_err(wrong)?;
        let queue = DataQueue::new(&consumer, READ);
        consumer.context().forward_to(queue.reference());
        consumer.subscribe(&names).map_err(wrong)?;
        let (tell, commands) = channel();
        let consumer = Arc::new(consumer);
        let asked = Arc::downgrade(&consumer);
        snapshots.ask_live(Box::new(move || asked.upgrade()?.group_metadata()));
        let reader = Reader {
            consumer,
            queue,
            commands,
            events,
            snapshots,
            flows: Flows::default(),
            waiting: None,
            done: BTreeMap::new(),
            told: None,
            version: 0,
            owned: 0,
            quiet: false,
            joined: false,
            membership: Membership::default(),
            protections,
            seen: connection.seen.clone(),
        };
        Ok((reader, ReaderHandle(tell)))
    }

    /// Answers where a partition ended at its last fetch, for as long as the consumer lives.
    pub fn known_ends(&self) -> KnownEnds {
        let consumer = Arc::downgrade(&self.consumer);
        Box::new(move |task| native::known_end(&*consumer.upgrade()?, &task.topic, task.partition))
    }

    /// Reads until told to close, or until the consumer is of no use any more.
    pub fn run(mut self) {
        loop {
            if !self.commands_served() {
                break;
            }
            self.tell_group(TELL);
            self.serve_group();
            let turned = self.flows.deliver_held();
            self.turn(turned);
            if self.quiet || !self.flows.have_room() {
                std::thread::sleep(FULL_WAIT);
            } else {
                self.read();
            }
        }
        self.tell_group(Duration::ZERO);
        drop(self.queue);
        drop(self.consumer);
        (self.events)(Event::Closed);
    }

    /// False when the thread should end.
    fn commands_served(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Start(start) => self.start(start),
                Command::Done(task, next) => drop(self.done.insert(task, next)),
                Command::Quiet => self.quiet = true,
                Command::Close => return false,
            }
        }
        true
    }

    /// Of all partitions at once, unless it was told less than `every` ago.
    fn tell_group(&mut self, every: Duration) {
        if self.done.is_empty() || self.told.is_some_and(|told| told.elapsed() < every) {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (task, next) in std::mem::take(&mut self.done) {
            list.add_partition_offset(&task.topic, task.partition, Offset::Offset(next))
                .expect("a position that was written is an offset");
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(?list, %error, "the group was not told");
        }
        self.told = Some(Instant::now());
    }

    fn start(&mut self, start: Start) {
        if self.consumer.context().noted().owned.get(&start.task) != Some(&start.assignment) {
            return; // revoked meanwhile; the supervisor hears of it
        }
        let Start { task, assignment, position, sink } = start;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&task.topic, task.partition, Offset::Offset(position))
            .expect("a recovered position is an offset");
        let sought =
            self.consumer.seek_partitions(list.clone(), SEEK_PATIENCE).and_then(|_| self.consumer.resume(&list));
        if let Err(e) = sought {
            return self.fatal(Fault::failed(format!("task {task}: seeking to offset {position} failed: {e}")));
        }
        self.flows.add(Flow::new(task, assignment, position, sink));
    }

    /// Serves rebalances and errors; the queue of data is not touched.
    fn serve_group(&mut self) {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            if let Err(e) = event {
                self.hear(&e);
            }
        }
        let served = std::mem::take(&mut self.consumer.context().noted().served);
        if served {
            stop_points::reached(Point::Served);
            self.publish();
        }
        let (assigned, revoked, fatal) = {
            let mut noted = self.consumer.context().noted();
            (std::mem::take(&mut noted.assigned), std::mem::take(&mut noted.revoked), noted.fatal.take())
        };
        if let Some(cause) = fatal {
            self.fatal(Fault::failed(cause));
        }
        if !revoked.is_empty() {
            self.flows.keep(|task| !revoked.iter().any(|(gone, _)| gone == task));
            // Whoever has them now tells the group.
            self.done.retain(|task, _| !revoked.iter().any(|(gone, _)| gone == task));
            (self.events)(Event::Revoked(revoked));
        }
        if !assigned.is_empty() || (served && !self.joined) {
            self.joined = true;
            (self.events)(Event::Assigned(assigned));
            stop_points::reached(Point::Assigned);
        }
    }

    fn hear(&mut self, error: &KafkaError) {
        if let Some((code, text)) = self.consumer.client().fatal_error() {
            let cause = format!("the group no longer accepts this instance: {text} ({code})");
            return self.fatal(Fault::failed(cause));
        }
        if let Some(code) = error.rdkafka_error_code()
            && is_configuration(code)
        {
            let cause = format!("consumer: {error}; check the credentials and the rights on topics and group");
            return self.fatal(Fault::configuration(cause));
        }
        tracing::warn!(%error, "consumer");
    }

    /// Ownership and group metadata, read together between two polls.
    fn publish(&mut self) {
        self.version += 1;
        let member = self.member();
        let owned = self.consumer.context().noted().owned.clone();
        self.owned = owned.len();
        let snapshot = Assignment { version: self.version, owned, member };
        tracing::debug!(
            version = self.version,
            generation = snapshot.generation(),
            tasks = snapshot.owned.len(),
            "snapshot"
        );
        self.snapshots.publish(snapshot);
    }

    /// The group went on without us: others may have had what we still have. Nothing is fetched until it is recovered.
    fn take_again(&self, id: &str, generation: i32) {
        let again = self.consumer.context().noted().take_again();
        if again.is_empty() {
            return;
        }
        tracing::warn!(member = id, generation, tasks = again.len(), "the group went on without us: recovering");
        let mut list = TopicPartitionList::new();
        for task in &again {
            list.add_partition(&task.topic, task.partition);
        }
        if let Err(e) = self.consumer.pause(&list) {
            self.consumer.context().noted().fatal = Some(format!("pausing {} tasks failed: {e}", again.len()));
        }
    }

    fn member(&mut self) -> Member {
        loop {
            let before = native::member(&self.consumer);
            let metadata = self.consumer.group_metadata();
            if before != native::member(&self.consumer) {
                continue; // the client's own thread moved it in between
            }
            let (Some((generation, id)), Some(metadata)) = (before, metadata) else { return Member::Nobody };
            let served_as = self.consumer.context().noted().served_as.clone();
            match self.membership.kept(&served_as, &id, generation) {
                Kept::Doubtful if self.protections.on("unbroken") => self.take_again(&id, generation),
                Kept::Unserved if self.protections.on("unbroken") => return Member::Nobody,
                _ => {}
            }
            if self.protections.on("real_member") && (generation < 0 || id.is_empty()) {
                return Member::Nobody;
            }
            return Member::Of { generation, metadata: Arc::new(metadata) };
        }
    }

    fn read(&mut self) {
        let calm = self.joined && self.flows.count() == self.owned && self.flows.waiting() == 0;
        let flows = &mut self.flows;
        let (mut gap, mut last) = (None, None);
        self.queue.read(if calm { READ_WAIT_MS } else { SHORT_WAIT_MS }, |message| {
            if let Some(flow) = flows.of(&message, &mut last)
                && let Err(Trouble::Gap) = flow.take(&message)
            {
                gap = Some((flow.task.clone(), flow.at));
            }
            ControlFlow::Continue(())
        });
        if let Some((task, at)) = gap {
            self.report_gap(&task, at);
        }
        self.flows.deliver();
    }

    /// Records were deleted before they were read: never jumped over silently.
    fn report_gap(&mut self, task: &TaskId, at: i64) {
        let ends = ends::ends(&self.consumer, (&task.topic, task.partition), SEEK_PATIENCE);
        let range = match ends {
            Ok((first, _)) if first > at => format!("offsets {at} to {} were deleted before they were read", first - 1),
            Ok((_, end)) => format!("offset {at} is not in the topic, which ends at {end}"),
            Err(e) => format!("offset {at} is gone ({e})"),
        };
        let remedy = "restore the topic, or start a new app on what is left";
        self.fatal(Fault::failed(format!("task {task}: {range}; {remedy}")));
    }

    /// What is to be paused is paused, and what is to go on goes on.
    fn turn(&mut self, turned: Turned) {
        let Turned { pause, resume } = turned;
        if pause.count() > 0
            && let Err(error) = self.consumer.pause(&pause)
        {
            tracing::warn!(%error, "pausing partitions whose mailboxes are full");
        }
        if resume.count() > 0
            && let Err(error) = self.consumer.resume(&resume)
        {
            tracing::warn!(%error, "resuming partitions");
        }
        let waiting = self.flows.waiting();
        if self.waiting.replace(waiting) != Some(waiting) {
            self.seen.paused(waiting);
        }
    }

    fn fatal(&mut self, fault: Fault) {
        self.quiet = true;
        (self.events)(Event::Fatal(fault));
    }
}
