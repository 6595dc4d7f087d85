//! A planned stop under load, of real processes: it loses no request, whoever waits at the door is let in, and nobody holds it up
//! (RFC 9112 sections 9.3 and 9.6).

use std::io::ErrorKind;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use shared_types::{Clock as _, SystemClock};
use tempfile::TempDir;
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};
use tests::realm::Realm;
use tests::world::SECRET;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

/// Clients of one server.
const CLIENTS: usize = 24;
/// Answers to wait for before the stop.
const BEFORE: usize = 300;

/// A server that runs, with what it needs beside it.
enum Server {
    Auth(Box<Realm>),
    Resource { process: Box<Process>, _beside: (Box<FakeIssuer>, TempDir) },
}

impl Server {
    /// The authorization server, and a `POST` that it answers with a token.
    async fn auth(more: &[&str]) -> (Self, String) {
        let realm = Realm::start(AUTH_SERVER, more).await;
        let basic = BASE64_STANDARD.encode(format!("machine:{SECRET}"));
        let head = format!(
            "POST /token HTTP/1.1\r\nAuthorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded"
        );
        let request = whole(&head, "grant_type=client_credentials&scope=documents:read");
        (Self::Auth(Box::new(realm)), request)
    }

    /// The resource server, and a `POST` that it answers with a document.
    async fn resource(more: &[&str]) -> (Self, String) {
        let (issuer, folder) = (FakeIssuer::start().await, tempfile::tempdir().unwrap());
        let port = free_port();
        let resource = format!("http://127.0.0.1:{port}");
        let mut args = vec!["--issuer", &issuer.url, "--resource", &resource, "--workers", "2"];
        args.extend(more);
        let process = Process::start(RESOURCE_SERVER, folder.path(), port, &args).await;
        let token = issuer.token(&resource, SystemClock.now().as_i64());
        let head = format!(
            "POST /documents HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json",
            token.text()
        );
        let request = whole(&head, r#"{"title":"t","body":"b"}"#);
        let beside = (Box::new(issuer), folder);
        (Self::Resource { process: Box::new(process), _beside: beside }, request)
    }

    fn process(&self) -> &Process {
        match self {
            Self::Auth(realm) => realm.process(),
            Self::Resource { process, .. } => process,
        }
    }

    fn authority(&self) -> String {
        self.process().url.strip_prefix("http://").unwrap().to_owned()
    }

    /// Waits until it ends, as it was asked to.
    async fn ended(self) {
        let (status, log) = match self {
            Self::Auth(mut realm) => realm.ended().await,
            Self::Resource { process, _beside } => process.end().await,
        };
        assert_eq!(status, Some(0), "{log}");
    }
}

fn whole(head: &str, body: &str) -> String {
    format!("{head}\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads one answer; whether it is the last one of its connection. `Err` says what came instead.
async fn answer(stream: &mut TcpStream) -> Result<bool, String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                assert!(head.starts_with("http/1.1 20"), "{text}");
                return Ok(head.contains("\r\nconnection: close"));
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            end => return Err(format!("{end:?} after {text:?}")),
        }
    }
}

/// One request after the other on one connection, and another connection when the answer says that there will be no more, until
/// nobody listens. `Err`: a request of a connection that was accepted has got no answer.
async fn ask_on_and_on(
    authority: String,
    request: String,
    answers: watch::Sender<usize>,
) -> Result<(), String> {
    loop {
        let mut stream = match TcpStream::connect(&authority).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        loop {
            stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
            let is_last = answer(&mut stream).await?;
            answers.send_modify(|count| *count += 1);
            if is_last {
                break;
            }
        }
    }
}

async fn loses_nothing((server, request): (Server, String)) {
    let answers = watch::Sender::new(0);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask_on_and_on(server.authority(), request.clone(), answers.clone())))
        .collect();
    answers.subscribe().wait_for(|count| *count >= BEFORE).await.unwrap();
    server.process().signal("TERM");
    let outcomes: Vec<_> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let lost: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(lost.is_empty(), "lost beside {} answers: {lost:?}", *answers.borrow());
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_no_request_of_the_auth_server() {
    loses_nothing(Server::auth(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_no_request_of_the_resource_server() {
    loses_nothing(Server::resource(&[]).await).await;
}

/// Two connections hold all the places there are: one is idle, on the other a request has begun. A third one waits, and has asked.
async fn ends_what_has_begun((server, request): (Server, String)) {
    let authority = server.authority();
    let mut idle = TcpStream::connect(&authority).await.unwrap();
    idle.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle).await, Ok(false), "it stays open");
    let (begin, rest) = request.split_at(40);
    let mut begun = TcpStream::connect(&authority).await.unwrap();
    begun.write_all(begin.as_bytes()).await.unwrap();
    let mut waiting = TcpStream::connect(&authority).await.unwrap();
    waiting.write_all(request.as_bytes()).await.unwrap();

    server.process().signal("TERM");
    // Told the end or not: the listener may be closing still.
    answer(&mut waiting).await.expect("who waited is answered");
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "the idle one is closed without a word");
    let refused = TcpStream::connect(&authority).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Since an idle one is closed, the time in which idle ones may stay is over; a request that has begun goes on.
    begun.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut begun).await, Ok(true), "what has begun is answered");
    server.ended().await;
}

const TWO_PLACES: [&str; 4] = ["--http-max-connections", "2", "--http-head-timeout", "60s"];

#[tokio::test]
async fn the_auth_server_ends_what_has_begun_and_lets_in_who_waits() {
    ends_what_has_begun(Server::auth(&TWO_PLACES).await).await;
}

#[tokio::test]
async fn the_resource_server_ends_what_has_begun_and_lets_in_who_waits() {
    ends_what_has_begun(Server::resource(&TWO_PLACES).await).await;
}
