//! Opening a task on a store that holds what its checkpoint says; and which id belongs to which state.
//!
//! The one way in, for a first start as for a take-over. Invariant: an id is given to a name once and never again, so
//! old entries are never read as another state's.

use super::{AHEAD, IdRooms, Task, TaskError, TaskSetup};
use crate::checkpoint::{Checkpoint, Counts, StateEntry};
use crate::formats::scan::Scratch;
use crate::graph::Stage;
use crate::sealed::{Outputs, TaskId};
use crate::windows::{Fold, GroupState, Partials, SLICE};
use std::sync::Arc;
use tidemill_state::{IdSet, StateId, StateStore};

impl Task {
    /// Opens a task. `checkpoint` is the last committed one, which the store stands for. Takes a seek a window, however
    /// many entries there are.
    ///
    /// # Errors
    /// A state changed its shape, the checkpoint names another position, or the store failed.
    pub fn open(
        stage: Arc<Stage>,
        setup: TaskSetup,
        store: Arc<dyn StateStore>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Task, TaskError> {
        Task::open_within(stage, setup, &IdRooms::default(), store, checkpoint)
    }

    /// The same, where the ids of all tasks share their memory.
    ///
    /// # Errors
    /// As [`Task::open`].
    pub fn open_within(
        stage: Arc<Stage>,
        setup: TaskSetup,
        rooms: &IdRooms,
        store: Arc<dyn StateStore>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Task, TaskError> {
        let id = stage.task(setup.partition);
        if let Some(at) = checkpoint.and_then(|c| c.position(&id.topic, id.partition)).filter(|p| *p != setup.position)
        {
            return Err(TaskError::Position { task: id, checkpoint: at, position: setup.position });
        }
        let mut states = checkpoint.map_or(Vec::new(), |c| c.states.clone());
        let ids = number(&id, &stage.states(), &mut states)?;
        let mut ids = &ids[..];
        let failed = |cause| TaskError::Store { task: id.clone(), cause };
        let mut groups = Vec::with_capacity(stage.groups.len());
        for group in &stage.groups {
            let own = ids.split_off(..group.states().len()).expect("ids are those of the stage's states");
            groups.push(GroupState::open(own, group, &rooms.counted, &*store).map_err(failed)?);
        }
        let mut sets = Vec::with_capacity(stage.dedupes.len());
        for (dedupe, set) in stage.dedupes.iter().zip(ids) {
            sets.push(IdSet::open_within(*set, dedupe.ids(), &rooms.seen, &*store).map_err(failed)?);
        }
        let mut upstream = checkpoint.map_or(Vec::new(), |c| c.upstream.clone());
        if stage.takes_partials() {
            upstream.resize(setup.partitions.max(1) as usize, i64::MIN);
        }
        let partials = stage.hops.iter().map(|hop| Partials::new(&hop.group)).collect();
        let mut task = Task {
            store_id: checkpoint.map_or(setup.store_id, |c| c.store),
            sequence: checkpoint.map_or(0, |c| c.sequence),
            position: setup.position,
            moved: false,
            heard: false,
            stream_time: checkpoint.map_or(i64::MIN, |c| c.stream_time),
            counts: checkpoint.map_or(Counts::default(), |c| c.counts),
            upstream,
            at_end_since: None,
            idle_after: i64::MIN,
            states,
            groups,
            partials,
            sets,
            outputs: Outputs::default(),
            fold: Fold::default(),
            scratches: std::iter::repeat_with(Scratch::default).take(AHEAD).collect(),
            header: Vec::new(),
            dead: Vec::new(),
            slice: SLICE,
            traces: None,
            id,
            stage,
            setup,
            store,
        };
        task.write_header();
        Ok(task)
    }
}

/// The id of each state of the stage; new names get one, and stand in the list from now on.
pub(super) fn number(
    task: &TaskId,
    wanted: &[(Arc<str>, String)],
    known: &mut Vec<StateEntry>,
) -> Result<Vec<StateId>, TaskError> {
    let mut ids = Vec::with_capacity(wanted.len());
    for (name, shape) in wanted {
        if let Some(entry) = known.iter().find(|e| e.name == **name) {
            if entry.shape != *shape {
                return Err(TaskError::Shape {
                    task: task.clone(),
                    state: entry.name.clone(),
                    was: entry.shape.clone(),
                    now: shape.clone(),
                });
            }
            ids.push(entry.id);
            continue;
        }
        let last = known.iter().map(|e| e.id).max().unwrap_or(0);
        // The last number of all is kept free: ranges of keys end at the next one.
        let id = last.checked_add(1).filter(|id| *id < StateId::MAX);
        let id = id.ok_or_else(|| TaskError::Full { task: task.clone() })?;
        known.push(StateEntry { id, name: name.to_string(), shape: shape.clone() });
        ids.push(id);
    }
    Ok(ids)
}
