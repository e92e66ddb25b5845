//! `/live`, `/ready`, `/status`: how this process is.
//!
//! Called by the server. Reads the roster. Invariant: `/live` and `/ready` ask nobody else and wait for nothing.

use super::access;
use super::desk::{Desk, Facts, Reply};
use crate::roster::{Listed, Phase};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What asking for the ends of inputs may take, of all tasks together.
const PATIENCE: Duration = Duration::from_secs(2);

/// This thread answers; a process that cannot go on ends by itself.
pub async fn live() -> HttpResponse {
    Reply::ok(json!({ "live": true })).into()
}

pub async fn ready(desk: web::Data<Desk>) -> HttpResponse {
    let waiting = desk.facts.roster.unready();
    match waiting.is_empty() {
        true => Reply::ok(json!({ "ready": true })).into(),
        false => Reply { status: 503, body: json!({ "ready": false, "waiting": waiting }) }.into(),
    }
}

pub async fn status(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if let Err(refused) = access::admit(&request, &desk) {
        return refused.into();
    }
    let Some(permit) = desk.asked.take() else {
        return Reply::refusal(503, "busy", "too many questions at a time; ask again").into();
    };
    let told = web::block(move || {
        let told = tell(&desk.facts);
        drop(permit);
        told
    });
    match told.await {
        Ok(body) => Reply::ok(body).into(),
        Err(e) => Reply::refusal(500, "failed", e.to_string()).into(),
    }
}

fn tell(facts: &Facts) -> Value {
    let until = Instant::now() + PATIENCE;
    let mut asking = true;
    let tasks: Vec<Value> = facts.roster.list().iter().map(|listed| task(facts, listed, until, &mut asking)).collect();
    let waiting = facts.roster.unready();
    json!({
        "app": facts.app, "instance": facts.instance, "version": env!("CARGO_PKG_VERSION"),
        "ready": waiting.is_empty(), "waiting": waiting, "tasks": tasks,
    })
}

/// Brokers that do not answer once are not asked again for this answer.
fn task(facts: &Facts, listed: &Listed, until: Instant, asking: &mut bool) -> Value {
    let Listed { task, assignment, phase, restore } = listed;
    let stage = facts.topology.stage_of(&task.topic);
    let states: Vec<String> =
        stage.map_or(Vec::new(), |s| s.states().iter().map(|(name, _)| name.to_string()).collect());
    let mut told = json!({
        "task": task.to_string(), "stage": *task.stage, "topic": *task.topic, "partition": task.partition,
        "assignment": assignment, "phase": phase.word(), "states": states,
    });
    let Phase::Running(progress) = phase else {
        told["restored"] = json!((restore.share() * 1000.0).round() / 1000.0);
        told["since_seconds"] = json!(restore.began.elapsed().as_secs());
        return told;
    };
    *asking &= Instant::now() < until;
    let end = asking.then(|| (facts.end)(task)).flatten();
    *asking &= end.is_some();
    let time = jiff::Timestamp::from_millisecond(progress.stream_time).ok();
    let counts = &progress.counts;
    told["position"] = json!(progress.position);
    told["end"] = json!(end);
    told["lag"] = json!(end.map(|end| (end - progress.position).max(0)));
    told["stream_time"] = json!(time.filter(|_| progress.stream_time > i64::MIN).map(|time| time.to_string()));
    told["counts"] = json!({
        "in": counts.input, "out": counts.output, "filtered": counts.filtered, "duplicate": counts.duplicate,
        "late": counts.late, "dead": counts.dead,
    });
    told
}
