//! `tidemill simulate user-events`: sends simulated events to Kafka, or prints them, and says what they come to.
//!
//! Called by `cli`. What is sent is `simulate/`'s to say; here is when, and to where.
//! Invariant: what is printed at the end counts only records that are in the topic.

use super::Output;
use crate::clock;
use crate::http::serve_metrics;
use crate::kafka::{Connection, Fault, Sender, librdkafka_version};
use crate::simulate::{EventType, Generator, Made, Settings, Shares, Spacing, Times};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemill_observability::metrics::{About, Simulator};
use tidemill_observability::trace;
use tidemill_state::rocksdb_version;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Page views, clicks, purchases, searches, logins and logouts of many users; see the README for its variables.
    UserEvents(Args),
}

#[derive(clap::Args)]
pub struct Args {
    /// How many records in all, faults included; default: until it is stopped, or until the span is over.
    #[arg(long)]
    records: Option<u64>,
    /// Records a second, or `max`; default: exponential gaps from $PRODUCER_MIN_INTERVAL to $PRODUCER_MAX_INTERVAL seconds.
    #[arg(long, value_parser = rate)]
    rate: Option<Rate>,
    /// Share of records that are sent again.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// Share of events out of order, within half of the grace.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    disorder: f64,
    /// Share of events that come an hour after the grace, or later still.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    late: f64,
    /// Share of records that no reader can accept.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    broken: f64,
    /// The grace of the window that reads them.
    #[arg(long, default_value = "10m", value_parser = duration)]
    grace: Duration,
    /// Seed of all choices; with --start the same records come again. Default: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Time of the first event, as RFC 3339; default: now, or one --span ago.
    #[arg(long, value_parser = time)]
    start: Option<i64>,
    /// Event times cover this much: 6h, 90m. With --records evenly, else in the gaps above.
    #[arg(long, value_parser = duration)]
    span: Option<Duration>,
    /// Default: $KAFKA_TOPIC, else user-events.
    #[arg(long)]
    topic: Option<String>,
    /// Default: $KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.
    #[arg(long)]
    brokers: Option<String>,
    /// A property of the Kafka client, as k=v; may be repeated.
    #[arg(long, value_parser = property)]
    property: Vec<(String, String)>,
    /// Print the records, one JSON object a line, instead of sending them; what to expect goes to standard error.
    #[arg(long)]
    print: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Max,
    PerSecond(f64),
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    number.map(Rate::PerSecond).ok_or_else(|| "write records a second, or max".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| "write a share from 0 to 1, as 0.05".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    match tidemill_topology::yaml::duration(text)? {
        Duration::ZERO => Err("is zero; write a longer duration".to_owned()),
        duration => Ok(duration),
    }
}

fn time(text: &str) -> Result<i64, String> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(|t| t.as_millisecond()).map_err(|_| "write a time as 2026-01-01T10:00:00Z".to_owned())
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write it as name=value".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A variable of the environment; one that is empty counts as absent.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr + PartialOrd + Default>(name: &str, default: T) -> Result<T, Fault> {
    let Some(text) = variable(name) else { return Ok(default) };
    let number = text.parse::<T>().ok().filter(|n| *n >= T::default());
    number.ok_or_else(|| Fault::configuration(format!("{name} is '{text}'; write a number of 0 or more")))
}

pub fn run(command: &Command, output: Output) -> Result<(), Fault> {
    let Command::UserEvents(args) = command;
    let settings = settings(args)?;
    let stop = hear_signals()?;
    let seed = settings.seed;
    let mut generator = Generator::new(settings);
    if args.print {
        print(&mut generator, &stop)?;
        let text =
            if output == Output::Json { generator.expected().json().to_string() } else { generator.expected().table() };
        eprintln!("{text}");
        return Ok(());
    }
    let topic = args.topic.clone().or_else(|| variable("KAFKA_TOPIC")).unwrap_or_else(|| "user-events".to_owned());
    let brokers = args.brokers.clone().or_else(|| variable("KAFKA_BOOTSTRAP_SERVERS"));
    let brokers = brokers.unwrap_or_else(|| "localhost:9092".to_owned());
    let properties: BTreeMap<String, String> = args.property.iter().cloned().collect();
    let metrics = show_metrics(&topic)?;
    let failed = metrics.produced().errors.clone();
    let connection = Connection::of_tool("simulate", &brokers, properties)?;
    let sender = Sender::open(&connection, &topic, Box::new(move || failed.add(&[], 1)))?;
    send(&mut generator, (&sender, &metrics, &topic), args.rate, &stop)?;
    sender.flush()?;
    let expected = generator.expected();
    match output {
        Output::Table => {
            println!("{} records are in {topic}, seed {seed}; expect of them:\n\n{}", expected.sent, expected.table());
        }
        Output::Json => {
            let mut all = expected.json();
            (all["topic"], all["seed"]) = (topic.into(), seed.into());
            println!("{all}");
        }
    }
    Ok(())
}

fn settings(args: &Args) -> Result<Settings, Fault> {
    let shares = Shares { duplicates: args.duplicates, disorder: args.disorder, late: args.late, broken: args.broken };
    let all = shares.duplicates + shares.disorder + shares.late + shares.broken;
    if all > 1.0 {
        return Err(Fault::configuration(format!("the shares of faults make {all}; together they are at most 1")));
    }
    let spacing = Spacing { min: number("PRODUCER_MIN_INTERVAL", 0.1)?, max: number("PRODUCER_MAX_INTERVAL", 5.0)? };
    if spacing.min > spacing.max || spacing.max <= 0.0 {
        let cause = format!("PRODUCER_MIN_INTERVAL {} and PRODUCER_MAX_INTERVAL {}", spacing.min, spacing.max);
        return Err(Fault::configuration(format!("{cause}: the first is at most the second, and that is above 0")));
    }
    let span = args.span.map(|span| span.as_millis() as i64);
    let start = args.start.or_else(|| span.map(|span| clock::now() - span));
    let times = match (start, span, args.records) {
        (None, _, _) => Times::Now,
        (Some(start), Some(span), Some(records)) => Times::Spread { start, span, records },
        (Some(start), span, _) => Times::Walk { start, end: span.map(|span| start + span) },
    };
    Ok(Settings {
        seed: args.seed.map_or_else(new_seed, Ok)?,
        users: number("PRODUCER_USER_COUNT", 1_000)?.max(1),
        spacing,
        shares,
        times,
        grace: args.grace.as_millis() as i64,
        records: args.records,
    })
}

/// Serves metrics on `$METRICS_PORT_PRODUCER`, else `$METRICS_PORT`, else 8001. Several simulators may run at once: one whose
/// port is taken goes on without.
fn show_metrics(topic: &str) -> Result<Simulator, Fault> {
    let about = About {
        app: "simulate".to_owned(),
        instance: std::process::id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        librdkafka: librdkafka_version(),
        rocksdb: rocksdb_version().to_owned(),
    };
    let metrics = Simulator::new(&about);
    let produced = metrics.produced();
    EventType::ALL.iter().for_each(|kind| produced.events.add(&[kind.name()], 0));
    produced.events.add(&["broken"], 0);
    produced.bytes.add(&["out", "producer", topic], 0);
    let port = number::<u16>("METRICS_PORT_PRODUCER", number("METRICS_PORT", 8001)?)?;
    let shown = metrics.clone();
    if let Err(fault) = serve_metrics(port, move || shown.text()) {
        tracing::warn!(cause = fault.cause, "no metrics; set METRICS_PORT_PRODUCER");
    }
    Ok(metrics)
}

fn new_seed() -> Result<u64, Fault> {
    // Short enough to be typed.
    getrandom::u32().map(u64::from).map_err(|e| Fault::failed(format!("no random numbers: {e}; give --seed")))
}

/// The first signal ends the sending, a second one the process.
fn hear_signals() -> Result<Arc<AtomicBool>, Fault> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let again = signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone());
        let first = again.and_then(|_| signal_hook::flag::register(signal, stop.clone()));
        first.map_err(|e| Fault::failed(format!("cannot listen for signals: {e}")))?;
    }
    Ok(stop)
}

fn print(generator: &mut Generator, stop: &AtomicBool) -> Result<(), Fault> {
    let failed = |e: std::io::Error| Fault::failed(format!("standard output: {e}"));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while !stop.load(Ordering::Relaxed)
        && let Some(Made { key, value, timestamp, kind, .. }) = generator.make(clock::now())
    {
        let value = String::from_utf8_lossy(&value);
        let line = serde_json::json!({ "key": key, "timestamp": timestamp, "kind": kind.name(), "value": value });
        writeln!(out, "{line}").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// With its span's context and an id of its own in the headers, while spans are made: what a source system does that is traced.
fn produce(sender: &Sender, made: &Made) -> Result<(), Fault> {
    let send = |headers: &[(&str, &str)]| sender.send(made.key.as_bytes(), &made.value, (made.timestamp, headers));
    if !trace::is_on() {
        return send(&[]);
    }
    let random = || getrandom::u64().map_err(|e| Fault::failed(format!("no random numbers: {e}")));
    let correlation = format!("{:016x}{:016x}", random()?, random()?);
    let span = trace::send(sender.topic(), &correlation);
    match span.as_ref().and_then(|span| span.traceparent()) {
        Some(context) => send(&[("traceparent", &context), ("correlation_id", &correlation)]),
        None => send(&[]),
    }
}

fn send(
    generator: &mut Generator,
    (sender, metrics, topic): (&Sender, &Simulator, &str),
    rate: Option<Rate>,
    stop: &AtomicBool,
) -> Result<(), Fault> {
    let produced = metrics.produced();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let Some(made) = generator.make(clock::now()) else { break };
        produce(sender, &made)?;
        let kind = made.event_type.map_or("broken", EventType::name);
        produced.events.add(&[kind], 1);
        produced.bytes.add(&["out", "producer", topic], (made.key.len() + made.value.len()) as u64);
        produced.size.observe("", made.value.len() as f64, 1);
        due += match rate {
            Some(Rate::Max) => Duration::ZERO,
            Some(Rate::PerSecond(n)) => Duration::from_secs_f64(1.0 / n),
            None => Duration::from_secs_f64(made.spacing),
        };
        // In short sleeps, in which deliveries are served and a signal is seen.
        while !stop.load(Ordering::Relaxed)
            && let Some(left) = due.checked_duration_since(Instant::now())
        {
            sender.serve(left.min(Duration::from_millis(50)))?;
        }
    }
    Ok(())
}
