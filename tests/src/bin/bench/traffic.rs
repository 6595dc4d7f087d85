//! What is asked: the same again, tokens of a list in turn, each once, and refresh tokens that change with every answer.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::load::{Answer, Traffic};
use crate::seed::VERIFIER;
use crate::state::{Alg, CALLBACK, MACHINE, SECRET, Web};

/// A GET, with more header lines.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
}

/// A POST of a form, with more header lines.
pub fn post(path: &str, headers: &str, form: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n{headers}\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// The header line of a client with its secret.
pub fn basic(client: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{client}:{SECRET}")))
}

/// The header line of a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A token for the API of `alg`.
pub fn client_credentials(alg: Alg) -> Vec<u8> {
    let (scope, resource) = (encode(&alg.scope()), encode(&alg.resource()));
    let form = format!("grant_type=client_credentials&scope={scope}&resource={resource}");
    post("/token", &basic(MACHINE), &form)
}

/// A redemption of a seeded code.
pub fn redemption(web: Web, code: &str) -> Vec<u8> {
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={}&code_verifier={VERIFIER}",
        encode(CALLBACK)
    );
    post("/token", &basic(&web.id()), &form)
}

/// A question what a token is worth.
pub fn introspection(client: &str, token: &str) -> Vec<u8> {
    post("/introspect", &basic(client), &format!("token={token}"))
}

/// The value of a text member of a JSON answer, as far as one can tell without reading all of it.
pub fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, rest) = body.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}

/// Requests of a list, over and over. An answer is good if it has the status, and the words in its body.
#[derive(Debug)]
pub struct Again {
    requests: Vec<Vec<u8>>,
    next: usize,
    words: &'static str,
}

impl Again {
    /// These, expecting 200 and `words` in the body.
    pub fn of(requests: Vec<Vec<u8>>, words: &'static str) -> Self {
        Self { requests, next: 0, words }
    }
}

impl Traffic for Again {
    fn request(&mut self, _: usize, into: &mut Vec<u8>) -> bool {
        into.extend(&self.requests[self.next]);
        self.next = (self.next + 1) % self.requests.len();
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> bool {
        answer.status == 200 && has(answer.body, self.words)
    }
}

fn has(body: &[u8], words: &str) -> bool {
    words.is_empty() || body.windows(words.len()).any(|window| window == words.as_bytes())
}

/// Each connection has a request of its own, over and over: what may be under way only once.
#[derive(Debug)]
pub struct EachItsOwn {
    /// As many as connections.
    pub requests: Vec<Vec<u8>>,
    /// What an answer has to be.
    pub status: u16,
}

impl Traffic for EachItsOwn {
    fn request(&mut self, connection: usize, into: &mut Vec<u8>) -> bool {
        into.extend(&self.requests[connection]);
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> bool {
        answer.status == self.status
    }
}

/// Codes, each once.
#[derive(Debug)]
pub struct Codes {
    /// Whose they are.
    pub web: Web,
    /// Not redeemed yet.
    pub codes: Vec<String>,
}

impl Traffic for Codes {
    fn request(&mut self, _: usize, into: &mut Vec<u8>) -> bool {
        let Some(code) = self.codes.pop() else { return false };
        into.extend(redemption(self.web, &code));
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> bool {
        let parts = ["access_token", "refresh_token", "id_token"];
        answer.status == 200 && parts.iter().all(|part| member(answer.body, part).is_some())
    }
}

/// Refresh tokens: the one that has waited longest is used next, its successor goes to the end.
#[derive(Debug)]
pub struct Rotation {
    before: String,
    tokens: VecDeque<String>,
}

impl Rotation {
    /// With these tokens of `web`.
    pub fn of(web: Web, tokens: Vec<String>) -> Self {
        // Token texts all have one length, so all but the token itself is made once.
        let form = "grant_type=refresh_token&refresh_token=";
        let whole = post("/token", &basic(&web.id()), &format!("{form}{}", "A".repeat(59)));
        let before = String::from_utf8_lossy(&whole[..whole.len() - 59]).into_owned();
        Self { before, tokens: tokens.into() }
    }
}

impl Traffic for Rotation {
    fn request(&mut self, _: usize, into: &mut Vec<u8>) -> bool {
        let Some(token) = self.tokens.pop_front() else { return false };
        for part in [&self.before, &token] {
            into.extend(part.as_bytes());
        }
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> bool {
        let successor = member(answer.body, "refresh_token").filter(|_| answer.status == 200);
        self.tokens.extend(successor.map(str::to_owned));
        successor.is_some()
    }
}

/// Asks for tokens and keeps them.
#[derive(Debug)]
pub struct Collecting {
    request: Vec<u8>,
    left: usize,
    /// What has come.
    pub tokens: Vec<String>,
}

impl Collecting {
    /// That many access tokens for the API of `alg`.
    pub fn access_tokens(alg: Alg, count: usize) -> Self {
        Self { request: client_credentials(alg), left: count, tokens: Vec::new() }
    }
}

impl Traffic for Collecting {
    fn request(&mut self, _: usize, into: &mut Vec<u8>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        into.extend(&self.request);
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> bool {
        let token = member(answer.body, "access_token").filter(|_| answer.status == 200);
        self.tokens.extend(token.map(str::to_owned));
        token.is_some()
    }
}
