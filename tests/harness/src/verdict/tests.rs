//! The verdict must see what is lost, doubled or wrong. Knows no Kafka. Invariant: each damage has its own test.

use super::*;
use crate::feed::{Feed, Plan};
use crate::oracle::{First, Second, Sums, WINDOW};
use std::collections::HashMap;

/// Key and value.
type Bytes = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A plain program that does what the topology says, to a list a topic. It decides nothing by the oracle but the sums.
struct Outputs {
    first: First,
    second: Second,
    originals: HashMap<(i32, i64), Bytes>,
    kept: Vec<Row>,
    running: Vec<Row>,
    hourly: Vec<Row>,
    again: Vec<Row>,
    dead: Vec<Row>,
}

fn sums_json(sums: &Sums) -> String {
    let number = |number: Option<crate::oracle::Number>| number.map_or("null".to_owned(), |n| format!("{n:?}"));
    format!(
        "\"n\":{},\"total\":{},\"low\":{},\"high\":{}",
        sums.n,
        number(sums.total),
        number(sums.low),
        number(sums.high)
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push(rows: &mut Vec<Row>, key: &str, value: String, header: (&str, String)) {
    let headers = vec![(header.0.to_owned(), Some(header.1.into_bytes()))];
    let offset = rows.len() as i64;
    let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.into_bytes()));
    rows.push(Row { partition: 0, offset, timestamp: 1, key, value, headers });
}

fn task(sequence: usize) -> (&'static str, String) {
    ("tidemill-task", format!("events/in/0/{sequence}"))
}

fn said(sums: &Sums, key: &str, result: &str) -> String {
    format!("{{\"key\":{},{},\"result\":\"{result}\"}}", quoted(key), sums_json(sums))
}

fn every(rows: &mut Vec<Row>, histories: &HashMap<String, Vec<Sums>>, is_json: bool) {
    for (key, history) in histories.iter().collect::<std::collections::BTreeMap<_, _>>() {
        for sums in history {
            let record_key = if is_json { format!("{{\"key\":{}}}", quoted(key)) } else { key.clone() };
            let sequence = rows.len();
            push(rows, &record_key, said(sums, key, "update"), task(sequence));
        }
    }
}

fn windows(rows: &mut Vec<Row>, first: &First) {
    for ((key, start), window) in first.windows.iter().collect::<std::collections::BTreeMap<_, _>>() {
        let (end, count) = (start + WINDOW, window.history.len());
        let text = format!("[{key}@{start}/{end}]");
        let row = |sums: &Sums, result: &str| {
            let rest = said(sums, key, result);
            format!(
                "{{\"window\":{{\"start\":\"{}\",\"end\":\"{}\"}},{}",
                rows::utc(*start),
                rows::utc(end),
                &rest[1..]
            )
        };
        for (index, sums) in window.history.iter().enumerate() {
            if index % 3 == 0 || (index + 1 == count && !window.is_closed) {
                let sequence = rows.len();
                push(rows, &text, row(sums, "update"), task(sequence));
            }
        }
        if window.is_closed {
            let sequence = rows.len();
            push(rows, &text, row(&window.history[count - 1], "final"), task(sequence));
        }
    }
}

fn outputs() -> Outputs {
    let plan = Plan { seed: 3, records: 4_000, partitions: 2 };
    let (mut first, mut second) = (First::default(), Second::default());
    let (mut originals, mut kept, mut dead) = (HashMap::new(), Vec::new(), Vec::<Row>::new());
    let mut offsets = [0, 0];
    for record in Feed::new(plan) {
        let offset = offsets[record.partition as usize];
        offsets[record.partition as usize] += 1;
        let (key, value) = (record.key.map(String::into_bytes), record.value.map(String::into_bytes));
        let row = Row { partition: record.partition, offset, timestamp: 9, key, value, headers: Vec::new() };
        let (letters, copies) = (first.dead.len(), first.copies.get(&row.partition).map_or(0, Vec::len));
        first.take(&row);
        let source = format!("in/{}/{offset}", row.partition).into_bytes();
        let with = |more: &[(&str, &str)]| {
            let mut row = row.clone();
            row.headers.push(("tidemill-source".to_owned(), Some(source.clone())));
            row.headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec()))));
            row
        };
        if first.copies.get(&row.partition).map_or(0, Vec::len) > copies {
            kept.push(with(&[]));
            second.take(&kept[kept.len() - 1]);
        }
        if first.dead.len() > letters {
            let reason = if first.dead[&(row.partition, offset)] == "late" { "late: closed" } else { "json: no" };
            dead.push(with(&[("tidemill-reason", reason), ("tidemill-attempt", "1")]));
        }
        originals.insert((row.partition, offset), (row.key, row.value));
    }
    first.close();
    let (mut running, mut hourly, mut again) = (Vec::new(), Vec::new(), Vec::new());
    every(&mut running, &first.running, true);
    every(&mut again, &second.running, false);
    windows(&mut hourly, &first);
    Outputs { first, second, originals, kept, running, hourly, again, dead }
}

fn judge(outputs: &Outputs) -> Tally {
    let mut tally = Tally::default();
    let mut copies = Copies::new(&outputs.first, "kept", "in");
    outputs.kept.iter().for_each(|row| copies.take(row, &mut tally));
    copies.finish(&mut tally);
    let mut running = Results::json("running", &outputs.first.running);
    outputs.running.iter().for_each(|row| running.take(row, &mut tally));
    running.finish(&mut tally);
    let mut again = Results::plain("again", &outputs.second.running);
    outputs.again.iter().for_each(|row| again.take(row, &mut tally));
    again.finish(&mut tally);
    let mut hourly = Windows::new("hourly", &outputs.first);
    outputs.hourly.iter().for_each(|row| hourly.take(row, &mut tally));
    hourly.finish(&mut tally);
    let mut dead = DeadLetters::new(&outputs.first, &outputs.originals, "dead", "in");
    outputs.dead.iter().for_each(|row| dead.take(row, &mut tally));
    dead.finish(&mut tally);
    tally
}

fn figures(tally: &Tally) -> (u64, u64, u64) {
    (tally.lost, tally.duplicated, tally.wrong)
}

#[test]
fn right_outputs_are_right() {
    let outputs = outputs();
    let tally = judge(&outputs);
    assert!(tally.is_clean(), "{:#?}", tally.examples);
    let is_closed = |closed: bool| outputs.first.windows.values().filter(|window| window.is_closed == closed).count();
    assert!(is_closed(true) > 100 && is_closed(false) > 10);
    let late = outputs.first.dead.values().filter(|code| **code == "late").count();
    assert!(late > 5 && outputs.first.dead.len() > late + 5);
}

/// Damages one topic in three ways and gives what the verdict says to each.
fn damaged(topic: fn(&mut Outputs) -> &mut Vec<Row>, at: usize) -> [(u64, u64, u64); 3] {
    let lost = {
        let mut outputs = outputs();
        topic(&mut outputs).remove(at);
        figures(&judge(&outputs))
    };
    let duplicated = {
        let mut outputs = outputs();
        let rows = topic(&mut outputs);
        rows.insert(at + 1, rows[at].clone());
        figures(&judge(&outputs))
    };
    let wrong = {
        let mut outputs = outputs();
        let value = topic(&mut outputs)[at].value.as_mut().expect("the row has a value");
        let text =
            String::from_utf8_lossy(value).replace("\"total\":", "\"total\":1").replace("\"size\":", "\"size\":1");
        *value = text.into_bytes();
        figures(&judge(&outputs))
    };
    [lost, duplicated, wrong]
}

const EACH: [(u64, u64, u64); 3] = [(1, 0, 0), (0, 1, 0), (0, 0, 1)];

#[test]
fn a_copy_lost_doubled_or_changed_is_seen() {
    assert_eq!(damaged(|outputs| &mut outputs.kept, 1_000), EACH);
}

#[test]
fn a_running_result_lost_doubled_or_changed_is_seen() {
    let with_number = |rows: &[Row]| rows.iter().skip(500).position(has_number).expect("most have one") + 500;
    assert_eq!(damaged(|outputs| &mut outputs.running, with_number(&outputs().running)), EACH);
    assert_eq!(damaged(|outputs| &mut outputs.again, with_number(&outputs().again)), EACH);
}

fn has_number(row: &Row) -> bool {
    !String::from_utf8_lossy(row.value.as_deref().unwrap_or_default()).contains("null")
}

fn is_final(row: &Row) -> bool {
    String::from_utf8_lossy(row.value.as_deref().unwrap_or_default()).contains("\"final\"")
}

#[test]
fn a_final_lost_doubled_or_changed_is_seen() {
    let at = outputs().hourly.iter().position(|row| is_final(row) && has_number(row)).expect("windows close");
    assert_eq!(damaged(|outputs| &mut outputs.hourly, at), EACH);
}

#[test]
fn an_update_behind_the_final_or_with_less_than_before_is_wrong() {
    let mut outputs = outputs();
    let at = outputs.hourly.iter().position(is_final).expect("windows close");
    let row = outputs.hourly.remove(at - 1);
    outputs.hourly.insert(at, row);
    assert!(judge(&outputs).wrong > 0);
}

#[test]
fn results_out_of_order_are_wrong() {
    let mut outputs = outputs();
    outputs.running.swap(100, 101);
    outputs.kept.swap(100, 102);
    assert!(judge(&outputs).wrong >= 2);
}

#[test]
fn a_dead_letter_lost_doubled_or_of_another_reason_is_seen() {
    let mut fewer = outputs();
    fewer.dead.pop();
    let mut more = outputs();
    let again = more.dead[0].clone();
    more.dead.push(again);
    let mut other = outputs();
    let late = other.dead.iter_mut().find(|row| row.header("tidemill-reason") == Some("late: closed"));
    late.expect("some are late").headers[1].1 = Some(b"json: no".to_vec());
    assert_eq!([figures(&judge(&fewer)), figures(&judge(&more)), figures(&judge(&other))], EACH);
}

#[test]
fn state_is_compared_entry_by_entry() {
    let dump = r#"{"task":"again/kept/0","position":9,"checkpoint":{"positions":[{"topic":"kept","partition":0,"offset":7}],"stream_time":5}}
{"task":"again/kept/0","state":"second","window":null,"key":"a","value":{"n":2,"total":3.5,"low":1,"high":2.50}}
{"task":"again/kept/0","state":"second","window":null,"key":"b","value":{"n":1,"total":null,"low":null,"high":null}}"#;
    let number = |text| crate::oracle::Number::parse(text);
    let a = Sums { n: 2, total: number("3.5"), low: number("1"), high: number("2.5") };
    let mut second = Second::default();
    second.running.insert("a".to_owned(), vec![a]);
    second.running.insert("b".to_owned(), vec![Sums { n: 1, ..Sums::default() }]);
    let homes = HashMap::from([("a".to_owned(), 0), ("b".to_owned(), 0), ("c".to_owned(), 1)]);
    let check = |second: &Second, offset| {
        let mut tally = Tally::default();
        let dump = StateDump::read(dump).expect("it is a dump");
        let expected = Expected { homes: &homes, partition: 0, offset };
        expected.check_second("again/kept/0", &dump.tasks["again/kept/0"], second, &mut tally);
        figures(&tally)
    };
    let end = crate::oracle::TaskEnd { stream_time: 5, input: 3, output: 3, filtered: 0, late: 0, dead: 0 };
    second.ends.insert(0, end);
    assert_eq!(check(&second, 7), (0, 0, 0));
    assert_eq!(check(&second, 8), (0, 0, 1), "the group committed another offset");
    second.running.insert("c".to_owned(), vec![a]);
    assert_eq!(check(&second, 7), (0, 0, 0), "c lives on another partition");
    second.running.get_mut("a").expect("it is there")[0].n = 3;
    second.running.remove("b");
    assert_eq!(check(&second, 7), (0, 0, 2));
}
