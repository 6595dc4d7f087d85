//! Forged forms and planted cookies against the authorization server's pages (RFC 9700 section 4.7).

use reqwest::Method;
use tests::browser::{Browser, Page};
use tests::client::Pending;
use tests::http::{Http, send};
use tests::seed;
use tests::world::{ALICE, BOB, SECRET, WEB_CALLBACK, World};

/// Section 4.7: `state` comes back as it was, PKCE binds the browser, and our own forms take no foreign submission.
#[tokio::test]
async fn our_forms_are_submitted_from_our_pages_only() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let page = browser.get(&web.begin("openid", "csrf").url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let form = form.press("login-submit");
    let mut stranger = Browser::new();
    let page = stranger.get(&web.begin("openid", "csrf").url()).await;
    let strangers = stranger.settle(page).await.form("login-form").get("csrf").to_owned();
    for (why, forged) in [
        ("no token", form.clone().without("csrf")),
        ("an empty token", form.clone().set("csrf", "")),
        ("another browser's token", form.clone().set("csrf", &strangers)),
        ("a made-up token", form.clone().set("csrf", &"A".repeat(43))),
    ] {
        let refused = browser.submit(&login, &forged).await;
        assert_eq!(refused.status(), 403, "{why}");
        assert!(refused.element("oauth-error").is_some());
    }
    // Login CSRF: the attacker's own page and token in the victim's browser sign nobody in.
    let page = stranger.submit(&login, &form).await;
    assert_eq!(page.status(), 403);
    let done = browser.submit(&login, &form).await;
    assert_eq!(done.status(), 303, "the real one is still good");
}

/// Both are 403: a person must see which of them it was, and a wrong password leaves the form to try again.
#[tokio::test]
async fn a_forged_form_and_a_wrong_password_look_different() {
    let world = World::start().await;
    let mut browser = Browser::new();
    let page = browser.get(&world.web().begin("openid", "differ").url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).press("login-submit");
    let wrong = browser.submit(&login, &form.clone().set("password", "guess")).await;
    let right = form.set("password", ALICE.1);
    let forged = browser.submit(&login, &right.clone().set("csrf", "forged")).await;
    assert_eq!((wrong.status(), forged.status()), (403, 403));
    let has = |page: &Page, id: &str| page.element(id).is_some();
    assert!(has(&wrong, "login-form") && has(&wrong, "login-error"), "{}", wrong.text());
    assert!(!has(&wrong, "oauth-error"), "{}", wrong.text());
    assert!(has(&forged, "oauth-error"), "{}", forged.text());
    assert!(!has(&forged, "login-form") && !has(&forged, "login-error"), "{}", forged.text());
    assert!(forged.text().contains("invalid_request") && !forged.text().contains("password"));
    // The page that the wrong password left is good for the right one.
    let again = wrong.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let done = browser.submit(&wrong, &again.press("login-submit")).await;
    assert_eq!(done.status(), 303);
}

/// The same, by what browsers say of where a form comes from.
#[tokio::test]
async fn a_form_that_says_it_is_from_elsewhere_is_refused() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let page = browser.get(&web.begin("openid", "origin").url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let form = form.press("login-submit");
    let cookie = format!("as_browser={}", browser.cookie("127.0.0.1", "as_browser").unwrap());
    let own = world.auth.issuer.clone();
    for (headers, status) in [
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "http://127.0.0.1")], 403),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
        (vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Origin", own.as_str())], 303),
        (vec![("Origin", "null")], 303),
        (vec![], 303),
    ] {
        let url = login.url.join(&form.action).unwrap();
        let mut request = Http::new()
            .request(Method::POST, url.as_str())
            .header("Cookie", &cookie)
            .form(&form.fields);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        assert_eq!(send(request).await.status, status, "{headers:?}");
    }
}

/// A consent page of one person cannot be answered in the name of the next.
#[tokio::test]
async fn a_consent_form_holds_for_its_person_and_session_only() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid documents:share", "consent");
    let consent = to_consent(&mut browser, &pending, ALICE).await;
    let alices = consent.form("consent-form").press("consent-allow");
    let other = web.begin("openid", "bob").param("prompt", "login");
    to_consent(&mut browser, &other, BOB).await;
    let refused = browser.submit(&consent, &alices).await;
    assert_eq!(refused.status(), 403, "{}", refused.text());
    // Nor can the decision be left out, or a form without its token be sent.
    let consent =
        to_consent(&mut browser, &web.begin("openid", "again").param("prompt", "login"), BOB).await;
    let form = consent.form("consent-form");
    let undecided = browser.submit(&consent, &form).await;
    assert!(undecided.element("consent-form").is_some(), "it is asked again");
    let forged =
        browser.submit(&consent, &form.clone().press("consent-allow").without("csrf")).await;
    assert_eq!(forged.status(), 403);
    let logout = browser.get(&format!("{}/end_session", web.issuer)).await;
    let form = logout.form("logout-form").press("logout-confirm");
    let forged = browser.submit(&logout, &form.set("csrf", "x")).await;
    assert_eq!(forged.status(), 403);
}

/// A yes is a yes to what was shown: what is registered may grow while the page stands open.
#[tokio::test]
async fn a_consent_page_answers_the_question_it_shows_and_no_other() {
    let world = World::start().await;
    let declared = |scope: &str| {
        format!(
            "[[client]]\nclient_id = \"grows\"\nredirect_uris = [\"{WEB_CALLBACK}\"]\nclient_secret = \"{SECRET}\"\nscope = \"{scope}\"\n"
        )
    };
    seed::declare(&world.auth, &declared("openid documents:read")).await;
    let grows = seed::client(&world, "grows");
    let mut browser = Browser::new();
    let pending = grows.begin("openid documents:read documents:write", "grows");
    let shown = to_consent(&mut browser, &pending, ALICE).await;
    let asks_to_write = |page: &Page| page.text().contains(r#"data-scope="documents:write""#);
    assert!(!asks_to_write(&shown), "{}", shown.text());
    seed::declare(&world.auth, &declared("openid documents:read documents:write")).await;
    let yes = |page: &Page| page.form("consent-form").press("consent-allow");
    let again = browser.submit(&shown, &yes(&shown)).await;
    assert!(again.element("consent-form").is_some() && asks_to_write(&again), "{}", again.text());
    for form in [yes(&again).without("question"), yes(&again).set("question", "x")] {
        let page = browser.submit(&again, &form).await;
        assert!(page.element("consent-form").is_some(), "{}", page.text());
    }
    // Nor does the page of one request answer another one of the same session.
    let web = world.web();
    let other = browser.get(&web.begin("openid", "other").url()).await;
    let other = browser.settle(other).await;
    let crossed = yes(&other).set("question", shown.form("consent-form").get("question"));
    let page = browser.submit(&other, &crossed).await;
    assert!(page.element("consent-form").is_some(), "{}", page.text());
    let done = browser.submit(&again, &yes(&again)).await;
    let code = pending.code(&done, &grows);
    let tokens = grows.redeem(&code, &pending).await.expect(200);
    assert_eq!(tokens.member("scope"), "documents:read documents:write openid");
}

/// Another site can send our forms without the cookies that the browser holds back. A fresh cookie in the answer would replace them.
#[tokio::test]
async fn a_form_from_elsewhere_spoils_no_page_that_stands_open() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid", "open");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let consent = login.url.as_str().replace("/login?", "/consent?");
    let logout = format!("{}/end_session", web.issuer);
    for url in [login.url.as_str(), &consent, &logout] {
        for fields in [&[("csrf", "x")][..], &[("csrf", "x"), ("csrf", "x")], &[]] {
            let answer = Http::new().post_form(url, fields).await;
            assert!(!answer.headers.contains_key("set-cookie"), "{url}: {}", answer.status);
        }
    }
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    let consent = browser.settle(next).await;
    let form = consent.form("consent-form").press("consent-allow");
    pending.code(&browser.submit(&consent, &form).await, &web);
}

async fn to_consent(
    browser: &mut Browser,
    pending: &Pending,
    (name, password): (&str, &str),
) -> Page {
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", name).set("password", password);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    browser.settle(next).await
}

/// A session that an attacker put into a browser signs nobody in, and is not the one after a sign-in (session fixation).
#[tokio::test]
async fn a_planted_session_is_no_session() {
    let world = World::start().await;
    let web = world.web();
    let mut attacker = Browser::new();
    world.authorize(&mut attacker, &web, "openid", "attacker").await;
    let own = attacker.cookie("127.0.0.1", "as_session").unwrap().to_owned();
    let flipped = format!("{}{}", if own.starts_with('A') { "B" } else { "A" }, &own[1..]);
    for cookie in ["", "x", "null", &flipped, &format!("{own}A")] {
        let mut browser = Browser::new();
        browser.plant("127.0.0.1", "as_session", cookie);
        let page = browser.get(&web.begin("openid", "p").param("prompt", "none").url()).await;
        assert_eq!(page.location_param("error"), "login_required", "{cookie:.10}");
    }
}
