//! What an operator relies on: what costs a write and what does not, the metrics, two instances on one database, and what a server
//! says that has lost it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_server::store::StoreError;
use auth_server::store::purge::Table;
use auth_server::{Ports, SeededRandom};
use database::{Sql, Statistics};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tests::background;
use tests::browser::Browser;
use tests::client::Client;
use tests::engine::Engine;
use tests::http::Http;
use tests::world::{ALICE, SECRET, WEB_CALLBACK, World, free_address};

fn statistics(world: &World) -> Statistics {
    world.auth.running.app().database.statistics()
}

/// A world whose first round of housekeeping is over. It comes a real second after the start and writes too: where the cursor of every
/// table is left. As the clock stands still, there is no second one.
async fn quiet_world() -> World {
    let world = World::start().await;
    let app = world.auth.running.app();
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let over = tokio::time::timeout(Duration::from_secs(60), async {
        let mut walked = 0;
        while walked < Table::ALL.len() {
            interval.tick().await;
            let cursors = |sql: &mut dyn Sql| sql.query("SELECT name FROM purge_cursor", &[]);
            walked = app.database.read(cursors).await.unwrap().len();
        }
    });
    assert!(over.await.is_ok(), "the first round does not end");
    world
}

/// Anonymous requests cannot fill the disk: while a person signs in, the request travels sealed and is in no row.
#[tokio::test]
async fn what_anybody_may_ask_writes_nothing() {
    let world = quiet_world().await;
    let web = world.web();
    let before = statistics(&world).units;
    let mut browser = Browser::new();
    for number in 0..50 {
        let pending = web.begin("openid", &number.to_string());
        let page = browser.get(&pending.url()).await;
        browser.settle(page).await;
        browser.get(&pending.param("client_id", "nobody").url()).await;
    }
    for garbage in ["x", "a.b.c", &"A".repeat(59)] {
        let pending = web.begin("openid", "garbage");
        web.redeem(garbage, &pending).await.expect(400);
        web.refresh(garbage).await.expect(400);
        web.introspect(garbage).await.expect(200);
        web.revoke(garbage).await.expect(200);
        web.userinfo(garbage).await.expect(401);
    }
    world.machine().client_credentials("documents:read").await.expect(200);
    browser.get(&format!("{}/end_session", web.issuer)).await;
    assert_eq!(statistics(&world).units, before);
}

/// Each of these is one durable unit of work, and no more.
#[tokio::test]
async fn a_flow_costs_as_many_writes_as_it_has_to() {
    let world = quiet_world().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "warm").await;
    let count = |world: &World| statistics(world).units;
    let start = count(&world);
    let pending = web.begin("openid", "counted");
    let page = browser.get(&pending.url()).await;
    assert_eq!(count(&world), start + 1, "the code");
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    assert_eq!(count(&world), start + 2, "its redemption");
    web.userinfo(&tokens.member("access_token")).await.expect(200);
    web.introspect(&tokens.member("access_token")).await.expect(200);
    assert_eq!(count(&world), start + 2);
    web.refresh(&tokens.member("refresh_token")).await.expect(200);
    assert_eq!(count(&world), start + 3, "the rotation");
    web.revoke(&tokens.member("access_token")).await.expect(200);
    assert_eq!(count(&world), start + 4, "the denial");
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own_and_count_what_happens() {
    let world = World::with(|settings| {
        settings.metrics_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let at = world.auth.running.metrics_addr().unwrap();
    let web = world.web();
    let tokens = world.tokens(&web, "openid", "counted").await;
    web.refresh("garbage").await.expect(400);
    web.userinfo("garbage").await.expect(401);
    let fail = web.begin("openid", "failed").url();
    tests::client::sign_in(&mut Browser::new(), &fail, ALICE.0, "guess").await;
    let answer = Http::new().get(&format!("http://{at}/metrics")).await.expect(200);
    assert!(answer.header("Content-Type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "a whole document");
    for (part, labels) in [
        ("issued", "grant_type=\"authorization_code\""),
        ("refused", "grant_type=\"refresh_token\""),
        ("success", "outcome=\"success\""),
        ("failed", "outcome=\"failed\""),
        ("refused", "code=\"invalid_token\""),
    ] {
        let counted = text
            .lines()
            .any(|line| line.contains(part) && line.contains(labels) && line.ends_with(" 1"));
        assert!(counted, "{part} {labels} in:\n{text}");
    }
    for secret in [
        tokens.member("access_token"),
        tokens.member("refresh_token"),
        "alice".to_owned(),
        "web\"".to_owned(),
    ] {
        assert!(!text.contains(&secret), "{secret}");
    }
    // Labels come from short lists: whatever is asked for makes no series of its own.
    let http = Http::new();
    for path in ["/made-up", "/token/x", "/%41"] {
        http.get(&format!("{}{path}", web.issuer)).await;
    }
    let later = http.get(&format!("http://{at}/metrics")).await.text();
    assert!(!later.contains("made-up") && !later.contains("/token/x"), "{later}");
}

/// What it knew last counts for five seconds. After that it says that it cannot tell, and nobody is let in or kept out by old news.
#[tokio::test]
async fn without_its_database_a_server_answers_503_and_says_when_to_ask_again() {
    const PUBLIC: [&str; 3] = [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/jwks.json",
    ];
    let world = World::start().await;
    let (machine, http) = (world.machine(), Http::new());
    let at = |path: &str| format!("{}{path}", world.auth.issuer);
    machine.client_credentials("documents:read").await.expect(200);
    let app = world.auth.running.app().clone();
    background::run(async move { app.database.close().await }).await;
    // These ask the database for nothing, as long as what it said last is young enough.
    for seconds in [0, 4] {
        world.clock.advance(seconds);
        let token = machine.client_credentials("documents:read").await.expect(200);
        world.documents(&token.member("access_token")).whoami().await.expect(200);
        for path in PUBLIC {
            http.get(&at(path)).await.expect(200);
        }
    }
    world.clock.advance(2);
    let token = machine.client_credentials("documents:read").await;
    let keys = http.get(&at("/jwks.json")).await;
    for answer in [token, keys] {
        answer.is_temporarily_unavailable();
        assert_eq!(answer.header("Cache-Control"), "no-store", "{}", answer.url);
    }
    let ready = http.get(&at("/readyz")).await.expect(503);
    assert_eq!(ready.json()["status"], "not ready");
    http.get(&at("/healthz")).await.expect(200);
}

/// The resource server checks tokens with keys from memory, so it goes on without its store where nothing is stored; but it is not
/// ready, and says so.
#[tokio::test]
async fn without_its_database_a_resource_server_is_not_ready_and_still_checks_tokens() {
    let world = World::start().await;
    let (machine, http) = (world.machine(), Http::new());
    let at = |path: &str| format!("{}{path}", world.resource);
    let token = machine.client_credentials("documents:read").await.expect(200);
    let token = token.member("access_token");
    world.documents(&token).list("").await.expect(200);
    let ready = http.get(&at("/readyz")).await.expect(200);
    assert_eq!(ready.json()["database"], true);
    let database = world.api.app().database.clone();
    background::run(async move { database.close().await }).await;
    let ready = http.get(&at("/readyz")).await.expect(503);
    assert_eq!(ready.json()["status"], "not ready");
    assert_eq!(ready.json()["database"], false);
    world.documents(&token).list("").await.is_put_off();
    world.documents(&token).whoami().await.expect(200);
    http.get(&at("/healthz")).await.expect(200);
}

/// As many writes as may wait already do: one more is told so at once, and works when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_503_with_retry_after() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid", "queue").await.member("refresh_token");
    let database = world.auth.running.app().database.clone();
    let (open, door) = std::sync::mpsc::channel::<()>();
    let door = Arc::new(Mutex::new(door));
    let writers = match Engine::chosen() {
        Engine::Sqlite => 1,
        Engine::Postgres => world.auth.running.app().settings.postgres.connections.div_ceil(2),
    };
    let at_the_door = Arc::new(AtomicUsize::new(0));
    let stop = || {
        let (queue, door, at_the_door) = (database.clone(), door.clone(), at_the_door.clone());
        let work = move |_: &mut dyn Sql| {
            at_the_door.fetch_add(1, Ordering::Relaxed);
            drop(door.lock().map(|door| door.recv()));
            Ok::<_, StoreError>(())
        };
        Box::pin(async move { queue.write(work).await })
    };
    // Each writer stops at the door.
    let mut waiting: Vec<_> = (0..writers).map(|_| stop()).collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none(), "it has a place");
    }
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let stopped = tokio::time::timeout(Duration::from_secs(60), async {
        while at_the_door.load(Ordering::Relaxed) < writers {
            interval.tick().await;
        }
    });
    assert!(stopped.await.is_ok(), "every writer comes to the door");
    // Nobody takes a job any more: whatever comes now waits in the queue until that is full.
    loop {
        let mut one = stop();
        if one.as_mut().now_or_never().is_some() {
            break;
        }
        waiting.push(one);
    }
    web.refresh(&token).await.is_temporarily_unavailable();
    drop(open);
    let answered = tokio::time::timeout(Duration::from_secs(60), async {
        while web.refresh(&token).await.status != 200 {
            interval.tick().await;
        }
    });
    assert!(answered.await.is_ok(), "there is room again");
}

/// PostgreSQL takes every character in a text but U+0000, so neither engine ever sees it.
#[tokio::test]
async fn the_character_that_not_every_engine_stores_is_refused_at_the_border() {
    let world = World::start().await;
    let (web, machine) = (world.web(), world.machine());
    for path in ["/token", "/introspect", "/revoke"] {
        let fields = [("grant_type", "client_credentials"), ("token", "a\0b"), ("scope", "\0")];
        assert_eq!(
            machine.post(path, &fields).await.expect(400).error(),
            "invalid_request",
            "{path}"
        );
    }
    for name in ["state", "nonce", "client_id", "redirect_uri", "scope", "login_hint"] {
        let page = Browser::new().get(&web.begin("openid", "nul").param(name, "a\0b").url()).await;
        assert_eq!(page.status(), 400, "{name}");
    }
    let mut browser = Browser::new();
    let page = browser.get(&web.begin("openid", "nul").url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", "alice\0").set("password", ALICE.1);
    assert_eq!(browser.submit(&login, &form.press("login-submit")).await.status(), 400);

    let token = machine.client_credentials("documents:read documents:write").await.expect(200);
    let documents = world.documents(&token.member("access_token"));
    for (title, body) in [("a\0b", "text"), ("title", "a\0b")] {
        documents.create(title, body).await.expect(400);
    }
    documents.list("?cursor=%00").await.expect(400);
    documents.read("%00").await.expect(404);
}

/// A second instance on the same database: what one hands out the other takes, and races across both have one winner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_on_one_database_are_one_server() {
    let world = World::start().await;
    let app = world.auth.running.app();
    let mut settings = app.settings.clone();
    settings.listen = free_address();
    let address = format!("http://{}", settings.listen);
    let ports = Ports { clock: world.clock.clone(), random: Arc::new(SeededRandom::new(99)) };
    let second =
        background::run(async move { auth_server::spawn(settings, ports).await.unwrap() }).await;
    let here = world.web();
    let there = Client::new(&address, "web", SECRET, WEB_CALLBACK);
    let (code, pending) = world.code(&here, "openid documents:read", "shared").await;
    let tokens = there.redeem(&code, &pending).await.expect(200);
    here.userinfo(&tokens.member("access_token")).await.expect(200);
    there.userinfo(&tokens.member("access_token")).await.expect(200);
    let next = here.refresh(&tokens.member("refresh_token")).await.expect(200);
    there.refresh(&next.member("refresh_token")).await.expect(200);
    assert_eq!(here.jwks().await, there.jwks().await);

    let (code, pending) = world.code(&here, "openid documents:read", "raced").await;
    let redeem = |number: usize| {
        let client = if number.is_multiple_of(2) { here.clone() } else { there.clone() };
        let (code, pending) = (code.clone(), pending.clone());
        tokio::spawn(async move { client.redeem(&code, &pending).await })
    };
    let answers: Vec<_> =
        join_all((0..32).map(redeem)).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    assert!(answers.iter().all(|answer| answer.status < 500));
    let refused = there.refresh(&winners[0].member("refresh_token")).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant");
    background::run(second.stop()).await;
}
