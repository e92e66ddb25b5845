//! One task's entries of a grouping: folded values, the windows that are open, and the updates that are owed.
//!
//! Called by groupings for records and by the task's seal. Knows nothing of records. Invariant: what is in memory beside
//! the table (open windows, owed updates) can be made again from the table alone.

use super::aggregate::Value;
use super::cell::{self, Cell};
use super::group::{Emit, Group};
use super::row::{Moment, Row};
use crate::failure::Failure;
use crate::formats::Format;
use crate::sealed::Outputs;
use std::collections::BTreeSet;
use tidemill_state::{Changes, StateId, StateStore, StoreError, Table};

/// Windows are emptied in slices of at most so many keys a seal, so that no transaction is without bound.
pub(crate) const SLICE: usize = 10_000;

pub(crate) struct GroupState {
    table: Table<Cell>,
    /// Starts of the windows that have entries.
    open: BTreeSet<i64>,
    /// Entries whose update has not been said, in the order of their first change.
    owed: Vec<(i64, Box<[u8]>)>,
    /// Wall clock of the seal that said updates last, ms.
    said: Option<i64>,
}

/// What a seal needs in order to speak.
pub(crate) struct Said<'a> {
    pub group: &'a Group,
    pub key_format: Format,
    pub store: &'a dyn StateStore,
    pub outputs: &'a mut Outputs,
    pub stream_time: i64,
    /// The value of the header that aggregates carry.
    pub task: &'a [u8],
    pub max_record: usize,
}

/// Why a seal could not speak.
#[derive(Debug)]
pub(crate) enum Mute {
    Store(StoreError),
    /// Entries of an earlier configuration do not fit the outputs of this one.
    Output(Failure),
}

impl From<StoreError> for Mute {
    fn from(e: StoreError) -> Mute {
        Mute::Store(e)
    }
}

impl GroupState {
    /// Finds what is open and owed in what the store holds.
    pub fn open(id: StateId, group: &Group, store: &dyn StateStore) -> Result<GroupState, StoreError> {
        let mut table: Table<Cell> = Table::new(id, cell::VERSION);
        let buckets: Vec<u64> = table.buckets(store)?.collect();
        let mut owed = Vec::new();
        if group.owes() {
            for &bucket in &buckets {
                table.bucket_entries(store, bucket, usize::MAX, |key, cell| {
                    if cell.owes {
                        owed.push((bucket as i64, key.into()));
                    }
                })?;
            }
        }
        Ok(GroupState { table, open: buckets.iter().map(|b| *b as i64).collect(), owed, said: None })
    }

    pub fn get(&mut self, store: &dyn StateStore, start: i64, key: &[u8]) -> Result<Option<&Cell>, StoreError> {
        self.table.get(store, start as u64, key)
    }

    /// Sets the values of an entry that [`GroupState::get`] has looked for, so it is in memory, there or not.
    pub fn put(
        &mut self,
        store: &dyn StateStore,
        (start, key): (i64, &[u8]),
        values: &[Value],
        owes: bool,
    ) -> Result<(), StoreError> {
        let newly = match self.table.get_mut(store, start as u64, key)? {
            Some(cell) => {
                cell.values.clear();
                cell.values.extend_from_slice(values);
                owes && !std::mem::replace(&mut cell.owes, owes)
            }
            None => {
                self.table.put(start as u64, key, Cell { owes, values: values.to_vec() });
                self.open.insert(start);
                owes
            }
        };
        if newly {
            self.owed.push((start, key.into()));
        }
        Ok(())
    }

    /// Whether an update is due at this wall time. With `0s` none ever is: they go with whatever seal comes.
    pub fn update_due(&self, group: &Group, now: i64) -> bool {
        matches!(group.emit, Emit::Coalesced { updates: Some(every), .. } if every > 0) && self.may_speak(group, now)
    }

    fn may_speak(&self, group: &Group, now: i64) -> bool {
        let Emit::Coalesced { updates: Some(every), .. } = group.emit else { return false };
        // A clock that was set back must not silence a step.
        !self.owed.is_empty() && self.said.is_none_or(|said| now < said || now - said >= every)
    }

    /// Whether a window is closed and still has entries.
    pub fn close_due(&self, group: &Group, stream_time: i64) -> bool {
        let first = self.open.first();
        group.window.zip(first).is_some_and(|(window, start)| window.closed(*start, stream_time))
    }

    /// Says what is left to say about closed windows and removes their entries, at most `room` of them.
    pub fn close(&mut self, said: &mut Said<'_>, room: &mut usize) -> Result<(), Mute> {
        while *room > 0 && self.close_due(said.group, said.stream_time) {
            let Some(&start) = self.open.first() else { break };
            let mut slice: Vec<(Box<[u8]>, Cell)> = Vec::new();
            let wanted = *room;
            self.table.bucket_entries(said.store, start as u64, wanted, |key, cell| {
                slice.push((key.into(), cell.clone()));
            })?;
            for (key, cell) in &slice {
                let moment = match said.group.emit {
                    Emit::Coalesced { last: true, .. } => Some(Moment::Final),
                    Emit::Coalesced { updates: Some(_), .. } if cell.owes => Some(Moment::Update),
                    _ => None,
                };
                if let Some(moment) = moment {
                    said.say((start, key), cell, moment)?;
                }
                self.table.remove(start as u64, key);
            }
            *room -= slice.len();
            if slice.len() < wanted {
                self.open.remove(&start);
            }
        }
        Ok(())
    }

    /// Says the updates that are owed, if it is time; those of closed windows are said as they close.
    pub fn update(&mut self, said: &mut Said<'_>, now: i64) -> Result<(), Mute> {
        if !self.may_speak(said.group, now) {
            return Ok(());
        }
        self.said = Some(now);
        for (start, key) in std::mem::take(&mut self.owed) {
            if said.group.window.is_some_and(|w| w.closed(start, said.stream_time)) {
                continue;
            }
            let Some(cell) = self.table.get_mut(said.store, start as u64, &key)? else { continue };
            cell.owes = false;
            said.say((start, &key), cell, Moment::Update)?;
        }
        Ok(())
    }

    pub fn seal(&mut self, sequence: u64, changes: &mut Changes) {
        self.table.seal(sequence, changes);
    }

    pub fn applied(&mut self, sequence: u64, cache_bytes: usize) {
        self.table.applied(sequence);
        self.table.evict(cache_bytes);
    }

    /// About how many bytes the next seal takes.
    pub fn pending_bytes(&self) -> usize {
        match self.table.len() {
            0 => 0,
            entries => self.table.dirty() * (self.table.bytes() / entries),
        }
    }
}

impl Said<'_> {
    fn say(&mut self, (start, key): (i64, &[u8]), cell: &Cell, moment: Moment) -> Result<(), Mute> {
        let document = self.key_format.read(Some(key)).map_err(|e| Mute::Output(Failure::format("key", &e)))?;
        let window = self.group.window.map(|w| (start, w.end_of(start)));
        let time = window.map_or(self.stream_time, |(_, end)| self.stream_time.min(end - 1));
        let row =
            Row { window, key: document.whole(), aggregates: &self.group.aggregates, values: &cell.values, moment };
        let (mut key_out, mut value_out) = (Vec::new(), Vec::new());
        for output in &self.group.outputs {
            output.encode(&row, (&mut key_out, &mut value_out), self.max_record).map_err(Mute::Output)?;
            output.push(self.outputs, (&key_out, &value_out), time, self.task);
        }
        Ok(())
    }
}
