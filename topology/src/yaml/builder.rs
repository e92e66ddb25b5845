//! The same topology in Rust: a builder with the words of the YAML.
//!
//! For whoever embeds Tidemill. It writes what a file would say and has it read as a file is, so that there is one graph
//! and one set of rules. Knows nothing of what the words mean. Invariant: each method sets the key of its name.

use super::tree::{At, Key, Node, What};
use super::{ConfigError, Loaded};
use std::fmt::Display;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident => $key:literal),* $(,)?) => {
        $($(#[$doc])* pub fn $name(mut self, value: impl Display) -> Self {
            self.0.at($key).put($key.rsplit('.').next().unwrap_or($key), Part::Text(value.to_string()));
            self
        })*
    };
}

mod outside;
#[cfg(test)]
mod tests;

pub use outside::{DeadLetters, Http, Postgres, Sink};

/// An application: sources, steps, outputs, sinks.
///
/// ```
/// use tidemill_topology::builder::{App, Output, Source, Step};
/// let loaded = App::new("hourly")
///     .set("kafka.brokers", "localhost:9092")
///     .source("events", Source::topic("user-events").time("timestamp").idle("1m"))
///     .step("clean", Step::from("events").filter("amount > 0").dedupe("event_id", "1h"))
///     .step(
///         "hourly",
///         Step::from("clean")
///             .group_by(["event_type"])
///             .tumbling("1h")
///             .grace("10m")
///             .aggregate("total_events", "count()")
///             .aggregate("unique_users", "count_distinct(user_id)")
///             .updates("5s")
///             .on_close(),
///     )
///     .output("hourly-aggregations", Output::from("hourly"))
///     .build()?;
/// assert_eq!(loaded.topology.stages.len(), 2);
/// # Ok::<(), tidemill_topology::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct App(Map);

/// A topic that is read.
#[derive(Debug, Clone)]
pub struct Source(Map);

/// Operators in order, or one grouping with its window.
#[derive(Debug, Clone)]
pub struct Step(Map);

/// A topic that is written.
#[derive(Debug, Clone)]
pub struct Output(Map);

#[derive(Debug, Clone, Default)]
struct Map(Vec<(String, Part)>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    List(Vec<Part>),
    Map(Map),
}

impl App {
    pub fn new(name: impl Display) -> App {
        App(Map::default()).set("app", name)
    }

    /// A setting by its dotted path: `kafka.brokers`, `commit.interval`, `dead_letters.late`.
    pub fn set(mut self, path: &str, value: impl Display) -> App {
        self.0.at(path).put(path.rsplit('.').next().unwrap_or(path), Part::Text(value.to_string()));
        self
    }

    /// A property of librdkafka, whose names have dots of their own.
    pub fn property(mut self, name: &str, value: impl Display) -> App {
        self.0.map("kafka").map("properties").put(name, Part::Text(value.to_string()));
        self
    }

    pub fn source(self, name: &str, source: Source) -> App {
        self.entry("sources", name, source.0)
    }

    pub fn step(self, name: &str, step: Step) -> App {
        self.entry("steps", name, step.0)
    }

    /// `topic` is the name of the topic that is written.
    pub fn output(self, topic: &str, output: Output) -> App {
        self.entry("outputs", topic, output.0)
    }

    pub fn sink(self, name: &str, sink: Sink) -> App {
        self.entry("sinks", name, sink.0)
    }

    /// Answers queries and says its status.
    pub fn http(self, http: Http) -> App {
        self.section("http", http.0)
    }

    pub fn dead_letters(self, letters: DeadLetters) -> App {
        self.section("dead_letters", letters.0)
    }

    fn section(mut self, name: &str, map: Map) -> App {
        self.0.put(name, Part::Map(map));
        self
    }

    fn entry(mut self, section: &str, name: &str, map: Map) -> App {
        self.0.map(section).put(name, Part::Map(map));
        self
    }

    /// The graph, and the settings to run it with.
    ///
    /// # Errors
    /// One line for each mistake, as in a file.
    pub fn build(self) -> Result<Loaded, ConfigError> {
        let name = match self.0.0.first() {
            Some((_, Part::Text(name))) => format!("app {name}"),
            _ => "app".to_owned(),
        };
        super::parse_tree(Part::Map(self.0).node(), &name)
    }
}

impl Source {
    pub fn topic(name: impl Display) -> Source {
        Source(Map::default()).named(name)
    }

    keys! {
        named => "topic",
        /// `json`, `string`, `int32`, `int64`, `double`, `bytes`.
        format => "format",
        key_format => "key_format",
        /// A dotted field; else the record's own timestamp is its time.
        time => "time",
        /// As [`Source::time`], where a unit or a zone stands beside it.
        time_field => "time.field",
        /// Of times that are numbers: `s`, `ms`, `us`, `ns`.
        unit => "time.unit",
        /// Of times without an offset: `UTC`, `+02:00`, `Europe/Berlin`.
        zone => "time.zone",
        /// `earliest`, `latest`, `committed`.
        start => "start",
        /// How long a partition is silent before the clock closes its windows.
        idle => "idle",
        /// How far ahead of the clock an event may be.
        max_ahead => "max_ahead",
        /// `scattered`: records of one key lie on several partitions.
        keys => "keys",
        max_record => "max_record",
    }
}

impl Step {
    pub fn from(source: impl Display) -> Step {
        Step(Map::default()).reading(source)
    }

    keys! {
        reading => "from",
        /// A tumbling window's size: `1h`.
        tumbling => "window.tumbling",
        /// A hopping window's size; its hop is [`Step::every`].
        hopping => "window.hopping",
        every => "window.every",
        grace => "window.grace",
        /// An update of a changed window at most so often.
        updates => "emit.updates",
        /// Ids that `count_distinct` keeps exactly.
        at_most => "at_most",
    }

    pub fn filter(self, expression: impl Display) -> Step {
        self.operator("filter", Part::Text(expression.to_string()))
    }

    /// A record whose `by` was seen `within` so much stream time goes no further.
    pub fn dedupe(self, by: &str, within: &str) -> Step {
        self.operator("dedupe", Part::of([("by", by), ("within", within)]))
    }

    /// As [`Step::dedupe`], with the name of its state and the ids that it holds at most.
    pub fn dedupe_named(self, name: &str, (by, within): (&str, &str), at_most: usize) -> Step {
        let at_most = at_most.to_string();
        self.operator("dedupe", Part::of([("name", name), ("by", by), ("within", within), ("at_most", &at_most)]))
    }

    /// Field rules: `[("event_id", "text"), ("duration_seconds", "number? >= 0")]`.
    pub fn validate<'a>(self, rules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Step {
        self.operator("validate", Part::of(rules))
    }

    /// A JSON Schema, by its file.
    pub fn validate_schema(self, file: &str) -> Step {
        self.operator("validate", Part::of([("schema", file)]))
    }

    /// The same, and whether `format` decides, whatever the schema's draft says.
    pub fn validate_schema_formats(self, file: &str, formats: bool) -> Step {
        let formats = formats.to_string();
        self.operator("validate", Part::of([("schema", file), ("formats", &formats)]))
    }

    /// Names and expressions: `[("is_high_value", "amount > 100")]`.
    pub fn set<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Step {
        self.operator("set", Part::of(fields))
    }

    /// Fields that must not leave.
    pub fn redact<'a>(self, fields: impl IntoIterator<Item = &'a str>) -> Step {
        self.operator("redact", Part::list(fields))
    }

    /// Fields, or `record.key` alone.
    pub fn group_by<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Step {
        self.0.put("group_by", Part::list(fields));
        self
    }

    /// Fields with the names that results have for them: `[("country", "user.country")]`.
    pub fn group_by_named<'a>(mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Step {
        self.0.put("group_by", Part::of(fields));
        self
    }

    /// `("total", "sum(amount)")`
    pub fn aggregate(mut self, name: &str, function: &str) -> Step {
        self.0.map("aggregate").put(name, Part::Text(function.to_owned()));
        self
    }

    /// A result when a window closes: `emit: { final: true }`.
    pub fn on_close(mut self) -> Step {
        self.0.map("emit").put("final", Part::Text("true".to_owned()));
        self
    }

    /// A result for each record: `emit: every`.
    pub fn on_every_record(mut self) -> Step {
        self.0.put("emit", Part::Text("every".to_owned()));
        self
    }

    fn operator(mut self, word: &str, part: Part) -> Step {
        let mut map = Map::default();
        map.put(word, part);
        self.0.list("do").push(Part::Map(map));
        self
    }
}

impl Output {
    pub fn from(step: impl Display) -> Output {
        Output(Map::default()).reading(step)
    }

    keys! {
        reading => "from",
        format => "format",
        key_format => "key_format",
        /// Of a copy: the field that becomes its key.
        key => "key",
        partitions => "partitions",
    }

    pub fn fields<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Output {
        self.0.put("fields", Part::list(fields));
        self
    }
}

impl Map {
    /// Sets or replaces an entry.
    fn put(&mut self, key: &str, part: Part) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, held)) => *held = part,
            None => self.0.push((key.to_owned(), part)),
        }
    }

    /// The map that the last name of a dotted path belongs into.
    fn at(&mut self, path: &str) -> &mut Map {
        match path.split_once('.') {
            Some((first, rest)) => self.map(first).at(rest),
            None => self,
        }
    }

    fn entry(&mut self, key: &str, new: Part) -> &mut Part {
        let index = self.0.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
            self.0.push((key.to_owned(), new));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    fn map(&mut self, key: &str) -> &mut Map {
        let part = self.entry(key, Part::Map(Map::default()));
        if !matches!(part, Part::Map(_)) {
            *part = Part::Map(Map::default());
        }
        let Part::Map(map) = part else { unreachable!("made a map above") };
        map
    }

    fn list(&mut self, key: &str) -> &mut Vec<Part> {
        let part = self.entry(key, Part::List(Vec::new()));
        if !matches!(part, Part::List(_)) {
            *part = Part::List(Vec::new());
        }
        let Part::List(list) = part else { unreachable!("made a list above") };
        list
    }
}

impl Part {
    fn of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Part {
        let text = |(key, value): (&str, &str)| (key.to_owned(), Part::Text(value.to_owned()));
        Part::Map(Map(entries.into_iter().map(text).collect()))
    }

    fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Part {
        Part::List(items.into_iter().map(|item| Part::Text(item.to_owned())).collect())
    }

    fn node(self) -> Node {
        let what = match self {
            Part::Text(text) => What::Scalar(text),
            Part::List(items) => What::List(items.into_iter().map(Part::node).collect()),
            Part::Map(Map(entries)) => {
                let key = |name| Key { at: At::default(), name };
                What::Map(entries.into_iter().map(|(name, part)| (key(name), part.node())).collect())
            }
        };
        Node { at: At::default(), what }
    }
}
