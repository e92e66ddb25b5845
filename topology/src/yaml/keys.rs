//! `group_by`: the record key, or fields with the names that they have in results.
//!
//! Called by the section `steps`. Knows nothing of windows. Invariant: no two fields of a result have one name.

use super::fields::{Mistakes, named, scalar};
use super::scalars;
use super::steps::RESERVED;
use super::tree::{At, Node, What};
use crate::expr::Path;
use crate::windows::aggregate::Aggregate;
use crate::windows::{By, KeyField};
use std::collections::BTreeSet;

/// `record.key`, `[event_type, user.country]`, or `{ country: user.country }`.
pub(super) fn read(node: &Node, place: &str, mistakes: &mut Mistakes) -> Option<By> {
    let what = format!("'group_by' in {place}");
    let fields: Vec<Option<KeyField>> = match &node.what {
        What::Scalar(text) if text == "record.key" => return Some(By::RecordKey),
        What::Scalar(_) => vec![field(node, None, &what, mistakes)],
        What::List(items) if matches!(&items[..], [Node { what: What::Scalar(one), .. }] if one == "record.key") => {
            return Some(By::RecordKey);
        }
        What::List(items) => items.iter().map(|item| field(item, None, &what, mistakes)).collect(),
        _ => {
            let all = named(Some(node), &what, mistakes);
            all.iter().map(|(key, node)| field(node, Some(&key.name), &what, mistakes)).collect()
        }
    };
    let fields = fields.into_iter().collect::<Option<Vec<_>>>()?;
    if fields.is_empty() {
        mistakes.add(node.at, format!("{what} names nothing; write record.key, or a list of fields"));
        return None;
    }
    Some(By::Fields(fields))
}

fn field(node: &Node, name: Option<&str>, what: &str, mistakes: &mut Mistakes) -> Option<KeyField> {
    let path: Path = scalar(node, what, scalars::path, mistakes)?;
    let last = path.last().map_or("", |last| last);
    Some(KeyField::new(name.unwrap_or(last).to_owned(), path))
}

/// Fields of a result that have the same name.
pub(super) fn clash(by: &By, aggregates: &[Aggregate], (at, place): (At, &str), mistakes: &mut Mistakes) {
    let By::Fields(fields) = by else { return };
    let mut seen: BTreeSet<&str> = aggregates.iter().map(|a| a.name.as_str()).collect();
    for field in fields {
        if RESERVED.contains(&field.name.as_str()) && field.name != "key" || !seen.insert(&field.name) {
            let text = format!("{place}: results would have two fields '{}'; name one of them, as", field.name);
            mistakes.add(at, format!("{text} group_by: {{ another: {} }}", field.path.join(".")));
        }
    }
}
