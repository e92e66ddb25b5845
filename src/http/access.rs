//! Who may ask: on loopback everybody, elsewhere who shows the token.
//!
//! Called by handlers, and by clients for the token that they send. Invariant: the time of a comparison does not tell how
//! much of a token was right.

use super::desk::{Desk, Reply};
use crate::kafka::Fault;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use std::hint::black_box;
use std::path::Path;

/// A shorter one could be guessed.
const SHORTEST: usize = 16;

/// What is shown as `Authorization: Bearer TOKEN`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn read(file: &Path) -> Result<Token, Fault> {
        let wrong = |what: &str| {
            let remedy = format!("put {SHORTEST} or more visible characters there");
            Fault::configuration(format!("http.token_file {}: {what}; {remedy}", file.display()))
        };
        let text = std::fs::read_to_string(file).map_err(|e| wrong(&e.to_string()))?;
        let token = text.trim();
        match token.len() >= SHORTEST && token.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(Token(token.to_owned())),
            false => Err(wrong("it holds no token")),
        }
    }

    /// The value of the header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn is(&self, shown: &str) -> bool {
        let differ = self.0.bytes().zip(shown.bytes()).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
        self.0.len() == shown.len() && differ == 0
    }
}

/// # Errors
/// The answer to who may not ask.
pub(super) fn admit(request: &HttpRequest, desk: &Desk) -> Result<(), Reply> {
    let Some(token) = desk.token.as_ref().filter(|_| desk.http.wants_token()) else { return Ok(()) };
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shown.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(shown) if token.is(shown) => Ok(()),
        Some(_) => Err(Reply::refusal(401, "token", "this is not the token; see http.token_file")),
        None => Err(Reply::refusal(401, "token", "show the token of http.token_file: 'Authorization: Bearer TOKEN'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcdee", "0123456789abcde", "0123456789abcdefg"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(Token::read(&file).err().unwrap().configuration);
        for wrong in ["", "short\n", "0123456789 abcdef"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(Token::read(&file).err().unwrap().cause.contains("holds no token"), "{wrong}");
        }
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(Token::read(&file).unwrap().header(), "Bearer 0123456789abcdef");
    }
}
