//! A small client: one GET, one connection, one answer; for peers and for the command line.
//!
//! Plain HTTP/1.1 over a socket, blocking, for a thread that may. Knows nothing of what is asked.
//! Invariant: it ends in time, and an answer that was cut is an error.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A larger answer is none that we asked for.
const LARGEST: usize = 64 << 20;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Asks `base` (`http://host:port`) for `path`, with these headers.
///
/// # Errors
/// Why there is no answer, as the end of a sentence.
pub fn get(base: &str, path: &str, headers: &[(&str, &str)], within: Duration) -> Result<Answer, String> {
    let until = Instant::now() + within;
    let host = base.strip_prefix("http://").ok_or("only http:// is spoken")?.trim_end_matches('/');
    let mut stream = connect(host, until)?;
    let mut request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\naccept: application/json\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let written = stream.set_write_timeout(Some(left(until)?)).and_then(|()| stream.write_all(request.as_bytes()));
    written.map_err(|e| e.to_string())?;
    parse(&read(&mut stream, until)?)
}

fn left(until: Instant) -> Result<Duration, String> {
    until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| "no answer in time".to_owned())
}

fn connect(host: &str, until: Instant) -> Result<TcpStream, String> {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let place = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addresses: Vec<SocketAddr> = place.to_socket_addrs().map_err(|e| e.to_string())?.collect();
    let mut failed = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = e.to_string(),
        }
    }
    Err(failed)
}

fn read(stream: &mut TcpStream, until: Instant) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left(until)?)).map_err(|e| e.to_string())?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                left(until).map(drop)?
            }
            Err(e) => return Err(e.to_string()),
        }
        if all.len() > LARGEST {
            return Err(format!("an answer of more than {LARGEST} bytes"));
        }
    }
}

/// Takes a whole answer apart; the connection was closed behind it.
fn parse(all: &[u8]) -> Result<Answer, String> {
    let strange = || "what answers there does not speak HTTP".to_owned();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(strange)?;
    let head = std::str::from_utf8(&all[..end]).map_err(|_| strange())?;
    let mut lines = head.split("\r\n");
    let first = lines.next().filter(|line| line.starts_with("HTTP/1.")).ok_or_else(strange)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(strange)?;
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let rest = &all[end + 4..];
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => chunks(rest),
        (_, Some(length)) => length.parse().ok().and_then(|length: usize| rest.get(..length)).map(<[u8]>::to_vec),
        _ => Some(rest.to_vec()),
    };
    Ok(Answer { status, body: body.ok_or("the answer was cut")? })
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

/// A text as it may stand in a path or behind a question mark.
pub fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let each = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &str) -> Result<String, String> {
        parse(answer.as_bytes()).map(|a| String::from_utf8(a.body).unwrap())
    }

    #[test]
    fn bodies_come_by_length_in_chunks_or_up_to_the_end() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc").unwrap(), "ab");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "abc");
        assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nabc").unwrap(), "abc");
        assert_eq!(parse(b"HTTP/1.1 503 Gone fishing\r\n\r\n").unwrap().status, 503);
    }

    #[test]
    fn an_answer_that_was_cut_is_an_error() {
        assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nContent").is_err());
        assert!(body("SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a b/ü?&=+"), "a%20b%2F%C3%BC%3F%26%3D%2B");
    }
}
