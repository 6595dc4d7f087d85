//! A database that an older version left is brought up to date by the server that finds it, and everybody goes on: nobody signs in
//! again, no token, secret or key is lost.

use std::sync::Arc;

use auth_server::Settings;
use shared_types::{Issuer, ManualClock, UnixSeconds};
use tempfile::TempDir;
use tests::background;
use tests::browser::{Browser, Page};
use tests::client::{Client, Documents};
use tests::engine::{MASTER_KEY, Store, server_or_skip};
use tests::http::Http;
use tests::world::{Served, WEB_CALLBACK, free_address};

use super::fixture::{AuthHands, ResourceHands, Server, load};
use super::making::{random, resource};

const SCOPE: &str = "openid documents:read";

#[tokio::test]
async fn what_people_and_clients_hold_of_any_older_auth_server_goes_on_on_sqlite() {
    for version in Server::Auth.versions() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::file(folder.path(), "older.db");
        authorization_goes_on(version, store, folder).await;
    }
}

#[tokio::test]
async fn what_people_and_clients_hold_of_any_older_auth_server_goes_on_on_postgres() {
    let Some(server) = server_or_skip("what_people_and_clients_hold") else { return };
    for version in Server::Auth.versions() {
        let store = Store::on(&server).await;
        authorization_goes_on(version, store, tempfile::tempdir().unwrap()).await;
    }
}

#[tokio::test]
async fn what_callers_hold_of_any_older_resource_server_goes_on_on_sqlite() {
    for version in Server::Resource.versions() {
        let folder = tempfile::tempdir().unwrap();
        documents_go_on(version, Store::file(folder.path(), "older.db")).await;
    }
}

#[tokio::test]
async fn what_callers_hold_of_any_older_resource_server_goes_on_on_postgres() {
    let Some(server) = server_or_skip("what_callers_hold") else { return };
    for version in Server::Resource.versions() {
        documents_go_on(version, Store::on(&server).await).await;
    }
}

/// An authorization server of this build on a fixture. It is reached at an address of its own, as behind a proxy.
struct Town {
    hands: AuthHands,
    address: String,
    running: Served<auth_server::Running>,
    _folder: TempDir,
}

impl Town {
    async fn on(version: i64, store: Store, folder: TempDir) -> Self {
        load(Server::Auth, version, &store).await;
        let hands: AuthHands = toml::from_str(&Server::Auth.read(version, "hands.toml")).unwrap();
        let key = folder.path().join(MASTER_KEY);
        std::fs::write(&key, &hands.master_key).unwrap();
        let issuer = Issuer::parse(&*hands.issuer).unwrap();
        let mut settings = Settings::new(issuer, store.database_url());
        settings.listen = free_address();
        settings.master_key_file = Some(key);
        settings.metrics_listen = None;
        settings.workers = 1;
        settings.postgres.connections = 6;
        (settings.argon2.memory_kib, settings.argon2.iterations) = (8, 1);
        let address = format!("http://{}", settings.listen);
        let ports = auth_server::Ports { clock: clock_after(hands.now), random: random() };
        let spawned = async move { auth_server::spawn(settings, ports).await.unwrap() };
        let running = Served::new(background::run(spawned).await, store);
        Self { hands, address, running, _folder: folder }
    }

    /// A client as it reaches the server.
    fn client(&self, id: &str) -> Client {
        Client::new(&self.address, id, &self.hands.client_secret, WEB_CALLBACK)
    }

    /// Opens a page of the server.
    async fn settle(&self, browser: &mut Browser, url: &str) -> Page {
        let page = browser.get(url).await;
        self.settled(browser, page).await
    }

    /// Follows redirects inside the server, which tell its issuer's address; those to a client are the answer.
    async fn settled(&self, browser: &mut Browser, mut page: Page) -> Page {
        while page.redirects() {
            let to = page.location().to_string().replace(&self.hands.issuer, &self.address);
            if !to.starts_with(&self.address) {
                break;
            }
            page = browser.get(&to).await;
        }
        page
    }

    /// A code for `web`, by whatever `browser` is asked for.
    async fn redeem_new(&self, browser: &mut Browser, prompt: &str, person: &str) {
        // What a client checks is the issuer, wherever it is reached.
        let web = Client::new(&self.hands.issuer, "web", &self.hands.client_secret, WEB_CALLBACK);
        let pending = web.begin(SCOPE, prompt).at(&self.address).param("prompt", prompt);
        let mut page = self.settle(browser, &pending.url()).await;
        if page.element("login-form").is_some() {
            let form = page.form("login-form").set("username", person);
            let form = form.set("password", &self.hands.passwords[person]).press("login-submit");
            page = browser.submit(&page, &form).await;
            page = self.settled(browser, page).await;
        }
        let code = pending.code(&page, &web);
        self.client("web").redeem(&code, &pending).await.expect(200);
    }
}

/// Some seconds after the fixture was made, while everything in it is alive.
fn clock_after(now: i64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UnixSeconds::new(now + 5)))
}

async fn is_ready(address: &str) {
    Http::new().get(&format!("{address}/readyz")).await.expect(200);
}

async fn redeem(web: &Client, code: &str, verifier: &str) -> (u16, String) {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", WEB_CALLBACK),
        ("code_verifier", verifier),
    ];
    let answer = web.token(&fields).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.error() })
}

async fn authorization_goes_on(version: i64, store: Store, folder: TempDir) {
    let town = Town::on(version, store, folder).await;
    let (hands, web) = (&town.hands, town.client("web"));
    is_ready(&town.address).await;

    // Clients and their secrets.
    town.client("machine").client_credentials("documents:read").await.expect(200);
    // The session, its consent, and the signature keys, with which the tokens are signed.
    let mut alice = Browser::new();
    for (name, value) in &hands.cookies {
        alice.plant("127.0.0.1", name, value);
    }
    town.redeem_new(&mut alice, "none", "alice").await;
    // Passwords.
    town.redeem_new(&mut Browser::new(), "login", "bob").await;
    // What was given out before: verified by the keys of the fixture, and alive by its rows.
    let person = web.userinfo(&hands.access_token).await.expect(200);
    assert_eq!(person.member("name"), "Alice Example");
    for token in [&hands.access_token, &hands.refresh_token] {
        assert_eq!(web.introspect(token).await.expect(200).json()["active"], true);
    }
    assert_eq!(redeem(&web, &hands.code, &hands.code_verifier).await, (200, String::new()));
    let next = web.refresh(&hands.refresh_token).await.expect(200);
    web.userinfo(&next.member("access_token")).await.expect(200);
    web.refresh(&next.member("refresh_token")).await.expect(200);

    // And what had ended stays ended.
    assert_eq!(web.userinfo(&hands.revoked_access_token).await.status, 401);
    let refused = web.refresh(&hands.revoked_refresh_token).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant");
    let again = redeem(&web, &hands.spent_code, &hands.spent_code_verifier).await;
    assert_eq!(again, (400, "invalid_grant".to_owned()));
    town.running.stop().await;
}

async fn documents_go_on(version: i64, store: Store) {
    load(Server::Resource, version, &store).await;
    let hands: ResourceHands =
        toml::from_str(&Server::Resource.read(version, "hands.toml")).unwrap();
    // Its issuer is away: the keys are those in its rows.
    let running = resource(&hands.resource, &hands.issuer, &store, &clock_after(hands.now)).await;
    let address = format!("http://{}", running.addr());
    let server = Served::new(running, store);
    is_ready(&address).await;
    let alice = Documents::bearer(&address, &hands.access_token);
    let listed = alice.list("").await.expect(200).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), hands.documents.len());
    for (title, id) in &hands.documents {
        assert_eq!(alice.read(id).await.expect(200).member("title"), *title);
        alice.change(id, title, "changed").await.expect(200);
    }
    let id = alice.create("New", "text").await.expect(201).member("id");
    alice.delete(&id).await.expect(204);
    server.stop().await;
}
