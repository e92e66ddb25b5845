//! `make trace`: one trace from the producer's record to the row, read back through Jaeger's API; again for a window in whose
//! middle a process is killed and its tasks move. `JAEGER_BIN` names the program that tests/stack/jaeger/build has made.
//! Knows the product from outside. Invariant: every step is looked up by the id that the step before has given.

mod jaeger;

use jaeger::{Jaeger, Span};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use tidemill_harness::process::{Process, Start, program};
use tidemill_harness::traced::{LONG, World};

/// Of a window, ms.
const WINDOW: i64 = 30_000;
/// Grace, idle, commits and the sink, behind a window's end.
const SLACK: Duration = Duration::from_secs(60);

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The next window that has not begun.
fn next_window() -> i64 {
    (now().div_euclid(WINDOW) + 1) * WINDOW
}

fn wait_until(ms: i64) {
    std::thread::sleep(Duration::from_millis((ms - now()).max(0) as u64));
}

/// As the table has it.
fn hour(world: &World, ms: i64) -> String {
    world.db.one(&format!("SELECT to_timestamp({}) AT TIME ZONE 'UTC'", ms / 1_000))
}

/// The producer, at its own pace until it is stopped.
fn produce(world: &World, jaeger: &Jaeger) -> Result<Process, String> {
    let args = ["simulate", "user-events", "--rate", "60", "--broken", "0.02"].map(str::to_owned).into();
    let env = vec![
        ("KAFKA_BOOTSTRAP_SERVERS".to_owned(), world.bootstrap.clone()),
        ("OTEL_SERVICE_NAME".to_owned(), "shop".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), jaeger.http_endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "200".to_owned()),
    ];
    Process::start(&Start { program: program("TIDEMILL_BIN", "tidemill"), args, env, log: world.log("shop") })
}

/// A row, the span that said it, and the producer's spans that it links to.
struct Followed {
    kind: String,
    said: Span,
    origins: Vec<Span>,
}

/// Follows every row of a window; an error says at which step a trace was lost.
fn follow(world: &World, jaeger: &Jaeger, window: i64) -> Result<Vec<Followed>, String> {
    let rows = world.rows(&hour(world, window));
    if rows.len() < 3 {
        return Err(format!("only {} rows for {}", rows.len(), hour(world, window)));
    }
    let of = |(kind, (_, trace)): (String, (u64, String))| {
        let said = follow_row(jaeger, &trace).map_err(|e| format!("{kind}: {e}"))?;
        let origins = follow_links(jaeger, &said).map_err(|e| format!("{kind}: {e}"))?;
        Ok(Followed { kind, said, origins })
    };
    rows.into_iter().map(of).collect()
}

/// The span that said a row, in its trace; the sink's span must be its child.
fn follow_row(jaeger: &Jaeger, trace: &str) -> Result<Span, String> {
    let spans = jaeger.trace(trace)?;
    let named = |name: &str| spans.iter().find(|s| s.name == name).cloned();
    let said = named("send hourly-aggregations").ok_or(format!("trace {trace} has no span that said it"))?;
    let stored = named("INSERT hourly_aggregations").ok_or(format!("no span of the sink in {trace}"))?;
    match (said.tag("tidemill.result"), stored.parent.as_deref() == Some(&said.id)) {
        ("final", true) => Ok(said),
        ("final", false) => Err("the sink's span is no child of the one that said the row".to_owned()),
        _ => Err("not final yet".to_owned()),
    }
}

/// The producer's spans that a result links to.
fn follow_links(jaeger: &Jaeger, said: &Span) -> Result<Vec<Span>, String> {
    let mut origins = Vec::new();
    for (trace, span) in &said.links {
        let found = jaeger.trace(trace)?.into_iter().find(|s| s.id == *span);
        let found = found.ok_or(format!("the link to {trace}/{span} leads nowhere"))?;
        if (&*found.name, &*found.service) != ("send user-events", "shop") {
            return Err(format!("it links to {} of {}", found.name, found.service));
        }
        origins.push(found);
    }
    if origins.is_empty() { Err("it links to nothing".to_owned()) } else { Ok(origins) }
}

fn follow_patiently(world: &World, jaeger: &Jaeger, window: i64) -> Result<Vec<Followed>, String> {
    wait_until(window + WINDOW);
    let deadline = Instant::now() + SLACK;
    loop {
        match follow(world, jaeger, window) {
            Ok(all) => return Ok(all),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}

fn print(world: &World, window: i64, all: &[Followed]) {
    println!("window {}:", hour(world, window));
    for Followed { kind, said, origins } in all {
        println!(
            "  {kind:<10} row -> trace {} -> {} links to send user-events -> INSERT hourly_aggregations",
            said.trace,
            origins.len()
        );
    }
}

fn ready(process: &Process) -> Result<(), String> {
    process.wait_message("all tasks ready", LONG).map(drop).ok_or_else(|| "a process does not become ready".to_owned())
}

/// A window in peace.
fn calm(world: &World, jaeger: &Jaeger) -> Result<(), String> {
    let window = next_window();
    let all = follow_patiently(world, jaeger, window)?;
    print(world, window, &all);
    Ok(())
}

/// A window in whose middle its process is killed and comes back; then another one joins, and tasks move.
fn torn(world: &World, jaeger: &Jaeger, one: &mut Process) -> Result<Process, String> {
    let window = next_window();
    wait_until(window + 9_000);
    one.kill();
    let killed = now();
    *one = world.mill("one", &[]);
    wait_until(window + 15_000);
    let two = world.mill("two", &[]);
    ready(&two)?;
    let moved = now();
    println!("killed {} ms into the window; tasks had moved after {} ms", killed - window, moved - window);
    let all = follow_patiently(world, jaeger, window)?;
    print(world, window, &all);
    let times: Vec<i64> = all.iter().flat_map(|f| &f.origins).map(|origin| origin.began / 1_000).collect();
    let (before, behind) =
        (times.iter().filter(|t| **t < killed).count(), times.iter().filter(|t| **t > moved).count());
    println!("of {} links {before} lead to before the kill and {behind} to behind the move", times.len());
    let tasks: BTreeSet<&str> = all.iter().map(|f| f.said.tag("tidemill.task")).collect();
    println!("said by the tasks {tasks:?}");
    if before == 0 || behind == 0 { Err("the sample did not survive".to_owned()) } else { Ok(two) }
}

fn run() -> Result<(), String> {
    let jaeger = Jaeger::start()?;
    let endpoint = jaeger.grpc_endpoint();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("WINDOW", "30s"),
        ("GRACE", "2s"),
        ("IDLE", "3s"),
    ];
    let world = World::start(4, &env);
    let mut one = world.mill("one", &[]);
    ready(&one)?;
    let mut shop = produce(&world, &jaeger)?;
    calm(&world, &jaeger)?;
    let mut two = torn(&world, &jaeger, &mut one)?;
    for process in [&mut shop, &mut one, &mut two] {
        process.terminate();
        process.wait(LONG);
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("every row was followed to its producer and to its sink");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trace: {error}");
            ExitCode::FAILURE
        }
    }
}
