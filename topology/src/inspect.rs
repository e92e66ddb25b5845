//! An entry of a store in words, for `tidemill state dump` and whoever compares state with an oracle.
//!
//! Knows nothing of files. Invariant: it reads what a task would read, and changes nothing.

use crate::checkpoint::Checkpoint;
use crate::graph::Stage;
use crate::windows::{CELL_VERSION, Cell};
use serde_json::{Map, Value, json};
use tidemill_state::{codec, keys};

impl Stage {
    /// `{"state":…, "window": start in ms or null, "key":…, "owes": an update is due, "value": {aggregate: number}}`.
    ///
    /// # Errors
    /// A key of no state of this stage, or a value that cannot be read: the text says which.
    pub fn describe_entry(&self, checkpoint: &Checkpoint, key: &[u8], value: &[u8]) -> Result<Value, String> {
        let (id, bucket, rest) = keys::split(key).ok_or("a key that is too short")?;
        let entry = checkpoint.states.iter().find(|s| s.id == id).ok_or(format!("no state has the number {id}"))?;
        let Some(group) = self.groups.iter().find(|g| *g.name == *entry.name) else {
            return Ok(json!({ "state": entry.name, "gone": true }));
        };
        let (_, cell) = codec::decode::<Cell>(CELL_VERSION, value).map_err(|e| e.to_string())?;
        let document = self.reading.key_format.read(Some(rest)).map_err(|e| e.to_string())?;
        let mut values = Map::new();
        for (aggregate, value) in group.aggregates.iter().zip(&cell.values) {
            values.insert(aggregate.name.clone(), in_json(&value.datum())?);
        }
        let window = group.window.map(|_| bucket as i64);
        let key = in_json(&document.whole())?;
        Ok(json!({ "state": entry.name, "window": window, "key": key, "owes": cell.owes, "value": values }))
    }
}

fn in_json(datum: &crate::formats::Datum<'_>) -> Result<Value, String> {
    let mut text = Vec::new();
    crate::formats::Format::Json.write(datum, &mut text).map_err(|e| e.to_string())?;
    serde_json::from_slice(&text).map_err(|e| e.to_string())
}
