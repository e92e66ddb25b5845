//! One client's connection through the proxy: two threads, one a direction, and the proxy's own connections for released
//! requests. Carries out what `desk.rs` decides and decides nothing itself; started by `mod.rs`.
//! Invariant: bytes of one direction keep their order, and a frame is passed on whole or not at all to the broker.

use super::desk::{Arrival, Held, Pending, Step};
use super::frame::{self, Request};
use super::rules::Cut;
use super::{ConnectionInfo, Shared};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

const BUFFER: usize = 64 * 1024;
/// Above Kafka's default limit of 100 MB for a request; a larger length means that this is not Kafka's protocol.
const LARGEST: usize = 512 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
/// How long a released request may take at its broker.
const RELEASE: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    pub id: u64,
    pub broker: usize,
    client: TcpStream,
    upstream: TcpStream,
    pending: Mutex<HashMap<i32, Pending>>,
    is_cut: Mutex<bool>,
    cut_now: Condvar,
    /// Last client and transactional id seen.
    names: Mutex<(Option<String>, Option<String>)>,
}

pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Connection {
    pub fn new(id: u64, broker: usize, client: TcpStream, upstream: TcpStream) -> Connection {
        let (pending, is_cut, names) = (Mutex::default(), Mutex::new(false), Mutex::default());
        Connection { id, broker, client, upstream, pending, is_cut, cut_now: Condvar::new(), names }
    }

    /// Carries both directions until either side or a cut ends the connection.
    pub fn run(&self, shared: &Shared) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // An error here is the end of the connection, which its other side is told by the cut.
                let _ = self.carry_answers(shared);
                self.cut(Cut::Close);
            });
            let _ = self.carry_requests(shared);
            self.cut(Cut::Close);
        });
    }

    /// The first cut decides how the client sees the end.
    pub fn cut(&self, how: Cut) {
        let mut is_cut = self.is_cut.lock().expect("held for a flag only");
        if std::mem::replace(&mut *is_cut, true) {
            return;
        }
        self.cut_now.notify_all();
        // Errors mean that the other side was faster.
        match how {
            Cut::Close => drop(self.client.shutdown(Shutdown::Both)),
            Cut::Reset => {
                reset_when_closed(&self.client);
                // Wakes our reader and sends nothing; the reset goes out when the last owner drops the socket.
                drop(self.client.shutdown(Shutdown::Read));
            }
        }
        drop(self.upstream.shutdown(Shutdown::Both));
    }

    /// Ends also a connection that was cut by a reset while a write to a stopped client was under way.
    pub fn end(&self) {
        self.cut(Cut::Close);
        drop(self.client.shutdown(Shutdown::Both));
    }

    pub fn info(&self) -> ConnectionInfo {
        let (client, txn) = self.names.lock().expect("held for a copy only").clone();
        ConnectionInfo { id: self.id, broker: self.broker, client, txn }
    }

    fn carry_requests(&self, shared: &Shared) -> io::Result<()> {
        let mut input = BufReader::with_capacity(BUFFER, &self.client);
        let mut frame = Vec::new();
        loop {
            read_frame(&mut input, &mut frame)?;
            if !self.carry_request(shared, &frame)? {
                return Ok(());
            }
        }
    }

    /// False when the connection was cut.
    fn carry_request(&self, shared: &Shared, frame: &[u8]) -> io::Result<bool> {
        let Some(request) = Request::parse(&frame[4..]) else {
            (&self.upstream).write_all(frame)?;
            return Ok(true);
        };
        self.remember(&request);
        let (broker, connection) = (self.broker, self.id);
        let (seq, step) =
            shared.with_desk(|desk, now| desk.arrive(&Arrival { request: &request, frame, broker, connection, now }));
        match step {
            Step::Kept(None) => return Ok(true),
            Step::Kept(Some(cut)) | Step::CutBefore(cut) => {
                self.cut(cut);
                return Ok(false);
            }
            Step::Delay(by) if self.is_cut_within(by) => return Ok(false),
            Step::Delay(_) | Step::Forward | Step::CutAfter(_) => {}
        }
        let cut = if let Step::CutAfter(cut) = step { Some(cut) } else { None };
        let Request { kind, version, ref txn, .. } = request;
        self.forward(shared, &request, frame, Pending { seq, kind, version, txn: txn.clone(), cut })
    }

    fn forward(&self, shared: &Shared, request: &Request, frame: &[u8], pending: Pending) -> io::Result<bool> {
        let due = shared.with_desk(|desk, _| desk.forwarding(&pending));
        shared.send_all(due.before);
        shared.with_desk(|desk, now| desk.log.change(pending.seq, |event| event.sent_at = Some(now)));
        let cut = pending.cut;
        if request.is_answered {
            self.pending.lock().expect("held for one entry only").insert(request.correlation, pending);
        }
        let written = (&self.upstream).write_all(frame);
        shared.send_all(due.after);
        written?;
        match cut {
            // Without an answer to wait for, after is now.
            Some(cut) if !request.is_answered => {
                self.cut(cut);
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn remember(&self, request: &Request) {
        let mut names = self.names.lock().expect("held for a copy only");
        if names.0 != request.client {
            names.0.clone_from(&request.client);
        }
        if request.txn.is_some() && names.1 != request.txn {
            names.1.clone_from(&request.txn);
        }
    }

    fn is_cut_within(&self, time: Duration) -> bool {
        let is_cut = self.is_cut.lock().expect("held for a flag only");
        let waited = self.cut_now.wait_timeout_while(is_cut, time, |is_cut| !*is_cut);
        *waited.expect("held for a flag only").0
    }

    fn carry_answers(&self, shared: &Shared) -> io::Result<()> {
        let mut input = BufReader::with_capacity(BUFFER, &self.upstream);
        let mut answer = Vec::new();
        loop {
            let mut head = [0; 8];
            input.read_exact(&mut head)?;
            let length = frame_length(&head)?;
            let correlation = frame::correlation(&head[4..]).unwrap_or_default();
            let pending = self.pending.lock().expect("held for one entry only").remove(&correlation);
            let needs_all = pending.as_ref().is_some_and(|p| p.kind.is_transactional() || p.cut.is_some());
            let whole = needs_all || length <= BUFFER;
            answer.clear();
            answer.extend_from_slice(&head);
            if whole {
                read_into(&mut input, length - 4, &mut answer)?;
            }
            if let Some(pending) = pending
                && self.take_answer(shared, &pending, &answer[4..])
            {
                return Ok(());
            }
            (&self.client).write_all(&answer)?;
            if !whole {
                copy(&mut input, length - 4, &self.client)?;
            }
        }
    }

    /// True when the connection was cut instead of passing the answer on.
    fn take_answer(&self, shared: &Shared, pending: &Pending, answer: &[u8]) -> bool {
        let error = frame::error_code(pending.kind, pending.version, answer);
        let due = shared.with_desk(|desk, now| desk.answered(pending, error, now));
        shared.send_all(due);
        if let Some(cut) = pending.cut {
            self.cut(cut);
        }
        pending.cut.is_some()
    }
}

impl Shared {
    pub fn send_all(&self, due: Vec<Held>) {
        for held in due {
            self.send_held(&held);
        }
    }

    /// Sends a held request on a connection of its own and records the answer; the error code, if there is one.
    pub fn send_held(&self, held: &Held) -> Option<i16> {
        self.with_desk(|desk, now| desk.log.change(held.seq, |event| event.sent_at = Some(now)));
        let answer = self.exchange(held);
        self.with_desk(|desk, now| {
            desk.log.change(held.seq, |event| match &answer {
                Ok(error) => {
                    event.answered_at = Some(now);
                    event.error = *error;
                }
                Err(error) => event.failure = Some(format!("released to broker {}: {error}", held.broker)),
            })
        });
        answer.unwrap_or(None)
    }

    fn exchange(&self, held: &Held) -> io::Result<Option<i16>> {
        let mut stream = connect(self.upstream(held.broker))?;
        stream.set_read_timeout(Some(RELEASE))?;
        stream.write_all(&held.frame)?;
        if !Request::parse(&held.frame[4..]).is_some_and(|request| request.is_answered) {
            return Ok(None);
        }
        let mut answer = Vec::new();
        read_frame(&mut BufReader::new(&stream), &mut answer)?;
        Ok(frame::error_code(held.kind, held.version, &answer[4..]))
    }
}

/// Closing the socket then sends a reset instead of an orderly end.
fn reset_when_closed(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and the option's value is a `linger` of that size.
    let done = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(done, 0, "SO_LINGER on a TCP socket that is open");
}

fn frame_length(head: &[u8]) -> io::Result<usize> {
    let length = frame::correlation(head).and_then(|length| usize::try_from(length).ok());
    length.filter(|length| (4..=LARGEST).contains(length)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads one frame, with its four bytes of length.
fn read_frame(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<()> {
    let mut head = [0; 4];
    input.read_exact(&mut head)?;
    frame.clear();
    frame.extend_from_slice(&head);
    read_into(input, frame_length(&head)?, frame)
}

fn read_into(input: &mut impl Read, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let read = input.take(length as u64).read_to_end(bytes)?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn copy(input: &mut impl BufRead, mut left: usize, mut output: &TcpStream) -> io::Result<()> {
    while left > 0 {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let part = bytes.len().min(left);
        output.write_all(&bytes[..part])?;
        input.consume(part);
        left -= part;
    }
    Ok(())
}
