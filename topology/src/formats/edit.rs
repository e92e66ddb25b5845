//! Changing a document in place, and taking the change back.
//!
//! Called by [`View`](crate::view::View) for `set` and `redact`. Knows nothing of bytes. Invariant: changes that are taken
//! back in the reverse order leave the document as it was, the order of its fields too.

use serde_json::{Map, Value};

/// How a change is taken back.
#[derive(Debug)]
pub(crate) enum Undo {
    Nothing,
    /// A field that stood in front of the text's goes.
    Uncover,
    /// The first so many names of the path lead to what was not there.
    Drop(usize),
    /// They lead to what was this.
    Put(usize, Value),
    /// They lead to what stood at this place among its neighbours.
    Insert(usize, usize, Value),
}

impl Undo {
    /// How many names of the path lead to what was there otherwise before, as far as that is known.
    pub fn depth(&self, path: &[Box<str>]) -> usize {
        match self {
            Undo::Nothing | Undo::Uncover => path.len(),
            Undo::Drop(depth) | Undo::Put(depth, _) | Undo::Insert(depth, ..) => *depth,
        }
    }
}

/// Puts a value at the end of a path, and objects on the way to it. Null counts as missing.
///
/// # Errors
/// The first so many names of the path lead to something that can have no field.
pub(crate) fn set(root: &mut Value, path: &[Box<str>], value: Value) -> Result<Undo, usize> {
    let mut fields = root.as_object_mut().ok_or(0usize)?;
    let (last, way) = path.split_last().ok_or(0usize)?;
    for (index, name) in way.iter().enumerate() {
        if fields.get(&**name).is_none_or(Value::is_null) {
            let names = path[index + 1..].iter().rev();
            let nested = names.fold(value, |inner, name| Value::Object(Map::from_iter([(name.to_string(), inner)])));
            return Ok(put(fields, name, index + 1, nested));
        }
        fields = fields.get_mut(&**name).and_then(Value::as_object_mut).ok_or(index + 1)?;
    }
    Ok(put(fields, last, path.len(), value))
}

fn put(fields: &mut Map<String, Value>, name: &str, depth: usize, value: Value) -> Undo {
    match fields.get_mut(name) {
        Some(place) => Undo::Put(depth, std::mem::replace(place, value)),
        None => {
            fields.insert(name.to_owned(), value);
            Undo::Drop(depth)
        }
    }
}

/// Takes the field at the end of a path away. A list on the way stands for each of its elements.
pub(crate) fn remove(root: &mut Value, path: &[Box<str>]) -> Undo {
    let Some((last, way)) = path.split_last() else { return Undo::Nothing };
    let mut at = root;
    for (index, name) in way.iter().enumerate() {
        at = match at {
            Value::Object(fields) => match fields.get_mut(&**name) {
                Some(next) => next,
                None => return Undo::Nothing,
            },
            other => return strip_list(other, path, index),
        };
    }
    let Value::Object(fields) = at else { return strip_list(at, path, way.len()) };
    let Some(place) = fields.keys().position(|key| **key == **last) else { return Undo::Nothing };
    match fields.shift_remove(&**last) {
        Some(value) => Undo::Insert(path.len(), place, value),
        None => Undo::Nothing,
    }
}

fn strip_list(at: &mut Value, path: &[Box<str>], depth: usize) -> Undo {
    if !at.is_array() {
        return Undo::Nothing;
    }
    let before = at.clone();
    strip(at, &path[depth..]);
    Undo::Put(depth, before)
}

fn strip(at: &mut Value, path: &[Box<str>]) {
    match (at, path) {
        (Value::Array(items), _) => items.iter_mut().for_each(|item| strip(item, path)),
        (Value::Object(fields), [last]) => drop(fields.shift_remove(&**last)),
        (Value::Object(fields), [name, rest @ ..]) => {
            if let Some(next) = fields.get_mut(&**name) {
                strip(next, rest);
            }
        }
        _ => {}
    }
}

/// Takes back what [`set`] or [`remove`] did with the same path.
pub(crate) fn undo(root: &mut Value, path: &[Box<str>], undo: Undo) {
    let depth = undo.depth(path);
    let Some((name, way)) = path[..depth].split_last() else {
        if let Undo::Put(_, before) = undo {
            *root = before;
        }
        return;
    };
    let parent = way.iter().try_fold(root, |at, name| at.get_mut(&**name));
    let Some(fields) = parent.and_then(Value::as_object_mut) else { return };
    match undo {
        Undo::Nothing | Undo::Uncover => {}
        Undo::Drop(_) => drop(fields.shift_remove(&**name)),
        Undo::Put(_, before) => drop(fields.insert(name.to_string(), before)),
        Undo::Insert(_, place, before) => drop(fields.shift_insert(place, name.to_string(), before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<Box<str>> {
        text.split('.').map(Into::into).collect()
    }

    #[test]
    fn what_is_changed_and_taken_back_is_as_it_was_in_its_order_too() {
        let before = json!({"a": 1, "b": {"x": 1, "y": [{"z": 1, "w": 2}, 3, [{"z": 5}]]}, "n": null, "c": "t"});
        for target in ["a", "b", "b.x", "b.y.z", "b.y", "b.none", "none", "none.at.all", "n.in", "c", "a.x"] {
            let mut root = before.clone();
            let path = path(target);
            let removal = remove(&mut root, &path);
            if let Ok(setting) = set(&mut root, &path, json!("new")) {
                assert_eq!(path.iter().try_fold(&root, |at, name| at.get(&**name)), Some(&json!("new")), "{target}");
                undo(&mut root, &path, setting);
            }
            undo(&mut root, &path, removal);
            assert_eq!(root.to_string(), before.to_string(), "{target}");
        }
    }

    #[test]
    fn a_list_on_the_way_loses_the_field_in_each_element_and_takes_none() {
        let mut root = json!({"items": [{"ip": 1, "k": 2}, [{"ip": 3}], "ip"]});
        remove(&mut root, &path("items.ip"));
        assert_eq!(root, json!({"items": [{"k": 2}, [{}], "ip"]}));
        assert_eq!(set(&mut root, &path("items.ip"), json!(1)).err(), Some(1));
        assert_eq!(set(&mut json!([1]), &path("a"), json!(1)).err(), Some(0));
        assert_eq!(set(&mut json!({"a": {"b": 5}}), &path("a.b.c"), json!(1)).err(), Some(2));
    }
}
