//! A question to a grouping: which groups of which window, and what a store's committed state says of them.
//!
//! Asked over HTTP. Knows nothing of who owns a task: whoever asks finds the stores. Invariant: an answer is one moment of
//! one store, with the input positions that this moment stands for.

use crate::checkpoint::{Checkpoint, Position};
use crate::event_time;
use crate::formats::{Document, Format, base64};
use crate::graph::{Stage, Topology};
use crate::windows::{By, Cell, Ended, Group, Look, Which, open_row, partition_of};
use crate::yaml::suggest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidemill_state::{StateStore, StoreError, View};

/// A value may be meant in so many ways at most, fields multiplied, to be looked up; else entries are gone through.
const LOOKUPS: usize = 16;

/// A question as it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The grouping's name.
    pub step: &'a str,
    /// Fields of its key, by their names in results; none: all groups.
    pub fields: &'a [(String, String)],
    /// The start of a window, RFC 3339 or ms; none: all that are open.
    pub window: Option<&'a str>,
    /// Rows at most.
    pub limit: usize,
}

/// Why there is no answer to a question, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such grouping.
    NoStep(String),
    /// It is put wrongly.
    Wrong(String),
}

/// A question that can be answered.
#[derive(Debug, Clone)]
pub struct Question {
    stage: Arc<Stage>,
    group: Arc<Group>,
    which: Which,
    window: Option<i64>,
    limit: usize,
}

/// The answer of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The input positions that it stands for; none before the task's first transaction.
    pub positions: Vec<Position>,
    /// Of the task, ms since 1970; `i64::MIN` before the first record.
    pub stream_time: i64,
    /// Each window's start, 0 without windows, and its row.
    pub rows: Vec<(i64, Value)>,
    /// There are rows beyond the limit.
    pub more: bool,
}

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("it took too long; name a group or a window")]
    Late,
    #[error("what is stored cannot be read: {0}")]
    Unreadable(String),
}

impl Topology {
    /// Reads a question.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn question(&self, ask: &Ask<'_>) -> Result<Question, Refusal> {
        let mut all = self.stages.iter().flat_map(|stage| stage.groups.iter().map(move |group| (stage, group)));
        let found = all.find(|(_, group)| *group.name == *ask.step);
        let (stage, group) = found.ok_or_else(|| Refusal::NoStep(self.no_grouping(ask.step)))?;
        let which = which(stage, group, ask.fields).map_err(Refusal::Wrong)?;
        let window = ask.window.map(|text| window_start(group, text)).transpose().map_err(Refusal::Wrong)?;
        Ok(Question { stage: stage.clone(), group: group.clone(), which, window, limit: ask.limit })
    }

    fn no_grouping(&self, step: &str) -> String {
        let names: Vec<&str> = self.stages.iter().flat_map(|s| s.groups.iter().map(|g| &*g.name)).collect();
        let mut maps = false;
        self.stages.iter().for_each(|s| s.root.walk(&mut |node| maps |= node.name == step));
        let known = || match names.is_empty() {
            true => "; this topology has no grouping".to_owned(),
            false => format!("; groupings are {}", names.join(", ")),
        };
        match maps {
            true => format!("step '{step}' groups nothing, so it keeps nothing to ask for{}", known()),
            false => {
                let hint = suggest(step, names.iter().copied()).unwrap_or_else(known);
                format!("there is no step '{step}'{hint}")
            }
        }
    }
}

fn which(stage: &Stage, group: &Group, fields: &[(String, String)]) -> Result<Which, String> {
    let names: Vec<&str> = match &group.by {
        By::RecordKey => vec!["key"],
        By::Fields(by) => by.iter().map(|field| field.name.as_str()).collect(),
    };
    let mut wanted: Vec<Option<Vec<Vec<u8>>>> = vec![None; names.len()];
    for (name, value) in fields {
        let Some(at) = names.iter().position(|known| known == name) else {
            let hint = suggest(name, names.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("; it is grouped by {}", names.join(", ")));
            return Err(format!("step '{}' is not grouped by '{name}'{hint}", group.name));
        };
        let values = match &group.by {
            By::RecordKey => keys_meant(stage.key_format(), value)?,
            By::Fields(_) => values_meant(value),
        };
        if wanted[at].replace(values).is_some() {
            return Err(format!("'{name}' stands twice; ask for one group at a time, or for all"));
        }
    }
    if fields.is_empty() {
        return Ok(Which::All);
    }
    let ways = wanted.iter().map(|values| values.as_ref().map(Vec::len)).try_fold(1, |all, one| Some(all * one?));
    Ok(match &group.by {
        By::RecordKey => Which::Keys(wanted.into_iter().flatten().flatten().collect()),
        By::Fields(_) if ways.is_some_and(|ways: usize| ways <= LOOKUPS) => Which::Keys(combined(&wanted)),
        By::Fields(_) => Which::Fields(wanted),
    })
}

/// Every key that can be made by taking one value of each field.
fn combined(wanted: &[Option<Vec<Vec<u8>>>]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<&[u8]>> = vec![Vec::new()];
    for values in wanted.iter().flatten() {
        let mut longer = Vec::with_capacity(all.len() * values.len());
        for parts in &all {
            longer.extend(values.iter().map(|value| [&parts[..], &[value.as_slice()]].concat()));
        }
        all = longer;
    }
    all.iter().map(|parts| By::join(parts)).collect()
}

/// `5` may be the text or the number; as JSON, and written as in a table.
fn values_meant(value: &str) -> Vec<Vec<u8>> {
    let mut all = BTreeSet::from([serde_json::Value::from(value).to_string().into_bytes()]);
    if let Ok(json) = serde_json::from_str::<Value>(value)
        && !(json.is_array() || json.is_object())
    {
        let mut out = Vec::new();
        if Format::Json.write(&Document::from_json(json).whole(), &mut out).is_ok() {
            all.insert(out);
        }
    }
    all.into_iter().collect()
}

/// The bytes of a record key that a text may mean.
fn keys_meant(format: Format, value: &str) -> Result<Vec<Vec<u8>>, String> {
    let own = value.as_bytes().to_vec();
    let mut all = BTreeSet::new();
    match format {
        Format::String => drop(all.insert(own)),
        Format::Json => all.extend([own, serde_json::Value::from(value).to_string().into_bytes()]),
        // As it is, or as results say it.
        Format::Bytes => all.extend([own].into_iter().chain(base64::read(value))),
        Format::Int32 | Format::Int64 | Format::Double => {
            let wrong = || format!("'{value}' is no key of format {format}; write a number");
            let number = serde_json::from_str::<Value>(value).map_err(|_| wrong())?;
            let mut out = Vec::new();
            format.write(&Document::from_json(number).whole(), &mut out).map_err(|_| wrong())?;
            all.insert(out);
        }
    }
    Ok(all.into_iter().collect())
}

fn window_start(group: &Group, text: &str) -> Result<i64, String> {
    let name = &group.name;
    let Some(window) = group.window else { return Err(format!("step '{name}' has no windows; leave 'window' out")) };
    let time = text.parse().ok().or_else(|| text.parse().ok().map(|time: jiff::Timestamp| time.as_millisecond()));
    let Some(time) = time.and_then(event_time::check) else {
        return Err(format!(
            "window '{text}' is no time; write its start as 2026-01-01T10:00:00Z, or in ms since 1970"
        ));
    };
    let start = window.pane_of(time);
    match start == time {
        true => Ok(start),
        false => Err(format!(
            "no window of step '{name}' begins at {}; the last one before it begins at {}",
            event_time::text(time),
            event_time::text(start)
        )),
    }
}

impl Question {
    /// The stage whose tasks keep the answer.
    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// Rows at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The partitions of the stage's topic that may hold the answer, of so many. Behind a repartition a group's own;
    /// elsewhere only the producers know which it is.
    pub fn partitions(&self, of: i32) -> BTreeSet<i32> {
        match &self.which {
            Which::Keys(keys) if self.stage.takes_partials() => keys.iter().map(|key| partition_of(key, of)).collect(),
            _ => (0..of).collect(),
        }
    }

    /// What a task's store says. `in_time`: whether to go on looking.
    ///
    /// # Errors
    /// The store failed, or it took too long.
    pub fn answer(&self, store: &dyn StateStore, in_time: &dyn Fn() -> bool) -> Result<Part, Unanswered> {
        let mut answer = Err(Unanswered::Late);
        store.view(&mut |view| {
            answer = self.look(view, in_time);
            Ok(())
        })?;
        answer
    }

    fn look(&self, view: &dyn View, in_time: &dyn Fn() -> bool) -> Result<Part, Unanswered> {
        let mut part = Part { positions: Vec::new(), stream_time: i64::MIN, rows: Vec::new(), more: false };
        let Some(meta) = view.meta()?.filter(|meta| !meta.checkpoint.is_empty()) else { return Ok(part) };
        let checkpoint = Checkpoint::decode(&meta.checkpoint).map_err(|e| Unanswered::Unreadable(e.to_string()))?;
        (part.positions, part.stream_time) = (checkpoint.positions, checkpoint.stream_time);
        let Some(look) = Look::new(&self.group, view, &checkpoint.states, in_time) else { return Ok(part) };
        let mut unreadable = None;
        let looked = look.each(&self.which, self.window, &mut |start, key, cell| {
            part.more = part.rows.len() == self.limit;
            match (part.more, self.row(start, key, cell)) {
                (true, _) => false,
                (false, Ok(row)) => {
                    part.rows.push((start, row));
                    true
                }
                (false, Err(e)) => {
                    unreadable = Some(e);
                    false
                }
            }
        });
        match (looked, unreadable) {
            (Err(Ended::Store(e)), _) => Err(e.into()),
            (Err(Ended::Late), _) => Err(Unanswered::Late),
            (Ok(()), Some(e)) => Err(Unanswered::Unreadable(e)),
            (Ok(()), None) => Ok(part),
        }
    }

    fn row(&self, start: i64, key: &[u8], cell: &Cell) -> Result<Value, String> {
        let row = open_row(&self.group, self.stage.key_format(), (start, key), cell).map_err(|e| e.to_string())?;
        serde_json::from_slice(&row).map_err(|e| e.to_string())
    }

    /// If the window that was asked for is closed at this stream time: where what it came to is found.
    pub fn finished(&self, stream_time: i64) -> Option<String> {
        let start = self.window.filter(|start| self.group.closed(*start, stream_time))?;
        let topics: Vec<&str> = self.group.outputs.iter().map(|o| &*o.topic).collect();
        let (name, start) = (&self.group.name, event_time::text(start));
        let gone = format!("the window of step '{name}' that begins at {start} is finished and gone from state");
        Some(match topics.is_empty() {
            true => gone,
            false => format!("{gone}; what it came to is in topic {}", topics.join(", ")),
        })
    }
}
