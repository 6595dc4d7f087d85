//! Connections that one address holds without end: it has so many and no more, and gets one back for each that it gives up
//! (what every TCP server is open to, RFC 4732 section 2.2).

use std::time::Duration;

use tests::background;
use tests::world::{Auth, Guarded, clock, state};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a server may take to notice that a connection is gone.
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection on which one request was answered, and which stays open; `None` if the server closed it without a word.
async fn seated(authority: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    // A server that hangs up at once may do so before this is written.
    stream.write_all(REQUEST).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
            assert!(answer.is_empty(), "cut off: {}", String::from_utf8_lossy(&answer));
            return None;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    Some(stream)
}

/// Two hold what there is, the third is refused, and has a place as soon as one of them is gone.
async fn two_and_no_more(authority: &str) {
    let first = seated(authority).await.expect("the first");
    let mut second = seated(authority).await.expect("the second");
    assert!(seated(authority).await.is_none(), "the third gets in");
    drop(first);
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let freed = tokio::time::timeout(PATIENCE, async {
        loop {
            interval.tick().await;
            if let Some(stream) = seated(authority).await {
                return stream;
            }
        }
    });
    let third = freed.await.expect("the place of the first is free in time");
    assert!(seated(authority).await.is_none(), "and only that one");
    // Whoever was seated all the while was not disturbed.
    second.write_all(REQUEST).await.unwrap();
    assert!(second.read_u8().await.is_ok());
    drop(third);
}

#[tokio::test]
async fn one_address_holds_as_many_connections_as_it_may_and_no_more() {
    // By itself: a resource server beside it would hold a connection too.
    let folder = tempfile::tempdir().unwrap();
    let (state, clock) = (state("http://127.0.0.1:1"), clock());
    let auth = Auth::start(folder.path(), &state, &clock, |settings| {
        settings.http.max_connections_per_address = 2;
    });
    let auth = auth.await;
    two_and_no_more(auth.issuer.strip_prefix("http://").unwrap()).await;
    background::run(auth.running.stop()).await;
    let api = Guarded::with(|settings| settings.http.max_connections_per_address = 2).await;
    two_and_no_more(api.url.strip_prefix("http://").unwrap()).await;
}

/// A proxy carries everybody.
#[tokio::test]
async fn a_trusted_proxy_is_not_held_to_the_connections_of_one_address() {
    let folder = tempfile::tempdir().unwrap();
    let (state, clock) = (state("http://127.0.0.1:1"), clock());
    let auth = Auth::start(folder.path(), &state, &clock, |settings| {
        settings.http.max_connections_per_address = 1;
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let auth = auth.await;
    let api = Guarded::with(|settings| {
        settings.http.max_connections_per_address = 1;
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let api = api.await;
    for url in [&auth.issuer, &api.url] {
        let authority = url.strip_prefix("http://").unwrap();
        let _first = seated(authority).await.expect("the first");
        assert!(seated(authority).await.is_some(), "{url} refuses the second");
    }
    background::run(auth.running.stop()).await;
}
