//! OpenID Connect Core: ID tokens and userinfo.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Method;
use serde_json::{Value, json};
use tests::http::{Http, send};
use tests::oracle::{b64, read};
use tests::seed::{self, client};
use tests::world::World;

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_id_token_has_what_section_2_asks_for_and_nothing_about_the_person() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid profile email", "idt").await;
    let (header, claims) = read(&tokens.member("id_token"), &web.jwks().await);
    assert_eq!(header["alg"], "RS256");
    assert_ne!(header["typ"], "at+jwt");
    let now = world.now();
    assert_eq!(claims["iss"], world.auth.issuer);
    assert_eq!(claims["aud"], "web");
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now), Some(now + 300)));
    assert_eq!(claims["nonce"], "nonce-idt");
    assert_eq!(claims["auth_time"], now);
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert!(claims["sub"].as_str().unwrap().starts_with("acct_"));
    assert!(claims["sid"].is_string());
    let left = b64(&digest(&SHA256, tokens.member("access_token").as_bytes()).as_ref()[..16]);
    assert_eq!(claims["at_hash"], left, "section 3.1.3.6");
    for absent in ["name", "email", "email_verified", "preferred_username"] {
        assert_eq!(claims.get(absent), None, "{absent} is left to userinfo (section 5.4)");
    }
}

#[tokio::test]
async fn without_a_nonce_there_is_none() {
    let world = World::start().await;
    let web = world.web();
    let pending = web.begin("openid", "no").without("nonce");
    let page = tests::client::sign_in(
        &mut tests::browser::Browser::new(),
        &pending.url(),
        "alice",
        tests::world::ALICE.1,
    )
    .await;
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    assert_eq!(read(&tokens.member("id_token"), &web.jwks().await).1.get("nonce"), None);
}

#[tokio::test]
async fn the_algorithm_is_the_clients_own() {
    let world = seed::world().await;
    let es256 = client(&world, "es256");
    let tokens = world.tokens(&es256, "openid", "alg").await;
    assert_eq!(read(&tokens.member("id_token"), &es256.jwks().await).0["alg"], "ES256");
}

#[tokio::test]
async fn an_id_token_opens_nothing() {
    let world = seed::world().await;
    let es256 = client(&world, "es256");
    let token = world.tokens(&es256, "openid documents:read", "id").await.member("id_token");
    assert_eq!(es256.userinfo(&token).await.status, 401);
    assert_eq!(world.documents(&token).whoami().await.status, 401);
    let told = es256.introspect(&token).await.expect(200);
    assert_eq!(told.text(), r#"{"active":false}"#);
}

#[tokio::test]
async fn userinfo_tells_what_the_scopes_let_out() {
    let world = World::start().await;
    let web = world.web();
    for (scope, expected) in [
        ("openid", vec!["sub"]),
        ("openid profile", vec!["name", "sub"]),
        ("openid email", vec!["email", "email_verified", "sub"]),
        ("openid profile email", vec!["email", "email_verified", "name", "sub"]),
    ] {
        let tokens = world.tokens(&web, scope, "ui").await;
        let answer = web.userinfo(&tokens.member("access_token")).await.expect(200);
        assert_eq!(answer.header("Content-Type"), "application/json");
        assert_eq!(answer.header("Cache-Control"), "no-store");
        let person = answer.json();
        assert_eq!(names(&person), expected.into_iter().collect(), "{scope}");
        let claims = read(&tokens.member("id_token"), &web.jwks().await).1;
        assert_eq!(person["sub"], claims["sub"], "section 5.3.2");
    }
}

#[tokio::test]
async fn userinfo_takes_the_token_in_header_or_form_and_nowhere_else() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid email", "where").await.member("access_token");
    let http = Http::new();
    let url = format!("{}/userinfo", world.auth.issuer);
    let post = || http.request(Method::POST, &url);
    send(post().bearer_auth(&token)).await.expect(200);
    send(post().form(&[("access_token", &token)])).await.expect(200);
    for (why, request) in [
        ("header and form", post().bearer_auth(&token).form(&[("access_token", &token)])),
        ("query", http.request(Method::GET, &format!("{url}?access_token={token}"))),
        (
            "query and header",
            http.request(Method::GET, &format!("{url}?access_token={token}")).bearer_auth(&token),
        ),
        (
            "escaped in the query, and header",
            http.request(Method::GET, &format!("{url}?access%5Ftoken={token}")).bearer_auth(&token),
        ),
        ("two headers", http.request(Method::GET, &url).bearer_auth(&token).bearer_auth(&token)),
        ("twice in the form", post().form(&[("access_token", &token), ("access_token", &token)])),
        ("json", post().json(&json!({"access_token": token}))),
    ] {
        let answer = send(request).await.expect(400);
        assert_eq!(answer.challenge().get("error"), "invalid_request", "{why}");
    }
    let bare = http.get(&url).await.expect(401);
    let challenge = bare.challenge();
    assert_eq!((challenge.scheme.as_str(), challenge.names()), ("Bearer", vec!["realm"]));
    for token in ["x", "a.b.c"] {
        let answer = web.userinfo(token).await.expect(401);
        assert_eq!(answer.challenge().get("error"), "invalid_token");
    }
}

#[tokio::test]
async fn userinfo_needs_the_scope_openid_and_the_issuer_as_audience() {
    let world = World::start().await;
    let web = world.web();
    let api_only = world.tokens(&web, "documents:read", "api").await.member("access_token");
    let answer = web.userinfo(&api_only).await.expect(401);
    assert_eq!(answer.challenge().get("error"), "invalid_token");
}

#[tokio::test]
async fn userinfo_follows_a_change_of_claims_at_once() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid email", "change").await.member("access_token");
    let state = "[[account]]\nusername = \"alice\"\nclaims = { email = \"new@example.com\" }\n";
    seed::declare(&world.auth, state).await;
    let person = web.userinfo(&token).await.expect(200).json();
    assert_eq!(person["email"], "new@example.com");
    assert_eq!(person.get("email_verified"), None);
}

#[tokio::test]
async fn two_grants_of_one_session_share_its_sid_and_other_sessions_do_not() {
    let world = seed::world().await;
    let (web, both) = (world.web(), client(&world, "both"));
    let mut browser = tests::browser::Browser::new();
    let mut sid = Vec::new();
    for client in [&web, &both] {
        let (page, pending) = world.authorize(&mut browser, client, "openid", "sid").await;
        let tokens = client.redeem(&pending.code(&page, client), &pending).await.expect(200);
        sid.push(read(&tokens.member("id_token"), &client.jwks().await).1["sid"].clone());
    }
    let elsewhere = world.tokens(&web, "openid", "elsewhere").await;
    let elsewhere = read(&elsewhere.member("id_token"), &web.jwks().await).1["sid"].clone();
    assert_eq!(sid[0], sid[1]);
    assert_ne!(sid[0], elsewhere);
}
