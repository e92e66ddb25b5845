//! Asking the running process over HTTP, for `query` and `status`; and tables of what it says.
//!
//! Called by those two. Knows nothing of queries. Invariant: a refusal is one line with the process's own sentence.

use crate::http::{Token, client};
use crate::kafka::Fault;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tidemill_topology::Settings;

/// As long as a process may take to ask its peers, and a little.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks for `path` at `url`, else where the topology's `http.listen` says.
pub fn get(settings: &Settings, url: Option<&str>, path: &str) -> Result<Value, Fault> {
    let http = settings.http.as_ref();
    let base = match (url, http) {
        (Some(url), _) => url.to_owned(),
        (None, Some(http)) => {
            let mut listen = http.listen;
            match listen.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            format!("http://{listen}")
        }
        (None, None) => {
            let remedy = "add 'http: { listen: \"127.0.0.1:8002\" }' and start it again, or name one with --url";
            return Err(Fault::configuration(format!("the topology has no section 'http'; {remedy}")));
        }
    };
    let token = http.and_then(|http| http.token_file.as_deref()).map(Token::read).transpose()?.map(|t| t.header());
    let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", token.as_str())).collect();
    let answer = client::get(&base, path, &headers, PATIENCE)
        .map_err(|why| Fault::failed(format!("{base} does not answer: {why}; is it running?")))?;
    let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match (answer.status, told) {
        (200, Some(told)) => Ok(told),
        (status, told) => {
            let message =
                told.as_ref().and_then(|t| t["message"].as_str()).unwrap_or("it is no Tidemill, or another version");
            Err(Fault::failed(format!("{base}: {status}: {message}")))
        }
    }
}

/// Columns as wide as they must be; numbers to the right.
pub fn table(heads: &[String], rows: &[Vec<Value>]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
    let width = |column: usize| {
        let of = |cells: &Vec<String>| cells.get(column).map_or(0, |cell| cell.chars().count());
        cells.iter().map(of).chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let right = |column: usize| rows.iter().all(|row| row.get(column).is_none_or(|v| v.is_number() || v.is_null()));
    let shapes: Vec<(usize, bool)> = (0..heads.len()).map(|column| (width(column), right(column))).collect();
    let line = |cells: &[String]| {
        let pad = |(cell, (width, right)): (&String, &(usize, bool))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        };
        let line: Vec<String> = cells.iter().zip(&shapes).map(pad).collect();
        line.join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(line(heads)).chain(cells.iter().map(|cells| line(cells))).collect()
}

/// Control characters would move the terminal's cursor.
fn text(value: &Value) -> String {
    let raw = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    raw.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_numbers_stand_to_the_right() {
        let heads = ["who", "n"].map(str::to_owned);
        let rows = [vec![json!("a\u{1b}[2J"), json!(1)], vec![json!("b"), json!(100)], vec![Value::Null, Value::Null]];
        let expected = "who           n\na\\u{1b}[2J    1\nb           100\n-             -\n";
        assert_eq!(table(&heads, &rows), expected);
    }
}
