//! Access tokens (RFC 9068): header and claims, with every algorithm, against the published keys.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::oracle::read;
use tests::seed;
use tests::world::{Auth, World};

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_persons_token_has_the_claims_of_section_2_2_and_no_others() {
    let world = World::start().await;
    let web = world.web();
    let answer = world.tokens(&web, "openid profile email documents:read", "claims").await;
    let (header, claims) = read(&answer.member("access_token"), &web.jwks().await);
    assert_eq!(names(&header), BTreeSet::from(["alg", "typ", "kid"]));
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
    let expected =
        ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr"];
    assert_eq!(names(&claims), BTreeSet::from(expected));
    let now = world.now();
    assert_eq!(claims["iss"], world.auth.issuer);
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now), Some(now + 300)));
    assert_eq!(claims["auth_time"], now);
    assert_eq!(claims["client_id"], "web");
    assert_eq!(claims["scope"], "documents:read email openid profile");
}

#[tokio::test]
async fn a_clients_token_tells_of_no_sign_in() {
    let world = World::start().await;
    let answer = world.machine().client_credentials("documents:read").await.expect(200);
    let (_, claims) = read(&answer.member("access_token"), &world.machine().jwks().await);
    let expected = ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"];
    assert_eq!(names(&claims), BTreeSet::from(expected));
}

#[tokio::test]
async fn every_jti_is_its_own_and_tells_nothing() {
    let world = World::start().await;
    let web = world.web();
    let first = world.tokens(&web, "openid", "jti").await;
    let second = web.refresh(&first.member("refresh_token")).await.expect(200);
    let third = world.machine().client_credentials("").await.expect(200);
    let fourth = world.machine().client_credentials("").await.expect(200);
    let jwks = web.jwks().await;
    let all: Vec<String> = [first, second, third, fourth]
        .iter()
        .map(|answer| {
            read(&answer.member("access_token"), &jwks).1["jti"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    // Of a grant or of none: the length does not say.
    assert_eq!(all.iter().map(String::len).collect::<BTreeSet<_>>().len(), 1, "{all:?}");
}

#[tokio::test]
async fn every_algorithm_is_signed_published_and_verified_by_the_other_server() {
    for alg in ["ES256", "EdDSA", "RS256", "PS256"] {
        let world = World::start().await;
        let state = format!(
            r#"
[[api]]
identifier = "{}"
name = "Documents"
scopes = {{ "documents:read" = "Read", "documents:write" = "Write", "documents:share" = "Share" }}
signing_alg = "{alg}"
default = true
"#,
            world.resource
        );
        seed::declare(&world.auth, &state).await;
        let answer = world.machine().client_credentials("documents:read").await.expect(200);
        let token = answer.member("access_token");
        let (header, _) = read(&token, &world.machine().jwks().await);
        assert_eq!(header["alg"], alg);
        assert_eq!(world.documents(&token).list("").await.status, 200, "{alg}");
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_is_none_of_ours() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = tests::world::state(&world.resource);
    let other = Auth::start(folder.path(), &state, &world.clock, |_| {}).await;
    let machine = tests::client::Client::new(&other.issuer, "machine", tests::world::SECRET, "");
    let token =
        machine.client_credentials("documents:read").await.expect(200).member("access_token");
    assert_eq!(world.documents(&token).list("").await.status, 401);
    assert_eq!(world.web().userinfo(&token).await.status, 401);
    let told = world.introspector().introspect(&token).await.expect(200);
    assert_eq!(told.text(), r#"{"active":false}"#);
    other.running.stop().await;
}
