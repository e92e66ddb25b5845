//! A batch as PostgreSQL is to see it: for an upsert one row a key, and rows with the same columns together.
//!
//! Called by `batch.rs`. Pure. Invariant: writing the folded rows leaves the table as writing all rows, one after the
//! other, would: so the table does not depend on where a batch was cut.

use super::row::{Cell, Column, Row};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One row a key, in the order of keys, so that two writers lock rows in one order. A field that a later row does not
/// have stays what an earlier one said.
pub fn fold<'r>(rows: Vec<Row<'r>>, columns: &[Column]) -> Vec<Row<'r>> {
    let keys: Vec<usize> = (0..columns.len()).filter(|&i| columns[i].is_key).collect();
    let key = |row: &Row<'r>| -> Vec<Cell<'r>> { keys.iter().map(|&i| row.cells[i].clone()).collect() };
    let mut places: HashMap<Vec<Cell<'r>>, usize> = HashMap::with_capacity(rows.len());
    let mut folded: Vec<Row<'r>> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.entry(key(&row)) {
            Entry::Vacant(place) => {
                place.insert(folded.len());
                folded.push(row);
            }
            Entry::Occupied(place) => merge(&mut folded[*place.get()], row),
        }
    }
    folded.sort_by_cached_key(|row| key(row).into_iter().map(order).collect::<Vec<_>>());
    folded
}

fn order(cell: Cell<'_>) -> Cow<'_, str> {
    match cell {
        Cell::Text(text) => text,
        Cell::Absent | Cell::Null => "".into(),
    }
}

fn merge<'r>(into: &mut Row<'r>, later: Row<'r>) {
    into.record = later.record;
    for (cell, new) in into.cells.iter_mut().zip(later.cells) {
        if new != Cell::Absent {
            *cell = new;
        }
    }
}

/// Rows by the columns that they have, each kind in order.
pub fn by_columns(rows: Vec<Row<'_>>) -> Vec<(Vec<usize>, Vec<Row<'_>>)> {
    let mut kinds: Vec<(Vec<usize>, Vec<Row<'_>>)> = Vec::new();
    for row in rows {
        match kinds.iter_mut().find(|(columns, _)| present(&row).eq(columns.iter().copied())) {
            Some((_, rows)) => rows.push(row),
            None => kinds.push((present(&row).collect(), vec![row])),
        }
    }
    kinds
}

fn present(row: &Row<'_>) -> impl Iterator<Item = usize> {
    let there = row.cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Absent);
    there.map(|(column, _)| column)
}

#[cfg(test)]
mod tests {
    use super::super::row::Kind;
    use super::*;
    use tidemill_topology::sinks::FieldPath;

    fn columns() -> Vec<Column> {
        let column = |name: &str, is_key| Column {
            name: name.to_owned(),
            cast: String::new(),
            kind: Kind::Text,
            path: FieldPath::from(vec![name.into()]),
            is_key,
            traced: false,
        };
        vec![column("k", true), column("a", false), column("b", false)]
    }

    fn row(record: usize, cells: [&'static str; 3]) -> Row<'static> {
        let cell = |text: &'static str| match text {
            "-" => Cell::Absent,
            "null" => Cell::Null,
            text => Cell::Text(text.into()),
        };
        Row { record, cells: cells.map(cell).to_vec() }
    }

    #[test]
    fn the_last_value_of_each_key_remains_and_keys_are_in_order() {
        let rows = vec![row(0, ["y", "1", "1"]), row(1, ["x", "2", "2"]), row(2, ["y", "3", "null"])];
        assert_eq!(fold(rows, &columns()), [row(1, ["x", "2", "2"]), row(2, ["y", "3", "null"])]);
    }

    #[test]
    fn a_field_that_a_later_row_lacks_stays_as_if_rows_were_written_one_by_one() {
        let rows = vec![row(0, ["x", "1", "5"]), row(1, ["x", "2", "-"])];
        assert_eq!(fold(rows, &columns()), [row(1, ["x", "2", "5"])]);
    }

    #[test]
    fn rows_with_the_same_columns_stand_together() {
        let rows = vec![row(0, ["x", "1", "-"]), row(1, ["y", "1", "1"]), row(2, ["z", "null", "-"])];
        let kinds: Vec<_> = by_columns(rows).into_iter().map(|(c, r)| (c, r.len())).collect();
        assert_eq!(kinds, [(vec![0, 1], 2), (vec![0, 1, 2], 1)]);
    }
}
