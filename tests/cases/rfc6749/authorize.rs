//! The authorization endpoint (RFC 6749 sections 3.1 and 4.1): what it refuses, and to whom it says so.

use reqwest::Method;
use tests::browser::{Browser, Page};
use tests::client::{Pending, challenge};
use tests::http::{Http, send};
use tests::seed::{self, client};
use tests::world::{NATIVE_CALLBACK, WEB_CALLBACK, World};
use url::Url;

async fn ask(pending: &Pending) -> Page {
    Browser::new().get(&pending.url()).await
}

fn is_page(page: &Page, why: &str) {
    assert_eq!(page.status(), 400, "{why}");
    assert_eq!(page.answer.header("Location"), "", "{why}");
    let main = page.element("oauth-error").unwrap_or_else(|| panic!("{why}: {}", page.text()));
    assert_eq!(main.get("data-error"), "invalid_request", "{why}");
}

/// "If the request fails due to a missing, invalid, or mismatching redirection URI, or if the client identifier is missing or
/// invalid, the authorization server [..] MUST NOT automatically redirect" (section 4.1.2.1).
#[tokio::test]
async fn a_fault_of_client_or_redirect_uri_stays_a_page() {
    let world = World::start().await;
    let web = world.web();
    let begin = || web.begin("openid documents:read", "page");
    is_page(&ask(&begin().without("client_id")).await, "no client_id");
    is_page(&ask(&begin().param("client_id", "")).await, "an empty client_id");
    for id in ["nobody", "WEB", "web ", "web\0", "acct_1"] {
        is_page(&ask(&begin().param("client_id", id)).await, id);
    }
    is_page(&ask(&begin().without("redirect_uri")).await, "an OpenID request without redirect_uri");
    for uri in [
        "https://evil.example/callback",
        "https://web.example/callback/",
        "https://web.example/callback?x=1",
        "https://web.example/callback#x",
        "https://web.example/Callback",
        "https://web.example/callback/../callback",
        "https://web.example/%63allback",
        "HTTPS://web.example/callback",
        "https://web.example:443/callback",
        "https://web.example@evil.example/callback",
        "https://web.example.evil.example/callback",
        "https://web.example\\@evil.example/callback",
        "http://web.example/callback",
        "//web.example/callback",
        "javascript:alert(1)",
        " https://web.example/callback",
        "https://web.example/callback ",
        NATIVE_CALLBACK,
    ] {
        is_page(&ask(&begin().param("redirect_uri", uri)).await, uri);
    }
    // A page never repeats what was sent.
    let marked = ask(&begin().param("redirect_uri", "https://marked.example/<b>")).await;
    assert!(!marked.text().contains("marked"), "{}", marked.text());
}

#[tokio::test]
async fn every_other_fault_goes_to_the_client_with_state_and_iss() {
    let world = World::start().await;
    let web = world.web();
    let long = "x".repeat(5_000);
    for (name, value, error) in [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code token", "unsupported_response_type"),
        ("response_type", "id_token", "unsupported_response_type"),
        ("response_type", "none", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("scope", "\"", "invalid_scope"),
        ("scope", "unknown", "invalid_scope"),
        ("resource", "https://unknown.example", "invalid_target"),
        ("prompt", "unknown", "invalid_request"),
        ("max_age", "-1", "invalid_request"),
        ("request", "a.b.c", "request_not_supported"),
        ("request_uri", "https://web.example/request", "request_uri_not_supported"),
        ("registration", "{}", "registration_not_supported"),
        ("nonce", &long, "invalid_request"),
    ] {
        let pending = web.begin("openid documents:read", "redirect").param(name, value);
        let page = ask(&pending).await;
        assert_eq!(page.location_param("error"), error, "{name}={value:.20}");
        assert!(page.location().as_str().starts_with(WEB_CALLBACK));
        assert_eq!(page.location_param("state"), pending.state);
        assert_eq!(
            page.location_param("iss"),
            web.issuer,
            "RFC 9207 section 2: in error responses too"
        );
        assert_eq!(page.location_param("code"), "");
        let description = page.location_param("error_description");
        assert!(!description.is_empty() && !description.contains(&long), "{description}");
    }
}

#[tokio::test]
async fn without_state_there_is_none_in_the_answer_and_a_long_one_comes_back_whole() {
    let world = World::start().await;
    let web = world.web();
    let page = ask(&web.begin("openid", "s").param("prompt", "none").without("state")).await;
    assert!(!page.location().query_pairs().any(|(name, _)| name == "state"), "{}", page.location());
    let odd = "\u{e4} &=+%2F\"<>'\u{1f511}".repeat(20);
    let page = ask(&web.begin("openid", "s").param("prompt", "none").param("state", &odd)).await;
    assert_eq!(page.location_param("state"), odd);
}

/// "Request and response parameters MUST NOT be included more than once" (section 3.1), but for `resource` (RFC 8707 section 2).
#[tokio::test]
async fn a_repeated_parameter_is_refused_except_resource() {
    let world = World::start().await;
    let web = world.web();
    let begin = || web.begin("openid documents:read", "twice");
    for (name, value) in begin().params {
        is_page(&ask(&begin().again(&name, &value)).await, &name);
    }
    is_page(&ask(&begin().again("unknown", "1").again("unknown", "2")).await, "unknown");
    is_page(&ask(&begin().again("redirect_uri", "https://evil.example")).await, "redirect_uri");
    let named = begin().again("resource", &world.resource).again("resource", &world.resource);
    assert_eq!(ask(&named).await.location().path(), "/login");
}

/// "Parameters sent without a value MUST be treated as if they were omitted [..] MUST ignore unrecognized request parameters."
#[tokio::test]
async fn empty_parameters_are_absent_and_unknown_ones_ignored() {
    let world = World::start().await;
    let web = world.web();
    let pending = web
        .begin("openid", "extra")
        .again("prompt", "")
        .again("max_age", "")
        .again("request", "")
        .again("utm_source", "x")
        .again("claims", "{}")
        .again("ui_locales", "de");
    let (page, _) = world.authorize(&mut Browser::new(), &web, "openid", "warm-up").await;
    assert!(page.redirects());
    let page =
        tests::client::sign_in(&mut Browser::new(), &pending.url(), "alice", tests::world::ALICE.1)
            .await;
    let code = pending.code(&page, &web);
    web.redeem(&code, &pending).await.expect(200);
}

#[tokio::test]
async fn a_query_that_is_no_utf_8_or_holds_nul_is_refused() {
    let world = World::start().await;
    let url = world.web().begin("openid", "raw").url();
    let http = Http::new();
    for broken in ["&x=%", "&x=%zz", "&x=%ff", "&x=%00", "&%00=x", "&x=%2"] {
        let answer = http.get(&format!("{url}{broken}")).await;
        assert_eq!(answer.status, 400, "{broken}");
    }
}

/// OpenID Connect Core section 3.1.2.1: GET and POST. The cookies of a cross-site POST stay at home: it goes on by GET.
#[tokio::test]
async fn the_request_may_come_by_post_and_goes_on_by_get() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    world.authorize(&mut browser, &web, "openid", "before").await;
    let known = browser.cookie("127.0.0.1", "as_browser").unwrap().to_owned();
    let pending = web.begin("openid", "posted");
    let http = Http::new();
    let post = |pending: &Pending| {
        http.request(Method::POST, &format!("{}/authorize", web.issuer))
            .header("Origin", "https://web.example")
            .header("Sec-Fetch-Site", "cross-site")
            .form(&pending.params)
    };
    let answer = send(post(&pending)).await.expect(303);
    assert_eq!(answer.header("Set-Cookie"), "", "it would replace the one that was not sent");
    let location = answer.header("Location").to_owned();
    let page = browser.get(&location).await;
    let page = browser.settle(page).await;
    let code = pending.code(&page, &web);
    web.redeem(&code, &pending).await.expect(200);
    assert_eq!(browser.cookie("127.0.0.1", "as_browser"), Some(known.as_str()));

    let refused = send(post(&pending.clone().param("response_type", "token"))).await.expect(303);
    assert!(refused.header("Location").contains("error=unsupported_response_type"));
    send(post(&pending.clone().param("client_id", "nobody"))).await.expect(400);
    let json = http
        .request(Method::POST, &format!("{}/authorize", web.issuer))
        .json(&serde_json::json!({}));
    send(json).await.expect(400);
}

#[tokio::test]
async fn other_methods_are_405() {
    let world = World::start().await;
    let http = Http::new();
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH] {
        let answer =
            send(http.request(method.clone(), &world.web().begin("openid", "m").url())).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("Allow"), "GET, POST");
    }
}

/// "any port [..] for loopback IP redirect URIs" (RFC 8252 section 7.3), textually: parsers turn many things into 127.0.0.1.
#[tokio::test]
async fn any_port_of_a_loopback_literal_is_the_registered_uri_and_nothing_else_is() {
    let world = World::start().await;
    let native = world.native();
    for port in [1, 80, 8080, 51_004, 65_535] {
        let uri = format!("http://127.0.0.1:{port}/callback");
        let page = ask(&native.begin("documents:read", "port").param("redirect_uri", &uri)).await;
        assert_eq!(page.location().path(), "/login", "{uri}");
    }
    for uri in [
        "http://localhost/callback",
        "http://localhost:8080/callback",
        "http://[::1]:8080/callback",
        "http://127.0.0.2:8080/callback",
        "http://127.1:8080/callback",
        "http://0x7f.1:8080/callback",
        "http://2130706433:8080/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:08080/callback",
        "http://127.0.0.1:+80/callback",
        "http://127.0.0.1:8080:8081/callback",
        "http://127.0.0.1:8080@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:8080/callback/",
        "http://127.0.0.1:8080/other",
        "https://127.0.0.1:8080/callback",
        "http://user@127.0.0.1:8080/callback",
    ] {
        is_page(
            &ask(&native.begin("documents:read", "port").param("redirect_uri", uri)).await,
            uri,
        );
    }
}

/// `localhost` is a name, and names can be made to mean another machine: its port is compared like everything else.
#[tokio::test]
async fn a_port_of_localhost_is_the_registered_one_only() {
    let world = World::start().await;
    let state = "[[client]]\nclient_id = \"local\"\nredirect_uris = [\"http://localhost:3000/cb\", \"http://[::1]/cb\"]\n\
                 token_endpoint_auth_method = \"none\"\nscope = \"documents:read\"\n";
    seed::declare(&world.auth, state).await;
    let local = tests::client::Client::new(&world.auth.issuer, "local", "", "");
    let begin = |uri: &str| local.begin("documents:read", "l").param("redirect_uri", uri);
    for uri in ["http://localhost:3000/cb", "http://[::1]/cb", "http://[::1]:51004/cb"] {
        assert_eq!(ask(&begin(uri)).await.location().path(), "/login", "{uri}");
    }
    for uri in [
        "http://localhost:3001/cb",
        "http://localhost/cb",
        "http://127.0.0.1:3000/cb",
        "http://[::]:3000/cb",
    ] {
        is_page(&ask(&begin(uri)).await, uri);
    }
}

#[tokio::test]
async fn the_port_of_the_request_is_where_the_answer_goes_and_what_the_code_is_bound_to() {
    let world = World::start().await;
    let mut native = world.native();
    native.redirect_uri = "http://127.0.0.1:40001/callback".to_owned();
    let (code, pending) = world.code(&native, "documents:read", "bound").await;
    let mut other = native.clone();
    other.redirect_uri = "http://127.0.0.1:40002/callback".to_owned();
    assert_eq!(other.redeem(&code, &pending).await.expect(400).error(), "invalid_grant");
    native.redeem(&code, &pending).await.expect(200);
}

/// "the query component [..] MUST be retained when adding additional query parameters" (section 3.1.2).
#[tokio::test]
async fn the_query_of_a_registered_redirect_uri_is_kept() {
    let world = seed::world().await;
    let mut code_only = client(&world, "code-only");
    code_only.redirect_uri = format!("{WEB_CALLBACK}?tenant=1");
    let (page, pending) =
        world.authorize(&mut Browser::new(), &code_only, "documents:read", "query").await;
    assert_eq!(page.location_param("tenant"), "1");
    let code = pending.code(&page, &code_only);
    code_only.redeem(&code, &pending).await.expect(200);
}

/// OAuth 2.1 section 2.3.3: it may be left out when exactly one is registered, and no OpenID Connect is spoken.
#[tokio::test]
async fn a_single_registered_redirect_uri_need_not_be_sent() {
    let world = seed::world().await;
    let web = world.web();
    let pending = web.begin("documents:read", "left-out").without("redirect_uri");
    let page =
        tests::client::sign_in(&mut Browser::new(), &pending.url(), "alice", tests::world::ALICE.1)
            .await;
    let code = pending.code(&page, &web);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", &pending.verifier),
    ];
    web.token(&fields).await.expect(200);
    let two = client(&world, "code-only");
    is_page(
        &ask(&two.begin("documents:read", "two").without("redirect_uri")).await,
        "two are registered",
    );
}

#[tokio::test]
async fn a_client_without_the_grant_type_is_told_so() {
    let world = World::start().await;
    let machine = world.machine();
    // It has no redirect URI, so there is nowhere to go.
    let pending = machine.begin("documents:read", "m").param("redirect_uri", WEB_CALLBACK);
    is_page(&ask(&pending).await, "machine");
}

#[tokio::test]
async fn what_stands_in_the_sealed_address_cannot_be_read_or_changed() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending =
        web.begin("openid documents:read", "sealed").param("login_hint", "somebody@example.com");
    let page = browser.get(&pending.url()).await;
    let location = page.location();
    for part in
        ["somebody", "documents", "web.example", &pending.state, &challenge(&pending.verifier)]
    {
        assert!(!location.as_str().contains(part), "{location}");
    }
    let sealed: String =
        location.query_pairs().find(|(name, _)| name == "r").unwrap().1.into_owned();
    let mut changed: Vec<String> = [0, sealed.len() / 2, sealed.len() - 1]
        .into_iter()
        .map(|at| {
            let other = if &sealed[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &sealed[..at], &sealed[at + 1..])
        })
        .collect();
    changed.extend([
        String::new(),
        "x".to_owned(),
        sealed[..sealed.len() - 1].to_owned(),
        format!("{sealed}A"),
    ]);
    for text in changed {
        for path in ["login", "consent"] {
            let url =
                Url::parse_with_params(&format!("{}/{path}", web.issuer), [("r", &text)]).unwrap();
            let page = browser.get(url.as_str()).await;
            assert_eq!(page.status(), 400, "{path} {text:.30}");
        }
    }
}
