//! The pages that people see: their forms, their headers, and what a person may do there besides saying yes.

use tests::browser::{Browser, Page};
use tests::client::sign_in;
use tests::seed::{self, client};
use tests::world::{ALICE, BOB, WEB_CALLBACK, World};

/// Every page refuses frames, referrers, caches, and whatever does not come from itself.
fn check_headers(page: &Page) {
    let policy = page.answer.header("Content-Security-Policy").to_owned();
    let has = |part: &str| assert!(policy.contains(part), "{part} in {policy} of {}", page.url);
    has("default-src 'none'");
    has("frame-ancestors 'none'");
    has("form-action 'self'");
    has("base-uri 'none'");
    assert!(!policy.contains("unsafe-") && !policy.contains('*'), "{policy}");
    for (name, value) in [
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Content-Type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.answer.header(name), value, "{name} of {}", page.url);
    }
    let tags = tests::html::tags(&page.text());
    for tag in &tags {
        let loads = ["img", "iframe", "link", "object", "embed", "video", "audio"];
        assert!(!loads.contains(&tag.name.as_str()), "<{}> on {}", tag.name, page.url);
        assert!(!tag.has("src") && !tag.has("style") && !tag.has("onclick"), "{tag:?}");
    }
    let html = tags.iter().find(|tag| tag.name == "html").unwrap();
    assert_eq!(html.get("lang"), "en");
    assert!(tags.iter().any(|tag| tag.name == "main"));
    // Every field that a person fills in has a label.
    let visible = |tag: &&tests::html::Tag| tag.name == "input" && tag.get("type") != "hidden";
    for field in tags.iter().filter(visible) {
        let labelled =
            tags.iter().any(|tag| tag.name == "label" && tag.get("for") == field.get("id"));
        assert!(labelled, "{field:?}");
    }
}

#[tokio::test]
async fn every_page_of_the_flow_carries_the_headers_and_the_elements() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid documents:read", "pages").param("response_mode", "form_post");
    let first = browser.get(&pending.url()).await;
    assert_eq!(first.status(), 303);
    assert_eq!(first.answer.header("Cache-Control"), "no-store");
    assert_eq!(first.answer.header("Referrer-Policy"), "no-referrer");
    assert!(first.location().path() == "/login", "{}", first.location());

    let login = browser.follow(&first).await;
    check_headers(&login);
    for id in ["login-form", "username", "password", "login-submit", "login-cancel", "client-info"]
    {
        assert!(login.element(id).is_some(), "{id}");
    }
    assert_eq!(login.element("username").unwrap().get("name"), "username");
    assert_eq!(login.element("password").unwrap().get("type"), "password");
    assert!(login.text().contains("Web"), "the client's name");
    let policy = login.answer.header("Content-Security-Policy").to_owned();
    assert!(policy.contains("form-action 'self' https://web.example;"), "{policy}");

    let wrong = login.form("login-form").set("username", ALICE.0).set("password", "wrong");
    let refused = browser.submit(&login, &wrong.press("login-submit")).await;
    assert_eq!(refused.status(), 403);
    check_headers(&refused);
    assert_eq!(refused.form("login-form").get("username"), ALICE.0);
    assert_eq!(refused.form("login-form").get("password"), "", "a password is never sent back");

    let right = refused.form("login-form").set("password", ALICE.1).press("login-submit");
    let signed_in = browser.submit(&refused, &right).await;
    assert_eq!(signed_in.status(), 303, "a form is answered by 303");
    let consent = browser.follow(&signed_in).await;
    check_headers(&consent);
    for id in ["consent-form", "consent-allow", "consent-deny", "consent-scopes"] {
        assert!(consent.element(id).is_some(), "{id}");
    }
    assert!(consent.text().contains("Read your documents"), "the API's own sentence");
    let policy = consent.answer.header("Content-Security-Policy").to_owned();
    assert!(policy.contains("form-action 'self' https://web.example;"), "{policy}");

    let posting =
        browser.submit(&consent, &consent.form("consent-form").press("consent-allow")).await;
    assert_eq!(posting.status(), 200);
    let form = posting.form("form-post");
    assert_eq!((form.action.as_str(), form.method.as_str()), (WEB_CALLBACK, "post"));
    assert_eq!((form.get("state"), form.get("iss")), (pending.state.as_str(), web.issuer.as_str()));
    let policy = posting.answer.header("Content-Security-Policy").to_owned();
    assert!(policy.contains("script-src 'sha256-"), "its one line of script: {policy}");
    check_headers(&posting);
    web.redeem(form.get("code"), &pending).await.expect(200);
}

#[tokio::test]
async fn the_pages_beside_the_flow_carry_them_too() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "beside").await;
    let logout = browser.get(&format!("{}/end_session", web.issuer)).await;
    check_headers(&logout);
    for id in ["logout-form", "logout-confirm", "logout-cancel"] {
        assert!(logout.element(id).is_some(), "{id}");
    }
    let gone = browser.submit(&logout, &logout.form("logout-form").press("logout-confirm")).await;
    let gone = browser.settle(gone).await;
    check_headers(&gone);
    assert!(gone.element("logged-out").is_some());

    let error = browser.get(&format!("{}/authorize", web.issuer)).await;
    assert_eq!(error.status(), 400);
    check_headers(&error);
    let main = error.element("oauth-error").unwrap();
    assert_eq!((main.name.as_str(), main.get("data-error")), ("main", "invalid_request"));
    assert!(error.text().contains("error") && error.text().contains("invalid_request"));
}

#[tokio::test]
async fn a_person_may_cancel_or_decline_and_the_client_learns_it() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid", "cancel");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let cancelled = browser.submit(&login, &login.form("login-form").press("login-cancel")).await;
    assert_eq!(cancelled.location_param("error"), "access_denied");
    assert_eq!(cancelled.location_param("state"), pending.state);
    assert_eq!(cancelled.location_param("iss"), web.issuer);
    assert_eq!(cancelled.location_param("code"), "");

    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    let consent = browser.settle(next).await;
    let denied =
        browser.submit(&consent, &consent.form("consent-form").press("consent-deny")).await;
    assert_eq!(denied.location_param("error"), "access_denied");
    assert_eq!(denied.location_param("code"), "");
    // Nothing was remembered: the next request asks again.
    let page = browser.get(&pending.url()).await;
    assert!(browser.settle(page).await.element("consent-form").is_some());
}

#[tokio::test]
async fn consent_is_remembered_by_scope_and_asked_for_what_is_new() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid documents:read", "first").await;
    for (scope, asks) in [
        ("openid documents:read", false),
        ("documents:read", false),
        ("openid documents:read documents:write", true),
        ("profile", true),
    ] {
        let page = browser.get(&web.begin(scope, "again").url()).await;
        let page = browser.settle(page).await;
        assert_eq!(page.element("consent-form").is_some(), asks, "{scope}");
    }
    // Bob in the same browser has allowed nothing.
    let pending = web.begin("documents:read", "bob").param("prompt", "login");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", BOB.0).set("password", BOB.1);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    assert!(browser.settle(next).await.element("consent-form").is_some());
}

#[tokio::test]
async fn a_client_asks_never_or_always_as_it_was_declared() {
    let world = seed::world().await;
    let mut browser = Browser::new();
    let first_party = client(&world, "first-party");
    let pending = first_party.begin("openid documents:read", "skip");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let page = browser.submit(&login, &form.press("login-submit")).await;
    let code = pending.code(&page, &first_party);
    first_party.redeem(&code, &pending).await.expect(200);

    let asks = client(&world, "asks");
    for tag in ["once", "twice"] {
        let page = browser.get(&asks.begin("openid", tag).url()).await;
        let page = browser.settle(page).await;
        assert!(page.element("consent-form").is_some(), "{tag}");
        let done = browser.submit(&page, &page.form("consent-form").press("consent-allow")).await;
        assert_ne!(done.location_param("code"), "");
    }
    let silent = asks.begin("openid", "silent").param("prompt", "none");
    let page = browser.get(&silent.url()).await;
    assert_eq!(page.location_param("error"), "consent_required");
}

/// Any program on the machine can claim a loopback redirect (RFC 8252 section 8.6): an earlier answer says nothing.
#[tokio::test]
async fn a_public_client_on_loopback_is_asked_about_every_time() {
    let world = World::start().await;
    let native = world.native();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &native, "documents:read", "first").await;
    let page = browser.get(&native.begin("documents:read", "second").url()).await;
    assert!(browser.settle(page).await.element("consent-form").is_some());
    let silent = native.begin("documents:read", "silent").param("prompt", "none");
    let page = browser.get(&silent.url()).await;
    assert_eq!(page.location_param("error"), "consent_required");
}

#[tokio::test]
async fn a_session_of_one_browser_is_no_session_of_another() {
    let world = World::start().await;
    let web = world.web();
    let mut alices = Browser::new();
    world.authorize(&mut alices, &web, "openid", "alice").await;
    let page = alices.get(&web.begin("openid", "silent").param("prompt", "none").url()).await;
    assert_ne!(page.location_param("code"), "");
    let mut other = Browser::new();
    let page = other.get(&web.begin("openid", "other").param("prompt", "none").url()).await;
    assert_eq!(page.location_param("error"), "login_required");
}

/// The sealed request in an address is bound to its browser: in another one it starts over.
#[tokio::test]
async fn an_address_of_ours_opened_in_another_browser_starts_over() {
    let world = World::start().await;
    let web = world.web();
    let mut first = Browser::new();
    let pending = web.begin("openid", "carried").param("prompt", "login");
    let page = first.get(&pending.url()).await;
    let login = first.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let signed_in = first.submit(&login, &form.press("login-submit")).await;
    assert_eq!(signed_in.location().path(), "/consent");
    // Who opens that address elsewhere has to sign in, although the first browser has.
    let mut second = Browser::new();
    let elsewhere = second.get(signed_in.location().as_str()).await;
    let elsewhere = second.settle(elsewhere).await;
    assert!(elsewhere.element("login-form").is_some(), "{}", elsewhere.url);
    // And a browser in which Bob is signed in does not satisfy prompt=login with it.
    let mut bobs = Browser::new();
    sign_in(&mut bobs, &web.begin("openid", "bob").url(), BOB.0, BOB.1).await;
    let elsewhere = bobs.get(signed_in.location().as_str()).await;
    let elsewhere = bobs.settle(elsewhere).await;
    assert!(elsewhere.element("login-form").is_some(), "{}", elsewhere.url);
}

#[tokio::test]
async fn a_request_may_wait_half_an_hour_for_its_person() {
    let world = World::start().await;
    let web = world.web();
    for (seconds, status) in [(30 * 60 - 1, 200), (30 * 60, 400), (30 * 60 + 1, 400)] {
        let mut browser = Browser::new();
        let page = browser.get(&web.begin("openid", "slow").url()).await;
        let start = world.clock.clone();
        let began = shared_types::Clock::now(&*start);
        world.clock.advance(seconds);
        let login = browser.follow(&page).await;
        assert_eq!(login.status(), status, "after {seconds} s");
        if status == 400 {
            assert!(login.element("oauth-error").is_some());
        }
        assert_eq!(shared_types::Clock::now(&*start), began.plus(seconds));
    }
}

#[tokio::test]
async fn a_form_sent_twice_or_from_a_stale_tab_still_leads_on() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let (one, two) = (web.begin("openid", "tab-one"), web.begin("openid", "tab-two"));
    let page = browser.get(&one.url()).await;
    let tab_one = browser.settle(page).await;
    let page = browser.get(&two.url()).await;
    let tab_two = browser.settle(page).await;
    let fill = |page: &Page| {
        let form = page.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
        form.press("login-submit")
    };
    // The session changes its id in the first tab; the second one's form is still good.
    let next = browser.submit(&tab_one, &fill(&tab_one)).await;
    let consent_one = browser.settle(next).await;
    let next = browser.submit(&tab_two, &fill(&tab_two)).await;
    let consent_two = browser.settle(next).await;
    for (consent, pending) in [(consent_one, one), (consent_two, two)] {
        let done =
            browser.submit(&consent, &consent.form("consent-form").press("consent-allow")).await;
        let code = pending.code(&done, &web);
        web.redeem(&code, &pending).await.expect(200);
    }
}

#[tokio::test]
async fn an_open_tab_goes_on_by_itself_after_another_one_signed_in() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let waiting = web.begin("openid", "waiting");
    let page = browser.get(&waiting.url()).await;
    let tab = browser.settle(page).await;
    world.authorize(&mut browser, &web, "openid", "other-tab").await;
    let reloaded = browser.get(tab.url.as_str()).await;
    let reloaded = browser.settle(reloaded).await;
    waiting.code(&reloaded, &web);
}

#[tokio::test]
async fn the_user_name_is_taken_in_any_case_of_letters_and_the_password_as_it_is() {
    let world = World::start().await;
    let web = world.web();
    let mut page =
        sign_in(&mut Browser::new(), &web.begin("openid", "case").url(), "ALICE", ALICE.1).await;
    assert_ne!(page.location_param("code"), "");
    let upper = ALICE.1.to_uppercase();
    page = sign_in(&mut Browser::new(), &web.begin("openid", "case").url(), "alice", &upper).await;
    assert_eq!(page.status(), 403);
}

/// Equal words and equal status, whatever is wrong: nobody learns which names exist.
#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_look_the_same() {
    let world = World::start().await;
    let web = world.web();
    let mut seen = Vec::new();
    for (name, password) in [(ALICE.0, "wrong"), ("nobody", "wrong"), ("nobody", ALICE.1)] {
        let page =
            sign_in(&mut Browser::new(), &web.begin("openid", "same").url(), name, password).await;
        assert_eq!(page.status(), 403);
        let main = page.text();
        let alert = main.split("role=\"alert\"").nth(1).unwrap();
        seen.push(alert.split("</p>").next().unwrap().to_owned());
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
    let mut browser = Browser::new();
    let page = browser.get(&web.begin("openid", "empty").url()).await;
    let login = browser.settle(page).await;
    let empty = browser.submit(&login, &login.form("login-form").press("login-submit")).await;
    assert_eq!(empty.status(), 400);
}
