//! The section `sinks`: where outputs go outside of Kafka.
//!
//! Called by [`parse`](super::parse). Knows nothing of databases. Invariant: a sink reads an output of this topology,
//! and no mistake repeats a secret.

use super::fields::{Fields, Mistakes, named, scalar, suggest};
use super::outputs::Output;
use super::scalars;
use super::tree::{At, Key, Node, What};
use crate::expr::Path;
use crate::sinks::{
    Access, BatchSpec, Connections, Mode, Password, PostgresSpec, Secret, Server, SinkSpec, SslMode, Target, Timeouts,
    Tls,
};
use std::time::Duration;

pub(super) fn read(node: Option<&Node>, outputs: &[Output], mistakes: &mut Mistakes) -> Vec<SinkSpec> {
    let all = named(node, "sinks", mistakes).iter();
    all.filter_map(|(key, node)| sink(key, node, outputs, mistakes)).collect()
}

fn sink(key: &Key, node: &Node, outputs: &[Output], mistakes: &mut Mistakes) -> Option<SinkSpec> {
    let name = Node { at: key.at, what: What::Scalar(key.name.clone()) };
    scalar(&name, "the sink's name", scalars::topic, mistakes);
    let mut fields = Fields::of(node, format!("sink '{}'", key.name), mistakes)?;
    let from_at = fields.get("from").map_or(key.at, |n| n.at);
    let topic = fields.need_read("from", scalars::text, mistakes);
    if let Some(topic) = &topic {
        check_from(from_at, (&key.name, topic), outputs, mistakes);
    }
    let enabled = fields.read("enabled", switch, mistakes).unwrap_or(true);
    let batch = batch(&mut fields, mistakes);
    let postgres = fields.need("postgres", mistakes);
    fields.done(mistakes);
    let target = Target::Postgres(Box::new(postgres_spec(&key.name, postgres?, mistakes)?));
    Some(SinkSpec { name: key.name.as_str().into(), topic: topic?.into(), enabled, batch, target })
}

fn check_from(at: At, (name, topic): (&str, &str), outputs: &[Output], mistakes: &mut Mistakes) {
    if !outputs.iter().any(|o| o.topic == topic) {
        let hint = suggest(topic, outputs.iter().map(|o| o.topic.as_str()));
        let hint = hint.unwrap_or_else(|| "; name one of the topics under outputs".to_owned());
        mistakes.add(at, format!("sink '{name}' is from '{topic}', which is no output{hint}"));
    }
}

/// As [`scalars::flag`], and as people set switches in an environment: the words of the seed systems, any case.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("is '{text}'; write true or false")),
    }
}

fn batch(sink: &mut Fields<'_>, mistakes: &mut Mistakes) -> BatchSpec {
    let mut batch = BatchSpec { rows: 1000, interval: Duration::from_secs(1) };
    let place = format!("batch of {}", sink.place);
    let Some(mut fields) = sink.get("batch").and_then(|n| Fields::of(n, place, mistakes)) else { return batch };
    if let Some(rows) = fields.read("rows", rows, mistakes) {
        batch.rows = rows;
    }
    if let Some(interval) = fields.read("interval", scalars::positive_duration, mistakes) {
        batch.interval = interval;
    }
    fields.done(mistakes);
    batch
}

/// A transaction of more rows would hold its locks for too long.
fn rows(text: &str) -> Result<usize, String> {
    scalars::count(text).and_then(|n| match n <= 100_000 {
        true => Ok(n),
        false => Err(format!("is '{text}'; write at most 100000")),
    })
}

fn postgres_spec(sink: &str, node: &Node, mistakes: &mut Mistakes) -> Option<PostgresSpec> {
    let mut fields = Fields::of(node, format!("postgres of sink '{sink}'"), mistakes)?;
    let access = access(&mut fields, mistakes);
    let table = fields.need_read("table", table, mistakes);
    let mode = fields.need_read("mode", mode, mistakes);
    let key_at = fields.get("key").map_or(fields.at, |n| n.at);
    let key = key(&mut fields, mistakes);
    if mode == Some(Mode::Upsert) && key.is_empty() {
        mistakes
            .add(key_at, format!("{} has mode upsert and no 'key'; name the columns that name a row", fields.place));
    }
    let columns = columns(&mut fields, mistakes);
    let connections = connections(&mut fields, mistakes);
    let timeouts = timeouts(&mut fields, mistakes);
    let metrics = metrics(&mut fields, mistakes);
    let migrate = fields.read("migrate", switch, mistakes).unwrap_or(false);
    fields.done(mistakes);
    let (access, table, mode) = (access?, table?, mode?);
    Some(PostgresSpec { access, table, mode, key, columns, connections, timeouts, metrics, migrate })
}

fn table(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let fits = |part: &&str| !part.is_empty() && part.len() <= 63 && !part.contains(['\0', '"']);
    match parts.len() <= 2 && parts.iter().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!("is '{text}'; write TABLE or SCHEMA.TABLE")),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "upsert" => Ok(Mode::Upsert),
        "insert" => Ok(Mode::Insert),
        _ => Err(format!("is '{text}'; write upsert or insert")),
    }
}

fn key(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let what = format!("'key' in {}", fields.place);
    match fields.get("key").map(|n| (n, &n.what)) {
        None => Vec::new(),
        Some((_, What::List(items))) => {
            items.iter().filter_map(|n| scalar(n, &what, scalars::text, mistakes)).collect()
        }
        Some((node, _)) => scalar(node, &what, scalars::text, mistakes).into_iter().collect(),
    }
}

fn columns(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Vec<(String, Path)> {
    let place = format!("columns of {}", fields.place);
    let mut all = Vec::new();
    for (column, node) in named(fields.get("columns"), &place, mistakes) {
        let what = format!("column '{}' in {place}", column.name);
        let path = scalar(
            node,
            &what,
            |text| crate::expr::parse_path(text).map_err(|e| format!("is no field: {e}")),
            mistakes,
        );
        all.extend(path.map(|path| (column.name.clone(), path)));
    }
    all
}

fn connections(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Connections {
    let mut bounds = Connections { min: 1, max: 4 };
    let place = format!("connections of {}", fields.place);
    let Some(mut inner) = fields.get("connections").and_then(|n| Fields::of(n, place, mistakes)) else { return bounds };
    let (min, max) = (inner.read("min", scalars::count, mistakes), inner.read("max", scalars::count, mistakes));
    bounds.max = max.unwrap_or(bounds.max.max(min.unwrap_or(0)));
    bounds.min = min.unwrap_or(bounds.min.min(bounds.max));
    if bounds.min > bounds.max {
        mistakes.add(inner.at, format!("{}: min is above max; lower it", inner.place));
    }
    inner.done(mistakes);
    bounds
}

fn timeouts(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Timeouts {
    let mut t = Timeouts::default();
    let place = format!("timeouts of {}", fields.place);
    let Some(mut inner) = fields.get("timeouts").and_then(|n| Fields::of(n, place, mistakes)) else { return t };
    let places: [(&'static str, &mut Duration); 4] =
        [("connect", &mut t.connect), ("statement", &mut t.statement), ("lock", &mut t.lock), ("idle", &mut t.idle)];
    for (key, place) in places {
        if let Some(given) = inner.read(key, scalars::positive_duration, mistakes) {
            *place = given;
        }
    }
    inner.done(mistakes);
    t
}

/// `metrics: TABLE`, or with a switch: `metrics: { table, enabled }`.
fn metrics(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let place = format!("metrics of {}", fields.place);
    let node = fields.get("metrics")?;
    if let What::Scalar(_) = node.what {
        return scalar(node, &place, table, mistakes);
    }
    let mut inner = Fields::of(node, place, mistakes)?;
    let name = inner.need_read("table", table, mistakes);
    let enabled = inner.read("enabled", switch, mistakes).unwrap_or(true);
    inner.done(mistakes);
    name.filter(|_| enabled)
}

fn access(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Option<Access> {
    let secret = |text: &str| scalars::text(text).map(Secret::new);
    let url = fields.read("url", secret, mistakes).map(Server::Url);
    let url_file = fields.read("url_file", scalars::text, mistakes).map(|path| Server::UrlFile(path.into()));
    let host = fields.read("host", scalars::text, mistakes);
    let port = fields.read("port", port, mistakes);
    let dbname = fields.read("dbname", scalars::text, mistakes);
    let user = fields.read("user", scalars::text, mistakes);
    // An empty one is none: a variable that is there and empty.
    let password = fields.read("password", |text| Ok(Secret::new(text)), mistakes);
    let password_file = fields.read("password_file", scalars::text, mistakes);
    let tls = tls(fields, mistakes);
    let parts = host.is_some() || port.is_some() || dbname.is_some() || user.is_some();
    let ways = usize::from(url.is_some()) + usize::from(url_file.is_some()) + usize::from(parts);
    if ways != 1 {
        let text = "must name its server in one way; write url, url_file, or host, port, dbname, user and password";
        mistakes.add(fields.at, format!("{} {text}", fields.place));
        return None;
    }
    if let Some(server) = url.or(url_file) {
        if password.is_some() || password_file.is_some() {
            let text = "has a url and a password beside it; put the password into the url";
            mistakes.add(fields.at, format!("{} {text}", fields.place));
        }
        return Some(Access { server, tls });
    }
    if password.as_ref().is_some_and(|p| !p.reveal().is_empty()) && password_file.is_some() {
        mistakes.add(fields.at, format!("{} has password and password_file; remove one", fields.place));
    }
    if dbname.is_none() || user.is_none() {
        mistakes.add(fields.at, format!("{} lacks 'dbname' or 'user'; add it", fields.place));
    }
    let given = password.filter(|p| !p.reveal().is_empty()).map(Password::Given);
    let password = password_file.map(|path| Password::File(path.into())).or(given);
    let (host, port) = (host.unwrap_or_else(|| "localhost".to_owned()), port.unwrap_or(5432));
    Some(Access { server: Server::Parts { host, port, dbname: dbname?, user: user?, password }, tls })
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("is '{text}'; write a port, 1 to 65535"))
}

fn tls(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Tls {
    let mode = fields.read("sslmode", ssl_mode, mistakes);
    let mut file = |key| fields.read(key, scalars::text, mistakes).map(std::path::PathBuf::from);
    let (root, certificate, key) = (file("sslrootcert"), file("sslcert"), file("sslkey"));
    if certificate.is_some() != key.is_some() {
        mistakes.add(fields.at, format!("{} needs sslcert and sslkey together; add the other", fields.place));
    }
    Tls { mode, root, own: certificate.zip(key) }
}

fn ssl_mode(text: &str) -> Result<SslMode, String> {
    SslMode::from_name(text).ok_or_else(|| {
        let names = SslMode::NAMES.map(|(name, _)| name);
        let hint = suggest(text, names.into_iter()).unwrap_or_else(|| format!("; write one of {}", names.join(", ")));
        format!("is '{text}', no mode of TLS{hint}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const GOOD: &str = "app: t
kafka: { brokers: b }
sources: { events: { topic: in } }
outputs: { rows: { from: events } }
sinks:
  s:
    from: rows
    enabled: \"${SAVE:-true}\"
    batch: { rows: \"${ROWS:-100}\", interval: \"${SECONDS:-60}s\" }
    postgres:
      host: \"${DB_HOST:-localhost}\"
      dbname: d
      user: u
      password: \"${DB_PASSWORD:-}\"
      table: public.t
      mode: upsert
      key: [a, b]
      columns: { a: window.start }
      connections: { min: \"${DB_MIN:-2}\", max: \"${DB_MAX:-10}\" }
      metrics: { table: m, enabled: \"${METRICS:-false}\" }
";

    fn lines(text: &str) -> Vec<String> {
        parse(text, "t.yaml", &|_| None).err().map(|e| e.lines).unwrap_or_default()
    }

    #[test]
    fn a_sink_is_read_with_its_variables() {
        let env = |name: &str| match name {
            "SAVE" => Some("False".to_owned()),
            "DB_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        };
        let loaded = parse(GOOD, "t.yaml", &env).unwrap();
        let sink = &loaded.sinks[0];
        let Target::Postgres(p) = &sink.target;
        assert_eq!((&*sink.topic, sink.enabled, sink.group("t").as_str()), ("rows", false, "t-sink-s"));
        assert_eq!(sink.batch, BatchSpec { rows: 100, interval: Duration::from_secs(60) });
        assert_eq!((p.mode, p.connections, &p.metrics), (Mode::Upsert, Connections { min: 2, max: 10 }, &None));
        assert_eq!(p.columns, [("a".to_owned(), crate::expr::parse_path("window.start").unwrap())]);
        assert!(!format!("{sink:?}").contains("secret"), "no secret in a log");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (old, new, says) in [
            (
                "from: rows",
                "from: rosw",
                "t.yaml:7:11: sink 's' is from 'rosw', which is no output; did you mean 'rows'?",
            ),
            (
                "mode: upsert",
                "mode: merge",
                "t.yaml:16:13: 'mode' in postgres of sink 's' is 'merge'; write upsert or insert",
            ),
            ("key: [a, b]", "key: []", "has mode upsert and no 'key'; name the columns that name a row"),
            ("dbname: d", "url: \"postgres://u:secret@h/d\"", "must name its server in one way"),
            ("password: ", "url_file: f\n      password_file: ", "must name its server in one way"),
            ("DB_MIN:-2", "DB_MIN:-20", "min is above max; lower it"),
            ("table: public.t", "table: a.b.c", "is 'a.b.c'; write TABLE or SCHEMA.TABLE"),
            ("host: ", "sslmode: verify\n      host: ", "is 'verify', no mode of TLS"),
            ("SAVE:-true", "SAVE:-perhaps", "'enabled' in sink 's' is 'perhaps'; write true or false"),
            ("ROWS:-100", "ROWS:-1000000", "is '1000000'; write at most 100000"),
        ] {
            assert!(GOOD.contains(old), "{old}");
            let found = lines(&GOOD.replacen(old, new, 1));
            assert!(found.iter().any(|l| l.contains(says)), "{says}\n{found:#?}");
            assert!(!found.iter().any(|l| l.contains("secret")), "{found:#?}");
        }
    }
}
