//! Other processes of the application, asked for the partitions that this one does not have.
//!
//! Called by queries, where blocking is allowed. Invariant: a question goes one hop, to all peers at once, and ends in time;
//! who does not answer is named.

use super::client;
use super::desk::Desk;
use super::query::{Asked, Gathered, PASSED_ON};
use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::time::Duration;
use tidemill_topology::Peer;

/// What a peer may take.
const PATIENCE: Duration = Duration::from_secs(7);
/// More are not asked.
const MOST: usize = 64;

/// Adds what the peers have to what is missing.
pub(super) fn ask(desk: &Desk, asked: &Asked, gathered: &mut Gathered) {
    let bases = bases(&desk.http.peers, &mut gathered.silent);
    let told: Vec<(String, Result<Gathered, String>)> = std::thread::scope(|scope| {
        let asking = |base: String| {
            let spawned = std::thread::Builder::new().spawn_scoped(scope, {
                let base = base.clone();
                move || one(desk, asked, &base)
            });
            (base, spawned)
        };
        let all: Vec<_> = bases.into_iter().map(asking).collect();
        let told = all.into_iter().map(|(base, spawned)| match spawned {
            Ok(thread) => (base, thread.join().unwrap_or_else(|_| Err("asking it failed".to_owned()))),
            Err(e) => (base, Err(format!("no thread to ask it: {e}"))),
        });
        told.collect()
    });
    for (base, told) in told {
        match told {
            Ok(other) => gathered.add(&base, other),
            Err(why) => gathered.silent.push(format!("{base}: {why}")),
        }
    }
}

fn one(desk: &Desk, asked: &Asked, base: &str) -> Result<Gathered, String> {
    let token = desk.token.as_ref().map(|token| token.header());
    let mut headers = vec![(PASSED_ON, desk.facts.app.as_str())];
    headers.extend(token.as_deref().map(|token| ("authorization", token)));
    let answer = client::get(base, &asked.path, &headers, PATIENCE)?;
    let told: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|_| format!("{}, and no JSON", answer.status))?;
    if answer.status != 200 {
        let message = told["message"].as_str().unwrap_or("no reason given");
        return Err(format!("{}: {message}", answer.status));
    }
    Gathered::from_json(&told).ok_or_else(|| "its answer is of another version".to_owned())
}

/// Every address to ask, once; names are looked up now, for pods come and go.
fn bases(peers: &[Peer], silent: &mut Vec<String>) -> Vec<String> {
    let mut all = BTreeSet::new();
    for peer in peers {
        match peer {
            Peer::Url(url) => drop(all.insert(url.clone())),
            Peer::Dns { name, port } => match (name.as_str(), *port).to_socket_addrs() {
                Ok(found) => all.extend(found.map(|address| format!("http://{address}"))),
                Err(e) => silent.push(format!("dns:{name}:{port}: {e}")),
            },
        }
    }
    all.into_iter().take(MOST).collect()
}
