//! An authorization server moves to PostgreSQL and back while its clients go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::browser::Browser;
use tests::client::Client;
use tests::engine::{Store, server_or_skip};
use tests::processes::Process;
use tests::world::ALICE;

use super::{SCOPE, Town, rows};

/// What clients have in their hands before a move.
struct Hands {
    browser: Browser,
    access: String,
    refresh: String,
    keys: serde_json::Value,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_to_postgres_and_back_and_nobody_signs_in_again() {
    let Some(server) = server_or_skip("everything_goes_to_postgres_and_back") else { return };
    let town = Town::new();
    let (first, third) = (town.file("first.db"), town.file("third.db"));
    let second = Store::on(&server).await;
    let process = town.found(&first).await;
    let mut browser = Browser::new();
    let tokens = town.tokens(&mut browser, "first").await;
    exhaust_guesses(&town, &mut browser).await;
    let mut hands = Hands {
        browser,
        access: tokens.member("access_token"),
        refresh: tokens.member("refresh_token"),
        keys: town.web().jwks().await,
    };

    let process = relocate(&town, process, &first, &second.url, &mut hands).await;
    let process = relocate(&town, process, &second.url, &third, &mut hands).await;
    assert_eq!(process.stop().await.0, Some(0));
}

/// One move under load, and the change of servers behind it.
async fn relocate(
    town: &Town,
    process: Process,
    from: &str,
    to: &str,
    hands: &mut Hands,
) -> Process {
    let web = town.web();
    let stop = Arc::new(AtomicBool::new(false));
    let readers = tokio::spawn(read_on(web.clone(), hands.access.clone(), Arc::clone(&stop)));
    let mut tokens = Vec::new();
    for number in 0..4 {
        let tokens_of_one = town.tokens(&mut Browser::new(), &format!("load {number}")).await;
        tokens.push(tokens_of_one.member("refresh_token"));
    }
    let writers: Vec<_> = tokens
        .into_iter()
        .map(|token| tokio::spawn(refresh_on(web.clone(), token, Arc::clone(&stop))))
        .collect();

    let report = town.move_all(from, to).await;
    assert!(rows(&report, "authorization_grant") >= 5, "{report}");
    assert!(rows(&report, "throttle") > 0 && rows(&report, "consent") == 1, "{report}");
    stop.store(true, Ordering::Relaxed);
    let reads = readers.await.unwrap();
    assert!(reads > 0);
    let mut last = Vec::new();
    for writer in writers {
        last.push(writer.await.unwrap());
    }

    // The old server reads, and takes nothing that would be lost.
    web.refresh(&hands.refresh).await.is_temporarily_unavailable();
    assert_eq!(web.introspect(&hands.access).await.expect(200).json()["active"], true);
    town.machine().client_credentials("documents:read").await.expect(200);
    let (status, log) = process.stop().await;
    assert_eq!(status, Some(0), "{log}");
    let (status, said) = town.refuse(from).await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("was moved to") && said.contains("--release"), "{said}");

    let process = town.serve(to).await;
    for token in last {
        web.refresh(&token).await.expect(200);
    }
    goes_on(town, hands).await;
    process
}

/// The session, the consent, the keys, the grant and the counters are what they were.
async fn goes_on(town: &Town, hands: &mut Hands) {
    let web = town.web();
    assert_eq!(web.jwks().await, hands.keys);
    assert_eq!(web.introspect(&hands.access).await.expect(200).json()["active"], true);
    hands.refresh = web.refresh(&hands.refresh).await.expect(200).member("refresh_token");
    let silent = web.begin(SCOPE, "silent").param("prompt", "none");
    let page = hands.browser.get(&silent.url()).await;
    let code = silent.code(&page, &web);
    web.redeem(&code, &silent).await.expect(200);
    town.machine().client_credentials("documents:read").await.expect(200);
    assert_eq!(guess(town, &mut hands.browser, ALICE.1).await, 429, "failures are remembered");
}

/// As many wrong passwords as a known browser has.
async fn exhaust_guesses(town: &Town, browser: &mut Browser) {
    for number in 0..10 {
        assert_eq!(guess(town, browser, "wrong").await, 403, "{number}");
    }
    assert_eq!(guess(town, browser, ALICE.1).await, 429);
}

async fn guess(town: &Town, browser: &mut Browser, password: &str) -> u16 {
    let pending = town.web().begin("openid", "guess").param("prompt", "login");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", password);
    browser.submit(&login, &form.press("login-submit")).await.status()
}

/// Reads again and again; every answer is as if nothing were going on.
async fn read_on(web: Client, access: String, stop: Arc<AtomicBool>) -> u32 {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(web.introspect(&access).await.expect(200).json()["active"], true);
        web.userinfo(&access).await.expect(200);
        reads += 1;
    }
    reads
}

/// Refreshes again and again; the last token that it was given. A write is acknowledged, or put off.
async fn refresh_on(web: Client, mut token: String, stop: Arc<AtomicBool>) -> String {
    while !stop.load(Ordering::Relaxed) {
        let answer = web.refresh(&token).await;
        if answer.status == 200 {
            token = answer.member("refresh_token");
        } else {
            answer.is_temporarily_unavailable();
        }
    }
    token
}
