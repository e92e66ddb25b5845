//! A webhook that Alertmanager tells: which alerts fire and which are over. Plain HTTP on a thread.
//! Invariant: what was told stays, in its order.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An alert's name and whether it fires.
type Told = Arc<Mutex<Vec<(String, bool)>>>;

pub struct Webhook {
    pub port: u16,
    told: Told,
}

impl Webhook {
    pub fn start() -> Result<Webhook, String> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
        let port = socket.local_addr().map_err(|e| e.to_string())?.port();
        let told = Told::default();
        let tell = told.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if let Some(body) = body(stream) {
                    tell.lock().unwrap_or_else(PoisonError::into_inner).extend(alerts(&body));
                }
            }
        });
        Ok(Webhook { port, told })
    }

    /// How often an alert was said to fire, or to be over.
    pub fn count(&self, name: &str, fires: bool) -> usize {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|(n, f)| n == name && *f == fires).count()
    }

    /// Waits for more than `before` of them.
    pub fn expect(&self, name: &str, fires: bool, before: usize, within: Duration) {
        let word = if fires { "fires" } else { "is over" };
        super::expect(within, &format!("{name} {word}"), || match self.count(name, fires) {
            n if n > before => Ok(()),
            _ => Err(format!("{:?}", self.told.lock().unwrap_or_else(PoisonError::into_inner))),
        });
    }
}

fn body(stream: TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    serde_json::from_slice(&body).ok()
}

fn alerts(body: &Value) -> Vec<(String, bool)> {
    let all = body["alerts"].as_array().into_iter().flatten();
    all.filter_map(|alert| Some((alert["labels"]["alertname"].as_str()?.to_owned(), alert["status"] == "firing")))
        .collect()
}
