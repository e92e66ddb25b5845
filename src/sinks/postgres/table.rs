//! The table that a sink writes: its columns as they are, and the statements that write them.
//!
//! Looked at once a connection. Knows PostgreSQL's catalogue. Invariant: a name reaches SQL quoted, a value as a
//! parameter.
//!
//! Rows of a sink that inserts go by COPY (`copy.rs`), where they can. All others go in as one array of texts a column
//! (`unnest`), cast by the server: one statement, prepared once, no table beside. COPY into a temporary table and an INSERT from there was measured beside it: upserts of 100, 1,000 and 5,000
//! rows took 18, 73 and 265 ms against 19, 73 and 295 ms (two busy cores): no gain at these sizes, for three round trips
//! more and a table in the catalogue of every session.

use super::errors::Failure;
use super::session::Session;
use crate::sinks::row::{self, Column, Kind};
use tidemill_topology::formats::Fields;
use tidemill_topology::sinks::{FieldPath, Mode, PostgresSpec};
use tokio_postgres::Row;

/// A table that was found fit.
pub struct Table {
    pub columns: Vec<Column>,
    /// What the columns take of a record.
    pub fields: Fields,
    pub mode: Mode,
    /// Rows may be tried by COPY: it inserts only, into tables alone, and not where rows have policies.
    pub copies: bool,
    name: String,
    conflict: String,
    /// The table has `updated_at`, and no row sets it.
    touches: bool,
}

/// The column that says in which trace a row was made.
const TRACE_ID: &str = "trace_id";

const COLUMNS: &str = "SELECT a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(t.typname), t.typname::text \
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped \
    AND a.attgenerated::text = '' AND a.attidentity::text <> 'a' ORDER BY a.attnum";

const UNIQUE: &str = "SELECT array(SELECT a.attname::text FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) \
    FROM pg_catalog.pg_index i WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indisvalid \
    AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL";

const PLAIN: &str = "SELECT relkind IN ('r', 'p') AND NOT relrowsecurity AND NOT relhasrules \
    FROM pg_catalog.pg_class WHERE oid = to_regclass($1::text)";

/// The table as it is now.
///
/// # Errors
/// It is not there, or is not fit for this sink: which column, which key, and what to do.
pub fn inspect(session: &mut Session, spec: &PostgresSpec) -> Result<Table, Failure> {
    let name = quoted(&spec.table);
    let found = session.query(COLUMNS, &[&name])?;
    if found.is_empty() {
        let remedy = "run 'tidemill migrate', set 'migrate: true', or create it";
        return Err(Failure::Sick(format!("table {} is not there; {remedy}", spec.table)));
    }
    let there: Vec<Column> = found.iter().map(|row| column(row, spec)).collect();
    let named = spec.columns.iter().map(|(name, _)| name).chain(&spec.key);
    if let Some(missing) = named.into_iter().find(|name| !there.iter().any(|c| c.name == **name)) {
        let remedy = "correct 'columns' and 'key', or add the column";
        return Err(Failure::Sick(format!(
            "table {} has no column '{missing}' that can be written; {remedy}",
            spec.table
        )));
    }
    check_key(session, spec, &name)?;
    let touches = spec.mode == Mode::Upsert
        && there.iter().any(|c| c.name == "updated_at")
        && !spec.columns.iter().any(|(name, _)| name == "updated_at");
    let columns: Vec<Column> = there.into_iter().filter(|c| !(touches && c.name == "updated_at")).collect();
    let key: Vec<String> = spec.key.iter().map(|name| ident(name)).collect();
    let conflict = if key.is_empty() { String::new() } else { format!("({})", key.join(", ")) };
    let plain = session.query(PLAIN, &[&name])?.first().is_some_and(|row| row.get(0));
    let copies = plain && spec.mode == Mode::Insert;
    let fields = row::fields(&columns);
    Ok(Table { columns, fields, mode: spec.mode, copies, name, conflict, touches })
}

fn column(row: &Row, spec: &PostgresSpec) -> Column {
    let (name, cast, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let kind = match kind.as_str() {
        "text" | "varchar" | "bpchar" | "name" | "citext" => Kind::Text,
        "int2" | "int4" | "int8" | "numeric" | "float4" | "float8" => Kind::Number,
        "bool" => Kind::Flag,
        "timestamp" => Kind::Time { zone: false },
        "timestamptz" => Kind::Time { zone: true },
        "json" | "jsonb" => Kind::Json,
        _ => Kind::Other,
    };
    let mapped = spec.columns.iter().find(|(column, _)| *column == name);
    let path = mapped.map_or_else(|| FieldPath::from(vec![name.as_str().into()]), |(_, path)| path.clone());
    let is_key = spec.key.contains(&name);
    // Filled from the record's context while spans are made; a table that is not asked for it has no such column.
    let traced = name == TRACE_ID && mapped.is_none() && !is_key && tidemill_observability::trace::is_on();
    Column { name, cast, kind, path, is_key, traced }
}

/// ON CONFLICT needs an index of just these columns, and says so only at the first row.
fn check_key(session: &mut Session, spec: &PostgresSpec, name: &str) -> Result<(), Failure> {
    if spec.key.is_empty() {
        return Ok(());
    }
    let mut key = spec.key.clone();
    key.sort_unstable();
    let indexes = session.query(UNIQUE, &[&name])?;
    if indexes.iter().any(|row| row.get::<_, Vec<String>>(0) == key) {
        return Ok(());
    }
    let columns = spec.key.join(", ");
    let remedy = format!("CREATE UNIQUE INDEX ON {} ({columns}), or correct 'key'", spec.table);
    Err(Failure::Sick(format!("table {} has no unique index on ({columns}); {remedy}", spec.table)))
}

impl Table {
    /// Writes rows that have these columns: one array of texts each.
    pub fn insert(&self, present: &[usize]) -> String {
        let columns: Vec<&Column> = present.iter().map(|&i| &self.columns[i]).collect();
        let names: Vec<String> = columns.iter().map(|c| ident(&c.name)).collect();
        let casts: Vec<String> = columns.iter().enumerate().map(|(i, c)| format!("r.c{i}::{}", c.cast)).collect();
        let arrays: Vec<String> = (1..=columns.len()).map(|i| format!("${i}::text[]")).collect();
        let given: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS r({}) {}",
            self.name,
            names.join(", "),
            casts.join(", "),
            arrays.join(", "),
            given.join(", "),
            self.on_conflict(present)
        )
    }

    /// The same for a sink that inserts, in the text format.
    pub fn copy(&self, present: &[usize]) -> String {
        let names: Vec<String> = present.iter().map(|&i| ident(&self.columns[i].name)).collect();
        format!("COPY {} ({}) FROM STDIN", self.name, names.join(", "))
    }

    fn on_conflict(&self, present: &[usize]) -> String {
        let columns = present.iter().map(|&i| &self.columns[i]);
        // When a row was made stays, whatever comes later.
        let changed = columns.filter(|c| !c.is_key && c.name != "created_at").map(|c| ident(&c.name));
        let mut sets: Vec<String> = changed.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
        if self.touches {
            sets.push("updated_at = now()".to_owned());
        }
        match self.mode {
            Mode::Upsert if !sets.is_empty() => {
                format!("ON CONFLICT {} DO UPDATE SET {}", self.conflict, sets.join(", "))
            }
            Mode::Upsert | Mode::Insert => format!("ON CONFLICT {} DO NOTHING", self.conflict),
        }
    }
}

pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.table`, each part quoted.
pub fn quoted(table: &str) -> String {
    table.split('.').map(ident).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(mode: Mode) -> Table {
        let column = |name: &str, cast: &str, is_key| Column {
            name: name.to_owned(),
            cast: cast.to_owned(),
            kind: Kind::Other,
            path: FieldPath::from(Vec::new()),
            is_key,
            traced: false,
        };
        let columns = vec![
            column("hour", "pg_catalog.\"timestamp\"", true),
            column("n", "pg_catalog.int8", false),
            column("created_at", "pg_catalog.\"timestamp\"", false),
        ];
        let conflict = if mode == Mode::Upsert { "(\"hour\")".to_owned() } else { String::new() };
        let fields = row::fields(&columns);
        Table { columns, fields, mode, copies: false, name: quoted("s.hours"), conflict, touches: mode == Mode::Upsert }
    }

    #[test]
    fn an_upsert_keeps_when_a_row_was_made_and_says_when_it_changed() {
        assert_eq!(
            table(Mode::Upsert).insert(&[0, 1, 2]),
            "INSERT INTO \"s\".\"hours\" (\"hour\", \"n\", \"created_at\") \
             SELECT r.c0::pg_catalog.\"timestamp\", r.c1::pg_catalog.int8, r.c2::pg_catalog.\"timestamp\" \
             FROM unnest($1::text[], $2::text[], $3::text[]) AS r(c0, c1, c2) \
             ON CONFLICT (\"hour\") DO UPDATE SET \"n\" = EXCLUDED.\"n\", updated_at = now()"
        );
    }

    #[test]
    fn an_insert_leaves_what_is_there() {
        assert!(table(Mode::Insert).insert(&[1]).ends_with("AS r(c0) ON CONFLICT  DO NOTHING"));
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
    }
}
