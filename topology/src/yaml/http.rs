//! The section `http`: where queries and status are answered, who may ask, and whom else to ask.
//!
//! Called by the settings. Knows nothing of HTTP. Invariant: what others can reach has a token.

use super::fields::{Fields, Mistakes, scalar};
use super::scalars;
use super::tree::What;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where and how questions are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Holds the token that `/query` and `/status` want where others can reach them, and that peers are asked with.
    pub token_file: Option<PathBuf>,
    /// The processes of this application, this one too or not.
    pub peers: Vec<Peer>,
}

/// Others of this application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// `http://host:port`
    Url(String),
    /// Every address that a name has, asked anew for each query.
    Dns { name: String, port: u16 },
}

pub(super) fn read(mut http: Fields<'_>, mistakes: &mut Mistakes) -> Option<Http> {
    let at = http.at;
    let listen = http.need_read("listen", address, mistakes);
    let token_file = http.read("token_file", scalars::text, mistakes).map(PathBuf::from);
    let peers = peers(&mut http, mistakes);
    http.done(mistakes);
    let http = Http { listen: listen?, token_file, peers };
    if http.wants_token() && http.token_file.is_none() {
        let text = format!("http: {} can be reached by others, so it lacks 'token_file'", http.listen);
        mistakes.add(at, format!("{text}; add one, or listen on 127.0.0.1"));
    }
    Some(http)
}

impl Http {
    /// Whether who asks must show the token.
    pub fn wants_token(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |rest: &str| rest.parse::<u16>().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let parsed = text.strip_prefix("localhost:").map_or_else(|| text.parse().ok(), port);
    parsed
        .filter(|address| address.port() > 0)
        .ok_or_else(|| format!("is '{text}'; write an address and a port, as 127.0.0.1:8002 or 0.0.0.0:8002"))
}

fn peers(http: &mut Fields<'_>, mistakes: &mut Mistakes) -> Vec<Peer> {
    let Some(node) = http.get("peers") else { return Vec::new() };
    let What::List(items) = &node.what else {
        mistakes.add(node.at, format!("'peers' in http is {}; write a list", node.kind()));
        return Vec::new();
    };
    items.iter().filter_map(|item| scalar(item, "a peer of http", peer, mistakes)).collect()
}

fn peer(text: &str) -> Result<Peer, String> {
    let wrong = || format!("is '{text}'; write http://HOST:PORT, or dns:NAME:PORT for all addresses of a name");
    if let Some(rest) = text.strip_prefix("dns:") {
        let (name, port) = rest.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        return Ok(Peer::Dns { name: name.to_owned(), port });
    }
    let host = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match host.is_some_and(|host| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c)))
    {
        true => Ok(Peer::Url(text.trim_end_matches('/').to_owned())),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(http: &str) -> Result<Http, String> {
        let text = format!(
            "app: a\nkafka: {{ brokers: b }}\nhttp: {http}\nsources:\n  s: {{ topic: t }}\noutputs:\n  o: {{ from: s }}\n"
        );
        let loaded = super::super::parse(&text, "f", &|_| None).map_err(|e| e.to_string())?;
        Ok(loaded.settings.http.unwrap())
    }

    #[test]
    fn addresses_and_peers_are_read() {
        let all =
            load("{ listen: \"0.0.0.0:80\", token_file: t, peers: [ \"http://a:1/\", \"dns:pods.x:8002\" ] }").unwrap();
        assert!(all.wants_token());
        let dns = Peer::Dns { name: "pods.x".into(), port: 8002 };
        assert_eq!(all.peers, [Peer::Url("http://a:1".into()), dns]);
        assert_eq!(load("{ listen: localhost:5 }").unwrap().listen.to_string(), "127.0.0.1:5");
        assert!(!load("{ listen: \"[::1]:5\" }").unwrap().wants_token());
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (http, says) in [
            ("{ listen: \"0.0.0.0:80\" }", "lacks 'token_file'"),
            ("{ listen: \"8002\" }", "write an address and a port"),
            ("{ listen: \"127.0.0.1:0\" }", "write an address and a port"),
            ("{ listen: \"127.0.0.1:1\", peers: [ \"https://a\" ] }", "write http://HOST:PORT"),
            ("{ listen: \"127.0.0.1:1\", peers: [ \"dns:a\" ] }", "write http://HOST:PORT"),
            ("{ listen: \"127.0.0.1:1\", tokenfile: x }", "did you mean 'token_file'?"),
            ("{ token_file: x }", "lacks 'listen'"),
        ] {
            let said = load(http).unwrap_err();
            assert!(said.contains(says), "{http}: {said}");
        }
    }
}
