//! `copy`: the record with what `set` and `redact` changed, to another topic.
//!
//! Called by [`Node`](super::Node). Invariant: what no operator, `key` or `fields` names is the input's, byte for byte: key,
//! value, headers, timestamp and the number of the partition; only the source header is added, and one of an earlier hop
//! replaced.

use super::Pass;
use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::Format;
use crate::formats::splice::{append_to, splice};
use crate::headers;
use crate::view::View;
use crate::windows::Fold;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Copy {
    pub topic: Arc<str>,
    /// A field to be its key, in this format; it then decides the partition. A null is a record without a key.
    pub key: Option<(Path, Format)>,
    /// The only fields that it has; none: all.
    pub fields: Option<Shape>,
}

/// Fields by their names as JSON, and what stays of each; none: the whole.
#[derive(Debug, Default)]
pub(crate) struct Shape(Vec<(Box<str>, String, Option<Shape>)>);

impl Copy {
    pub fn write(&self, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Failure> {
        let record = &view.record;
        let kept = || record.headers.iter().filter(|(name, _)| *name != headers::SOURCE.as_bytes());
        let around: usize = kept().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len)).sum();
        let Fold { bytes, value: changed, source, .. } = &mut *pass.fold;
        headers::write_source(view.topic, view.partition, record.offset, source);
        let (key, partition) = match &self.key {
            None => (record.key, Some(view.partition)),
            Some(key) => (self.key(key, view, bytes)?, None),
        };
        let value = self.value(view, changed)?;
        let own = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        let size = own + around + headers::SOURCE.len() + source.len();
        if size > pass.max_record {
            let text = format!("a copy to {} takes {size} bytes, max_record is {}", self.topic, pass.max_record);
            return Err(Failure::new("too-large", text));
        }
        pass.outputs.push((&self.topic, partition), record.timestamp, key, value);
        for (name, value) in kept() {
            pass.outputs.push_header(&String::from_utf8_lossy(name), value);
        }
        pass.outputs.push_header(headers::SOURCE, Some(source));
        Ok(())
    }

    fn key<'b>(
        &self,
        (path, format): &(Path, Format),
        view: &View<'_>,
        bytes: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, Failure> {
        let datum = view.get(path);
        if datum.is_null() {
            return Ok(None);
        }
        bytes.clear();
        let place = || format!("the key of a copy to {}, field '{}'", self.topic, path.join("."));
        format.write(&datum, bytes).map_err(|e| Failure::format(place(), &e))?;
        Ok(Some(bytes))
    }

    /// A tombstone stays one.
    fn value<'b>(&self, view: &'b View<'_>, changed: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, Failure> {
        let Some(value) = view.record.value else { return Ok(None) };
        changed.clear();
        if let Some(shape) = &self.fields {
            let Some(Value::Object(_)) = view.value.json() else {
                let text = format!("a copy to {}: the value is no object, so it has no fields to choose", self.topic);
                return Err(Failure::new("not-an-object", text));
            };
            shape.write(view.value.json().unwrap_or(&Value::Null), changed);
            return Ok(Some(changed));
        }
        if view.mark() == 0 {
            return Ok(Some(value));
        }
        match view.value.grown() {
            Some(text) => append_to(text, &mut view.edits(), changed),
            None => splice(value, &mut view.edits(), changed),
        }
        Ok(Some(changed))
    }
}

impl Shape {
    /// Adds a field, and the objects on the way to it. One that is there whole already stays whole.
    pub fn add(&mut self, path: &[Box<str>]) {
        let [name, rest @ ..] = path else { return };
        let index = self.0.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            let quoted = Value::from(&**name).to_string();
            self.0.push((name.clone(), quoted, Some(Shape::default())));
            self.0.len() - 1
        });
        match (&mut self.0[index].2, rest) {
            (inner, []) => *inner = None,
            (Some(inner), rest) => inner.add(rest),
            (None, _) => {}
        }
    }

    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (name, quoted, inner) in &self.0 {
            let Some(value) = value.get(&**name) else { continue };
            if inner.is_some() && !value.is_object() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(quoted.as_bytes());
            out.push(b':');
            match inner {
                Some(inner) => inner.write(value, out),
                None => serde_json::to_writer(&mut *out, value).expect("memory takes every byte"),
            }
        }
        out.push(b'}');
    }
}
