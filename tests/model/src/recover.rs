//! RECOVER of one task, steps 2 to 8, and the work that follows; step 1 is the lane's (`recycle`).
//!
//! Knows no transaction of its own. `step` asks it for each task of each living instance.
//! The second look of step 7 is a step of its own; steps 4 to 8 are one, taken when the last stable offset is there: nothing
//! in between can be seen from outside. Step 5 (rebuild, halt by what the store says) is left out but for "past the end".
//! Invariant: nothing is processed before step 7 has found checkpoint and committed offsets equal.

use crate::network::send_late;
use crate::state::{Fate, Late, Membership, Memory, Phase, Request, Stage, Status, Store};
use crate::step::{Place, Steps};
use crate::words::{Extra, Protection};

pub fn steps(m: &mut Steps, i: usize, t: usize) {
    let memory = m.s.instance[i].memory[t];
    let mine = memory.assignment == m.s.instance[i].owned[t];
    if memory.stage != Stage::Closed && !mine {
        let mut next = *m.s;
        next.instance[i].memory[t] = Memory::default();
        m.add("task closed", Place::InstanceTask(i, t), next);
    }
    match memory.stage {
        Stage::Closed => begin(m, i, t),
        Stage::First if m.c.keeps(Protection::Order) => step2_committed_offsets(m, i, t),
        Stage::First => step3_changelog_end(m, i, t),
        Stage::Second if m.c.keeps(Protection::Order) => step3_changelog_end(m, i, t),
        Stage::Second => step2_committed_offsets(m, i, t),
        Stage::Wait => steps4_to_8(m, i, t),
        Stage::SecondLook => step7_second_look(m, i, t),
        Stage::Run | Stage::Halt => {}
    }
    if matches!(memory.stage, Stage::First | Stage::Second | Stage::Wait) && m.c.adds(Extra::FenceOwner) {
        fence_owner(m, i, t);
    }
    if memory.stage == Stage::Run && mine && memory.next < m.c.records {
        let mut next = *m.s;
        next.instance[i].memory[t].next += 1;
        next.instance[i].memory[t].value += 1;
        m.add("record processed", Place::InstanceTask(i, t), next);
    }
}

/// The lane has its producer (step 1), and has let go of what the task was before.
fn begin(m: &mut Steps, i: usize, t: usize) {
    let assignment = m.s.instance[i].owned[t];
    let lane = &m.s.lane[m.c.lane_of(i, t)];
    let initialised = !m.c.keeps(Protection::InitFirst) || lane.phase != Phase::NoProducer;
    let let_go = !m.c.keeps(Protection::LetGo) || lane.sealed[t].assignment == 0;
    if assignment != 0 && initialised && let_go {
        let mut next = *m.s;
        next.instance[i].memory[t] = Memory { stage: Stage::First, assignment, ..Memory::default() };
        m.add("RECOVER begins", Place::InstanceTask(i, t), next);
    }
}

/// Committed offsets through a read_committed handle: pending ones are waited for.
fn step2_committed_offsets(m: &mut Steps, i: usize, t: usize) {
    if m.c.keeps(Protection::Stable) && m.s.offsets_pending(t) {
        return;
    }
    let mut next = *m.s;
    let memory = &mut next.instance[i].memory[t];
    memory.committed = m.s.committed[t];
    memory.stage = following(memory.stage);
    m.add("RECOVER 2: committed offsets read", Place::InstanceTask(i, t), next);
}

/// The end as a read_uncommitted handle sees it; a read_committed one gives the last stable offset.
fn step3_changelog_end(m: &mut Steps, i: usize, t: usize) {
    let log = &m.s.log[t];
    let mut next = *m.s;
    let memory = &mut next.instance[i].memory[t];
    memory.end = if m.c.keeps(Protection::RawEnd) { log.len() } else { log.lso() };
    memory.stage = following(memory.stage);
    m.add("RECOVER 3: the changelog's end read", Place::InstanceTask(i, t), next);
}

fn following(stage: Stage) -> Stage {
    if stage == Stage::First { Stage::Second } else { Stage::Wait }
}

/// Wait for the last stable offset, roll the store forward, compare with the committed offsets, run.
fn steps4_to_8(m: &mut Steps, i: usize, t: usize) {
    let Memory { assignment, committed, end, .. } = m.s.instance[i].memory[t];
    let (log, stable) = (&m.s.log[t], m.s.log[t].lso());
    if m.c.keeps(Protection::WaitLso) && stable < end {
        return;
    }
    let mut next = *m.s;
    let store = &mut next.instance[i].store[t];
    let past_the_end = store.position > end;
    roll_forward(store, log.entries(), end.min(stable));
    let equal = !past_the_end && store.next == committed;
    next.instance[i].memory[t] = if equal || !m.c.keeps(Protection::Step7) {
        let value = store.value;
        Memory { stage: Stage::Run, assignment, base: committed, next: committed, value, ..Memory::default() }
    } else {
        let look = !m.c.adds(Extra::HaltAtOnce) && !past_the_end;
        let stage = if look { Stage::SecondLook } else { Stage::Halt };
        Memory { stage, assignment, committed, ..Memory::default() }
    };
    m.add("RECOVER 4 to 8: rolled forward, compared", Place::InstanceTask(i, t), next);
}

fn roll_forward(store: &mut Store, entries: &[crate::state::Entry], limit: u8) {
    let from = store.position.min(limit);
    for entry in &entries[from as usize..limit as usize] {
        if entry.fate == Fate::Committed {
            (store.next, store.value) = (entry.work.to, entry.work.value);
        }
    }
    store.position = store.position.max(limit);
}

/// They differ. Offsets that have moved since step 2 were committed by somebody else: begin again. Else halt.
fn step7_second_look(m: &mut Steps, i: usize, t: usize) {
    if m.c.keeps(Protection::Stable) && m.s.offsets_pending(t) {
        return;
    }
    let mut next = *m.s;
    let memory = &mut next.instance[i].memory[t];
    let moved = m.s.committed[t] != memory.committed;
    let stage = if moved { Stage::First } else { Stage::Halt };
    *memory = Memory { stage, assignment: memory.assignment, ..Memory::default() };
    m.add("RECOVER 7: they differ; committed offsets read again", Place::InstanceTask(i, t), next);
}

/// The proposal of step 4: a successor that waits fences the dead owner by `init_transactions` under its id.
fn fence_owner(m: &mut Steps, i: usize, t: usize) {
    for l in 0..m.c.all_lanes() {
        let owner = m.c.instance_of(l);
        let gone = m.s.instance[owner].member == Membership::No || m.c.adds(Extra::FenceLiving);
        if owner == i || m.s.txn[l].status != Status::Ongoing || !gone || !known_by_name(m, l, t) {
            continue;
        }
        let mut next = *m.s;
        next.init(l);
        m.add("a successor fences the dead owner", Place::Lane(l), next);
        let late = Late { request: Request::InitProducerId, lane: l as u8, ..Late::default() };
        let mut next = *m.s;
        if m.c.adds(Extra::LateInit) && send_late(&mut next, late) {
            m.fault("a successor's InitProducerId is late", Place::Lane(l), next);
        }
    }
}

/// Whether a successor that only looks at the last committed checkpoint would choose this lane.
fn known_by_name(m: &Steps, l: usize, t: usize) -> bool {
    let committed = |e: &&crate::state::Entry| e.fate == Fate::Committed;
    let last = m.s.log[t].entries().iter().rev().find(committed);
    !m.c.adds(Extra::FenceNamed) || last.is_some_and(|e| e.lane as usize == l)
}
