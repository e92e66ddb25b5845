//! The log: standard error, one line an event; text for a terminal, JSON for everything else.
//!
//! Started once by `cli`, and with it the spans of [`trace`](crate::trace), which go the same way through `tracing`.
//! The level comes from `TIDEMILL_LOG`, in the notation of tracing's EnvFilter; `TIDEMILL_LOG_FORMAT` is `json` or `text`.
//! A line that is written inside of a span has its `trace_id` and `span_id`, and the `correlation_id` that goes with it.
//! Invariant: one event is one line, whatever its text holds: control characters are escaped.

use crate::trace;
use std::fmt::{self, Write};
use std::io::IsTerminal;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What the libraries below the exporter say of every frame is nobody's concern, whatever the level.
const QUIET: [&str; 6] = ["h2=info", "hyper=info", "hyper_util=info", "tonic=info", "tower=info", "opentelemetry=off"];

/// Starts the log, and the spans if `traced` and an endpoint is named. What cannot be read of either falls back to its
/// default, and says so.
pub fn start(traced: bool) {
    let wanted = variable("TIDEMILL_LOG").or_else(|| variable("RUST_LOG")).unwrap_or_else(|| "info".to_owned());
    let (filter, wrong) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let quiet = QUIET.iter().map(|d| d.parse().expect("directives that are written here parse"));
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let format = variable("TIDEMILL_LOG_FORMAT");
    let form = match (format.as_deref(), std::io::stderr().is_terminal()) {
        (Some("json"), _) => Form::Json,
        (Some("text"), terminal) | (_, terminal @ true) => {
            if terminal {
                Form::Coloured
            } else {
                Form::Text
            }
        }
        (_, false) => Form::Json,
    };
    let (spans, off) = match traced.then(trace::start) {
        Some(Ok(layer)) => (layer, None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    tracing_subscriber::registry().with(layer(form, std::io::stderr).with_filter(filter)).with(spans).init();
    if let Some(error) = wrong {
        tracing::warn!(%error, "TIDEMILL_LOG is not a level; using info");
    }
    if let Some(format) = format.filter(|f| !["json", "text"].contains(&f.as_str())) {
        tracing::warn!(format, "TIDEMILL_LOG_FORMAT is neither json nor text");
    }
    if let Some(cause) = off {
        tracing::warn!(cause, "tracing is off");
    }
}

/// The lines, in this form.
fn layer<S, W>(form: Form, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match form {
        Form::Json => {
            let format = Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
            lines.json().event_format(Lines { format, form }).boxed()
        }
        Form::Text | Form::Coloured => {
            let format = Format::default().with_target(false).with_ansi(false);
            lines.with_ansi(false).event_format(Lines { format, form }).boxed()
        }
    }
}

/// A variable of the environment; one that is empty counts as absent.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A format, with the ids of the span that a line belongs to, and nothing in it that could break the line.
struct Lines<F> {
    format: F,
    form: Form,
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        finish(&mut line, self.form, &trace::here());
        if self.form == Form::Coloured {
            colour(&mut line, *event.metadata().level());
        }
        writer.write_str(&line)
    }
}

/// Escapes what could break the line, and adds the ids.
fn finish(line: &mut String, form: Form, here: &trace::Here) {
    line.truncate(line.trim_end_matches('\n').len());
    if line.contains(is_unprintable) {
        let mut clean = String::with_capacity(line.len() + 16);
        for c in line.chars() {
            match is_unprintable(c) {
                true => write!(clean, "\\u{:04x}", u32::from(c)).expect("memory takes every character"),
                false => clean.push(c),
            }
        }
        *line = clean;
    }
    for (name, value) in here.fields() {
        let written = match form {
            Form::Json => {
                line.truncate(line.len() - 1);
                write!(line, ",\"{name}\":\"{value}\"}}")
            }
            Form::Text | Form::Coloured => write!(line, " {name}={value}"),
        };
        written.expect("memory takes every character");
    }
    line.push('\n');
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Text,
    Coloured,
}

fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Colours the word of the level, which stands behind the time, in a line that is clean: values bring no colours along.
fn colour(line: &mut String, level: tracing::Level) {
    let code = match level {
        tracing::Level::ERROR => 31,
        tracing::Level::WARN => 33,
        tracing::Level::INFO => 32,
        tracing::Level::DEBUG => 34,
        tracing::Level::TRACE => 35,
    };
    if let Some(at) = line.find(level.as_str()) {
        line.replace_range(at..at + level.as_str().len(), &format!("\u{1b}[{code}m{level}\u{1b}[0m"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written in this form.
    fn written(form: Form, say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::registry().with(layer(form, move || to.clone()));
        tracing::subscriber::with_default(subscriber, say);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const NASTY: &str = "a\nb\r\u{1b}[31mc\u{7f}\u{85}\u{2028}d\u{0}\"\\";

    #[test]
    fn one_event_is_one_line_whatever_it_holds() {
        for form in [Form::Json, Form::Text, Form::Coloured] {
            let line = written(form, || tracing::info!(field = NASTY, shown = %NASTY, "said {NASTY}"));
            assert!(line.ends_with('\n'));
            let bad = |c: char| c.is_control() && (c != '\u{1b}' || form != Form::Coloured);
            assert!(!line.trim_end_matches('\n').contains(bad), "{form:?}: {line:?}");
            let colours = if form == Form::Coloured { 2 } else { 0 };
            assert_eq!(line.matches('\u{1b}').count(), colours, "{form:?}: {line:?}");
        }
    }

    #[test]
    fn json_says_what_it_was_given() {
        let line = written(Form::Json, || tracing::info!(number = 7, flag = true, text = NASTY, "hello"));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["number"], &value["flag"]), (&7.into(), &true.into()));
        assert_eq!(
            (&value["text"], &value["message"], &value["level"]),
            (&NASTY.into(), &"hello".into(), &"INFO".into())
        );
        assert!(value.get("trace_id").is_none() && value.get("correlation_id").is_none());
    }

    #[test]
    fn a_line_has_the_ids_of_what_it_belongs_to() {
        let ids = trace::Ids { trace: [0xab; 16], span: [0xcd; 8], flags: 1 };
        let say = || {
            let _here = trace::within(Some(ids), Some("order-7"));
            tracing::info!("hello");
        };
        let value: serde_json::Value = serde_json::from_str(&written(Form::Json, say)).unwrap();
        assert_eq!((&value["trace_id"], &value["span_id"]), (&"ab".repeat(16).into(), &"cd".repeat(8).into()));
        assert_eq!(value["correlation_id"], "order-7");
        assert!(written(Form::Text, say).ends_with(" correlation_id=order-7\n"));
    }
}
