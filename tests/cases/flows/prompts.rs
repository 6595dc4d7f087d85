//! `prompt`, `max_age`, `login_hint`, `id_token_hint` and `response_mode` (OpenID Connect Core section 3.1.2.1).

use tests::background;
use tests::browser::{Browser, Page};
use tests::client::{Client, Pending, sign_in};
use tests::http::Http;
use tests::oracle::read;
use tests::seed::{self, client};
use tests::world::{ALICE, BOB, WEB_CALLBACK, World};

async fn open(browser: &mut Browser, pending: &Pending) -> Page {
    let page = browser.get(&pending.url()).await;
    browser.settle(page).await
}

/// The form of the sign-in page, filled in and sent.
async fn enter(browser: &mut Browser, login: &Page, (name, password): (&str, &str)) -> Page {
    let form = login.form("login-form").set("username", name).set("password", password);
    let next = browser.submit(login, &form.press("login-submit")).await;
    let page = browser.settle(next).await;
    if page.element("consent-form").is_none() {
        return page;
    }
    let form = page.form("consent-form").press("consent-allow");
    browser.submit(&page, &form).await
}

async fn id_token(client: &Client, code: &str, pending: &Pending) -> (String, serde_json::Value) {
    let text = client.redeem(code, pending).await.expect(200).member("id_token");
    let claims = read(&text, &client.jwks().await).1;
    (text, claims)
}

#[tokio::test]
async fn prompt_none_answers_without_a_page() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let silent = |scope: &str| web.begin(scope, "silent").param("prompt", "none");
    let page = browser.get(&silent("openid").url()).await;
    assert_eq!(page.location_param("error"), "login_required");
    assert_eq!(page.location_param("state"), "state-silent");
    world.authorize(&mut browser, &web, "openid", "loud").await;
    let page = browser.get(&silent("openid documents:read").url()).await;
    assert_eq!(page.location_param("error"), "consent_required");
    let pending = silent("openid");
    let page = browser.get(&pending.url()).await;
    web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let too_old = silent("openid").param("max_age", "0");
    let page = browser.get(&too_old.url()).await;
    assert_eq!(page.location_param("error"), "login_required");
}

/// Whoever asked for no page gets none, also while nobody can tell who is signed in. When nobody can tell either what is registered, no
/// redirect URI is proven any more, and nothing is sent anywhere.
#[tokio::test]
async fn prompt_none_is_answered_by_a_redirect_while_the_database_is_away() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    let silent = web.begin("openid", "silent").param("prompt", "none");
    // By POST the request goes on by GET, sealed; every page of the flow takes it.
    let url = silent.url();
    let (endpoint, query) = url.split_once('?').unwrap();
    let fields: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let posted = Http::new().post_form(endpoint, &fields).await.expect(303);
    let login = posted.header("Location").to_owned();
    let consent = login.replace("/login?", "/consent?");
    let database = world.auth.running.app().database.clone();
    background::run(async move { database.close().await }).await;
    for url in [&url, &login, &consent] {
        let page = browser.get(url).await;
        assert_eq!(page.status(), 303, "{url}: {}", page.text());
        assert!(page.location().as_str().starts_with(WEB_CALLBACK), "{url}");
        assert_eq!(page.location_param("error"), "temporarily_unavailable", "{url}");
        assert_eq!(page.location_param("state"), "state-silent");
        assert_eq!(page.location_param("iss"), web.issuer);
    }
    let elsewhere = silent.clone().param("redirect_uri", "https://evil.example/callback");
    for url in [web.begin("openid", "loud").url(), elsewhere.url()] {
        let page = browser.get(&url).await;
        assert!(page.status() == 503 && !page.redirects(), "{url}: {}", page.status());
    }
    world.clock.advance(6);
    let page = browser.get(&url).await;
    assert!(page.status() == 503 && !page.redirects(), "{}", page.status());
}

/// Whoever is signed in asks for codes as fast as he likes, and redeems none: a session has sixteen that wait.
#[tokio::test]
async fn of_the_codes_that_wait_in_a_session_the_newest_sixteen_are_good() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    let mut codes = Vec::new();
    for _ in 0..18 {
        let pending = web.begin("openid", "silent").param("prompt", "none");
        let page = browser.get(&pending.url()).await;
        codes.push((pending.code(&page, &web), pending));
        // The order is that of the seconds.
        world.clock.advance(1);
    }
    for (number, (code, pending)) in codes.iter().enumerate() {
        let status = if number < 2 { 400 } else { 200 };
        web.redeem(code, pending).await.expect(status);
    }
    // What was redeemed waits no more.
    for _ in 0..3 {
        let pending = web.begin("openid", "silent").param("prompt", "none");
        let page = browser.get(&pending.url()).await;
        web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    }
}

#[tokio::test]
async fn prompt_none_keeps_no_company_and_unknown_values_are_refused() {
    let world = World::start().await;
    let web = world.web();
    for prompt in ["none login", "login none", "none consent", "none none2", "create", "NONE"] {
        let page =
            Browser::new().get(&web.begin("openid", "p").param("prompt", prompt).url()).await;
        assert_eq!(page.location_param("error"), "invalid_request", "{prompt}");
    }
}

#[tokio::test]
async fn prompt_login_is_satisfied_only_through_this_very_request() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    let signed_in_at = world.now();
    world.clock.advance(100);
    for prompt in ["login", "select_account"] {
        let pending = web.begin("openid", prompt).param("prompt", prompt);
        let login = open(&mut browser, &pending).await;
        assert_eq!(login.form("login-form").get("username"), ALICE.0, "the name is filled in");
        // Not by another request, however fresh its sign-in.
        let other = web.begin("openid", "other").param("prompt", "login");
        let other_login = open(&mut browser, &other).await;
        let done = enter(&mut browser, &other_login, ALICE).await;
        other.code(&done, &web);
        let again = browser.get(login.url.as_str()).await;
        assert!(again.element("login-form").is_some(), "{prompt}");
        let done = enter(&mut browser, &again, ALICE).await;
        let (_, claims) = id_token(&web, &pending.code(&done, &web), &pending).await;
        assert_eq!(claims["auth_time"], world.now());
        assert_ne!(claims["auth_time"], signed_in_at);
    }
    // Once it was satisfied, opening the same address again asks again.
    let pending = web.begin("openid", "replay").param("prompt", "login");
    let login = open(&mut browser, &pending).await;
    enter(&mut browser, &login, ALICE).await;
    let replayed = browser.get(login.url.as_str()).await;
    assert!(browser.settle(replayed).await.element("login-form").is_some());
}

/// The address behind a sign-in stands in the browser's history: whoever finds the browser later has to sign in.
#[tokio::test]
async fn an_address_from_after_a_sign_in_satisfies_nothing_after_five_minutes() {
    let world = World::start().await;
    let web = world.web();
    for (name, value) in [("prompt", "login"), ("max_age", "0"), ("max_age", "60")] {
        let mut browser = Browser::new();
        let pending = web.begin("openid documents:share", "history").param(name, value);
        let login = open(&mut browser, &pending).await;
        let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
        let next = browser.submit(&login, &form.press("login-submit")).await;
        let consent = browser.settle(next).await;
        let form = consent.form("consent-form").press("consent-deny");
        world.clock.advance(300);
        let page = browser.get(consent.url.as_str()).await;
        assert!(page.element("consent-form").is_some(), "{name}={value}: {}", page.text());
        world.clock.advance(1);
        let page = browser.get(consent.url.as_str()).await;
        let page = browser.settle(page).await;
        assert!(page.element("login-form").is_some(), "{name}={value}: {}", page.text());
        let page = browser.submit(&consent, &form).await;
        let page = browser.settle(page).await;
        assert!(page.element("login-form").is_some(), "{name}={value}: {}", page.text());
    }
}

#[tokio::test]
async fn prompt_consent_asks_again() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    let pending = web.begin("openid", "again").param("prompt", "consent");
    let page = open(&mut browser, &pending).await;
    let form = page.form("consent-form").press("consent-allow");
    let done = browser.submit(&page, &form).await;
    pending.code(&done, &web);
}

#[tokio::test]
async fn max_age_is_exact() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    for (age, asks) in [(299, false), (1, false), (1, true)] {
        world.clock.advance(age);
        let pending = web.begin("openid", "aged").param("max_age", "300");
        let page = open(&mut browser, &pending).await;
        assert_eq!(page.element("login-form").is_some(), asks, "{}", world.now());
    }
    // "max_age=0 is equivalent to prompt=login".
    let mut fresh = Browser::new();
    world.authorize(&mut fresh, &web, "openid", "fresh").await;
    let zero = web.begin("openid", "zero").param("max_age", "0");
    let login = open(&mut fresh, &zero).await;
    let done = enter(&mut fresh, &login, ALICE).await;
    let (_, claims) = id_token(&web, &zero.code(&done, &web), &zero).await;
    // "When max_age is used, the ID Token returned MUST include an auth_time Claim Value."
    assert_eq!(claims["auth_time"], world.now());
    for bad in ["-1", "x", "1.5", "+1", "99999999999999999999"] {
        let page = fresh.get(&web.begin("openid", "bad").param("max_age", bad).url()).await;
        assert_eq!(page.location_param("error"), "invalid_request", "{bad}");
    }
}

#[tokio::test]
async fn login_hint_fills_in_the_name_and_proves_nothing() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let hint = "\"><script>alert(1)</script>";
    let page = open(&mut browser, &web.begin("openid", "hint").param("login_hint", hint)).await;
    assert_eq!(page.form("login-form").get("username"), hint);
    assert!(!page.text().contains("<script>alert"), "it is text, not markup");
    let page = open(&mut browser, &web.begin("openid", "hint").param("login_hint", BOB.0)).await;
    assert_eq!(page.form("login-form").get("username"), BOB.0);
    let pending = web.begin("openid", "other").param("login_hint", BOB.0);
    let login = open(&mut browser, &pending).await;
    let done = enter(&mut browser, &login, ALICE).await;
    pending.code(&done, &web);
}

#[tokio::test]
async fn signing_in_as_somebody_else_ends_the_session_before() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let (page, pending) = world.authorize(&mut browser, &web, "openid", "alice").await;
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let before = browser.cookie("127.0.0.1", "as_session").unwrap().to_owned();
    let pending = web.begin("openid", "bob").param("prompt", "select_account");
    let login = open(&mut browser, &pending).await;
    let done = enter(&mut browser, &login, BOB).await;
    pending.code(&done, &web);
    assert_ne!(browser.cookie("127.0.0.1", "as_session"), Some(before.as_str()));
    // Alice's session is gone, also for whoever kept its cookie, and what hung on it.
    let mut thief = Browser::new();
    thief.plant("127.0.0.1", "as_session", &before);
    let page = thief.get(&web.begin("openid", "thief").param("prompt", "none").url()).await;
    assert_eq!(page.location_param("error"), "login_required");
    let refused = web.refresh(&tokens.member("refresh_token")).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant");
}

#[tokio::test]
async fn the_session_id_changes_at_every_sign_in() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    // What an attacker planted before the sign-in is worth nothing afterwards.
    browser.plant("127.0.0.1", "as_session", "planted");
    let (page, pending) = world.authorize(&mut browser, &web, "openid", "first").await;
    let (_, first) = id_token(&web, &pending.code(&page, &web), &pending).await;
    let before = browser.cookie("127.0.0.1", "as_session").unwrap().to_owned();
    assert_ne!(before, "planted");
    let pending = web.begin("openid", "again").param("prompt", "login");
    let login = open(&mut browser, &pending).await;
    let done = enter(&mut browser, &login, ALICE).await;
    let (_, second) = id_token(&web, &pending.code(&done, &web), &pending).await;
    assert_ne!(browser.cookie("127.0.0.1", "as_session"), Some(before.as_str()));
    assert_eq!(first["sid"], second["sid"], "it is the same session, under another cookie");
    let mut old = Browser::new();
    old.plant("127.0.0.1", "as_session", &before);
    let page = old.get(&web.begin("openid", "old").param("prompt", "none").url()).await;
    assert_eq!(page.location_param("error"), "login_required");
}

/// "the Authorization Server MUST NOT return [..] a positive response" for another person than the hint's (Core section 3.1.2.1).
#[tokio::test]
async fn an_id_token_hint_of_somebody_else_is_no_sign_in() {
    let world = World::start().await;
    let web = world.web();
    let mut alices = Browser::new();
    let (page, pending) = world.authorize(&mut alices, &web, "openid", "alice").await;
    let (hint, _) = id_token(&web, &pending.code(&page, &web), &pending).await;
    let hinted = |tag: &str| web.begin("openid", tag).param("id_token_hint", &hint);
    let page = alices.get(&hinted("same").param("prompt", "none").url()).await;
    assert_ne!(page.location_param("code"), "");
    let mut bobs = Browser::new();
    sign_in(&mut bobs, &web.begin("openid", "bob").url(), BOB.0, BOB.1).await;
    let page = bobs.get(&hinted("silent").param("prompt", "none").url()).await;
    assert_eq!(page.location_param("error"), "login_required");
    let pending = hinted("loud");
    let login = open(&mut bobs, &pending).await;
    assert!(login.element("login-form").is_some(), "{}", login.url);
    let still_bob = enter(&mut bobs, &login, BOB).await;
    assert_eq!(still_bob.location_param("error"), "login_required");
    // An expired hint still says who is meant; a forged one says nothing.
    world.clock.advance(3_600);
    let page = alices.get(&hinted("expired").param("prompt", "none").url()).await;
    assert_ne!(page.location_param("code"), "");
    let forged = format!("{}AAAA", &hint[..hint.len() - 4]);
    let pending =
        web.begin("openid", "forged").param("id_token_hint", &forged).param("prompt", "none");
    let page = alices.get(&pending.url()).await;
    assert_eq!(page.location_param("error"), "login_required");
}

#[tokio::test]
async fn the_answer_travels_as_response_mode_says() {
    let world = seed::world().await;
    let web = client(&world, "first-party");
    let mut browser = Browser::new();
    let (page, _) = world.authorize(&mut browser, &web, "openid", "before").await;
    assert!(page.redirects());
    let query = web.begin("openid", "query").param("response_mode", "query");
    let page = browser.get(&query.url()).await;
    assert_eq!(page.status(), 303);
    query.code(&page, &web);
    assert_eq!(page.location().fragment(), None);
    let posted = web
        .begin("openid", "posted")
        .param("response_mode", "form_post")
        .param("state", "a\"><b>&");
    let page = browser.get(&posted.url()).await;
    assert_eq!(page.status(), 200);
    let form = page.form("form-post");
    assert_eq!(form.action, WEB_CALLBACK);
    assert_eq!(form.get("state"), "a\"><b>&", "the exact value");
    assert_eq!(form.get("iss"), web.issuer);
    web.redeem(form.get("code"), &posted).await.expect(200);
    // Errors travel the same way.
    let refused = posted.clone().param("prompt", "none").param("max_age", "0");
    let form = browser.get(&refused.url()).await.form("form-post");
    assert_eq!((form.get("error"), form.get("code")), ("login_required", ""));
    for bad in ["fragment", "web_message", "jwt", "FORM_POST"] {
        let page = browser.get(&web.begin("openid", "bad").param("response_mode", bad).url()).await;
        assert_eq!(page.location_param("error"), "invalid_request", "{bad}");
    }
}
