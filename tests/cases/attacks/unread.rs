//! Bodies without an end: the answer comes, and the connection does not outlive it (slow-body attacks, RFC 9112 section 9.6).

use std::time::Duration;

use tests::world::{Guarded, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Seconds that a handler waits for a body in these cases.
const BODY_TIMEOUT: u64 = 1;

/// The body timeout, the two seconds in which what still comes is thrown away, and what a busy machine needs.
const BOUND: Duration = Duration::from_secs(BODY_TIMEOUT + 2 + 7);

/// As many as would starve a small server if it kept them.
const CONNECTIONS: usize = 20;

/// Ways to begin a body and never end it.
const BODIES: [&str; 5] = [
    "Transfer-Encoding: chunked\r\n\r\n5;extension",
    "Transfer-Encoding: chunked\r\n\r\n5;",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x",
    "Content-Length: 60000\r\n\r\na",
];

/// Sends `head` with each of the bodies over many connections, which then drip on, and demands that the server answers `status` and
/// hangs up.
async fn hangs_up(authority: &str, head: &str, status: u16) {
    let connections = (0..CONNECTIONS).map(|number| {
        let request = format!("{head}{}", BODIES[number % BODIES.len()]);
        let authority = authority.to_owned();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(authority).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(BOUND, read_dripping(&mut stream, &mut answer)).await;
            assert!(ended.is_ok(), "still open: {request:?}");
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {text:?}");
            assert!(text.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{text:?}");
        })
    });
    for connection in connections.collect::<Vec<_>>() {
        connection.await.unwrap();
    }
}

/// Reads until the server closes or resets, and sends a little more after each piece that it says.
async fn read_dripping(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    while let Ok(1..) = stream.read_buf(answer).await {
        drop(stream.write_all(b"a").await);
    }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{more}")
}

#[tokio::test]
async fn the_authorization_server_keeps_no_connection_for_an_endless_body() {
    let world = World::with(|settings| settings.http.body_timeout = BODY_TIMEOUT).await;
    let authority = world.auth.issuer.strip_prefix("http://").unwrap();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    hangs_up(authority, &head("POST", "/token", form), 408).await;
    hangs_up(authority, &head("POST", "/token", ""), 400).await;
    hangs_up(authority, &head("GET", "/jwks.json", ""), 200).await;
    hangs_up(authority, &head("GET", "/nowhere", ""), 404).await;
}

#[tokio::test]
async fn the_resource_server_keeps_no_connection_for_an_endless_body() {
    let api = Guarded::with(|settings| settings.http.body_timeout = BODY_TIMEOUT).await;
    let authority = api.url.strip_prefix("http://").unwrap();
    let token = format!("Authorization: Bearer {}\r\n", api.token().text());
    let json = format!("{token}Content-Type: application/json\r\n");
    hangs_up(authority, &head("POST", "/documents", &json), 408).await;
    hangs_up(authority, &head("POST", "/documents", ""), 401).await;
    hangs_up(authority, &head("GET", "/whoami", &token), 200).await;
    let metrics = api.metrics_addr().to_string();
    hangs_up(&metrics, &head("GET", "/metrics", ""), 200).await;
}

/// What is read to its end goes on as ever.
#[tokio::test]
async fn a_chunked_body_that_ends_leaves_the_connection_open() {
    let world = World::start().await;
    let authority = world.auth.issuer.strip_prefix("http://").unwrap();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n";
    let mut stream = TcpStream::connect(authority).await.unwrap();
    for _ in 0..3 {
        let request = format!("{}\r\n1\r\na\r\n0\r\n\r\n", head("POST", "/token", form));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 4"));
    }
}
