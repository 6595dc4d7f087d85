//! The attacks of RFC 9700 section 4, row by row, against the authorization server. Forged forms (4.7) are in `forms`, forged
//! tokens in `doors`.

use reqwest::Method;
use serde_json::json;
use tests::browser::{Browser, Page};
use tests::client::{Client, challenge, sign_in};
use tests::http::{Answer, Http, send};
use tests::oracle::read;
use tests::seed::{self, client};
use tests::world::{ALICE, Auth, SECRET, World};

fn invalid_grant(answer: Answer) {
    assert_eq!(answer.expect(400).error(), "invalid_grant");
}

/// Section 4.1: no pattern, no prefix, no normalization decides where a code goes.
#[tokio::test]
async fn a_code_goes_only_where_it_was_registered() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "signed in").await;
    for uri in [
        "https://web.example/callback?next=https://evil.example",
        "https://web.example/callback/../../evil",
        "https://web.example/callback%2f..%2fevil",
        "https://web.example.evil.example/callback",
        "https://evil.example/https://web.example/callback",
        "https://web.example%40evil.example/callback",
        "https://web.example:@evil.example/callback",
        "https://web.example\t/callback",
        "https://\u{ff57}eb.example/callback",
        "https://web\u{3002}example/callback",
    ] {
        let page = browser.get(&web.begin("openid", "uri").param("redirect_uri", uri).url()).await;
        assert_eq!((page.status(), page.answer.header("Location")), (400, ""), "{uri}");
    }
}

/// Section 2.6: "the authorization endpoint [..] MUST NOT support CORS", and no page behind it does: no script of another origin
/// reads what a browser is told there.
#[tokio::test]
async fn no_script_of_another_origin_reads_the_authorization_endpoint_or_its_pages() {
    let world = World::start().await;
    let (web, http) = (world.web(), Http::new());
    let authorize = web.begin("openid", "cors").url();
    let login = http.get(&authorize).await.expect(303).header("Location").to_owned();
    let mut asked = 0;
    for url in [authorize.clone(), authorize.replace("client_id=web", "client_id=nobody"), login] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let request = http
                .request(method.clone(), &url)
                .header("Origin", "https://web.example")
                .header("Access-Control-Request-Method", "GET");
            let answer = send(request).await;
            let told: Vec<_> = answer
                .headers
                .keys()
                .filter(|name| name.as_str().starts_with("access-control-"))
                .collect();
            assert!(told.is_empty(), "{method} {url}: {told:?}");
            asked += usize::from(answer.status < 404);
        }
    }
    assert!(asked >= 5, "the questions reach the endpoint: {asked}");
}

/// Section 4.2: neither our pages nor our redirects send a referrer, and our pages load nothing that could receive one.
#[tokio::test]
async fn no_referrer_carries_a_code_or_state_away() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid", "referrer");
    let mut page = browser.get(&pending.url()).await;
    for _ in 0..3 {
        assert_eq!(page.answer.header("Referrer-Policy"), "no-referrer", "{}", page.url);
        page = match page.status() {
            303 => browser.follow(&page).await,
            _ if page.element("login-form").is_some() => {
                let form =
                    page.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
                browser.submit(&page, &form.press("login-submit")).await
            }
            _ => break,
        };
    }
    let consent = browser.settle(page).await;
    let done = browser.submit(&consent, &consent.form("consent-form").press("consent-allow")).await;
    assert_eq!(done.answer.header("Referrer-Policy"), "no-referrer");
    // "authorization codes MUST be invalidated after their first use", should one get away nevertheless.
    let code = pending.code(&done, &web);
    web.redeem(&code, &pending).await.expect(200);
    invalid_grant(web.redeem(&code, &pending).await);
}

/// Section 4.3: what stays in the history of a browser is worth nothing, and no token is ever in a URL.
#[tokio::test]
async fn nothing_in_a_browsers_history_opens_anything() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let (page, pending) =
        world.authorize(&mut browser, &web, "openid documents:read", "history").await;
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    for name in ["access_token", "id_token", "refresh_token", "token_type"] {
        assert_eq!(page.location_param(name), "", "{name}");
    }
    assert_eq!(page.location().fragment(), None);
    let access = tokens.member("access_token");
    let query =
        Http::new().get(&format!("{}/userinfo?access_token={access}", world.auth.issuer)).await;
    assert_eq!(query.status, 400);
    for response_type in ["token", "id_token", "id_token token", "code token", "code id_token"] {
        let asked = web.begin("openid", "implicit").param("response_type", response_type);
        let page = browser.get(&asked.url()).await;
        assert_eq!(page.location_param("error"), "unsupported_response_type", "{response_type}");
    }
}

/// Section 4.4: the answer says whose it is, so that a client with two servers takes no code of one to the other.
#[tokio::test]
async fn every_answer_names_its_issuer_so_that_mix_up_is_seen() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let other =
        Auth::start(folder.path(), &tests::world::state(&world.resource), &world.clock, |_| {})
            .await;
    let web = world.web();
    let at_other = Client::new(&other.issuer, "web", SECRET, &web.redirect_uri);
    let pending = at_other.begin("openid", "mix-up");
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    assert_eq!(page.location_param("iss"), other.issuer);
    assert_ne!(page.location_param("iss"), web.issuer);
    // And it would be worth nothing there.
    invalid_grant(web.redeem(&page.location_param("code"), &pending).await);
    let refused =
        Browser::new().get(&at_other.begin("openid", "n").param("prompt", "none").url()).await;
    assert_eq!(refused.location_param("iss"), other.issuer);
    other.running.stop().await;
}

/// Section 4.5: a stolen code in the attacker's own session of the same client: PKCE binds it, and the nonce tells.
#[tokio::test]
async fn a_stolen_code_cannot_be_injected() {
    let world = seed::world().await;
    let web = world.web();
    let (stolen, victims) = world.code(&web, "openid", "victim").await;
    let attackers = web.begin("openid", "attacker");
    invalid_grant(web.redeem(&stolen, &attackers).await);
    web.redeem(&stolen, &victims).await.expect(200);
    // A client that cannot do PKCE sees the victim's nonce in the ID token.
    let without = client(&world, "without-pkce");
    let pending =
        without.begin("openid", "nonce").without("code_challenge").without("code_challenge_method");
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    let code = pending.code(&page, &without);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &without.redirect_uri),
    ];
    let tokens = without.token(&fields).await.expect(200);
    let claims = read(&tokens.member("id_token"), &without.jwks().await).1;
    assert_eq!(claims["nonce"], pending.nonce);
}

/// Section 4.6: there is no response type that carries an access token through the browser, and `at_hash` binds the one that comes.
#[tokio::test]
async fn an_access_token_of_another_answer_does_not_fit_the_id_token() {
    let world = World::start().await;
    let web = world.web();
    let first = world.tokens(&web, "openid", "first").await;
    let second = world.tokens(&web, "openid", "second").await;
    let jwks = web.jwks().await;
    let hash = |answer: &Answer| read(&answer.member("id_token"), &jwks).1["at_hash"].clone();
    assert_ne!(hash(&first), hash(&second));
}

/// Section 4.8: who removes the challenge on the way out, or the verifier on the way back, gets nothing.
#[tokio::test]
async fn pkce_cannot_be_taken_away_on_the_way() {
    let world = seed::world().await;
    let web = world.web();
    let stripped =
        web.begin("openid", "stripped").without("code_challenge").without("code_challenge_method");
    let page = Browser::new().get(&stripped.url()).await;
    assert_eq!(page.location_param("error"), "invalid_request");
    // The client is excused, but it used PKCE and the attacker removed the challenge: its verifier gives that away.
    let without = client(&world, "without-pkce");
    let pending =
        without.begin("openid", "d").without("code_challenge").without("code_challenge_method");
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    invalid_grant(without.redeem(&pending.code(&page, &without), &pending).await);
    let plain = web.begin("openid", "plain").param("code_challenge_method", "plain");
    let page = Browser::new().get(&plain.url()).await;
    assert_eq!(page.location_param("error"), "invalid_request");
    assert_ne!(challenge(&pending.verifier), pending.verifier);
}

/// Sections 4.9 and 4.10: a token that got away is for one API, for minutes, with the scope that was asked for.
#[tokio::test]
async fn a_leaked_access_token_is_worth_little() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let pending = both.begin("documents:read mail:send", "leak").param("resource", &world.resource);
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    let tokens = both.redeem(&pending.code(&page, &both), &pending).await.expect(200);
    let access = tokens.member("access_token");
    let claims = read(&access, &both.jwks().await).1;
    assert_eq!(
        (&claims["aud"], &claims["scope"]),
        (&json!(world.resource), &json!("documents:read"))
    );
    assert_eq!(tokens.json()["expires_in"], 300);
    assert_eq!(both.userinfo(&access).await.status, 401, "not at the issuer");
    assert_eq!(world.documents(&access).create("t", "b").await.status, 403, "not to write");
    world.clock.advance(300);
    assert_eq!(world.documents(&access).list("").await.status, 401);
}

/// Section 4.11.2: no error goes to an address that was not registered, and none goes there without the client being right.
#[tokio::test]
async fn the_server_is_no_open_redirector() {
    let world = World::start().await;
    let web = world.web();
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "https://evil.example/"),
        ("response_type", "nonsense"),
        ("scope", "\""),
    ] {
        let evil = web
            .begin("openid", "evil")
            .param("redirect_uri", "https://evil.example/")
            .param(name, value);
        for prompt in ["", "none"] {
            let page = Browser::new().get(&evil.clone().param("prompt", prompt).url()).await;
            assert_eq!(
                (page.status(), page.answer.header("Location")),
                (400, ""),
                "{name} {prompt}"
            );
        }
    }
    for path in [
        "/end_session?post_logout_redirect_uri=https://evil.example/",
        "/end_session?post_logout_redirect_uri=//evil.example",
        "//evil.example/",
        "/login?r=https://evil.example",
        "/logged-out?next=https://evil.example",
    ] {
        let answer = Http::new().get(&format!("{}{path}", world.auth.issuer)).await;
        assert!(
            !answer.header("Location").contains("evil"),
            "{path}: {}",
            answer.header("Location")
        );
    }
}

/// Section 4.12: a 307 would make the browser post the password on to the client.
#[tokio::test]
async fn every_redirect_is_a_303() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid", "303");
    let first = browser.get(&pending.url()).await;
    let login = browser.follow(&first).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let second = browser.submit(&login, &form.press("login-submit")).await;
    let consent = browser.follow(&second).await;
    let third =
        browser.submit(&consent, &consent.form("consent-form").press("consent-allow")).await;
    let fourth = browser.get(&web.begin("openid", "error").param("response_type", "x").url()).await;
    let logout = browser.get(&format!("{}/end_session", web.issuer)).await;
    let fifth = browser.submit(&logout, &logout.form("logout-form").press("logout-confirm")).await;
    let statuses: Vec<u16> = [&first, &second, &third, &fourth, &fifth].map(Page::status).to_vec();
    assert_eq!(statuses, [303; 5]);
}

/// Section 4.13: what a proxy should have removed is not believed, in any spelling.
#[tokio::test]
async fn forwarded_headers_of_a_stranger_change_nothing() {
    let world = World::start().await;
    let http = Http::new();
    let url = format!("{}/.well-known/openid-configuration", world.auth.issuer);
    let plain = http.get(&url).await.expect(200);
    let forged = http
        .request(Method::GET, &url)
        .header("Host", "evil.example")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Prefix", "/evil")
        .header("Forwarded", "host=evil.example;proto=https")
        .header("X-Original-URL", "/evil")
        .header("X-Request-Id", "chosen-by-a-stranger");
    let answer = send(forged).await.expect(200);
    assert_eq!(answer.body, plain.body);
    assert_ne!(answer.header("X-Request-Id"), "chosen-by-a-stranger");
    let asked = http
        .request(Method::GET, &world.web().begin("openid", "host").url())
        .header("Host", "evil.example")
        .header("X-Forwarded-Host", "evil.example");
    let answer = send(asked).await.expect(303);
    assert!(
        answer.header("Location").starts_with(&world.auth.issuer),
        "{}",
        answer.header("Location")
    );
}

/// Section 4.14: refresh tokens are bound to the client and what was granted, rotate, and a replay ends the family.
#[tokio::test]
async fn a_stolen_refresh_token_gives_itself_away() {
    let world = seed::world().await;
    let native = world.native();
    let stolen =
        world.tokens(&native, "openid documents:read", "theft").await.member("refresh_token");
    // The thief is faster; the person's app comes later with the old one.
    let thiefs = native.refresh(&stolen).await.expect(200);
    let thiefs = native.refresh(&thiefs.member("refresh_token")).await.expect(200);
    invalid_grant(native.refresh(&stolen).await);
    invalid_grant(native.refresh(&thiefs.member("refresh_token")).await);
    assert_eq!(native.userinfo(&thiefs.member("access_token")).await.status, 401);
}

/// Section 4.15: no client can be mistaken for a person: subjects of people have a form that no `client_id` may have.
#[tokio::test]
async fn a_client_cannot_pass_for_a_person() {
    let world = World::start().await;
    let scope = "documents:read documents:write";
    let person = world.tokens(&world.web(), scope, "p").await.member("access_token");
    let jwks = world.web().jwks().await;
    let subject = read(&person, &jwks).1["sub"].as_str().unwrap().to_owned();
    let state = format!(
        "[[client]]\nclient_id = \"{subject}\"\ngrant_types = [\"client_credentials\"]\nclient_secret = \"{SECRET}\"\n"
    );
    let app = world.auth.running.app().clone();
    let target = auth_server::apply::Target {
        settings: app.settings.clone(),
        database: app.database.clone(),
        clock: app.clock.clone(),
        random: app.random.clone(),
    };
    let plan = auth_server::apply::plan(&target, &state, world.folder(), false).await;
    assert!(plan.is_err_and(|fault| fault.to_string().contains("acct_")));
    let machine = world.machine().client_credentials("documents:read").await.member("access_token");
    world.documents(&person).create("hers", "").await.expect(201);
    let seen = world.documents(&machine).list("").await.expect(200).json();
    assert_eq!(seen["documents"], json!([]));
}

/// Section 4.16: no page of ours, and no redirect or error either, can be framed.
#[tokio::test]
async fn nothing_can_be_framed() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let page = browser.get(&web.begin("openid", "frame").url()).await;
    let login = browser.settle(page).await;
    let pages = [
        login.answer,
        browser.get(&format!("{}/authorize", web.issuer)).await.answer,
        browser.get(&format!("{}/logged-out", web.issuer)).await.answer,
        browser.get(&format!("{}/nothing", web.issuer)).await.answer,
        web.client_credentials("x").await,
        web.userinfo("x").await,
    ];
    for answer in pages {
        let policy = answer.header("Content-Security-Policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{}: {policy}", answer.url);
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{}", answer.url);
        assert_eq!(answer.header("X-Frame-Options"), "DENY", "{}", answer.url);
    }
}

/// Section 4.17: there is no answer by postMessage, so there is no receiver to get wrong.
#[tokio::test]
async fn no_answer_is_posted_between_windows() {
    let world = World::start().await;
    for mode in ["web_message", "fragment"] {
        let page = Browser::new()
            .get(&world.web().begin("openid", "m").param("response_mode", mode).url())
            .await;
        assert_eq!(page.location_param("error"), "invalid_request", "{mode}");
    }
}
