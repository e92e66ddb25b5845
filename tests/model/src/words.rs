//! The words of the protocol: each step and each protection by its name, and where the model has it.
//!
//! Knows no state. `config` reads switches from it, the suite runs one control or more for each protection, and tests of
//! the product compare `steps` and `protections` with the names in its own code.
//! Invariant: a name here is a name in DESIGN section 5 and in the product; neither side has one that the other lacks.

/// A name, what it means, and the file of this crate that has it.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub name: &'static str,
    pub says: &'static str,
    pub file: &'static str,
}

const fn word(name: &'static str, says: &'static str, file: &'static str) -> Word {
    Word { name, says, file }
}

/// The steps of the protocol, in its order.
pub const STEPS: [Word; 17] = [
    word("SEAL", "under the newest snapshot, every task it owns hands over its values", "lane.rs"),
    word("SEND", "the records of the sealed values, task by task", "lane.rs"),
    word("WAIT", "every send delivered, before OFFSETS", "lane.rs"),
    word("OFFSETS", "sealed next offsets, with the snapshot's group metadata", "lane.rs"),
    word("COMMIT", "end the transaction, never given up", "lane.rs"),
    word("APPLY", "the same values into the store", "lane.rs"),
    word("RECOVER 1", "init_transactions, once per producer", "recycle.rs"),
    word("RECOVER 2", "committed offsets, stable", "recover.rs"),
    word("RECOVER 3", "the changelog's end, read uncommitted", "recover.rs"),
    word("RECOVER 4", "wait until the last stable offset has reached it", "recover.rs"),
    word("RECOVER 5", "rebuild or halt, by what the store says", "recover.rs"),
    word("RECOVER 6", "read from the store's position to the end", "recover.rs"),
    word("RECOVER 7", "checkpoint and committed offsets must agree; a second look before a halt", "recover.rs"),
    word("RECOVER 8", "seek, run", "recover.rs"),
    word("assignment snapshot", "owned tasks and group metadata, read together after each event served", "group.rs"),
    word("recycle", "a new producer: the epoch moves, what is late is fenced", "recycle.rs"),
    word(
        "left out",
        "values of a task the snapshot does not own under the same number are not sent again",
        "recycle.rs",
    ),
];

/// A protection: something the protocol or the broker does which a run can take away.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    RecycleError,
    RecycleAbort,
    Verify,
    WaitLso,
    RawEnd,
    Order,
    Stable,
    Step7,
    FrozenMeta,
    AtomicSnapshot,
    Incarnation,
    FilterLost,
    UnknownRecovers,
    UnknownCommits,
    PublishEmpty,
    NewerThanUsed,
    RealMember,
    InitFirst,
    LetGo,
    Unbroken,
}

/// Every protection, in the order of the enum.
pub const PROTECTIONS: [Word; 20] = [
    word("recycle_error", "recycle before the next transaction after a transport error", "lane.rs"),
    word("recycle_abort", "recycle after every abort", "lane.rs"),
    word("verify", "the broker asks the coordinator before it opens a transaction on a partition", "broker.rs"),
    word("wait_lso", "RECOVER 4 waits for the last stable offset", "recover.rs"),
    word("raw_end", "RECOVER 3 reads the end uncommitted: the log's end, not its last stable offset", "recover.rs"),
    word("order", "RECOVER 3 comes after RECOVER 2", "recover.rs"),
    word("stable", "RECOVER 2 reads no offsets while some are pending", "recover.rs"),
    word("step7", "RECOVER 7 compares checkpoint and committed offsets", "recover.rs"),
    word("frozen_meta", "OFFSETS uses the metadata of the seal, never newer", "network.rs"),
    word("atomic_snapshot", "owned tasks and metadata come out of one snapshot", "lane.rs"),
    word("incarnation", "snapshot, memory and values go together only under the same assignment number", "lane.rs"),
    word("filter_lost", "values of lost tasks are left out when the rest is sent again", "recycle.rs"),
    word("unknown_recovers", "an unknown outcome drops memory and recovers; nothing is sent again", "lane.rs"),
    word("unknown_commits", "an unknown outcome is not taken for committed", "lane.rs"),
    word("publish_empty", "an event that changed no task publishes a snapshot too", "group.rs"),
    word(
        "newer_than_used",
        "a refused lane waits for a snapshot newer than the one it used, not for the next",
        "lane.rs",
    ),
    word("real_member", "a snapshot without a member id owns nothing", "lane.rs"),
    word("init_first", "RECOVER 1 comes before the rest", "recover.rs"),
    word("let_go", "a task recovers only when the lane holds none of its old values", "recover.rs"),
    word("unbroken", "a member that the group went on without takes its tasks again, under new numbers", "group.rs"),
];

/// What a run can add: a danger, another kind of group, or a proposal.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    Dynamic,
    FenceOwner,
    FenceLiving,
    FenceNamed,
    LateInit,
    InitAll,
    InitOwner,
    HaltAtOnce,
    NoTimeouts,
    NoRestart,
    Unheard,
}

/// Every extra, in the order of the enum.
pub const EXTRAS: [Word; 11] = [
    word("dynamic", "members without an instance id", "broker.rs"),
    word(
        "fence_owner",
        "a successor fences the owner of the open transaction, once it has left the group",
        "recover.rs",
    ),
    word("fence_living", "the same without asking the group: never ends, stops at the log's room", "recover.rs"),
    word("fence_named", "the same, with the id from the last committed checkpoint", "recover.rs"),
    word("late_init", "the fencing request itself may come late", "recover.rs"),
    word("init_all", "at its first assignment, empty or not, an instance initialises all its lanes", "group.rs"),
    word("init_owner", "the same, at its first assignment that names a task", "group.rs"),
    word("halt_at_once", "RECOVER 7 halts without its second look", "recover.rs"),
    word("no_timeouts", "the broker never ends a dead owner's transaction", "network.rs"),
    word("no_restart", "an instance that died stays away", "process.rs"),
    word("unheard", "a client whose place is lost during a rebalance does not tell, and keeps its tasks", "group.rs"),
];

const fn names<const N: usize>(words: &[Word; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = words[at].name;
        at += 1;
    }
    names
}

/// The names of the protocol's steps, in its order.
pub fn steps() -> &'static [&'static str] {
    static NAMES: [&str; STEPS.len()] = names(&STEPS);
    &NAMES
}

/// The names of the protections.
pub fn protections() -> &'static [&'static str] {
    static NAMES: [&str; PROTECTIONS.len()] = names(&PROTECTIONS);
    &NAMES
}

/// The names of what a run can add.
pub fn extras() -> &'static [&'static str] {
    static NAMES: [&str; EXTRAS.len()] = names(&EXTRAS);
    &NAMES
}
