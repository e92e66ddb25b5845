//! The proxy over real sockets, in front of a broker of twenty lines which numbers what it gets. Knows nothing of Kafka
//! beyond EndTxn's shape; run by `cargo test`. Invariant: order is read from the broker's own record, never from time.

use super::*;
use std::io::{ErrorKind, Read, Write};

const LONG: Duration = Duration::from_secs(10);

/// Answers every request with the number of its arrival as error code; keeps the correlation ids in order of arrival.
struct Broker {
    address: SocketAddr,
    got: Arc<Mutex<Vec<i32>>>,
}

impl Broker {
    /// `padding`: zeros behind each answer.
    fn start(padding: usize) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Broker { address: listener.local_addr().unwrap(), got: Arc::default() };
        let got = broker.got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, got) = (stream.unwrap(), got.clone());
                std::thread::spawn(move || serve(stream, &got, padding));
            }
        });
        broker
    }

    fn got(&self) -> Vec<i32> {
        self.got.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, got: &Mutex<Vec<i32>>, padding: usize) {
    while let Ok(frame) = receive(&mut stream) {
        let correlation = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        let number = {
            let mut got = got.lock().unwrap();
            got.push(correlation);
            got.len() as i16
        };
        let mut answer = (10 + padding as i32).to_be_bytes().to_vec();
        answer.extend(correlation.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(number.to_be_bytes());
        answer.resize(answer.len() + padding, 0);
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

struct Client(TcpStream);

impl Client {
    fn new(proxy: &Proxy) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", proxy.ports()[0])).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client(stream)
    }

    fn send(&mut self, key: i16, correlation: i32, txn: &str, padding: usize) {
        let mut frame = [key, 1].map(i16::to_be_bytes).concat();
        frame.extend(correlation.to_be_bytes());
        frame.extend([0, 1, b'c']);
        frame.extend((txn.len() as i16).to_be_bytes());
        frame.extend(txn.as_bytes());
        frame.extend([0; 10]);
        frame.push(1);
        frame.resize(frame.len() + padding, 7);
        let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
        bytes.extend(frame);
        self.0.write_all(&bytes).unwrap();
    }

    /// The correlation id and error code of the next answer.
    fn answer(&mut self) -> io::Result<(i32, i16)> {
        let frame = receive(&mut self.0)?;
        let correlation = i32::from_be_bytes(frame[..4].try_into().unwrap());
        Ok((correlation, i16::from_be_bytes(frame[8..10].try_into().unwrap())))
    }

    fn commit(&mut self, correlation: i32) -> io::Result<(i32, i16)> {
        self.send(26, correlation, "app-1", 0);
        self.answer()
    }

    fn add_offsets(&mut self, correlation: i32) -> io::Result<(i32, i16)> {
        self.send(25, correlation, "app-1", 0);
        self.answer()
    }
}

fn both(padding: usize) -> (Broker, Proxy) {
    let broker = Broker::start(padding);
    let proxy = Proxy::start(&[broker.address], &[0]).unwrap();
    (broker, proxy)
}

fn commits(action: Action) -> Rule {
    Rule::on(Kind::EndTxn, action).txn("app-").committed(true)
}

#[test]
fn without_rules_everything_passes_and_is_recorded() {
    let (broker, proxy) = both(0);
    let mut client = Client::new(&proxy);
    assert_eq!(client.commit(11).unwrap(), (11, 1));
    client.send(3, 12, "", 0);
    assert_eq!(client.answer().unwrap(), (12, 2));
    assert_eq!(client.add_offsets(13).unwrap(), (13, 3));
    assert_eq!(broker.got(), [11, 12, 13]);
    let events = proxy.events();
    let seen: Vec<_> = events.iter().map(|e| (e.seq, e.kind, e.txn.as_deref(), e.committed, e.error)).collect();
    let app = Some("app-1");
    assert_eq!(seen, [(1, Kind::EndTxn, app, Some(true), Some(1)), (3, Kind::AddOffsetsToTxn, app, None, Some(3))]);
    assert_eq!((proxy.requests(Kind::Metadata), proxy.requests_of(Kind::EndTxn, "app-1")), (1, 1));
    let connection = ConnectionInfo { id: 1, broker: 0, client: Some("c".into()), txn: Some("app-1".into()) };
    assert_eq!(proxy.connections(), [connection]);
}

#[test]
fn large_frames_pass_whole_both_ways() {
    let (broker, proxy) = both(3_000_000);
    let mut client = Client::new(&proxy);
    // A Fetch is streamed through, an EndTxn is read whole.
    for (key, correlation) in [(1, 1), (26, 2)] {
        client.send(key, correlation, "app-1", 2_000_000);
        let answer = receive(&mut client.0).unwrap();
        assert_eq!((answer.len(), answer[3]), (3_000_010, correlation as u8));
    }
    assert_eq!(broker.got(), [1, 2]);
}

#[test]
fn a_cut_before_loses_the_request_and_a_cut_after_the_answer() {
    let (broker, proxy) = both(0);
    proxy.install(commits(Action::CutBefore));
    proxy.install(commits(Action::CutAfter).nth(2).reset());
    let before = Client::new(&proxy).commit(1).unwrap_err();
    assert_eq!(before.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(broker.got(), [0i32; 0]);
    let after = Client::new(&proxy).commit(2).unwrap_err();
    assert_eq!(after.kind(), ErrorKind::ConnectionReset);
    assert_eq!(broker.got(), [2]);
    assert_eq!(Client::new(&proxy).commit(3).unwrap(), (3, 2));
    let seen: Vec<_> = proxy.events().iter().map(|e| (e.did, e.error)).collect();
    assert_eq!(seen, [(Did::CutBefore, None), (Did::CutAfter, Some(1)), (Did::Forwarded, Some(2))]);
}

#[test]
fn a_held_request_arrives_after_the_answer_to_its_retry() {
    let (broker, proxy) = both(0);
    let rule = proxy.install(commits(Action::HoldAndCut(Release::after_answer(Kind::EndTxn, 1))));
    assert!(Client::new(&proxy).commit(1).is_err());
    let seq = proxy.wait_fired(rule, LONG).unwrap();
    assert_eq!(proxy.held(), [seq]);
    let mut client = Client::new(&proxy);
    assert_eq!(client.add_offsets(2).unwrap(), (2, 1));
    // The client gets the answer to its retry when the broker has the held one behind it.
    assert_eq!(client.commit(3).unwrap(), (3, 2));
    assert_eq!(broker.got(), [2, 3, 1]);
    assert_eq!(proxy.wait_answered(seq, LONG).unwrap().error, Some(3));
    assert_eq!(client.commit(4).unwrap(), (4, 4));
}

#[test]
fn a_held_request_arrives_before_the_second_one_behind_it() {
    let (broker, proxy) = both(0);
    proxy.install(commits(Action::HoldAndCut(Release::before(Kind::AddOffsetsToTxn, 2))));
    assert!(Client::new(&proxy).commit(1).is_err());
    let mut client = Client::new(&proxy);
    client.add_offsets(2).unwrap();
    client.commit(3).unwrap();
    client.add_offsets(4).unwrap();
    assert_eq!(broker.got(), [2, 3, 1, 4]);
}

#[test]
fn a_held_request_without_a_cut_leaves_the_connection_alone() {
    let (broker, proxy) = both(0);
    let rule = proxy.install(commits(Action::Hold(Release::by_hand())));
    let mut client = Client::new(&proxy);
    client.send(26, 1, "app-1", 0);
    assert_eq!(client.add_offsets(2).unwrap(), (2, 1));
    let seq = proxy.wait_fired(rule, LONG).unwrap();
    assert_eq!(proxy.release(seq), Some(2));
    assert_eq!(proxy.release(seq), None);
    assert_eq!(client.add_offsets(3).unwrap(), (3, 3));
    assert_eq!(broker.got(), [2, 1, 3]);
}

#[test]
fn a_release_to_a_broker_that_is_gone_says_so() {
    let (_broker, proxy) = both(0);
    let rule = proxy.install(commits(Action::HoldAndCut(Release::by_hand())));
    assert!(Client::new(&proxy).commit(1).is_err());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    proxy.set_upstream(0, free);
    let seq = proxy.wait_fired(rule, LONG).unwrap();
    assert_eq!(proxy.release(seq), None);
    let event = proxy.wait_answered(seq, LONG).unwrap();
    assert!(event.failure.is_some_and(|failure| failure.starts_with("released to broker 0: ")));
}

#[test]
fn a_delay_keeps_the_order_behind_it() {
    let (broker, proxy) = both(0);
    let by = Duration::from_millis(200);
    proxy.install(commits(Action::Delay(by)));
    let mut client = Client::new(&proxy);
    client.send(26, 1, "app-1", 0);
    client.send(25, 2, "app-1", 0);
    assert_eq!((client.answer().unwrap().0, client.answer().unwrap().0), (1, 2));
    assert_eq!(broker.got(), [1, 2]);
    let event = &proxy.events()[0];
    assert!(event.did == Did::Delayed && event.sent_at.unwrap() - event.at >= by);
}

#[test]
fn cuts_of_all_and_of_some_connections() {
    let (_broker, proxy) = both(0);
    // One after the other, so that the first is the connection with the number 1.
    let mut one = Client::new(&proxy);
    one.commit(1).unwrap();
    let mut two = Client::new(&proxy);
    two.commit(2).unwrap();
    assert_eq!(proxy.cut_where(Cut::Reset, |connection| connection.id == 1), 1);
    assert_eq!(one.answer().unwrap_err().kind(), ErrorKind::ConnectionReset);
    two.commit(3).unwrap();
    let refuse = Duration::from_millis(300);
    let start = Instant::now();
    proxy.cut_all(Cut::Close, refuse);
    assert_eq!(two.answer().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let mut refused = 0;
    while TcpStream::connect(("127.0.0.1", proxy.ports()[0])).and_then(|stream| Client(stream).try_commit()).is_err() {
        refused += 1;
        assert!(start.elapsed() < LONG);
    }
    assert!(refused > 0 && start.elapsed() >= refuse);
}

impl Client {
    /// A refused client may fail already at its write.
    fn try_commit(mut self) -> io::Result<(i32, i16)> {
        let frame = [&[0, 26, 0, 1, 0, 0, 0, 9, 0, 1, b'c', 0, 1, b't'][..], &[0; 10], &[1]].concat();
        self.0.write_all(&[&(frame.len() as i32).to_be_bytes()[..], &frame].concat())?;
        self.answer()
    }
}

#[test]
fn dropping_it_ends_clients_and_frees_the_port() {
    let (broker, proxy) = both(0);
    proxy.install(commits(Action::Delay(LONG)));
    let mut client = Client::new(&proxy);
    client.send(26, 1, "app-1", 0);
    assert!(proxy.wait(LONG, |events| !events.is_empty()));
    let port = proxy.ports()[0];
    let start = Instant::now();
    drop(proxy);
    assert!(start.elapsed() < LONG / 2);
    assert!(client.answer().is_err());
    assert_eq!(broker.got(), [0i32; 0]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
