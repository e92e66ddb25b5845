//! `GET /query/STEP?FIELD=VALUE&window=START&limit=N`: the open windows of a grouping.
//!
//! Reads the stores of the tasks that run here, has peers answer for the rest, and puts the parts together.
//! Invariant: every partition that may hold the answer has answered, from one moment of its store; or nobody gets any.

use super::access;
use super::desk::{Desk, Reply};
use super::peers;
use crate::roster::Phase;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_topology::{Ask, Question, Refusal, TaskId, Unanswered};

/// The header of a question that a peer passes on, with the application's name; it is not passed on again.
pub(super) const PASSED_ON: &str = "tidemill-passed-on";
const LIMIT: usize = 1_000;
const HIGHEST_LIMIT: usize = 10_000;
/// Bytes behind the question mark.
const LONGEST: usize = 8 << 10;
/// What reading here may take, of all tasks together: a store that is read cannot be let go of.
const READING: Duration = Duration::from_secs(5);

/// A question, and how it came.
pub(super) struct Asked {
    pub question: Question,
    /// As it is asked of peers.
    pub path: String,
    passed_on: bool,
}

/// What one partition says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The input position that it stands for.
    pub position: i64,
    pub stream_time: i64,
    /// Each window's start and its row.
    pub rows: Vec<(i64, Value)>,
    pub more: bool,
}

/// The parts so far, and why there is none of the other partitions.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub parts: BTreeMap<i32, Part>,
    pub missing: BTreeMap<i32, String>,
    /// Peers that did not answer, and why.
    pub silent: Vec<String>,
}

pub async fn ask(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    let asked = match access::admit(&request, &desk).and_then(|()| read(&request, &desk)) {
        Ok(asked) => asked,
        Err(refused) => return refused.into(),
    };
    let permits = if asked.passed_on { &desk.passed_on } else { &desk.asked };
    let Some(permit) = permits.take() else {
        return Reply::refusal(503, "busy", "too many questions at a time; ask again").into();
    };
    let answered = web::block(move || {
        let reply = answer(&desk, &asked).unwrap_or_else(|refused| refused);
        drop(permit);
        reply
    });
    answered.await.unwrap_or_else(|e| Reply::refusal(500, "failed", e.to_string())).into()
}

fn read(request: &HttpRequest, desk: &Desk) -> Result<Asked, Reply> {
    let wrong = |message: &str| Reply::refusal(400, "question", message);
    let passed_on = request.headers().get(PASSED_ON);
    if passed_on.is_some_and(|app| app.as_bytes() != desk.facts.app.as_bytes()) {
        return Err(wrong(&format!("this is application '{}'; check http.peers", desk.facts.app)));
    }
    let text = request.query_string();
    if text.len() > LONGEST {
        return Err(wrong(&format!("more than {LONGEST} bytes; name fewer fields")));
    }
    let pairs = web::Query::<Vec<(String, String)>>::from_query(text);
    let pairs = pairs.map_err(|_| wrong("unreadable; write FIELD=VALUE&FIELD=VALUE, percent-encoded"))?.into_inner();
    let (mut fields, mut window, mut limit) = (Vec::new(), None, LIMIT);
    for (name, value) in pairs {
        match name.as_str() {
            "window" => window = Some(value),
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=HIGHEST_LIMIT).contains(n));
                limit = number.ok_or_else(|| wrong(&format!("limit '{value}': write 1 to {HIGHEST_LIMIT}")))?;
            }
            // A field that is called `window` or `limit`.
            _ => fields.push((name.strip_prefix("field.").map_or(name.clone(), str::to_owned), value)),
        }
    }
    let step = request.match_info().query("step");
    let ask = Ask { step, fields: &fields, window: window.as_deref(), limit };
    let question = desk.facts.topology.question(&ask).map_err(|refusal| match refusal {
        Refusal::NoStep(message) => Reply::refusal(404, "step", message),
        Refusal::Wrong(message) => wrong(&message),
    })?;
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    Ok(Asked { question, path, passed_on: passed_on.is_some() })
}

fn answer(desk: &Desk, asked: &Asked) -> Result<Reply, Reply> {
    let stage = asked.question.stage();
    let partitions = desk.facts.partitions.get(&*stage.topic).copied().unwrap_or(1);
    let mut gathered = local(desk, &asked.question, &asked.question.partitions(partitions))?;
    if asked.passed_on {
        return Ok(Reply::ok(gathered.to_json()));
    }
    if !gathered.missing.is_empty() {
        peers::ask(desk, asked, &mut gathered);
        gathered.keep(asked.question.limit());
    }
    match gathered.missing.is_empty() {
        true => Ok(whole(&asked.question, gathered)),
        false => Err(restoring(&asked.question, gathered)),
    }
}

/// The parts of the tasks that run here.
fn local(desk: &Desk, question: &Question, wanted: &BTreeSet<i32>) -> Result<Gathered, Reply> {
    let until = Instant::now() + READING;
    let mut gathered = Gathered::default();
    for partition in wanted {
        let task = question.stage().task(*partition);
        match part(desk, question, &task, until)? {
            Ok(part) => {
                gathered.parts.insert(*partition, part);
                gathered.keep(question.limit());
            }
            Err(why) => drop(gathered.missing.insert(*partition, why.to_owned())),
        }
    }
    Ok(gathered)
}

/// One task's part, or why it has none.
fn part(desk: &Desk, question: &Question, task: &TaskId, until: Instant) -> Result<Result<Part, &'static str>, Reply> {
    let roster = &desk.facts.roster;
    let Some(loan) = roster.lend(task) else {
        return Ok(Err(match roster.phase(task) {
            Some(Phase::Leaving) => "leaving",
            Some(_) => "restoring",
            None => "nobody has it",
        }));
    };
    let answered = question.answer(loan.store(), &|| Instant::now() < until).map_err(|e| {
        let status = if matches!(e, Unanswered::Late) { 503 } else { 500 };
        let error = if status == 503 { "slow" } else { "failed" };
        Reply::refusal(status, error, format!("task {task}: {e}"))
    })?;
    let named = answered.positions.iter().find(|p| p.topic == *task.topic && p.partition == task.partition);
    let position = named.map_or(loan.position, |p| p.offset);
    let (stream_time, rows, more) = (answered.stream_time, answered.rows, answered.more);
    Ok(Ok(Part { position, stream_time, rows, more }))
}

/// All parts as one answer: rows by window, then by partition.
fn whole(question: &Question, gathered: Gathered) -> Reply {
    let parts = gathered.parts;
    let mut rows: Vec<(i64, Value)> = Vec::new();
    let mut positions = Map::new();
    let times: Vec<i64> = parts.values().map(|part| part.stream_time).filter(|time| *time > i64::MIN).collect();
    let mut more = false;
    for (partition, part) in parts {
        positions.insert(partition.to_string(), json!(part.position));
        rows.extend(part.rows);
        more |= part.more;
    }
    let finished = || question.finished(times.iter().copied().min()?);
    if rows.is_empty()
        && let Some(message) = finished()
    {
        return Reply::refusal(404, "finished", message);
    }
    rows.sort_by_key(|(start, _)| *start);
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    let mut body = json!({ "rows": rows, "positions": { &*question.stage().topic: positions } });
    if more {
        body["truncated"] = json!(true);
    }
    Reply::ok(body)
}

fn restoring(question: &Question, gathered: Gathered) -> Reply {
    let stage = question.stage();
    let each = gathered.missing.iter().map(|(partition, why)| format!("{}: {why}", stage.task(*partition)));
    let missing: Vec<String> = each.collect();
    let mut reply = Reply::refusal(503, "restoring", format!("no whole answer now: {}; ask again", missing.join(", ")));
    reply.body["missing"] = json!(gathered.missing.keys().collect::<Vec<_>>());
    if !gathered.silent.is_empty() {
        reply.body["peers"] = json!(gathered.silent);
    }
    reply
}

impl Gathered {
    /// For the peer that passed the question on.
    fn to_json(&self) -> Value {
        let part = |(partition, part): (&i32, &Part)| {
            json!({ "partition": partition, "position": part.position, "stream_time": part.stream_time,
                "rows": part.rows, "more": part.more })
        };
        let missing: Vec<Value> = self.missing.iter().map(|(partition, why)| json!([partition, why])).collect();
        json!({ "parts": self.parts.iter().map(part).collect::<Vec<_>>(), "missing": missing })
    }

    /// What a peer said; `None`: that is no such answer.
    pub fn from_json(told: &Value) -> Option<Gathered> {
        let mut gathered = Gathered::default();
        for told in told.get("parts")?.as_array()? {
            let partition = i32::try_from(told.get("partition")?.as_i64()?).ok()?;
            let row = |row: &Value| Some((row.get(0)?.as_i64()?, row.get(1)?.clone()));
            let part = Part {
                position: told.get("position")?.as_i64()?,
                stream_time: told.get("stream_time")?.as_i64()?,
                rows: told.get("rows")?.as_array()?.iter().map(row).collect::<Option<_>>()?,
                more: told.get("more")?.as_bool()?,
            };
            gathered.parts.insert(partition, part);
        }
        for told in told.get("missing")?.as_array()? {
            let partition = i32::try_from(told.get(0)?.as_i64()?).ok()?;
            gathered.missing.insert(partition, told.get(1)?.as_str()?.to_owned());
        }
        Some(gathered)
    }

    /// Drops the rows that are beyond the limit, whatever else may come: first windows first, then first partitions.
    pub fn keep(&mut self, limit: usize) {
        if self.parts.values().map(|part| part.rows.len()).sum::<usize>() <= limit {
            return;
        }
        let places = self.parts.iter().flat_map(|(p, part)| part.rows.iter().map(|(start, _)| (*start, *p)));
        let mut places: Vec<(i64, i32)> = places.collect();
        places.sort_unstable();
        let mut kept: BTreeMap<i32, usize> = BTreeMap::new();
        places.into_iter().take(limit).for_each(|(_, partition)| *kept.entry(partition).or_default() += 1);
        for (partition, part) in &mut self.parts {
            let kept = kept.get(partition).copied().unwrap_or(0);
            part.more |= kept < part.rows.len();
            part.rows.truncate(kept);
        }
    }

    /// Takes in what a peer said. Of two that both had a partition, the one that had come further counts.
    pub fn add(&mut self, peer: &str, other: Gathered) {
        for (partition, part) in other.parts {
            self.missing.remove(&partition);
            let further = self.parts.get(&partition).is_none_or(|held| held.position < part.position);
            if further {
                self.parts.insert(partition, part);
            }
        }
        for (partition, why) in other.missing.into_iter().filter(|(_, why)| why == "restoring" || why == "leaving") {
            if let Some(before) = self.missing.get_mut(&partition) {
                *before = format!("{why} at {peer}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(position: i64, row: &str) -> Part {
        let digits = format!("{{\"n\":1.50,\"of\":\"{row}\"}}");
        Part { position, stream_time: 3, rows: vec![(0, serde_json::from_str(&digits).unwrap())], more: false }
    }

    #[test]
    fn a_peer_reads_what_was_written_digit_for_digit() {
        let mut gathered = Gathered::default();
        gathered.parts.insert(2, part(7, "x"));
        gathered.missing.insert(3, "restoring".into());
        let text = gathered.to_json().to_string();
        let read = Gathered::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((&read.parts, &read.missing), (&gathered.parts, &gathered.missing));
        assert!(text.contains("1.50"), "{text}");
        assert!(Gathered::from_json(&json!({ "error": "busy" })).is_none());
    }

    #[test]
    fn beyond_the_limit_the_last_windows_go_first() {
        let mut gathered = Gathered::default();
        for (partition, starts) in [(0, [1, 2, 3]), (1, [1, 1, 4])] {
            let rows = starts.map(|start| (start, json!(null))).into();
            gathered.parts.insert(partition, Part { position: 0, stream_time: 0, rows, more: false });
        }
        gathered.keep(4);
        let left = |partition| gathered.parts[&partition].rows.iter().map(|(start, _)| *start).collect::<Vec<_>>();
        assert_eq!((left(0), left(1)), (vec![1, 2], vec![1, 1]));
        assert!(gathered.parts.values().all(|part| part.more));
    }

    #[test]
    fn of_two_owners_the_one_that_came_further_counts() {
        let mut gathered = Gathered::default();
        gathered.missing.insert(0, "nobody has it".into());
        gathered.missing.insert(1, "nobody has it".into());
        for (peer, position) in [("a", 5), ("b", 9), ("c", 7)] {
            let mut other = Gathered::default();
            other.parts.insert(0, part(position, peer));
            other.missing.insert(1, if peer == "b" { "restoring".into() } else { "nobody has it".into() });
            gathered.add(peer, other);
        }
        assert_eq!(gathered.parts[&0], part(9, "b"));
        assert_eq!(gathered.missing, BTreeMap::from([(1, "restoring at b".to_owned())]));
    }
}
