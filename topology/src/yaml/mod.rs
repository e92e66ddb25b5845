//! A topology and its settings from YAML: read as written, then checked and typed.
//!
//! Knows nothing of tasks. Called by the command line and by tests.
//! Invariant: what comes out is whole and valid, or there is one line for each mistake, with its place.

mod alerts;
mod build;
pub mod builder;
mod cases;
mod environment;
mod fields;
mod http;
mod keys;
mod operators;
mod outputs;
mod scalars;
mod settings;
mod sinks;
mod sources;
mod steps;
#[cfg(test)]
mod tests;
mod tree;

pub use alerts::Alerts;
pub(crate) use fields::suggest;
pub use http::{Http, Peer};
pub use scalars::duration;
pub use settings::Settings;
#[cfg(test)]
pub(crate) use sources::zone;

use crate::cases::Case;
use crate::graph::{DeadLetters, Topology};
use crate::sinks::SinkSpec;
use fields::{Fields, Mistakes};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A file that was read.
#[derive(Debug)]
pub struct Loaded {
    pub topology: Arc<Topology>,
    pub settings: Settings,
    /// What its section `tests` says must come of what.
    pub cases: Vec<Case>,
    pub sinks: Vec<SinkSpec>,
}

/// What is wrong with a file, one line a mistake: `FILE:LINE:COLUMN: what; what to do`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct ConfigError {
    pub lines: Vec<String>,
}

/// Reads a file, with the environment of this process.
///
/// # Errors
/// The file cannot be read, or holds mistakes.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| ConfigError { lines: vec![format!("{name}: {e}; name a readable topology file")] })?;
    let mut loaded = parse(&text, &name, &|key| std::env::var(key).ok())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    loaded.sinks.iter_mut().for_each(|sink| sink.beside(folder));
    if let Some(token) = loaded.settings.http.as_mut().and_then(|http| http.token_file.as_mut()) {
        *token = folder.join(&*token);
    }
    Ok(loaded)
}

/// Reads a text. `name` stands in errors, and files that the text names are relative to its folder; `env` answers `${NAME}`.
///
/// ```
/// let text = "
/// app: copies
/// kafka: { brokers: \"${BROKERS:-localhost:9092}\" }
/// sources:
///   events: { topic: user-events }
/// outputs:
///   user-events-copy: { from: events }
/// ";
/// let loaded = tidemill_topology::parse(text, "copies.yaml", &|_| None)?;
/// assert_eq!(loaded.settings.brokers, "localhost:9092");
/// assert_eq!(&*loaded.topology.outputs[0].name, "user-events-copy");
/// # Ok::<(), tidemill_topology::ConfigError>(())
/// ```
///
/// # Errors
/// One line for each mistake.
pub fn parse(text: &str, name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
    let mut mistakes = Mistakes::default();
    let text = environment::substitute(text, env, &mut mistakes);
    // Files that it names are relative to it.
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let root = mistakes.is_empty().then(|| tree::parse(&text));
    let loaded = match root {
        Some(Ok(root)) => read(&root, (&text, folder), &mut mistakes),
        Some(Err((at, message))) => {
            mistakes.add(at, message);
            None
        }
        None => None,
    };
    whole(loaded, mistakes, name)
}

/// As [`parse`], of what a builder wrote.
fn parse_tree(root: tree::Node, name: &str) -> Result<Loaded, ConfigError> {
    let mut mistakes = Mistakes::default();
    let loaded = read(&root, ("", Path::new("")), &mut mistakes);
    whole(loaded, mistakes, name)
}

fn whole(loaded: Option<Loaded>, mistakes: Mistakes, name: &str) -> Result<Loaded, ConfigError> {
    match loaded {
        Some(loaded) if mistakes.is_empty() => Ok(loaded),
        _ => Err(ConfigError { lines: mistakes.lines(name) }),
    }
}

fn read(root: &tree::Node, (text, folder): (&str, &Path), mistakes: &mut Mistakes) -> Option<Loaded> {
    let mut top = Fields::of(root, "the topology", mistakes)?;
    let settings = settings::read(&mut top, mistakes);
    let sources = sources::read(top.need("sources", mistakes), settings.max_record, mistakes);
    let steps = steps::read(top.get("steps"), folder, mistakes);
    let outputs = outputs::read(top.need("outputs", mistakes), mistakes);
    let sinks = sinks::read(top.get("sinks"), &outputs, mistakes);
    let dead_letters = dead_letters(&settings.app, &mut top, mistakes);
    let tests = top.get("tests");
    top.done(mistakes);
    if !mistakes.is_empty() {
        return None;
    }
    let draft = build::Draft { app: settings.app.clone(), sources, steps, outputs, dead_letters };
    let topology = Arc::new(draft.build(mistakes)?);
    let cases = cases::read(tests, text, &topology, mistakes);
    Some(Loaded { topology, settings, cases, sinks })
}

fn dead_letters(app: &str, top: &mut Fields<'_>, mistakes: &mut Mistakes) -> DeadLetters {
    let mut letters = DeadLetters {
        topic: format!("{app}-dead-letters").into(),
        late: false,
        keep: Duration::from_secs(14 * 24 * 3600),
        redact: Vec::new(),
    };
    let Some(node) = top.get("dead_letters") else { return letters };
    let Some(mut fields) = Fields::of(node, "dead_letters", mistakes) else { return letters };
    if let Some(topic) = fields.read("topic", scalars::topic, mistakes) {
        letters.topic = topic.into();
    }
    if let Some(late) = fields.read("late", scalars::flag, mistakes) {
        letters.late = late;
    }
    if let Some(keep) = fields.read("keep", scalars::positive_duration, mistakes) {
        letters.keep = keep;
    }
    if let Some(node) = fields.get("redact") {
        letters.redact = operators::targets(node, "'redact' in dead_letters", mistakes).unwrap_or_default();
    }
    fields.done(mistakes);
    letters
}
