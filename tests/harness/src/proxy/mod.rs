//! A proxy that speaks Kafka's frames, to hold, cut or delay the k-th request of a kind between clients and their brokers.
//! Plain threads; knows no Kafka client and nothing of the product. Tests and the tormentor start it and install rules.
//! Invariant: without a rule that acts, every byte passes unchanged and in order.
//!
//! A broker gets a second listener whose *advertised* address is the proxy's port, so clients stay on the proxy:
//! ```no_run
//! use tidemill_harness::proxy::{Action, Kind, Proxy, Release, Rule};
//! use std::time::Duration;
//! let bound = Proxy::bind(1)?;
//! let ports = bound.ports(); // the broker advertises these
//! # let upstream = "127.0.0.1:9092".parse().expect("an address");
//! let proxy = bound.upstream(&[upstream]);
//! // The first commit of a producer is late: it comes after its own retry was answered.
//! let late = Action::HoldAndCut(Release::after_answer(Kind::EndTxn, 1));
//! let rule = proxy.install(Rule::on(Kind::EndTxn, late).txn("app-1").committed(true));
//! let seq = proxy.wait_fired(rule, Duration::from_secs(5)).expect("the producer commits");
//! # Ok::<(), std::io::Error>(())
//! ```

mod connection;
mod desk;
mod frame;
mod log;
mod rules;

pub use desk::RuleId;
pub use frame::Kind;
pub use log::{Did, Event};
pub use rules::{Action, Cut, Release, Rule};

use connection::{Connection, connect};
use desk::Desk;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One client's connection, to choose what to cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    pub id: u64,
    /// Index of the broker in `upstream`.
    pub broker: usize,
    /// The `client.id` of its last request.
    pub client: Option<String>,
    /// The transactional id that it carried last.
    pub txn: Option<String>,
}

/// Open connections, and who may open one.
#[derive(Default)]
struct Gate {
    open: BTreeMap<u64, Arc<Connection>>,
    threads: Vec<JoinHandle<()>>,
    last: u64,
    refused_until: Option<Instant>,
    is_stopped: bool,
}

impl Gate {
    fn is_shut(&self) -> bool {
        self.is_stopped || self.refused_until.is_some_and(|until| Instant::now() < until)
    }
}

struct Shared {
    start: Instant,
    desk: Mutex<Desk>,
    changed: Condvar,
    gate: Mutex<Gate>,
    upstreams: Mutex<Vec<SocketAddr>>,
}

impl Shared {
    /// One step at the desk; whoever waits for the log looks again.
    fn with_desk<T>(&self, step: impl FnOnce(&mut Desk, Duration) -> T) -> T {
        let mut desk = self.desk.lock().expect("steps at the desk do not panic");
        let result = step(&mut desk, self.start.elapsed());
        self.changed.notify_all();
        result
    }

    fn with_gate<T>(&self, step: impl FnOnce(&mut Gate) -> T) -> T {
        step(&mut self.gate.lock().expect("steps at the gate do not panic"))
    }

    fn upstream(&self, broker: usize) -> SocketAddr {
        self.upstreams.lock().expect("held for a copy only")[broker]
    }

    /// Takes one client from accept to its end.
    fn serve(self: &Arc<Self>, broker: usize, client: TcpStream) {
        // A broker that is not there: the client sees its connection closed.
        let Ok(upstream) = client.set_nodelay(true).and_then(|()| connect(self.upstream(broker))) else { return };
        let opened = self.with_gate(|gate| {
            if gate.is_shut() {
                return None;
            }
            gate.last += 1;
            let connection = Arc::new(Connection::new(gate.last, broker, client, upstream));
            gate.open.insert(gate.last, connection.clone());
            Some(connection)
        });
        if let Some(connection) = opened {
            connection.run(self);
            self.with_gate(|gate| gate.open.remove(&connection.id));
        }
    }

    fn accept(self: &Arc<Self>, broker: usize, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            let is_stopped = self.with_gate(|gate| {
                if let Ok((client, _)) = accepted
                    && !gate.is_shut()
                {
                    let shared = self.clone();
                    gate.threads.retain(|thread| !thread.is_finished());
                    gate.threads.push(std::thread::spawn(move || shared.serve(broker, client)));
                }
                gate.is_stopped
            });
            if is_stopped {
                return;
            }
        }
    }
}

/// Ports that are taken while nothing is served yet; clients that come already wait.
pub struct Bound {
    listeners: Vec<TcpListener>,
    ports: Vec<u16>,
}

impl Bound {
    /// One a broker, in order.
    pub fn ports(&self) -> Vec<u16> {
        self.ports.clone()
    }

    /// Starts to serve: `addresses[i]` is the broker behind port `i`. Panics unless there are as many as ports.
    pub fn upstream(self, addresses: &[SocketAddr]) -> Proxy {
        assert_eq!(addresses.len(), self.listeners.len(), "one broker for each port of the proxy");
        let shared = Arc::new(Shared {
            start: Instant::now(),
            desk: Mutex::default(),
            changed: Condvar::new(),
            gate: Mutex::default(),
            upstreams: Mutex::new(addresses.to_vec()),
        });
        let accept = |(broker, listener): (usize, TcpListener)| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.accept(broker, &listener))
        };
        let acceptors = self.listeners.into_iter().enumerate().map(accept).collect();
        Proxy { shared, ports: self.ports, acceptors }
    }
}

/// The running proxy and its controls; share it by reference or in an `Arc`. Dropping it cuts all and stops its threads
/// (a release under way ends first: at most some 10 s where a broker does not answer).
pub struct Proxy {
    shared: Arc<Shared>,
    ports: Vec<u16>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Takes `n` free ports on 127.0.0.1.
    pub fn bind(n: usize) -> io::Result<Bound> {
        Proxy::bind_ports(&vec![0; n])
    }

    /// Takes these ports on 127.0.0.1, 0 for any free one.
    pub fn bind_ports(ports: &[u16]) -> io::Result<Bound> {
        let bind = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        let listeners = ports.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
        let ports = ports.collect::<io::Result<Vec<_>>>()?;
        Ok(Bound { listeners, ports })
    }

    /// Where the brokers run already. One port for each broker, 0 for any free one.
    pub fn start(upstreams: &[SocketAddr], listen_ports: &[u16]) -> io::Result<Proxy> {
        Ok(Proxy::bind_ports(listen_ports)?.upstream(upstreams))
    }

    pub fn ports(&self) -> Vec<u16> {
        self.ports.clone()
    }

    /// For clients: all ports as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    /// New connections and releases go to this address from now on, for a broker that came back elsewhere.
    pub fn set_upstream(&self, broker: usize, address: SocketAddr) {
        self.shared.upstreams.lock().expect("held for a copy only")[broker] = address;
    }

    /// From now on. Of several rules on one request, the first installed acts.
    pub fn install(&self, rule: Rule) -> RuleId {
        self.shared.with_desk(|desk, _| desk.install(rule))
    }

    /// Held requests stay held, and their releases stay due.
    pub fn remove(&self, id: RuleId) {
        self.shared.with_desk(|desk, _| desk.remove(id));
    }

    pub fn remove_all(&self) {
        self.shared.with_desk(|desk, _| desk.remove_all());
    }

    /// Numbers of the requests that a rule acted on; empty once it is removed.
    pub fn fired(&self, id: RuleId) -> Vec<u64> {
        self.shared.with_desk(|desk, _| desk.fired(id))
    }

    /// Waits until a rule has acted; the number of the request.
    pub fn wait_fired(&self, id: RuleId, timeout: Duration) -> Option<u64> {
        self.wait_desk(timeout, |desk| desk.fired(id).first().copied())
    }

    /// Waits until the log is as wanted; false if it never was within the time.
    pub fn wait(&self, timeout: Duration, mut is_there: impl FnMut(&[Event]) -> bool) -> bool {
        self.wait_desk(timeout, |desk| is_there(desk.log.events()).then_some(())).is_some()
    }

    /// Waits until the broker's answer to this request is there, or its release failed, and gives the event.
    pub fn wait_answered(&self, seq: u64, timeout: Duration) -> Option<Event> {
        self.wait_desk(timeout, |desk| {
            let event = desk.log.events().iter().find(|event| event.seq == seq)?;
            (event.answered_at.is_some() || event.failure.is_some()).then(|| event.clone())
        })
    }

    fn wait_desk<T>(&self, timeout: Duration, mut look: impl FnMut(&Desk) -> Option<T>) -> Option<T> {
        let mut found = None;
        let desk = self.shared.desk.lock().expect("steps at the desk do not panic");
        let waited = self.shared.changed.wait_timeout_while(desk, timeout, |desk| {
            found = look(desk);
            found.is_none()
        });
        drop(waited.expect("steps at the desk do not panic"));
        found
    }

    /// Numbers of the requests that are held now.
    pub fn held(&self) -> Vec<u64> {
        self.shared.with_desk(|desk, _| desk.held())
    }

    /// Sends a held request now and waits for the answer: its error code, 0 for none. `None` if it is not held (any
    /// more), if the broker did not answer (then the event says why), or if the kind's answer is not read.
    pub fn release(&self, seq: u64) -> Option<i16> {
        let held = self.shared.with_desk(|desk, _| desk.take(seq))?;
        self.shared.send_held(&held)
    }

    /// Releases all held requests in the order they came, whatever their rules said.
    pub fn release_all(&self) {
        for seq in self.held() {
            self.release(seq);
        }
    }

    /// All transactional requests and all that a rule acted on, in the order they came.
    pub fn events(&self) -> Vec<Event> {
        self.events_after(0)
    }

    /// Those with a higher number.
    pub fn events_after(&self, seq: u64) -> Vec<Event> {
        self.shared.with_desk(|desk, _| {
            let events = desk.log.events();
            events[events.partition_point(|event| event.seq <= seq)..].to_vec()
        })
    }

    /// Requests of a kind that came from clients, whatever happened to them.
    pub fn requests(&self, kind: Kind) -> u64 {
        self.shared.with_desk(|desk, _| desk.log.requests(kind))
    }

    pub fn requests_of(&self, kind: Kind, txn: &str) -> u64 {
        self.shared.with_desk(|desk, _| desk.log.requests_of(kind, txn))
    }

    /// The open connections, oldest first.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.with_gate(|gate| gate.open.values().map(|connection| connection.info()).collect())
    }

    /// Cuts the open connections that are chosen; how many.
    pub fn cut_where(&self, how: Cut, mut is_chosen: impl FnMut(&ConnectionInfo) -> bool) -> usize {
        self.shared.with_gate(|gate| {
            let chosen = gate.open.values().filter(|connection| is_chosen(&connection.info()));
            chosen.map(|connection| connection.cut(how)).count()
        })
    }

    /// Cuts all connections now, and closes new ones at once for this long (`Duration::ZERO`: serves them); how many.
    pub fn cut_all(&self, how: Cut, refuse: Duration) -> usize {
        self.shared.with_gate(|gate| {
            gate.refused_until = Some(Instant::now() + refuse);
            gate.open.values().map(|connection| connection.cut(how)).count()
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let threads = self.shared.with_gate(|gate| {
            gate.is_stopped = true;
            gate.open.values().for_each(|connection| connection.end());
            std::mem::take(&mut gate.threads)
        });
        for port in &self.ports {
            // Wakes the acceptor, which then sees that it is over.
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)));
        }
        for thread in self.acceptors.drain(..).chain(threads) {
            // A panic of one of them has been printed; dropping must not panic again.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
