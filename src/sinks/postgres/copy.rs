//! Rows in the text format of COPY, and when a table takes them so.
//!
//! Used by `batch.rs` where a sink inserts. Knows the format and nothing of tables. COPY writes a page of rows at once, where an
//! INSERT writes each: rows of `raw_events` with its five indexes cost the server 10 us instead of 17 to 18, in batches of 1,000 and of 5,000
//! (the indexes are 6.5 of them). But it knows no ON CONFLICT and does not say which row was bad, so whatever it refuses goes the other way.
//! Source: PostgreSQL's documentation of COPY, "File Formats, Text Format".

use crate::sinks::row::Row;
use bytes::{BufMut, Bytes, BytesMut};

/// Fewer rows are not worth a statement that may be refused.
pub const WORTH: usize = 8;

/// For how many batches COPY is not tried again after it was refused: duplicates come in company, as in a replay.
pub const PAUSE: u32 = 32;

/// These columns of the rows: one line each.
pub fn lines(present: &[usize], rows: &[Row<'_>]) -> Bytes {
    let mut out = BytesMut::with_capacity(rows.len() * 128);
    for row in rows {
        for (place, &column) in present.iter().enumerate() {
            if place > 0 {
                out.put_u8(b'\t');
            }
            match row.cells[column].text() {
                Some(text) => escape(text, &mut out),
                None => out.put_slice(b"\\N"),
            }
        }
        out.put_u8(b'\n');
    }
    out.freeze()
}

/// What ends a field or a row, and what says so, has a backslash before it; nothing else has a meaning.
fn escape(text: &str, out: &mut BytesMut) {
    let mut rest = text.as_bytes();
    // Most have none; told from all bytes, not from each, this takes many at a time.
    if !rest.iter().fold(false, |any, b| any | is_special(*b)) {
        return out.put_slice(rest);
    }
    while let Some(at) = rest.iter().position(|b| is_special(*b)) {
        out.put_slice(&rest[..at]);
        out.put_u8(b'\\');
        out.put_u8(match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::row::Cell;

    fn row<'r>(cells: &[Option<&'r str>]) -> Row<'r> {
        let cell = |text: &Option<&'r str>| text.map_or(Cell::Null, |text| Cell::Text(text.into()));
        Row { record: 0, cells: cells.iter().map(cell).collect() }
    }

    #[test]
    fn a_row_is_a_line_of_the_columns_that_are_present() {
        let rows = [row(&[Some("a"), Some("left out"), None]), row(&[Some(""), None, Some("é")])];
        assert_eq!(lines(&[0, 2], &rows), "a\t\\N\n\té\n".as_bytes());
    }

    #[test]
    fn nothing_in_a_text_ends_its_field() {
        let row = row(&[Some("\\N"), Some("a\tb\nc\r\\."), Some("\\")]);
        assert_eq!(lines(&[0, 1, 2], &[row]), &b"\\\\N\ta\\tb\\nc\\r\\\\.\t\\\\\n"[..]);
    }
}
