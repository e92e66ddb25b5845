//! A proxy before PostgreSQL that can spoil a COMMIT: lose it, lose its answer, or bring it late. Plain threads; knows
//! the two messages that matter, unencrypted. Tests start it. Invariant: what it is not told to spoil passes unchanged.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happens to a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// It never arrives; the line is cut.
    Lost,
    /// It is done, and the line is cut before the answer.
    Unanswered,
    /// The line is cut at once, and the server hears of it this much later.
    Late(Duration),
}

#[derive(Default)]
struct Orders {
    next: Option<Spoil>,
    done: usize,
}

pub struct Commits {
    pub port: u16,
    orders: Arc<Mutex<Orders>>,
}

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// What the server says of it.
const COMMITTED: &[u8] = b"COMMIT\0";

impl Commits {
    pub fn before(server: u16) -> Commits {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("bound").port();
        let orders = Arc::new(Mutex::new(Orders::default()));
        let for_all = orders.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let orders = for_all.clone();
                std::thread::spawn(move || serve(client, server, &orders));
            }
        });
        Commits { port, orders }
    }

    /// The next COMMIT of any connection.
    pub fn spoil(&self, how: Spoil) {
        self.orders.lock().expect("no holder panics").next = Some(how);
    }

    /// Waits until so many were spoiled in all.
    pub fn wait(&self, times: usize, within: Duration) {
        let deadline = Instant::now() + within;
        while self.orders.lock().expect("no holder panics").done < times {
            assert!(Instant::now() < deadline, "no COMMIT came by within {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(client: TcpStream, server: u16, orders: &Arc<Mutex<Orders>>) {
    let Ok(upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
    drop((client.set_nodelay(true), upstream.set_nodelay(true)));
    let (Ok(mut from_server), Ok(mut to_client)) = (upstream.try_clone(), client.try_clone()) else { return };
    // Set once a COMMIT is to be done without its answer.
    let mute = Arc::new(Mutex::new(false));
    let muted = mute.clone();
    let answers = std::thread::spawn(move || {
        let mut buffer = [0; 1 << 16];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            if *muted.lock().expect("no holder panics") {
                if buffer[..n].windows(COMMITTED.len()).any(|w| w == COMMITTED) {
                    break;
                }
            } else if to_client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        drop((to_client.shutdown(Shutdown::Both), from_server.shutdown(Shutdown::Both)));
    });
    pass(client, upstream, orders, &mute);
    drop(answers.join());
}

fn pass(mut client: TcpStream, mut upstream: TcpStream, orders: &Mutex<Orders>, mute: &Mutex<bool>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let is_commit = buffer[..n].ends_with(COMMIT);
        let spoil = if is_commit { orders.lock().expect("no holder panics").next.take() } else { None };
        match spoil {
            None => {}
            Some(Spoil::Lost) => {
                orders.lock().expect("no holder panics").done += 1;
                break;
            }
            Some(Spoil::Unanswered) => *mute.lock().expect("no holder panics") = true,
            Some(Spoil::Late(by)) => {
                *mute.lock().expect("no holder panics") = true;
                drop(client.shutdown(Shutdown::Both));
                orders.lock().expect("no holder panics").done += 1;
                std::thread::sleep(by);
                drop(upstream.write_all(&buffer[..n]));
                return; // the answers' thread ends the line once the server has answered
            }
        }
        if upstream.write_all(&buffer[..n]).is_err() {
            break;
        }
        if spoil == Some(Spoil::Unanswered) {
            orders.lock().expect("no holder panics").done += 1;
            return;
        }
    }
    drop((client.shutdown(Shutdown::Both), upstream.shutdown(Shutdown::Both)));
}
