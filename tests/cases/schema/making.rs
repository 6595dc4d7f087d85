//! How a fixture is made, by hand and once, when a migration is added: [`HOW`].
//!
//! Both servers run in this process, sign Alice in, hand out tokens and keep documents; then their rows are written out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use auth_server::SeededRandom;
use database::{Database, DatabaseError, Migration, Options, Sql};
use serde::Serialize;
use shared_types::{Audience, Issuer, ManualClock};
use tests::background;
use tests::browser::Browser;
use tests::client::{Client, Documents, Pending, sign_in};
use tests::engine::{MASTER_KEY, Store, server, write_master_key};
use tests::world::{ALICE, Auth, BOB, NOW, SECRET, Served, WEB_CALLBACK, state};

use super::fixture::{AuthHands, ResourceHands, Server};

/// What to do when one is missing.
pub const HOW: &str = "After adding a migration write its fixture, and commit it: \
    SCHEMA_FIXTURES=write TEST_POSTGRES=… cargo test -p tests --test cases -- a_released_migration";

/// Nobody listens there but while a fixture is made.
const ISSUER: &str = "http://127.0.0.1:9431";
const RESOURCE: &str = "https://api.example";
const SCOPE: &str = "openid profile email offline_access documents:read documents:write";

/// Whether this run of the cases is to write what is missing.
pub fn is_asked_for() -> bool {
    std::env::var("SCHEMA_FIXTURES").is_ok_and(|what| what == "write")
}

/// Writes the fixtures that are not there; those that are there stay.
pub async fn write_missing() {
    let missing = |server: Server| {
        let versions = server.versions().filter(|version| !server.folder(*version).exists());
        versions.collect::<Vec<_>>()
    };
    if Server::BOTH.iter().all(|server| missing(*server).is_empty()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (auth, resource) = live(folder.path()).await;
    for server in Server::BOTH {
        let store = Store::file(folder.path(), &format!("{}.db", server.name()));
        for version in missing(server) {
            let known = server.known_at(version);
            let write = |name: &str, text: &str| {
                std::fs::create_dir_all(server.folder(version)).unwrap();
                std::fs::write(server.folder(version).join(name), text).unwrap();
            };
            write("sqlite.sql", &sqlite_definitions(known).await);
            write("postgres.sql", &postgres_definitions(known).await);
            let rows = rows(&store, known).await;
            write("rows.sql", &rows);
            match server {
                Server::Auth => write("hands.toml", &told(&auth)),
                Server::Resource => {
                    let mut hands = resource.clone();
                    hands.documents.retain(|_, id| rows.contains(&**id));
                    write("hands.toml", &told(&hands));
                }
            }
        }
    }
}

fn told(hands: &impl Serialize) -> String {
    toml::to_string(hands).unwrap()
}

/// A day in the life of both servers.
async fn live(folder: &Path) -> (AuthHands, ResourceHands) {
    let clock = Arc::new(ManualClock::new(NOW));
    write_master_key(folder);
    let store = Store::file(folder, "auth-server.db");
    let mut auth = Auth::start_on(store, folder, &state(RESOURCE), &clock, |settings| {
        settings.issuer = Issuer::parse(ISSUER).unwrap();
        settings.listen = listen();
        settings.master_key_file = Some(folder.join(MASTER_KEY));
    })
    .await;
    let web = Client::new(ISSUER, "web", SECRET, WEB_CALLBACK);
    let mut alice = Browser::new();
    let first = code(&mut alice, &web, ALICE, "first").await;
    let tokens = web.redeem(&first.0, &first.1).await.expect(200);
    let spent = code(&mut alice, &web, ALICE, "spent").await;
    web.redeem(&spent.0, &spent.1).await.expect(200);
    let given_back = code(&mut Browser::new(), &web, BOB, "given back").await;
    let given_back = web.redeem(&given_back.0, &given_back.1).await.expect(200);
    web.revoke(&given_back.member("refresh_token")).await.expect(200);
    let denied = web.refresh(&tokens.member("refresh_token")).await.expect(200);
    web.revoke(&denied.member("access_token")).await.expect(200);
    let last = web.refresh(&denied.member("refresh_token")).await.expect(200);
    let waiting = code(&mut alice, &web, ALICE, "waiting").await;
    let wrong = web.begin(SCOPE, "wrong password");
    sign_in(&mut Browser::new(), &wrong.url(), ALICE.0, "a wrong password").await;

    let access_token = last.member("access_token");
    let documents = keep_documents(folder, &clock, &access_token).await;
    auth = auth.restart().await;
    has_purged(&auth).await;
    let resource = ResourceHands {
        now: NOW.as_i64(),
        issuer: ISSUER.to_owned(),
        resource: RESOURCE.to_owned(),
        access_token: access_token.clone(),
        documents,
    };
    let key = std::fs::read_to_string(folder.join(MASTER_KEY)).unwrap();
    let auth_hands = AuthHands {
        now: NOW.as_i64(),
        issuer: ISSUER.to_owned(),
        master_key: key.trim().to_owned(),
        client_secret: SECRET.to_owned(),
        passwords: [ALICE, BOB].map(|(name, word)| (name.to_owned(), word.to_owned())).into(),
        cookies: cookies(&alice),
        access_token,
        refresh_token: last.member("refresh_token"),
        revoked_refresh_token: given_back.member("refresh_token"),
        revoked_access_token: denied.member("access_token"),
        code: waiting.0,
        code_verifier: waiting.1.verifier,
        spent_code: spent.0,
        spent_code_verifier: spent.1.verifier,
    };
    auth.running.stop().await;
    (auth_hands, resource)
}

fn listen() -> SocketAddr {
    ISSUER.strip_prefix("http://").unwrap().parse().unwrap()
}

async fn code(
    browser: &mut Browser,
    web: &Client,
    person: (&str, &str),
    tag: &str,
) -> (String, Pending) {
    let pending = web.begin(SCOPE, tag);
    let page = sign_in(browser, &pending.url(), person.0, person.1).await;
    (pending.code(&page, web), pending)
}

fn cookies(browser: &Browser) -> BTreeMap<String, String> {
    let all = browser.cookies("127.0.0.1");
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Documents of Alice in a resource server that trusts the issuer.
async fn keep_documents(
    folder: &Path,
    clock: &Arc<ManualClock>,
    token: &str,
) -> BTreeMap<String, String> {
    let store = Store::file(folder, "resource-server.db");
    let running = resource(RESOURCE, ISSUER, &store, clock).await;
    let address = format!("http://{}", running.addr());
    let server = Served::new(running, store);
    let alice = Documents::bearer(&address, token);
    let mut kept = BTreeMap::new();
    for (title, body) in
        [("Shopping", "Milk; bread;\tand 'salt'"), ("Gr\u{fc}\u{df}e", "\u{1f600}")]
    {
        kept.insert(title.to_owned(), alice.create(title, body).await.expect(201).member("id"));
    }
    server.stop().await;
    kept
}

/// A resource server on any port, whatever its identifier.
pub async fn resource(
    resource: &str,
    issuer: &str,
    store: &Store,
    clock: &Arc<ManualClock>,
) -> resource_server::Running {
    let (audience, issuer) = (Audience::parse(resource).unwrap(), Issuer::parse(issuer).unwrap());
    let mut settings = resource_server::Settings::new(audience, issuer, store.database_url());
    settings.listen = tests::world::free_address();
    settings.metrics_listen = None;
    settings.workers = 1;
    let ports = resource_server::Ports { clock: clock.clone() };
    background::run(async move { resource_server::spawn(settings, ports).await.unwrap() }).await
}

/// Waits until the walk that begins at each start has left its marks.
async fn has_purged(auth: &Auth) {
    let database = auth.running.app().database.clone();
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    loop {
        interval.tick().await;
        let marks = |sql: &mut dyn Sql| sql.query("SELECT name FROM purge_cursor", &[]);
        if !database.read::<_, DatabaseError>(marks).await.unwrap().is_empty() {
            return;
        }
    }
}

async fn open(store: &Store) -> Database {
    let url = store.database_url();
    background::run(async move { Database::open(&url, &Options::default()).await.unwrap() }).await
}

/// An empty database with these migrations in `store`.
pub async fn migrated(store: &Store, known: &'static [Migration]) {
    let database = open(store).await;
    database.migrate(known).await.unwrap();
    database.close().await;
}

async fn texts(database: &Database, query: &str) -> Vec<String> {
    let query: &'static str = query.to_owned().leak();
    let rows = database.read::<_, DatabaseError>(move |sql| sql.query(query, &[])).await;
    rows.unwrap_or_else(|error| panic!("{query}: {error}"))
        .iter()
        .map(|row| row.text(0).unwrap())
        .collect()
}

/// The definitions that SQLite keeps of a database with these migrations.
pub async fn sqlite_definitions(known: &'static [Migration]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::file(folder.path(), "empty.db");
    migrated(&store, known).await;
    let database = open(&store).await;
    let all =
        texts(&database, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
    let all = all.await;
    database.close().await;
    all.iter().fold(String::new(), |text, definition| text + definition.as_str() + ";\n")
}

/// The definitions that `pg_dump` writes of a database with these migrations.
async fn postgres_definitions(known: &'static [Migration]) -> String {
    let store = Store::on(&server().expect("TEST_POSTGRES names a server")).await;
    migrated(&store, known).await;
    let dump = Command::new("pg_dump")
        .args(["--schema-only", "--no-owner", "--no-privileges", &store.url])
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let noise = ["--", "\\", "SET ", "SELECT pg_catalog.set_config"];
    let dump = String::from_utf8(dump.stdout).unwrap();
    dump.lines()
        .filter(|line| !line.is_empty() && !noise.iter().any(|start| line.starts_with(start)))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The rows of a database as far as a build that knew these migrations could have made them, a line each.
async fn rows(store: &Store, known: &'static [Migration]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let empty = Store::file(folder.path(), "empty.db");
    migrated(&empty, known).await;
    let (empty, full) = (open(&empty).await, open(store).await);
    let newest = known.last().unwrap().version;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let mut text = String::new();
    // Of tables that refer to others, the others come first in the alphabet.
    for table in texts(&empty, tables).await {
        let columns = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
        let columns = texts(&empty, &columns).await;
        let quoted: Vec<String> = columns.iter().map(|name| format!("quote({name})")).collect();
        let only =
            if table == "migration" { format!("WHERE version <= {newest}") } else { String::new() };
        let query = format!(
            "SELECT 'INSERT INTO {table} ({}) VALUES (' || {} || ');' FROM {table} {only} ORDER BY 1",
            columns.join(", "),
            quoted.join(" || ', ' || ")
        );
        for row in texts(&full, &query).await {
            assert!(!row.contains('\n'), "one line each: {row}");
            text.extend([&*row, "\n"]);
        }
    }
    empty.close().await;
    full.close().await;
    text
}

/// Randomness that repeats nothing of what made the fixture.
pub fn random() -> Arc<SeededRandom> {
    Arc::new(SeededRandom::new(0x0f1d))
}
