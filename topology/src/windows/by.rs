//! What a grouping groups by: the record key as it is, or named fields; and the bytes that stand for it in a table.
//!
//! Called by groupings and where rows are written. Knows nothing of windows. Invariant: equal values give equal bytes,
//! also when a number is written in another way (1 and 1.0).

use crate::expr::{Lookup, Path};
use crate::failure::Failure;
use crate::formats::{Datum, Format, Kind};
use crate::view::View;
use std::ops::Range;

/// The key of a grouping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum By {
    /// Compared as bytes, whatever its format says of it.
    RecordKey,
    Fields(Vec<KeyField>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyField {
    /// As it stands in results.
    pub name: String,
    /// The same with its quotes, as it stands in JSON.
    pub json: String,
    pub path: Path,
}

impl By {
    /// Whether records of one group are surely on one partition, if the producers' partitioner goes by the key.
    pub fn has_record_key(&self) -> bool {
        match self {
            By::RecordKey => true,
            By::Fields(fields) => fields.iter().any(|f| f.is_around("key")),
        }
    }

    /// Whether records of one group are on one partition, wherever their producers put them.
    pub fn has_partition(&self) -> bool {
        matches!(self, By::Fields(fields) if fields.iter().any(|f| f.is_around("partition")))
    }

    /// Appends the key of one record; where it stands. Fields one behind the other: the length in four bytes, then the
    /// value as JSON. A missing field is null, a group of its own.
    pub fn write(&self, step: &str, view: &View<'_>, out: &mut Vec<u8>) -> Result<Range<usize>, Failure> {
        let from = out.len();
        match self {
            By::RecordKey => {
                let key = view.record.key;
                let missing = || Failure::new("key-missing", format!("step '{step}' groups by the key"));
                out.extend_from_slice(key.ok_or_else(missing)?);
            }
            By::Fields(fields) => {
                for field in fields {
                    let at = out.len();
                    out.extend_from_slice(&[0; 4]);
                    field.write(view, out)?;
                    let length = (out.len() - at - 4) as u32;
                    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
        Ok(from..out.len())
    }

    /// The key of such values, as JSON; of fields only.
    pub fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes()[..], part].concat()).collect()
    }

    /// The values of such a key, as JSON; of fields only.
    pub fn parts<'k>(&self, mut key: &'k [u8]) -> Vec<&'k [u8]> {
        let mut parts = Vec::new();
        while let Some((length, rest)) = key.split_first_chunk::<4>() {
            let length = (u32::from_be_bytes(*length) as usize).min(rest.len());
            let (part, behind) = rest.split_at(length);
            parts.push(part);
            key = behind;
        }
        parts
    }

    /// The fields that it reads.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let fields = if let By::Fields(fields) = self { &fields[..] } else { &[] };
        fields.iter().map(|field| &field.path)
    }

    /// As in YAML.
    pub fn words(&self) -> String {
        match self {
            By::RecordKey => "record.key".to_owned(),
            By::Fields(fields) => fields.iter().map(|f| f.path.join(".")).collect::<Vec<_>>().join(", "),
        }
    }
}

impl KeyField {
    pub fn new(name: String, path: Path) -> KeyField {
        KeyField { json: serde_json::Value::from(name.as_str()).to_string(), name, path }
    }

    /// Whether it is `record.NAME`, whole.
    fn is_around(&self, name: &str) -> bool {
        matches!(&*self.path, [record, around] if &**record == "record" && &**around == name)
    }

    fn write(&self, view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let datum = view.get(&self.path);
        if let Datum::Text(text) = &datum
            && text.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\')
        {
            // What nearly every key is, without the serialiser.
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
            return Ok(());
        }
        let place = || format!("group_by '{}'", self.name);
        if matches!(datum.kind(), Kind::List | Kind::Object) {
            let text = format!("{}: {} is no key; name a field in it", place(), datum.kind().article());
            return Err(Failure::new("wrong-type", text));
        }
        Format::Json.write(&datum, out).map_err(|e| Failure::format(place(), &e))
    }
}
