//! One state of the whole system: broker, group, instances, lanes, requests that come late.
//!
//! Knows no step and no rule. Every other file reads and copies it; `search` hashes its bytes.
//! Epochs, generations and member ids are not numbers here: only "is it the current one" is ever asked, so each holder
//! keeps that answer and loses it when the broker moves on. Same behaviour, far fewer states.
//! Invariant: every field is one initialised byte (no padding, no `Option`), so equal states are equal bytes.

/// Room for tasks, instances, lanes of all instances together, records in one log, late requests at once.
pub const TASKS: usize = 2;
pub const INSTANCES: usize = 3;
pub const LANES: usize = 4;
pub const LOG: usize = 10;
pub const LATE: usize = 2;

/// Partitions of a transaction are bits: bit t is the data partition of task t, this one the offsets partition.
pub const OFFSETS_PARTITION: u8 = 0x80;

/// "No instance" in an assignment.
pub const NOBODY: u8 = 0xff;

/// State of a transaction at the coordinator.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Status {
    #[default]
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// Group metadata as somebody holds it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Metadata {
    #[default]
    Outdated,
    Current,
    /// Generation -1, no member id: the client has lost its place.
    NoMember,
}

/// An instance as the group coordinator sees it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Membership {
    #[default]
    No,
    InGeneration,
    Joining,
}

/// Whether a member has been in the group without a break, as its next snapshot will see it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Name {
    #[default]
    Known,
    /// It lost its place, and nobody was told: it keeps its tasks, and no event for a new name was served.
    Lost,
    /// It has served what the group gives to its new name.
    New,
}

/// Where a lane is in its cycle. WAIT is no phase: a send of the model ends with its delivery.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Phase {
    #[default]
    NoProducer,
    Idle,
    Send,
    Offsets,
    Commit,
    Abort,
    /// Aborted; the same values go again once a snapshot allows it.
    Again,
    Apply,
}

/// Where a task's memory is: not there, in RECOVER, running, or halted by it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Stage {
    #[default]
    Closed,
    /// RECOVER 2 is next (without the protection `order`: RECOVER 3).
    First,
    /// RECOVER 3 is next (without the protection `order`: RECOVER 2).
    Second,
    /// RECOVER 4 to 8 are next.
    Wait,
    /// RECOVER 7 found a difference and takes its second look.
    SecondLook,
    Run,
    Halt,
}

/// Requests that can come late.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Request {
    #[default]
    None,
    AddPartitions,
    Produce,
    TxnOffsetCommit,
    Commit,
    Abort,
    InitProducerId,
}

#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Fate {
    #[default]
    Open,
    Committed,
    Aborted,
}

/// What a transaction does to one task: inputs `from..to` folded into `value`, right if it equals `to`. None if `to` is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Work {
    pub from: u8,
    pub to: u8,
    pub value: u8,
}

/// A record of a data partition: changelog and output as one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Entry {
    pub lane: u8,
    pub fate: Fate,
    pub work: Work,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Log {
    len: u8,
    entries: [Entry; LOG],
}

impl Log {
    pub fn entries(&self) -> &[Entry] {
        &self.entries[..self.len as usize]
    }

    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries[..self.len as usize]
    }

    pub fn len(&self) -> u8 {
        self.len
    }

    /// The position of the record appended.
    pub fn append(&mut self, entry: Entry) -> u8 {
        assert!((self.len as usize) < LOG, "the model's log has room for {LOG} records: bound the run, or raise LOG");
        self.entries[self.len as usize] = entry;
        self.len += 1;
        self.len - 1
    }

    /// The last stable offset: the first record whose transaction has no control record here yet.
    pub fn lso(&self) -> u8 {
        let open = self.entries().iter().position(|e| e.fate == Fate::Open);
        open.map_or(self.len, |at| at as u8)
    }
}

/// A transactional id at the broker.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Txn {
    pub status: Status,
    /// Partitions added.
    pub added: u8,
    /// Partitions whose control record is still to be written.
    pub unwritten: u8,
    /// Offsets accepted, not yet decided.
    pub pending: [Work; TASKS],
    /// Next sequence number a partition expects.
    pub seq: [u8; TASKS],
}

impl Txn {
    pub fn deciding(&self) -> bool {
        matches!(self.status, Status::PrepareCommit | Status::PrepareAbort)
    }
}

/// A request still in the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Late {
    pub request: Request,
    pub lane: u8,
    pub partition: u8,
    pub task: u8,
    pub seq: u8,
    pub metadata: Metadata,
    pub work: [Work; TASKS],
}

/// A task's memory, or its way there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Memory {
    pub stage: Stage,
    /// Number of the assignment it belongs to.
    pub assignment: u8,
    /// RECOVER 2: committed offsets as read.
    pub committed: u8,
    /// RECOVER 3: end of the changelog as read.
    pub end: u8,
    /// Where the next seal begins.
    pub base: u8,
    /// Next input.
    pub next: u8,
    pub value: u8,
}

/// A task's store: the changelog position it stands for, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Store {
    pub position: u8,
    pub next: u8,
    pub value: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Instance {
    pub up: bool,
    pub member: Membership,
    /// Metadata as librdkafka's own thread has it now.
    pub metadata: Metadata,
    /// A rebalance event waits for `poll`, with these tasks (bits).
    pub event: bool,
    pub event_tasks: u8,
    /// An "assignment lost" event waits for `poll`.
    pub lost: bool,
    pub name: Name,
    /// Per task the number of its assignment, 0 if not owned.
    pub owned: [u8; TASKS],
    /// An event was served; its snapshot is not out yet.
    pub served: bool,
    /// An assignment was served since the start; kept only where a run asks for it.
    pub assigned: bool,
    /// The newest assignment snapshot.
    pub snapshot_metadata: Metadata,
    pub snapshot_owned: [u8; TASKS],
    pub memory: [Memory; TASKS],
    pub store: [Store; TASKS],
}

/// Sealed values of one task; none if `assignment` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sealed {
    pub assignment: u8,
    pub work: Work,
    /// Where the record was delivered.
    pub position: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lane {
    pub phase: Phase,
    /// Its epoch is the current one: it is not fenced.
    pub current: bool,
    /// A call of this producer met a transport error.
    pub dirty: bool,
    /// A snapshot newer than the one in use is out.
    pub newer: bool,
    /// OFFSETS was refused because the group moved: wait for a newer snapshot.
    pub moved: bool,
    /// Sealed values were sent before and go again.
    pub again: bool,
    /// Group metadata of the snapshot in use.
    pub metadata: Metadata,
    /// The task SEND is at.
    pub task: u8,
    pub seq: [u8; TASKS],
    pub sealed: [Sealed; TASKS],
}

impl Lane {
    pub fn holds_values(&self) -> bool {
        self.next_sealed(0).is_some()
    }

    pub fn next_sealed(&self, from: usize) -> Option<usize> {
        (from..TASKS).find(|&t| self.sealed[t].assignment != 0)
    }

    pub fn work(&self) -> [Work; TASKS] {
        self.sealed.map(|z| if z.assignment == 0 { Work::default() } else { z.work })
    }
}

/// How often each fault may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Budget {
    pub late: u8,
    pub crashes: u8,
    pub rebalances: u8,
    pub zombies: u8,
    pub timeouts: u8,
    pub unknowns: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct State {
    pub log: [Log; TASKS],
    /// Committed offsets of the inputs.
    pub committed: [u8; TASKS],
    pub txn: [Txn; LANES],
    /// Who owns a task in the present generation, and who should.
    pub assigned: [u8; TASKS],
    pub target: [u8; TASKS],
    /// Somebody came or went: the group wants a new generation.
    pub group_moves: bool,
    pub instance: [Instance; INSTANCES],
    pub lane: [Lane; LANES],
    pub late: [Late; LATE],
    pub left: Budget,
    /// A transaction committed whose work did not begin where the committed offset stood.
    pub misplaced: bool,
}

impl State {
    /// Offsets of this task accepted from some lane, and not decided yet.
    pub fn offsets_pending(&self, task: usize) -> bool {
        self.txn.iter().any(|x| x.pending[task].to != 0)
    }

    /// Whether this entry is committed at the coordinator, with or without its control record.
    pub fn decided(&self, entry: &Entry) -> bool {
        entry.fate == Fate::Committed
            || (entry.fate == Fate::Open && self.txn[entry.lane as usize].status == Status::PrepareCommit)
    }

    /// The state's bytes, for hashing.
    pub fn bytes(&self) -> &[u8] {
        const { assert!(align_of::<State>() == 1, "a field wider than a byte brings padding") };
        // SAFETY: alignment 1 leaves no padding, and every field is a byte, a bool or a fieldless enum: all bytes are set.
        unsafe { std::slice::from_raw_parts((&raw const *self).cast(), size_of::<State>()) }
    }
}
