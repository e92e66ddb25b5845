//! An entry of a store in words, for `tidemill state dump` and whoever compares state with an oracle.
//!
//! Knows nothing of files. Invariant: it reads what a task would read, and changes nothing.

use crate::checkpoint::Checkpoint;
use crate::graph::Stage;
use crate::trace::{Sample, Samples};
use crate::windows::{By, Cell};
use serde_json::{Map, Value, json};
use tidemill_state::keys;

impl Stage {
    /// `{"state":…, "window": start in ms or null, "key":…, "owes": an update is due, "value": {aggregate: number}}`.
    ///
    /// # Errors
    /// A key of no state of this stage, or a value that cannot be read: the text says which.
    pub fn describe_entry(&self, checkpoint: &Checkpoint, key: &[u8], value: &[u8]) -> Result<Value, String> {
        let (id, bucket, rest) = keys::split(key).ok_or("a key that is too short")?;
        let entry = checkpoint.states.iter().find(|s| s.id == id).ok_or(format!("no state has the number {id}"))?;
        if self.groups.iter().any(|g| *Samples::state(g).0 == *entry.name) {
            let sample = Sample::decode(value).map_err(|e| e.to_string())?;
            let traces: Vec<String> = sample.contexts().iter().map(|c| c.trace_id()).collect();
            return Ok(json!({ "state": entry.name, "window": bucket as i64, "traces": traces }));
        }
        let Some(group) = self.groups.iter().find(|g| *g.name == *entry.name) else {
            let here = self.states().iter().any(|(name, _)| **name == *entry.name);
            let what = if here { ("bytes", json!(value.len())) } else { ("gone", json!(true)) };
            return Ok(json!({ "state": entry.name, what.0: what.1 }));
        };
        let cell = Cell::read(value).map_err(|e| e.to_string())?;
        let mut values = Map::new();
        for (aggregate, value) in group.aggregates.iter().zip(&cell.values) {
            values.insert(aggregate.name.clone(), in_json(&aggregate.function.datum(value))?);
        }
        let window = group.window.map(|_| bucket as i64);
        let key = self.key_in_words(&group.by, group.bare(rest))?;
        Ok(json!({ "state": entry.name, "window": window, "key": key, "owes": cell.owes, "value": values }))
    }

    /// The record key, or the fields by their names.
    fn key_in_words(&self, by: &By, key: &[u8]) -> Result<Value, String> {
        let By::Fields(fields) = by else {
            let document = self.key_format().read(Some(key)).map_err(|e| e.to_string())?;
            return in_json(&document.whole());
        };
        let parts = fields.iter().zip(by.parts(key));
        let named = parts.map(|(field, part)| Ok((field.name.clone(), serde_json::from_slice(part)?)));
        named.collect::<Result<Map<_, _>, serde_json::Error>>().map(Value::Object).map_err(|e| e.to_string())
    }
}

fn in_json(datum: &crate::formats::Datum<'_>) -> Result<Value, String> {
    let mut text = Vec::new();
    crate::formats::Format::Json.write(datum, &mut text).map_err(|e| e.to_string())?;
    serde_json::from_slice(&text).map_err(|e| e.to_string())
}
