//! Restarts of a real process in every phase of a flow: what was answered is kept, what was not may be asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use tests::browser::Browser;
use tests::http::{Http, try_send};
use tests::realm::{End, Realm};
use tests::world::{ALICE, SECRET};

use crate::processes::AUTH_SERVER;

async fn a_flow_survives(end: End) {
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    let web = realm.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid documents:read offline_access", "restart");

    let asked = browser.get(&pending.url()).await;
    realm.restart(end).await; // between authorize and login
    let login = browser.follow(&asked).await;
    realm.restart(end).await; // while the person types
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let signed_in = browser.submit(&login, &form.press("login-submit")).await;
    assert_eq!(signed_in.location().path(), "/consent", "{}", signed_in.text());
    realm.restart(end).await; // between login and consent
    let consent = browser.follow(&signed_in).await;
    realm.restart(end).await; // while the person reads
    let allowed =
        browser.submit(&consent, &consent.form("consent-form").press("consent-allow")).await;
    let code = pending.code(&allowed, &web);
    realm.restart(end).await; // between consent and redemption
    let tokens = web.redeem(&code, &pending).await.expect(200);
    realm.restart(end).await; // between redemption and refresh
    let person = web.userinfo(&tokens.member("access_token")).await.expect(200);
    assert!(person.member("sub").starts_with("acct_"));
    let first = tokens.member("refresh_token");
    let second = web.refresh(&first).await.expect(200).member("refresh_token");
    realm.restart(end).await; // the answer was lost: the same successor
    assert_eq!(web.refresh(&first).await.expect(200).member("refresh_token"), second);
    let third = web.refresh(&second).await.expect(200).member("refresh_token");
    realm.restart(end).await; // theft is remembered
    assert_eq!(web.refresh(&first).await.expect(400).error(), "invalid_grant");
    assert_eq!(web.refresh(&third).await.expect(400).error(), "invalid_grant");

    // The session, the consent, the known browser and the keys are what they were.
    let silent = web.begin("openid documents:read", "silent").param("prompt", "none");
    let page = browser.get(&silent.url()).await;
    let code = silent.code(&page, &web);
    let tokens = web.redeem(&code, &silent).await.expect(200);
    realm.restart(end).await;
    assert_eq!(web.redeem(&code, &silent).await.expect(400).error(), "invalid_grant");
    realm.restart(end).await;
    assert_eq!(
        web.userinfo(&tokens.member("access_token")).await.status,
        401,
        "the replay is remembered"
    );
    let told = web.introspect(&tokens.member("access_token")).await.expect(200);
    assert_eq!(told.text(), r#"{"active":false}"#);
}

#[tokio::test]
async fn a_flow_survives_kill_in_every_phase() {
    a_flow_survives(End::Killed).await;
}

#[tokio::test]
async fn a_flow_survives_sigterm_in_every_phase() {
    a_flow_survives(End::Asked).await;
}

#[tokio::test]
async fn the_keys_stay_the_same_over_a_restart() {
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    let before = realm.machine().jwks().await;
    realm.restart(End::Killed).await;
    assert_eq!(realm.machine().jwks().await, before);
}

/// "Answered" means durable: a kill in the middle of many redemptions loses none that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_a_kill_is_not_forgotten() {
    const CODES: usize = 60;
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    let web = realm.web();
    let mut browser = Browser::new();
    let mut codes = Vec::new();
    for number in 0..CODES {
        // So many may wait in one session.
        if number % 16 == 0 {
            browser = Browser::new();
        }
        let (page, pending) =
            realm.authorize(&mut browser, "openid documents:read", &number.to_string()).await;
        codes.push((pending.code(&page, &web), pending));
    }
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = codes
        .iter()
        .cloned()
        .map(|(code, pending)| {
            let (url, answered) = (format!("{}/token", realm.issuer), answered.clone());
            tokio::spawn(async move {
                let request = Http::new()
                    .request(Method::POST, &url)
                    .basic_auth("web", Some(SECRET))
                    .form(&[
                        ("grant_type", "authorization_code"),
                        ("code", &code),
                        ("code_verifier", &pending.verifier),
                    ]);
                let answer = try_send(request).await.ok()?;
                answered.fetch_add(1, Ordering::Relaxed);
                Some(answer.expect(200))
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
    realm.end(End::Killed).await;
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    realm.restart_ended().await;
    for ((code, pending), answer) in codes.iter().zip(answers) {
        match answer {
            Some(tokens) => {
                let next = web.refresh(&tokens.member("refresh_token")).await.expect(200);
                // It was spent: a replay ends it.
                assert_eq!(web.redeem(code, pending).await.expect(400).error(), "invalid_grant");
                assert_eq!(
                    web.refresh(&next.member("refresh_token")).await.expect(400).error(),
                    "invalid_grant"
                );
            }
            // Nobody knows whether it arrived: it was spent without an answer, or is still good.
            None => assert!(matches!(web.redeem(code, pending).await.status, 200 | 400)),
        }
    }
}

/// Readiness goes first, then what is under way is answered, then the process ends with status 0.
#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_still_answers() {
    let mut realm = Realm::start(AUTH_SERVER, &["--drain", "2"]).await;
    realm.process().signal("TERM");
    let http = Http::new();
    let ready = format!("{}/readyz", realm.issuer);
    tests::realm::within_five_seconds("not ready", || async {
        http.get(&ready).await.status == 503
    })
    .await;
    realm.machine().client_credentials("documents:read").await.expect(200);
    realm.end(End::Asked).await;
}
