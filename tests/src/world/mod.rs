//! Worlds: servers in this process, on ports and databases of their own, with a clock that moves when a case says so.

mod auth;
mod guarded;
mod served;

pub use auth::{ALICE, Auth, BOB, NATIVE_CALLBACK, SECRET, WEB_CALLBACK, clock, state};
pub use guarded::Guarded;
pub use served::{Served, Stop};

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use shared_types::{Clock as _, ManualClock, UnixSeconds};
use tempfile::TempDir;

use crate::browser::{Browser, Page};
use crate::client::{Client, Documents, Pending, sign_in};
use crate::engine::Store;
use crate::http::Answer;

/// When worlds begin: a moment in 2026 without a meaning of its own.
pub const NOW: UnixSeconds = UnixSeconds::new(1_790_000_000);

/// A loopback address whose port was free just now. Servers bind it again at once; their identifiers hold it already, so
/// they cannot take any other. Ports come in order, from below the range out of which systems draw those of connections
/// (32768 and up), so that neither another case nor a connection takes one meanwhile; two runs begin at different places.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    for _ in 0..COUNT {
        let number = GIVEN.fetch_add(1, Ordering::Relaxed);
        let begin = std::process::id().wrapping_mul(997);
        let port = FIRST + begin.wrapping_add(number) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

/// Both servers, joined by nothing but the wire and the clock.
#[derive(Debug)]
pub struct World {
    /// The time of both.
    pub clock: Arc<ManualClock>,
    /// The authorization server.
    pub auth: Auth,
    /// The resource server's identifier and address.
    pub resource: String,
    /// The resource server.
    pub api: Served<resource_server::Running>,
    folder: TempDir,
}

impl World {
    /// Both servers with what [`state`] declares.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings of the authorization server.
    pub async fn with(change: impl FnOnce(&mut auth_server::Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::chosen(folder.path(), "auth-server.db").await;
        Self::build(folder, store, change).await
    }

    /// The same with the authorization server's rows in `store`.
    pub async fn on(store: Store) -> Self {
        Self::build(tempfile::tempdir().unwrap(), store, |_| {}).await
    }

    async fn build(
        folder: TempDir,
        store: Store,
        change: impl FnOnce(&mut auth_server::Settings),
    ) -> Self {
        let (clock, resource) = (clock(), format!("http://{}", free_address()));
        let state = state(&resource);
        let auth = Auth::start_on(store, folder.path(), &state, &clock, change).await;
        let store = Store::chosen(folder.path(), "resource-server.db").await;
        let settings = guarded::settings(&resource, &[&auth.issuer], &store);
        let api = Served::new(guarded::spawn(settings, clock.clone()).await, store);
        Self { clock, auth, resource, api, folder }
    }

    /// The authorization server stops and starts again; the resource server stays.
    pub async fn restart_auth(mut self) -> Self {
        self.auth = self.auth.restart().await;
        self
    }

    /// Where both keep their databases.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The time, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.now().as_i64()
    }

    /// The confidential client.
    pub fn web(&self) -> Client {
        Client::new(&self.auth.issuer, "web", SECRET, WEB_CALLBACK)
    }

    /// The public client.
    pub fn native(&self) -> Client {
        Client::new(&self.auth.issuer, "native", "", NATIVE_CALLBACK)
    }

    /// The client that acts for itself.
    pub fn machine(&self) -> Client {
        Client::new(&self.auth.issuer, "machine", SECRET, "")
    }

    /// The client that may introspect tokens for the documents API.
    pub fn introspector(&self) -> Client {
        Client::new(&self.auth.issuer, "documents-rs", SECRET, "")
    }

    /// A caller of the API with a bearer token.
    pub fn documents(&self, token: &str) -> Documents {
        Documents::bearer(&self.resource, token)
    }

    /// Alice signs in with a new browser and consents; gives the code and what belongs to it.
    pub async fn code(&self, client: &Client, scope: &str, tag: &str) -> (String, Pending) {
        let mut browser = Browser::new();
        let (page, pending) = self.authorize(&mut browser, client, scope, tag).await;
        (pending.code(&page, client), pending)
    }

    /// Alice goes through an authorization request in `browser`; gives the redirect that ends it.
    pub async fn authorize(
        &self,
        browser: &mut Browser,
        client: &Client,
        scope: &str,
        tag: &str,
    ) -> (Page, Pending) {
        let pending = client.begin(scope, tag);
        let page = sign_in(browser, &pending.url(), ALICE.0, ALICE.1).await;
        (page, pending)
    }

    /// The whole way: sign-in, consent, code, tokens.
    pub async fn tokens(&self, client: &Client, scope: &str, tag: &str) -> Answer {
        let (code, pending) = self.code(client, scope, tag).await;
        client.redeem(&code, &pending).await.expect(200)
    }
}
