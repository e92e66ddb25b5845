//! A JSON Schema: compiled when the topology is read; its draft is what `$schema` says, else 2020-12.
//!
//! Knows nothing of the network: a reference leads into the same file or to another one beside it. `format` asserts where
//! the draft says so (up to 7), or where the topology does. Invariant: a failure names the field and the place in the
//! schema, never a value.

use super::INVALID;
use crate::failure::Failure;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Schema {
    /// As the topology names it.
    pub file: String,
    validator: Validator,
}

impl Schema {
    /// `file` is relative to `base`. `formats`: whether `format` asserts; none: as the draft says.
    ///
    /// # Errors
    /// One line with the file and the place in it.
    pub fn load(base: &Path, file: &str, formats: Option<bool>) -> Result<Schema, String> {
        let path = base.join(file);
        let path = std::path::absolute(&path).unwrap_or(path);
        let schema = read(&path).map_err(|what| format!("schema {file}: {what}"))?;
        let options = jsonschema::options().with_base_uri(uri(&path)).with_retriever(Files);
        let options = match formats {
            Some(yes) => options.should_validate_formats(yes),
            None => options,
        };
        let validator = options.build(&schema).map_err(|e| wrong(file, &e))?;
        Ok(Schema { file: file.to_owned(), validator })
    }

    pub fn check(&self, value: &Value) -> Result<(), Failure> {
        let Err(error) = self.validator.validate(value) else { return Ok(()) };
        let mut field = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
        let place = format!("{}#{}", self.file, error.schema_path());
        if let ValidationErrorKind::Required { property } = error.kind()
            && let Some(name) = property.as_str()
        {
            let point = if field.is_empty() { "" } else { "." };
            field = format!("{field}{point}{name}");
            return Err(Failure::new(INVALID, format!("field '{field}' is missing, see {place}")));
        }
        let what = if field.is_empty() { "the value".to_owned() } else { format!("field '{field}'") };
        Err(Failure::new(INVALID, format!("{what} breaks {place}")))
    }
}

/// Where a schema says what no schema may. The text is the topology's own, so it may be quoted.
fn wrong(file: &str, error: &ValidationError<'_>) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = &line[..line.floor_char_boundary(200)];
    format!("schema {file}#{}: {line}; mend the schema", error.instance_path())
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{e}; name a readable file, relative to this one"))?;
    serde_json::from_str(&text).map_err(|e| format!("not JSON: {e}; mend the schema"))
}

/// The files that a schema refers to.
struct Files;

impl Retrieve for Files {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        if uri.scheme().as_str() != "file" {
            return Err("schemas are read from files alone, not from the network".into());
        }
        let path = uri.path().decode().to_string_lossy().into_owned();
        Ok(read(&PathBuf::from(path))?)
    }
}

/// `file:` with what has a meaning in a URI written as its bytes.
fn uri(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(byte as char),
            other => uri += &format!("%{other:02X}"),
        }
    }
    uri
}
