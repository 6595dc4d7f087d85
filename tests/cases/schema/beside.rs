//! Version N beside version N+1: the new one changes the schema under the old one, which goes on and starts again; or is too old, and says so.
//!
//! There is no N+1 yet, so these make one up, which widens every table that version N uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use database::{Database, Migration, Options};
use futures_util::future::join_all;
use shared_types::{Clock as _, SystemClock};
use tests::background;
use tests::browser::Browser;
use tests::client::{Client, Documents, sign_in};
use tests::engine::{MASTER_KEY, Store, server_or_skip};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};
use tests::realm::{End, Realm};
use tests::world::ALICE;

use super::fixture::Server;
use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

const RESOURCE: &str = "https://api.example";
const SCOPE: &str = "openid documents:read offline_access";
/// Rounds of every client that have to pass before and after.
const ROUNDS: usize = 5;

/// Everything that a version may do while the one before it serves.
fn next_version(server: Server) -> &'static [Migration] {
    let newest = server.versions().last().unwrap();
    let definitions = server.read(newest, "sqlite.sql");
    let tables = definitions
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next())
        .filter(|table| !["fence", "guard", "migration"].contains(table));
    let widen = |table| {
        format!(
            "ALTER TABLE {table} ADD COLUMN next_text TEXT;
             ALTER TABLE {table} ADD COLUMN next_count INT NOT NULL DEFAULT 0;
             CREATE INDEX IF NOT EXISTS next_{table} ON {table} (next_count);"
        )
    };
    let widened = tables.map(widen).collect::<Vec<_>>().join("\n");
    assert!(!widened.is_empty());
    let text = format!(
        "CREATE TABLE next (id ID PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         INSERT INTO next (id, name) VALUES (1, 'first');
         INSERT INTO guard (name, version) VALUES ('next', 0); {widened}"
    );
    let next =
        Migration { version: newest + 1, name: "next", compatible_from: newest, sql: text.leak() };
    [server.migrations(), &[next]].concat().leak()
}

/// The one after that, which ends what came before it.
fn breaking_version(server: Server) -> &'static [Migration] {
    let known = next_version(server);
    let version = known.last().unwrap().version + 1;
    let sql = "DROP TABLE next;";
    let breaking = Migration { version, name: "breaking", compatible_from: version, sql };
    [known, &[breaking]].concat().leak()
}

/// What a build that knows these migrations does first.
async fn migrate(url: &str, known: &'static [Migration]) {
    let url = url.parse().unwrap();
    background::run(async move {
        let database = Database::open(&url, &Options::default()).await.unwrap();
        database.migrate(known).await.unwrap();
        database.close().await;
    })
    .await;
}

/// What all clients of a case share.
#[derive(Clone, Default)]
struct Work {
    stop: Arc<AtomicBool>,
    done: Arc<[AtomicUsize; 4]>,
}

impl Work {
    fn goes_on(&self, kind: usize) -> bool {
        self.done[kind].fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }

    /// Waits until each kind of client that there is has done some more.
    async fn some_more(&self, kinds: usize) {
        let count = |kind: usize| self.done[kind].load(Ordering::Relaxed);
        let goals: Vec<usize> = (0..kinds).map(|kind| count(kind) + ROUNDS).collect();
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        let served = tokio::time::timeout(Duration::from_secs(60), async {
            while goals.iter().enumerate().any(|(kind, goal)| count(kind) < *goal) {
                interval.tick().await;
            }
        });
        assert!(served.await.is_ok(), "all of them are served");
    }
}

async fn refresh_on(web: Client, mut token: String, work: Work) -> String {
    while work.goes_on(0) {
        token = web.refresh(&token).await.expect(200).member("refresh_token");
    }
    token
}

async fn introspect_on(web: Client, access: String, work: Work) {
    while work.goes_on(1) {
        assert_eq!(web.introspect(&access).await.expect(200).json()["active"], true);
        web.userinfo(&access).await.expect(200);
    }
}

async fn sign_in_on(web: Client, work: Work) {
    while work.goes_on(2) {
        let pending = web.begin(SCOPE, "again");
        let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
        web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    }
}

async fn revoke_on(web: Client, mut browser: Browser, work: Work) {
    while work.goes_on(3) {
        let pending = web.begin(SCOPE, "revoked");
        let page = sign_in(&mut browser, &pending.url(), ALICE.0, ALICE.1).await;
        let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
        web.revoke(&tokens.member("access_token")).await.expect(200);
        web.revoke(&tokens.member("refresh_token")).await.expect(200);
        let told = web.introspect(&tokens.member("refresh_token")).await.expect(200);
        assert_eq!(told.json()["active"], false);
    }
}

/// Everybody works while the schema grows; no answer is different.
async fn an_authorization_server_is_overtaken(mut realm: Realm) {
    let web = realm.web();
    let work = Work::default();
    let mut families = Vec::new();
    for number in 0..3 {
        let tokens = realm.tokens(SCOPE, &format!("family {number}")).await;
        let token = tokens.member("refresh_token");
        families.push(tokio::spawn(refresh_on(web.clone(), token, work.clone())));
    }
    let access = realm.tokens(SCOPE, "asked about").await.member("access_token");
    let others = [
        tokio::spawn(introspect_on(web.clone(), access.clone(), work.clone())),
        tokio::spawn(sign_in_on(web.clone(), work.clone())),
        tokio::spawn(revoke_on(web.clone(), Browser::new(), work.clone())),
    ];
    work.some_more(4).await;
    migrate(realm.database(), next_version(Server::Auth)).await;
    work.some_more(4).await;
    work.stop.store(true, Ordering::Relaxed);
    let families: Vec<String> = join_all(families).await.into_iter().map(Result::unwrap).collect();
    for other in others {
        other.await.unwrap();
    }

    // One that starts now finds the schema as it is, and so do commands.
    realm.restart(End::Asked).await;
    assert!(realm.log().contains("a newer build has changed the schema"), "{}", realm.log());
    for token in &families {
        web.refresh(token).await.expect(200);
    }
    realm.cli(&["account", "list"], "");
    realm.tokens(SCOPE, "afterwards").await;

    // And one that is too old says so, before anything else.
    realm.end(End::Asked).await;
    migrate(realm.database(), breaking_version(Server::Auth)).await;
    let newest = Server::Auth.versions().last().unwrap();
    let issuer = ["--issuer", &realm.issuer, "--database", realm.database()];
    let args = [&issuer[..], &["--master-key-file", MASTER_KEY]].concat();
    let refused = Process::launch(AUTH_SERVER, realm.folder(), free_port(), &args).end().await;
    too_old(refused, newest);
    let output = realm.command(&["account", "list"], "");
    too_old((output.status.code(), String::from_utf8(output.stderr).unwrap()), newest);
}

/// Exit status 2, with the version that is needed and the one that is known.
#[track_caller]
fn too_old((status, said): (Option<i32>, String), known: i64) {
    assert_eq!(status, Some(2), "{said}");
    for words in [format!("schema {} or later", known + 2), format!("knows schema {known}")] {
        assert!(said.contains(&words), "{words} is missing in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_server_goes_on_while_a_newer_one_changes_the_schema_and_after() {
    an_authorization_server_is_overtaken(Realm::start(AUTH_SERVER, &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_server_goes_on_while_a_newer_one_changes_the_schema_of_postgres() {
    let Some(server) = server_or_skip("an_auth_server_goes_on_while") else { return };
    an_authorization_server_is_overtaken(Realm::start_at(AUTH_SERVER, &server, &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_server_goes_on_while_a_newer_one_changes_the_schema_and_after() {
    let folder = tempfile::tempdir().unwrap();
    a_resource_server_is_overtaken(Store::file(folder.path(), "documents.db")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_server_goes_on_while_a_newer_one_changes_the_schema_of_postgres() {
    let Some(server) = server_or_skip("a_resource_server_goes_on_while") else { return };
    a_resource_server_is_overtaken(Store::on(&server).await).await;
}

async fn a_resource_server_is_overtaken(store: Store) {
    let folder = tempfile::tempdir().unwrap();
    let issuer = FakeIssuer::start().await;
    let token = issuer.token(RESOURCE, SystemClock.now().as_i64()).text();
    let args = ["--issuer", &issuer.url, "--resource", RESOURCE, "--database", &store.url];
    let server = Process::start(RESOURCE_SERVER, folder.path(), free_port(), &args).await;
    let caller = Documents::bearer(&server.url, &token);
    let work = Work::default();
    let kept = caller.create("kept", "x").await.expect(201).member("id");
    let callers: Vec<_> =
        (0..4).map(|_| tokio::spawn(keep_on(caller.clone(), kept.clone(), work.clone()))).collect();
    work.some_more(1).await;
    migrate(&store.url, next_version(Server::Resource)).await;
    work.some_more(1).await;
    work.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(server.stop().await.0, Some(0));

    let server = Process::start(RESOURCE_SERVER, folder.path(), free_port(), &args).await;
    let caller = Documents::bearer(&server.url, &token);
    assert_eq!(caller.read(&kept).await.expect(200).member("title"), "kept");
    caller.delete(&kept).await.expect(204);
    assert_eq!(server.stop().await.0, Some(0));
    migrate(&store.url, breaking_version(Server::Resource)).await;
    let refused = Process::launch(RESOURCE_SERVER, folder.path(), free_port(), &args).end().await;
    too_old(refused, Server::Resource.versions().last().unwrap());
}

async fn keep_on(caller: Documents, kept: String, work: Work) {
    while work.goes_on(0) {
        let id = caller.create("new", "text").await.expect(201).member("id");
        caller.change(&id, "new", "changed").await.expect(200);
        caller.list("").await.expect(200);
        caller.delete(&id).await.expect(204);
        caller.read(&kept).await.expect(200);
    }
}
