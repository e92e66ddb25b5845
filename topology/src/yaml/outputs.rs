//! The section `outputs`: topics that are written, and in which form.
//!
//! Called by [`parse`](super::parse). Knows nothing of sources' formats. Invariant: keys that do not apply to an output
//! are mistakes, never ignored.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::operators;
use super::scalars;
use super::tree::{At, Node, What};
use crate::expr::Path;
use crate::formats::Format;
use crate::operators::{Copy, Shape};
use crate::windows::aggregate::Aggregate;
use crate::windows::{By, KeyForm, RowOutput, ValueForm};

/// An output as it was written.
#[derive(Debug)]
pub(super) struct Output {
    pub at: At,
    pub topic: String,
    pub from: String,
    pub from_at: At,
    pub partitions: Option<i32>,
    /// A field of the record.
    key: Option<(At, Path)>,
    key_format: Option<(At, KeyForm)>,
    format: Option<(At, Format)>,
    fields: Option<(At, Vec<(At, String)>)>,
}

pub(super) fn read(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (key, node) in named(node, "outputs", mistakes) {
        let named = Node { at: key.at, what: What::Scalar(key.name.clone()) };
        scalar(&named, "the output's topic", scalars::topic, mistakes);
        outputs.extend(output(key.at, &key.name, node, mistakes));
    }
    outputs
}

fn output(at: At, topic: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Output> {
    let mut fields = Fields::of(node, format!("output '{topic}'"), mistakes)?;
    let from_at = fields.get("from").map_or(at, |n| n.at);
    let from = fields.need_read("from", scalars::text, mistakes);
    let place = |fields: &mut Fields<'_>, key| fields.get(key).map_or(at, |n| n.at);
    let key_at = place(&mut fields, "key");
    let key = fields.read("key", scalars::path, mistakes).map(|k| (key_at, k));
    let format_at = place(&mut fields, "key_format");
    let key_format = fields.read("key_format", key_form, mistakes).map(|k| (format_at, k));
    let format_at = place(&mut fields, "format");
    let format = fields.read("format", scalars::format, mistakes).map(|f| (format_at, f));
    let names = fields.get("fields").and_then(|node| list(node, topic, mistakes));
    let partitions = fields.read("partitions", scalars::count, mistakes).map(|n| n as i32);
    fields.done(mistakes);
    let topic = topic.to_owned();
    Some(Output { at, topic, from: from?, from_at, partitions, key, key_format, format, fields: names })
}

fn key_form(text: &str) -> Result<KeyForm, String> {
    match text {
        "json" => Ok(KeyForm::Json),
        "text" => Ok(KeyForm::Text),
        other => scalars::format(other).map(KeyForm::Plain).map_err(|e| format!("{e} (or text)")),
    }
}

fn list(node: &Node, topic: &str, mistakes: &mut Mistakes) -> Option<(At, Vec<(At, String)>)> {
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'fields' in output '{topic}' is {}; write a list of names", node.kind()));
        return None;
    };
    let what = format!("a field of output '{topic}'");
    let names = items.iter().filter_map(|n| scalar(n, &what, scalars::text, mistakes).map(|name| (n.at, name)));
    Some((node.at, names.collect()))
}

impl Output {
    /// Of a source or a mapping step; `json`: whether its values have fields.
    pub fn copy(&self, json: bool, mistakes: &mut Mistakes) -> Option<Copy> {
        let keyed = self.key.is_some();
        let shaped = [
            self.key_format.as_ref().filter(|_| !keyed).map(|(at, _)| (*at, "key_format")),
            self.format.as_ref().map(|(at, _)| (*at, "format")),
            self.fields.as_ref().filter(|_| !json).map(|(at, _)| (*at, "fields")),
            self.partitions.filter(|_| !keyed).map(|_| (self.at, "partitions")),
        ];
        let shaped: Vec<(At, &str)> = shaped.into_iter().flatten().collect();
        for (at, key) in &shaped {
            let more = if *key == "key_format" || *key == "partitions" { ", or add 'key'" } else { "" };
            let (topic, from) = (&self.topic, &self.from);
            mistakes.add(*at, format!("output '{topic}' copies records of '{from}' as they are; remove '{key}'{more}"));
        }
        let fields = match &self.fields {
            Some((_, names)) => Some(self.shape(names, mistakes)?),
            None => None,
        };
        let key = self.key.as_ref().map(|(_, path)| {
            let format = match self.key_format {
                Some((_, KeyForm::Plain(format))) => format,
                Some((_, KeyForm::Json)) => Format::Json,
                Some((_, KeyForm::Text)) | None => Format::String,
            };
            (path.clone(), format)
        });
        shaped.is_empty().then(|| Copy { topic: self.topic.as_str().into(), key, fields })
    }

    fn shape(&self, names: &[(At, String)], mistakes: &mut Mistakes) -> Option<Shape> {
        let mut shape = Shape::default();
        for (at, name) in names {
            match operators::target(name) {
                Ok(path) => shape.add(&path),
                Err(what) => {
                    mistakes.add(*at, format!("a field of output '{}' {what}", self.topic));
                    return None;
                }
            }
        }
        Some(shape)
    }

    /// Of a grouping.
    pub fn rows(
        &self,
        (windowed, by): (bool, &By),
        aggregates: &[Aggregate],
        mistakes: &mut Mistakes,
    ) -> Option<RowOutput> {
        if let Some((at, _)) = &self.key {
            let text = format!("output '{}': the key of a result is that of its group; remove 'key'", self.topic);
            mistakes.add(*at, text);
            return None;
        }
        let key = match self.key_format {
            Some((at, KeyForm::Plain(format))) if matches!(by, By::Fields(fields) if fields.len() > 1) => {
                let text = format!("output '{}': key_format {format} holds one field; write json or text", self.topic);
                mistakes.add(at, text);
                return None;
            }
            Some((at, KeyForm::Plain(format))) if windowed => {
                let text =
                    format!("output '{}': key_format {format} would hide the window; write json or text", self.topic);
                mistakes.add(at, text);
                return None;
            }
            Some((_, form)) => form,
            None => KeyForm::Json,
        };
        let indexes = self.indexes(aggregates, mistakes)?;
        let value = match (self.format, &indexes[..]) {
            (None | Some((_, Format::Json)), _) => ValueForm::Json(
                indexes
                    .iter()
                    .map(|&i| (i, serde_json::Value::from(aggregates[i].name.as_str()).to_string()))
                    .collect(),
            ),
            (Some((at, Format::Bytes)), _) => {
                mistakes.add(at, format!("output '{}': a number has no form as bytes; write string", self.topic));
                return None;
            }
            (Some((_, format)), &[index]) if self.fields.is_some() => ValueForm::Plain(format, index),
            (Some((at, format)), _) => {
                let text = format!(
                    "output '{}': format {format} holds one number; name it, as fields: [{}]",
                    self.topic, aggregates[0].name
                );
                mistakes.add(at, text);
                return None;
            }
        };
        Some(RowOutput { topic: self.topic.as_str().into(), key, value })
    }

    fn indexes(&self, aggregates: &[Aggregate], mistakes: &mut Mistakes) -> Option<Vec<usize>> {
        let Some((_, names)) = &self.fields else { return Some((0..aggregates.len()).collect()) };
        let find = |(at, name): &(At, String)| {
            let index = aggregates.iter().position(|a| a.name == *name);
            if index.is_none() {
                let known = aggregates.iter().map(|a| a.name.as_str());
                let hint = suggest(name, known.clone());
                let hint = hint.unwrap_or_else(|| format!("; known are {}", known.collect::<Vec<_>>().join(", ")));
                mistakes.add(*at, format!("output '{}': '{}' has no field '{name}'{hint}", self.topic, self.from));
            }
            index
        };
        let found: Vec<Option<usize>> = names.iter().map(find).collect();
        found.into_iter().collect()
    }
}
