//! Clients that are slow, silent, half gone or too large, and thousands that do nothing: each is ended in its time, and honest requests
//! go on beside them (RFC 4732 section 2.2; RFC 9110 sections 15.5.9 and 15.5.14; RFC 6585 section 5).

use std::net::SocketAddr;
use std::time::Duration;

use auth_server::config::TlsFiles;
use tests::http::{Http, send};
use tests::realm::Realm;
use tests::skip::skip;
use tests::world::{Auth, Guarded, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::processes::AUTH_SERVER;

/// Seconds for a head, and for a body, in these cases.
const TIMEOUT: u64 = 1;
/// For whatever must happen; what a busy machine needs is in it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A whole request.
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
/// One that has only begun.
const HALF: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ";
/// Heads have 32 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Both servers with little patience.
struct Servers {
    world: World,
    api: Guarded,
}

impl Servers {
    async fn start() -> Self {
        let world = World::with(|settings| {
            settings.http.head_timeout = TIMEOUT;
            settings.http.body_timeout = TIMEOUT;
        });
        let api = Guarded::with(|settings| {
            settings.http.head_timeout = TIMEOUT;
            settings.http.body_timeout = TIMEOUT;
        });
        // Both are large, and a case is a future on the stack.
        Self { world: Box::pin(world).await, api: Box::pin(api).await }
    }

    fn authorities(&self) -> [String; 2] {
        [&self.world.auth.issuer, &self.api.url].map(|url| authority(url))
    }
}

fn authority(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

/// One client's connection.
struct Connection(TcpStream);

impl Connection {
    async fn open(authority: &str) -> Self {
        Self(TcpStream::connect(authority).await.unwrap())
    }

    /// Sends; a server that has hung up already is no fault here.
    async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Reads one answer whose body is a JSON object without an inner one.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = timeout(PATIENCE, self.0.read_buf(&mut answer)).await;
            let read = read.expect("an answer comes").unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        }
        String::from_utf8(answer).unwrap()
    }

    /// Reads until the server closes or resets.
    async fn rest(mut self) -> String {
        let mut answer = Vec::new();
        let ended =
            timeout(PATIENCE, async { while let Ok(1..) = self.0.read_buf(&mut answer).await {} });
        assert!(ended.await.is_ok(), "still open: {:?}", String::from_utf8_lossy(&answer));
        String::from_utf8(answer).unwrap()
    }

    /// Reads a last answer and the end.
    async fn expect_refusal(self, status: u16) {
        let answer = self.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer:?}");
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer:?}");
    }
}

/// Sends whole requests to `authority` until `work` has come to its end, and demands that each is answered.
async fn beside_honest_requests(authority: &str, work: impl Future<Output = ()>) {
    let http = Http::new();
    let url = format!("http://{authority}/healthz");
    let honest = async {
        loop {
            send(http.request(reqwest::Method::GET, &url)).await.expect(200);
        }
    };
    tokio::select! {
        () = work => {}
        () = honest => {}
    }
}

/// CVE-2007-6750 and its many cousins, on the second request of a connection as on the first.
#[tokio::test]
async fn a_half_head_is_refused_in_time_whichever_request_it_belongs_to() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        beside_honest_requests(&authority, async {
            for before in 0..3 {
                let mut connection = Connection::open(&authority).await;
                for _ in 0..before {
                    connection.say(REQUEST).await;
                    connection.answer().await;
                }
                connection.say(HALF).await;
                connection.expect_refusal(408).await;
            }
        })
        .await;
    }
}

/// Whoever sends a byte now and then gets no more time for it.
#[tokio::test]
async fn a_dripping_head_is_refused_in_time() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        let mut connection = Connection::open(&authority).await;
        connection.say(REQUEST).await;
        connection.answer().await;
        connection.say(HALF).await;
        drip(connection).await.expect_refusal(408).await;
    }
}

/// Sends a byte every fifth of a second until there is something to read.
async fn drip(mut connection: Connection) -> Connection {
    let mut interval = tokio::time::interval(Duration::from_millis(200));
    let dripped = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                readable = connection.0.readable() => return readable.unwrap(),
                _ = interval.tick() => {}
            }
            connection.say("a").await;
        }
    });
    dripped.await.expect("the server has enough of it");
    connection
}

#[tokio::test]
async fn a_dripping_body_is_refused_in_time() {
    let servers = Servers::start().await;
    let [auth, api] = servers.authorities();
    let length = "Content-Length: 60000\r\n\r\n";
    let form =
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let token = servers.api.token().text();
    let json = format!(
        "POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
    );
    for (authority, head) in [(auth, form), (api, json.as_str())] {
        let mut connection = Connection::open(&authority).await;
        connection.say(format!("{head}{length}")).await;
        drip(connection).await.expect_refusal(408).await;
    }
}

/// To somebody who asked nothing there is nothing to say.
#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        assert_eq!(Connection::open(&authority).await.rest().await, "");
    }
    let metrics = servers.api.metrics_addr().to_string();
    assert_eq!(Connection::open(&metrics).await.rest().await, "");
}

/// A client that says it is done in the middle of a head is done; one that says so after its request gets its answer.
#[tokio::test]
async fn a_half_open_connection_is_answered_and_closed() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        let mut connection = Connection::open(&authority).await;
        connection.say(HALF).await;
        connection.0.shutdown().await.unwrap();
        assert_eq!(connection.rest().await, "");
        let mut connection = Connection::open(&authority).await;
        connection.say(REQUEST).await;
        connection.0.shutdown().await.unwrap();
        assert!(connection.rest().await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_of_a_head() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        let mut connection = Connection::open(&authority).await;
        for _ in 0..3 {
            connection.say(REQUEST).await;
            assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
            // A silent one that begins now and ends shows that the time of a head has passed.
            Connection::open(&authority).await.rest().await;
        }
    }
}

#[tokio::test]
async fn a_head_in_two_halves_is_read() {
    let world = World::start().await;
    let authority = authority(&world.auth.issuer);
    let (half, rest) = REQUEST.split_at(20);
    let mut connection = Connection::open(&authority).await;
    for _ in 0..2 {
        connection.say(half).await;
        let mut other = Connection::open(&authority).await;
        other.say(REQUEST).await;
        other.answer().await;
        connection.say(rest).await;
        assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused_and_the_refusal_arrives() {
    let servers = Servers::start().await;
    for authority in servers.authorities() {
        beside_honest_requests(&authority, async {
            for before in 0..2 {
                let mut connection = Connection::open(&authority).await;
                for _ in 0..before {
                    connection.say(REQUEST).await;
                    connection.answer().await;
                }
                connection.say(HALF).await;
                // It goes on for a while after the refusal, as a client does that has not read it yet.
                for _ in 0..20 {
                    connection.say("x".repeat(MAX_HEAD / 8)).await;
                }
                connection.expect_refusal(431).await;
            }
        })
        .await;
    }
}

/// To the byte: what fits is read, however it is cut.
#[tokio::test]
async fn a_head_of_the_largest_size_is_read() {
    let servers = Servers::start().await;
    let head = |length: usize| {
        let filling = "x".repeat(length - HALF.len() - 4);
        format!("{HALF}{filling}\r\n\r\n")
    };
    for authority in servers.authorities() {
        let mut connection = Connection::open(&authority).await;
        for _ in 0..2 {
            connection.say(head(MAX_HEAD)).await;
            assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
        }
        connection.say(head(MAX_HEAD + 1)).await;
        connection.expect_refusal(431).await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_connection_closed() {
    let servers = Servers::start().await;
    let [auth, api] = servers.authorities();
    let body = "x".repeat(1024 * 1024);
    let form =
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let token = servers.api.token().text();
    let json = format!(
        "POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
    );
    for (authority, head) in [(auth, form), (api, json.as_str())] {
        let mut connection = Connection::open(&authority).await;
        connection.say(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        connection.expect_refusal(413).await;
        let mut connection = Connection::open(&authority).await;
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        connection.say(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
        connection.expect_refusal(413).await;
    }
}

/// CVE-2016-8740 in spirit: answers pile up for a client that asks and never reads. It is cut off, and the others never notice.
#[tokio::test]
async fn a_client_that_never_reads_is_hung_up_on() {
    let servers = Servers::start().await;
    let [auth, api] = servers.authorities();
    let who = format!(
        "GET /whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        servers.api.token().text()
    );
    let keys = "GET /jwks.json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let deaf = [(&auth, keys), (&api, who)].map(|(authority, request)| async move {
        let mut connection = Connection::open(authority).await;
        let requests = request.repeat(100);
        let cut = timeout(PATIENCE, async { while connection.say(&requests).await {} });
        assert!(cut.await.is_ok(), "{authority} bears it");
    });
    let [at_auth, at_api] = deaf;
    beside_honest_requests(&auth, at_auth).await;
    beside_honest_requests(&api, at_api).await;
}

/// Many requests sent ahead wait for their turn; each is answered, and in order.
#[tokio::test]
async fn requests_sent_ahead_are_all_answered() {
    let servers = Servers::start().await;
    let [auth, _] = servers.authorities();
    let form = "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: 3\r\n\r\na=b";
    let filling = "x".repeat(300);
    let get = format!("{HALF}{filling}\r\n\r\n");
    let count = 250;
    let mut requests: String = (0..count).flat_map(|_| [form, &get]).collect();
    requests.push_str("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(requests.len() > 3 * MAX_HEAD);
    let (mut read, mut write) = TcpStream::connect(auth).await.unwrap().into_split();
    let writing = tokio::spawn(async move {
        write.write_all(requests.as_bytes()).await.unwrap();
        write
    });
    let mut answers = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut answers)).await.expect("it ends").unwrap();
    drop(writing.await.unwrap());
    let answers = String::from_utf8(answers).unwrap();
    let mut statuses = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]);
    for pair in 0..count {
        assert_eq!((statuses.next(), statuses.next()), (Some("401"), Some("200")), "pair {pair}");
    }
    assert_eq!((statuses.next(), statuses.next()), (Some("200"), None));
}

/// What a connection that does nothing may add to a server's own memory (`RssAnon`), in bytes: what docs/performance.md allows one of a
/// release build. A debug build keeps within it too, since what counts are buffers, and those have one size in either.
const IDLE: u64 = 16_000;

/// 2,000 that have asked once, and 500 that stop in the middle of a head.
#[tokio::test]
async fn honest_requests_get_through_beside_thousands_that_do_nothing() {
    const CONNECTIONS: usize = 2_500;
    const NAME: &str = "honest_requests_get_through_beside_thousands";
    // The server is a process of its own: it has files and memory to itself.
    if !affords(NAME, CONNECTIONS) {
        return;
    }
    let more = ["--http-max-connections-per-address", "100000", "--http-head-timeout", "60s"];
    let realm = Realm::start(AUTH_SERVER, &more).await;
    let machine = realm.machine();
    for _ in 0..20 {
        machine.client_credentials("documents:read").await.expect(200);
    }
    let address: SocketAddr = authority(&realm.address).parse().unwrap();
    let before = realm.process().anonymous_memory();
    let mut idle = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let socket = TcpSocket::new_v4().unwrap();
        let mut connection = Connection(socket.connect(address).await.unwrap());
        if number % 5 == 0 {
            assert!(connection.say(HALF).await);
        } else {
            assert!(connection.say(REQUEST).await);
            assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
        }
        idle.push(connection);
    }
    let grown = realm.process().anonymous_memory().saturating_sub(before);
    let each = grown / CONNECTIONS as u64;
    assert!(each <= IDLE, "{each} bytes a connection");
    for _ in 0..20 {
        machine.client_credentials("documents:read").await.expect(200);
    }
    // The idle ones are still welcome.
    let last = idle.last_mut().unwrap();
    assert!(last.say(REQUEST).await);
    assert!(last.answer().await.starts_with("HTTP/1.1 200 "));
}

/// A handshake that does not come takes a seat of its address, and no more than that of others: honest ones go on.
#[tokio::test]
async fn silent_handshakes_take_seats_and_hold_up_nobody() {
    // More than the TLS layer lets shake hands at once by itself, which is 256 a worker; the world has one.
    let seats = 640;
    // Each has both of its ends in this process.
    if !affords("silent_handshakes_take_seats", 2 * seats) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (declared, clock) = (tests::world::state("http://127.0.0.1:1"), tests::world::clock());
    let auth = Auth::start(folder.path(), &declared, &clock, |settings| {
        let issuer = format!("https://localhost:{}", settings.listen.port());
        settings.issuer = shared_types::Issuer::parse(&issuer).unwrap();
        settings.tls = Some(TlsFiles { cert, key });
        settings.http.max_connections_per_address = seats + 1;
    });
    let auth = Box::pin(auth).await;
    let authority = auth.running.addr().to_string();
    let url = format!("https://localhost:{}/healthz", auth.running.addr().port());
    let http = Http::trusting(&[made.cert.der().to_vec()]);
    let mut silent = Vec::new();
    for _ in 0..seats {
        silent.push(Connection::open(&authority).await);
    }
    send(http.request(reqwest::Method::GET, &url)).await.expect(200);
    // That one stays open: so there is no seat left, and the next is closed before it has said a word.
    assert_eq!(Connection::open(&authority).await.rest().await, "");
    for connection in silent {
        assert_eq!(connection.rest().await, "");
    }
    auth.running.stop().await;
}

/// Whether this process may open so many files more for the case `name`, which is skipped if not: the caller returns next. The limit is
/// raised as far as that takes; other cases run beside.
fn affords(name: &str, files: usize) -> bool {
    const OTHERS: usize = 1_000;
    let wanted = (files + OTHERS) as u64;
    let allowed = rlimit::increase_nofile_limit(wanted).unwrap_or_default();
    if allowed < wanted {
        skip(name, &format!("{allowed} files may be open (ulimit -Hn), it takes {wanted}"));
    }
    allowed >= wanted
}
