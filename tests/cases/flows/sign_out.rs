//! Signing out (OpenID Connect RP-Initiated Logout): who may end a session, and where the browser goes.

use reqwest::Method;
use tests::browser::{Browser, Page};
use tests::client::Client;
use tests::http::{Http, send};
use tests::oracle::{Alg, Key, Token};
use tests::seed::{self, BYE, client};
use tests::world::World;
use url::Url;

/// A person who is signed in, and an ID token of hers.
async fn signed_in(world: &World, web: &Client, scope: &str) -> (Browser, String, String) {
    let mut browser = Browser::new();
    let (page, pending) = world.authorize(&mut browser, web, scope, "in").await;
    let tokens = web.redeem(&pending.code(&page, web), &pending).await.expect(200);
    (browser, tokens.member("id_token"), tokens.member("refresh_token"))
}

fn end_session(world: &World, params: &[(&str, &str)]) -> String {
    Url::parse_with_params(&format!("{}/end_session", world.auth.issuer), params).unwrap().into()
}

async fn is_signed_in(world: &World, browser: &mut Browser) -> bool {
    let pending = world.web().begin("openid", "still").param("prompt", "none");
    let page = browser.get(&pending.url()).await;
    page.location_param("error") != "login_required"
}

async fn confirm(browser: &mut Browser, page: &Page) -> Page {
    let form = page.form("logout-form").press("logout-confirm");
    let next = browser.submit(page, &form).await;
    browser.settle(next).await
}

#[tokio::test]
async fn without_a_hint_a_person_is_asked_and_nobody_is_sent_anywhere() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    let (mut browser, _, _) = signed_in(&world, &bye, "openid").await;
    let params = [("client_id", "bye"), ("post_logout_redirect_uri", BYE)];
    let page = browser.get(&end_session(&world, &params)).await;
    assert!(page.element("logout-form").is_some());
    let form = page.form("logout-form").press("logout-cancel");
    let stayed = browser.submit(&page, &form).await;
    assert_eq!(stayed.status(), 200);
    assert!(is_signed_in(&world, &mut browser).await);
    let gone = confirm(&mut browser, &page).await;
    assert!(gone.element("logged-out").is_some(), "{}", gone.url);
    assert!(!is_signed_in(&world, &mut browser).await);
    assert_eq!(browser.cookie("127.0.0.1", "as_session"), None);
}

#[tokio::test]
async fn a_valid_hint_signs_out_at_once_and_leads_back_with_state() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    let (mut browser, hint, _) = signed_in(&world, &bye, "openid").await;
    world.clock.advance(3_600);
    let params =
        [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", BYE), ("state", "a b&c")];
    let page = browser.get(&end_session(&world, &params)).await;
    assert!(page.location().as_str().starts_with(BYE), "{}", page.location());
    assert_eq!(page.location_param("state"), "a b&c");
    assert!(!is_signed_in(&world, &mut browser).await);
    // Nobody is signed in any more: the hint still leads back.
    let page = browser.get(&end_session(&world, &params)).await;
    assert!(page.location().as_str().starts_with(BYE));
}

#[tokio::test]
async fn a_post_logout_redirect_uri_is_compared_as_it_is() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    for uri in [
        "https://web.example/bye/",
        "https://web.example/bye?x",
        "https://web.example",
        "https://evil.example/bye",
        "https://web.example/bye#",
        "HTTPS://web.example/bye",
    ] {
        let (mut browser, hint, _) = signed_in(&world, &bye, "openid").await;
        let page = browser
            .get(&end_session(
                &world,
                &[("id_token_hint", &hint), ("post_logout_redirect_uri", uri)],
            ))
            .await;
        let page = browser.settle(page).await;
        assert!(page.element("logged-out").is_some(), "{uri}: {}", page.url);
    }
}

#[tokio::test]
async fn a_hint_that_proves_too_little_only_asks() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    let (mut browser, hint, _) = signed_in(&world, &bye, "openid").await;
    let (_, others_hint, _) = signed_in(&world, &bye, "openid").await;
    let forger = Key::new(Alg::Rs256, "forged");
    let forged = Token::access(&forger, &world.auth.issuer, "bye", world.now()).text();
    let broken = format!("{}AAAA", &hint[..hint.len() - 4]);
    for (why, hint, client_id) in [
        ("another session", others_hint.as_str(), "bye"),
        ("forged", forged.as_str(), "bye"),
        ("broken signature", broken.as_str(), "bye"),
        ("another client", hint.as_str(), "web"),
        ("garbage", "x.y.z", "bye"),
    ] {
        let params =
            [("id_token_hint", hint), ("client_id", client_id), ("post_logout_redirect_uri", BYE)];
        let page = browser.get(&end_session(&world, &params)).await;
        assert!(page.element("logout-form").is_some(), "{why}: {} {}", page.status(), page.url);
        assert!(is_signed_in(&world, &mut browser).await, "{why}");
    }
}

#[tokio::test]
async fn an_access_token_is_no_hint() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let (page, pending) = world.authorize(&mut browser, &web, "openid", "at").await;
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let token = tokens.member("access_token");
    let page = browser.get(&end_session(&world, &[("id_token_hint", &token)])).await;
    assert!(page.element("logout-form").is_some());
}

#[tokio::test]
async fn a_request_by_post_from_another_site_goes_on_by_get() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    let (mut browser, hint, _) = signed_in(&world, &bye, "openid").await;
    let before = browser.cookie("127.0.0.1", "as_browser").unwrap().to_owned();
    // SameSite=Lax: the cookies do not come along, and none must be replaced.
    let http = Http::new();
    let request = http
        .request(Method::POST, &format!("{}/end_session", world.auth.issuer))
        .header("Origin", "https://web.example")
        .header("Sec-Fetch-Site", "cross-site")
        .form(&[("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", BYE)]);
    let answer = send(request).await.expect(303);
    assert_eq!(answer.header("Set-Cookie"), "");
    let location = Url::parse(answer.header("Location")).unwrap();
    let page = browser.get(location.as_str()).await;
    assert!(page.location().as_str().starts_with(BYE), "{}", page.location());
    assert_eq!(browser.cookie("127.0.0.1", "as_browser"), Some(before.as_str()));
    assert!(!is_signed_in(&world, &mut browser).await);
}

#[tokio::test]
async fn sign_out_ends_grants_but_those_with_offline_access() {
    let world = World::start().await;
    let web = world.web();
    let (mut browser, hint, plain) = signed_in(&world, &web, "openid documents:read").await;
    let (page, pending) = world
        .authorize(&mut browser, &web, "openid documents:read offline_access", "offline")
        .await;
    let offline = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let plain = web.refresh(&plain).await.expect(200);
    browser.get(&end_session(&world, &[("id_token_hint", &hint)])).await;
    assert!(!is_signed_in(&world, &mut browser).await);

    let refused = web.refresh(&plain.member("refresh_token")).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant");
    assert_eq!(web.userinfo(&plain.member("access_token")).await.status, 401);
    let told = web.introspect(&plain.member("access_token")).await.expect(200);
    assert_eq!(told.json(), serde_json::json!({"active": false}));

    let next = web.refresh(&offline.member("refresh_token")).await.expect(200);
    web.userinfo(&next.member("access_token")).await.expect(200);
}

#[tokio::test]
async fn a_code_that_waits_while_the_person_signs_out_is_void() {
    let world = World::start().await;
    let web = world.web();
    let (mut browser, hint, _) = signed_in(&world, &web, "openid").await;
    let (page, pending) = world.authorize(&mut browser, &web, "openid", "late").await;
    let code = pending.code(&page, &web);
    browser.get(&end_session(&world, &[("id_token_hint", &hint)])).await;
    assert_eq!(web.redeem(&code, &pending).await.expect(400).error(), "invalid_grant");
}

#[tokio::test]
async fn a_session_ends_idle_after_a_day_and_absolutely_after_two_weeks() {
    const DAY: i64 = 86_400;
    let world = World::start().await;
    let (mut browser, _, _) = signed_in(&world, &world.web(), "openid").await;
    // Used a second before its idle end each time, it lives on until its absolute one.
    let end = world.now() + 14 * DAY;
    while world.now() + DAY - 1 < end - 1 {
        world.clock.advance(DAY - 1);
        assert!(is_signed_in(&world, &mut browser).await, "{}", world.now());
    }
    world.clock.advance(end - 1 - world.now());
    assert!(is_signed_in(&world, &mut browser).await);
    world.clock.advance(1);
    assert!(!is_signed_in(&world, &mut browser).await);
    for (seconds, alive) in [(DAY - 1, true), (DAY, false), (DAY + 1, false)] {
        let (mut browser, _, _) = signed_in(&world, &world.web(), "openid").await;
        world.clock.advance(seconds);
        assert_eq!(is_signed_in(&world, &mut browser).await, alive, "{seconds}");
    }
}
