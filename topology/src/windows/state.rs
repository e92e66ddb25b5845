//! One task's entries of a grouping: folded values, the windows that are open, and the updates that are owed.
//!
//! Called by groupings for records and by the task's seal. Knows nothing of records. Invariant: what is in memory beside
//! the table (open windows, owed updates) can be made again from the table alone.

use super::aggregate::Value;
use super::aggregate::distinct::{Distinct, Found, Place};
use super::bundle::{self, Partial};
use super::by::By;
use super::cell::{self, Cell, Values};
use super::group::{Emit, Group, Id};
use super::hopping::{self, Hopping};
use super::owed::Owed;
use super::row::{KeyParts, Moment, Row};
use super::scan::{EntryId, Room};
use crate::failure::Failure;
use crate::formats::{Document, Format};
use crate::sealed::Outputs;
use crate::trace::Emission;
use std::collections::{BTreeSet, HashMap};
use tidemill_state::{Changes, IdRoom, Page, StateId, StateStore, StoreError, Table};

/// A seal speaks of so many entries at most, removes so many, and looks at so many for what they owe: no transaction
/// is without bound, and no seal takes long.
pub(crate) const SLICE: usize = 10_000;

pub(crate) struct GroupState {
    pub(super) table: Table<Cell>,
    /// Starts of the windows, or panes, that have entries.
    pub(super) open: BTreeSet<i64>,
    /// The last key removed from the first of them, which is closed: nothing is added in front of it any more.
    removed: Option<Box<[u8]>>,
    owed: Owed,
    /// Of each distinct count, the slot of its value and its ids.
    distinct: Vec<(usize, Distinct)>,
    /// Where windows hop.
    pub(super) hopping: Option<Hopping>,
    /// Hopping windows that begin before have said all.
    pub(super) said_before: Option<i64>,
    /// What an entry and a partial come to, kept for its memory.
    merged: Vec<Value>,
}

/// What a seal needs in order to speak.
pub(crate) struct Said<'a> {
    pub group: &'a Group,
    pub key_format: Format,
    pub store: &'a dyn StateStore,
    pub outputs: &'a mut Outputs,
    pub stream_time: i64,
    /// The highest event time known, which behind a repartition is that of the fastest task in front.
    pub latest: i64,
    /// The value of the header that aggregates carry.
    pub task: &'a [u8],
    pub max_record: usize,
    /// Where results come from, if somebody wants to know.
    pub traces: Option<Emission<'a>>,
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
    /// Finds which windows the store holds, a seek each. What they owe is looked for later, a slice a seal.
    /// `ids` are those of [`Group::states`].
    pub fn open(
        ids: &[StateId],
        group: &Group,
        room: &IdRoom,
        store: &dyn StateStore,
    ) -> Result<GroupState, StoreError> {
        let id = ids[0];
        let mut distinct = Vec::new();
        for ((slot, _), of) in group.distinct().zip(ids[1..].chunks_exact(2)) {
            distinct.push((slot, Distinct::open((of[0], of[1]), group.hops(), (group.at_most, room), store)?));
        }
        let hops = group.window.filter(|w| !w.tumbles());
        let mut hopping = hops.map(|w| Hopping::new(w, Table::new(ids[ids.len() - 1], hopping::VERSION)));
        let said_before = match &mut hopping {
            Some(hopping) => hopping.said_before(store)?,
            None => None,
        };
        let mut table: Table<Cell> = Table::new(id, cell::VERSION).weighed(Cell::outside);
        let open: BTreeSet<i64> = table.buckets(store)?.map(|bucket| bucket as i64).collect();
        let owed = Owed::new(id, open.iter().copied().filter(|_| group.owes()));
        Ok(GroupState { table, open, removed: None, owed, distinct, hopping, said_before, merged: Vec::new() })
    }

    pub fn get(&mut self, store: &dyn StateStore, start: i64, key: &[u8]) -> Result<Option<&Cell>, StoreError> {
        self.table.get(store, start as u64, key)
    }

    /// Entries that were asked for: those that were in memory, and those that were not.
    pub fn lookups(&self) -> (u64, u64) {
        self.table.lookups()
    }

    /// Sets the values of an entry that [`GroupState::get`] has looked for, so it is in memory, there or not.
    pub fn put(
        &mut self,
        store: &dyn StateStore,
        (start, key): (i64, &[u8]),
        values: &[Value],
        owes: bool,
    ) -> Result<(), StoreError> {
        let left = owes && self.owed.leave(start, key);
        let queued = match self.table.get_mut(store, start as u64, key)? {
            Some(cell) => {
                cell.values.clear();
                cell.values.extend_from_slice(values);
                let owed = cell.owes;
                cell.owes |= owes;
                owed && !left
            }
            None => {
                self.table.put(start as u64, key, Cell { owes, values: Values::from_slice(values) });
                self.open.insert(start);
                if let Some(hopping) = &mut self.hopping {
                    hopping.came(start, key);
                }
                false
            }
        };
        if owes && !queued {
            self.owed.push(start, key);
        }
        Ok(())
    }

    /// What adding an id to the distinct count at `slot` would find.
    pub fn look(&self, slot: usize, place: Place<'_>, print: u64, beyond: Option<u64>) -> Found {
        let of = self.distinct.iter().find(|(s, _)| *s == slot);
        of.map_or(Found::Known, |(_, distinct)| distinct.look(place, print, beyond))
    }

    /// Adds the ids of an accepted record, whose values count them already; only an estimate is known just now.
    pub fn add_ids(
        &mut self,
        store: &dyn StateStore,
        place: Place<'_>,
        (ids, values): (&[Id], &mut [Value]),
    ) -> Result<(), StoreError> {
        for id in ids {
            let Some((_, distinct)) = self.distinct.iter_mut().find(|(slot, _)| *slot == id.slot) else { continue };
            if let Value::Distinct { beyond, .. } = &mut values[id.slot]
                && let Found::Beyond(estimate) = distinct.add(store, place, id.print, *beyond)?
            {
                *beyond = Some(estimate);
            }
        }
        Ok(())
    }

    /// Takes a partial in.
    pub fn merge(&mut self, store: &dyn StateStore, group: &Group, partial: &Partial<'_>) -> Result<(), StoreError> {
        let place = Place { start: partial.start, key: partial.key };
        let mut values = std::mem::take(&mut self.merged);
        values.clear();
        match self.get(store, place.start, place.key)? {
            Some(cell) => values.extend_from_slice(&cell.values),
            None => values.extend(group.initial()),
        }
        for ((value, more), aggregate) in values.iter_mut().zip(&partial.values).zip(&group.aggregates) {
            *value = aggregate.function.merge(*value, *more);
        }
        for ((slot, distinct), packed) in self.distinct.iter_mut().zip(&partial.ids) {
            if let Value::Distinct { ids, beyond } = values[*slot] {
                let (ids, beyond) = distinct.add_all(store, place, bundle::unpack(packed), (ids, beyond))?;
                values[*slot] = Value::Distinct { ids, beyond };
            }
        }
        self.put(store, (place.start, place.key), &values, group.owes())?;
        self.merged = values;
        Ok(())
    }

    /// Starts of the windows, or panes, that have entries.
    pub fn open_windows(&self) -> &BTreeSet<i64> {
        &self.open
    }

    /// Whether an update is due at this wall time, or is yet to be found.
    pub fn update_due(&self, group: &Group, now: i64) -> bool {
        matches!(group.emit, Emit::Coalesced { updates: Some(every), .. } if self.owed.is_due(every, now))
    }

    /// Whether a window is closed and still has entries.
    pub fn close_due(&self, group: &Group, stream_time: i64) -> bool {
        if let Some(window) = group.window.filter(|w| !w.tumbles()) {
            let dead = self.open.first().is_some_and(|pane| self.said_before.is_some_and(|next| *pane < next));
            return dead || self.next_window(window).is_some_and(|start| window.closed(start, stream_time));
        }
        self.open.first().is_some_and(|start| group.closed(*start, stream_time))
    }

    /// Says what is left to say about closed windows and removes their entries, as many as there is room for.
    pub fn close(&mut self, said: &mut Said<'_>, room: &mut Room) -> Result<(), Mute> {
        if let Some(window) = said.group.window.filter(|w| !w.tumbles()) {
            return self.close_hopping(said, window, room);
        }
        while room.rows > 0 && self.close_due(said.group, said.stream_time) {
            let Some(&start) = self.open.first() else { break };
            let mut slice: Vec<(Box<[u8]>, Cell)> = Vec::new();
            let page = Page { bucket: start as u64, after: self.removed.as_deref(), limit: room.rows };
            self.table.page(said.store, page, |key, cell| slice.push((key.into(), cell.clone())))?;
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
                self.forget_ids((start, key), cell);
            }
            let ended = slice.len() < room.rows;
            room.rows -= slice.len();
            self.removed = slice.pop().map(|(key, _)| key).filter(|_| !ended);
            if ended {
                self.open.remove(&start);
            }
        }
        Ok(())
    }

    /// An entry is gone.
    pub(super) fn forget_ids(&mut self, (start, key): (i64, &[u8]), cell: &Cell) {
        for (slot, distinct) in &mut self.distinct {
            distinct.forget(Place { start, key }, cell.values[*slot].is_approximate());
        }
    }

    /// The ids of a pane by the hash of their entry's key, for each distinct count.
    pub(super) fn ids_by_key(&self, pane: i64) -> Vec<HashMap<u64, Vec<u64>>> {
        self.distinct.iter().map(|(_, distinct)| distinct.by_key(pane)).collect()
    }

    /// Says updates that are owed, if it is time, as many as there is room for; those of closed windows are said as they
    /// close. What only the store knows of is looked for beside a round, so that neither waits for the other's end.
    pub fn update(&mut self, said: &mut Said<'_>, now: i64, room: &mut Room) -> Result<(), Mute> {
        let Emit::Coalesced { updates: Some(every), .. } = said.group.emit else { return Ok(()) };
        if room.rows == 0 || room.looks == 0 {
            return Ok(());
        }
        let round = self.owed.begin(every, now);
        if !self.owed.search.is_over() {
            self.say_found(said, now, room, round)?;
        }
        while room.rows > 0 && room.looks > 0 {
            let Some(entry) = self.owed.next() else { break };
            room.looks -= 1;
            if !said.group.closed(entry.0, said.stream_time) && self.say_update(said, &entry)? {
                room.rows -= 1;
            }
        }
        Ok(())
    }

    /// Says what the next slice of the store owes; beside a round, in half of the room.
    fn say_found(&mut self, said: &mut Said<'_>, now: i64, room: &mut Room, round: bool) -> Result<(), Mute> {
        let share = |n: usize| if round { n.div_ceil(2) } else { n };
        let mut mine = Room { rows: share(room.rows), looks: share(room.looks) };
        let (group, time) = (said.group, said.stream_time);
        room.looks -= mine.looks;
        let found = self.owed.search.slice(said.store, |start| group.closed(start, time), &mut mine)?;
        room.looks += mine.looks;
        for entry in &found {
            if self.say_update(said, entry)? {
                room.rows -= 1;
                self.owed.began_with_found(now);
            }
        }
        Ok(())
    }

    /// Says the update of one entry if it still owes it, which its own flag alone knows.
    fn say_update(&mut self, said: &mut Said<'_>, (start, key): &EntryId) -> Result<bool, Mute> {
        if !self.table.get(said.store, *start as u64, key)?.is_some_and(|cell| cell.owes) {
            return Ok(false);
        }
        let Some(cell) = self.table.get_mut(said.store, *start as u64, key)? else { return Ok(false) };
        cell.owes = false;
        said.say((*start, key), cell, Moment::Update)?;
        Ok(true)
    }

    /// Ids of closed windows have been counted for the last time.
    pub fn seal(&mut self, (group, stream_time): (&Group, i64), sequence: u64, changes: &mut Changes) {
        self.table.seal(sequence, changes);
        self.owed.sealed(sequence);
        let gone = match group.window {
            Some(window) if window.tumbles() => Some(window.first_open(stream_time)),
            _ => self.said_before,
        };
        for (_, distinct) in &mut self.distinct {
            if let Some(gone) = gone {
                distinct.expire_before(gone, SLICE, changes);
            }
            distinct.seal(sequence, changes);
        }
        if let Some(hopping) = &mut self.hopping {
            hopping.progress.seal(sequence, changes);
        }
    }

    pub fn applied(&mut self, sequence: u64, store: &dyn StateStore) -> Result<(), StoreError> {
        self.table.applied(sequence);
        self.owed.applied(sequence);
        if let Some(hopping) = &mut self.hopping {
            hopping.progress.applied(sequence);
        }
        self.distinct.iter_mut().try_for_each(|(_, distinct)| distinct.applied(sequence, store))
    }

    /// Drops what the store has too until about so many bytes are held.
    pub fn evict(&mut self, bytes: usize) {
        self.owed.hold_to(bytes / 2);
        self.table.evict(bytes.saturating_sub(self.owed.bytes()));
        self.distinct.iter_mut().for_each(|(_, distinct)| distinct.evict());
    }

    /// About how many bytes are held, of what [`GroupState::evict`] is about: ids have a share of their own.
    pub fn cached(&self) -> usize {
        self.table.bytes() + self.owed.bytes() + self.hopping.as_ref().map_or(0, Hopping::bytes)
    }

    /// About how many bytes the next seal takes.
    pub fn pending_bytes(&self) -> usize {
        let ids = self.distinct.iter().map(|(_, distinct)| distinct.pending_bytes()).sum::<usize>();
        ids + self.table.pending_bytes()
    }
}

impl Said<'_> {
    /// `bare` is the key of the group, without what hopping puts in front of it.
    pub(super) fn say(&mut self, (start, bare): (i64, &[u8]), cell: &Cell, moment: Moment) -> Result<(), Mute> {
        let document = match self.group.by {
            By::RecordKey => self.key_format.read(Some(bare)).map_err(|e| Mute::Output(Failure::format("key", &e)))?,
            By::Fields(_) => Document::NULL,
        };
        let key = KeyParts::of(&self.group.by, bare, document.whole());
        let window = self.group.window.map(|w| (start, w.end_of(start)));
        // Behind a repartition the slowest task may not have spoken yet; a result is never older than its window.
        let time = window.map_or(self.latest, |(start, end)| self.stream_time.clamp(start, end - 1));
        let row = Row { window, key, aggregates: &self.group.aggregates, values: &cell.values, moment };
        let group = self.group;
        self.outputs.carry(self.traces.as_mut().and_then(|t| t.say(group, (start, bare), moment.word())));
        let (mut key_out, mut value_out) = (Vec::new(), Vec::new());
        for output in &self.group.outputs {
            output.encode(&row, (&mut key_out, &mut value_out), self.max_record).map_err(Mute::Output)?;
            output.push(self.outputs, (&key_out, &value_out), time, self.task);
        }
        self.outputs.carry(None);
        Ok(())
    }
}
