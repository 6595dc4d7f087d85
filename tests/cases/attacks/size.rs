//! Attacks by size: what is long, deep or many is refused before it costs much.

use reqwest::Method;
use serde_json::json;
use tests::http::{Http, send};
use tests::oracle::{Alg, FakeIssuer, Key, Mood};

use tests::world::{Guarded, World};

/// CVE-2025-30204, CVE-2025-27144: thousands of dots, thousands of allocations.
#[tokio::test]
async fn many_dots_are_refused() {
    let api = Guarded::start().await;
    api.refuses(&".".repeat(9_000), "segments").await;
    api.refuses(&format!("{}.", api.token().text()), "segments").await;
    api.refuses(&"a.".repeat(4_000), "segments").await;
}

/// CVE-2025-61920: megabytes of header.
#[tokio::test]
async fn long_tokens_and_long_headers_are_refused() {
    let api = Guarded::start().await;
    let long = api.token().claim("padding", "x".repeat(16 * 1024));
    api.refuses(&long.text(), "too_long").await;
    let header = api.token().header("padding", "x".repeat(4 * 1024));
    api.refuses(&header.text(), "too_long").await;
    let fits = api.token().claim("padding", "x".repeat(8 * 1024));
    assert_eq!(api.ask(&fits.text()).await.status, 200);
}

#[tokio::test]
async fn a_head_beyond_every_measure_is_refused_and_the_server_lives() {
    let api = Guarded::start().await;
    let request = api.documents(&"x".repeat(300 * 1024)).request(Method::GET, "/whoami");
    if let Ok(answer) = tests::http::try_send(request).await {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
}

#[tokio::test]
async fn more_scopes_than_anybody_needs_are_refused() {
    let api = Guarded::start().await;
    let scope = |count: usize| (0..count).map(|n| format!("s{n:x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(api.ask(&api.token().claim("scope", scope(256)).text()).await.status, 200);
    api.refuses(&api.token().claim("scope", scope(257)).text(), "claim_malformed").await;
}

#[tokio::test]
async fn only_so_many_keys_are_taken() {
    let api = Guarded::start().await;
    let keys: Vec<Key> = (0..66).map(|n| Key::new(Alg::EdDsa, &format!("k{n}"))).collect();
    api.publish(&keys).await;
    assert_eq!(api.ask(&api.token().with_key(&keys[63]).text()).await.status, 200);
    api.refuses(&api.token().with_key(&keys[64]).text(), "unknown_key").await;
}

#[tokio::test]
async fn a_giant_key_set_is_not_read_and_the_old_one_stays() {
    let api = Guarded::start().await;
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
    api.issuer.set_mood(Mood::Oversized(1024 * 1024));
    api.reload().await;
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
}

#[tokio::test]
async fn a_key_set_just_below_the_limit_is_read() {
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Oversized(256 * 1024));
    let api = Guarded::of(issuer).await;
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
}

/// A drop every now and then keeps many a client waiting for ever. The limit of five seconds is of real time.
#[tokio::test]
async fn a_dripping_key_set_is_given_up() {
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Dripping);
    let api = Guarded::of(issuer).await;
    api.unavailable(&api.token().text()).await;
}

/// Body limits of the API come before its parsers.
#[tokio::test]
async fn long_bodies_are_refused() {
    let api = Guarded::start().await;
    let documents = api.documents(&api.token().text());
    let answer = documents.create("t", &"x".repeat(500 * 1024)).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), "application/problem+json");
    let nested = format!(r#"{{"title":"t","body":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let request = documents.request(Method::POST, "/documents");
    let request = request.header("Content-Type", "application/json").body(nested);
    assert_eq!(send(request).await.status, 400);
    assert_eq!(documents.list("").await.json()["documents"], json!([]));
}

/// Whatever the answer's form, HTTP says the same of a body that cannot be read, and the cause is in the log.
#[tokio::test]
async fn long_forms_are_refused_alike_by_pages_and_by_endpoints_for_clients() {
    let world = World::start().await;
    let http = Http::new();
    let long = format!("padding={}", "x".repeat(200 * 1024));
    let post = async |path: &str, body: &str, coding: &str| {
        let request = http.request(Method::POST, &format!("{}{path}", world.auth.issuer));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        send(request.header("Content-Encoding", coding).body(body.to_owned())).await
    };
    for path in ["/login", "/consent", "/authorize", "/end_session"] {
        let answer = post(path, &long, "identity").await.expect(413);
        assert!(answer.text().contains("too large"), "{path}: {}", answer.text());
        post(path, "a=1", "gzip").await.expect(415);
        let repeated = post(path, "a=1&a=2", "identity").await.expect(400);
        assert!(repeated.text().contains("is repeated"), "{path}: {}", repeated.text());
    }
    for path in ["/token", "/introspect", "/revoke", "/userinfo"] {
        assert_eq!(post(path, &long, "identity").await.expect(413).error(), "invalid_request");
        assert_eq!(post(path, "a=1", "gzip").await.expect(415).error(), "invalid_request");
    }
}
