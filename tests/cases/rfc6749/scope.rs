//! Scopes (RFC 6749 section 3.3): asked for, narrowed, granted, and always told.

use tests::oracle::read;
use tests::seed::{self, client};
use tests::world::World;

#[tokio::test]
async fn what_is_granted_is_what_was_asked_for_within_what_is_registered() {
    let world = World::start().await;
    let web = world.web();
    for (asked, granted) in [
        ("openid", "openid"),
        ("documents:write documents:read documents:read", "documents:read documents:write"),
        ("openid phone address documents:read", "documents:read openid"),
        ("documents:read unknown", "documents:read"),
    ] {
        let answer = world.tokens(&web, asked, "narrow").await;
        assert_eq!(answer.member("scope"), granted, "{asked}");
        let claims = read(&answer.member("access_token"), &web.jwks().await).1;
        assert_eq!(claims["scope"], granted, "{asked}");
    }
}

#[tokio::test]
async fn no_scope_means_the_registered_ones_without_offline_access() {
    let world = World::start().await;
    let web = world.web();
    let pending = web.begin("", "default");
    let page = tests::client::sign_in(
        &mut tests::browser::Browser::new(),
        &pending.url(),
        "alice",
        tests::world::ALICE.1,
    )
    .await;
    let answer = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let scope = answer.member("scope");
    let mut granted: Vec<_> = scope.split(' ').collect();
    granted.sort_unstable();
    assert_eq!(
        granted,
        ["documents:read", "documents:share", "documents:write", "email", "openid", "profile"]
    );
}

/// aud: the default API when any of its scopes is granted, plus the issuer when `openid` is.
#[tokio::test]
async fn the_audience_follows_from_the_scope() {
    let world = World::start().await;
    let web = world.web();
    let (api, issuer) = (world.resource.clone(), world.auth.issuer.clone());
    for (scope, audience) in [
        ("documents:read", serde_json::json!(api)),
        ("openid", serde_json::json!(issuer)),
        ("openid documents:read", serde_json::json!([api, issuer])),
    ] {
        let answer = world.tokens(&web, scope, "aud").await;
        let access = answer.member("access_token");
        let claims = read(&access, &web.jwks().await).1;
        assert_eq!(claims["aud"], audience, "{scope}");
        let at_api = if scope.contains("documents") { 200 } else { 401 };
        assert_eq!(world.documents(&access).whoami().await.status, at_api, "{scope}");
        let at_userinfo = if scope.contains("openid") { 200 } else { 401 };
        assert_eq!(web.userinfo(&access).await.status, at_userinfo, "{scope}");
        assert_eq!(answer.json().get("id_token").is_some(), scope.contains("openid"), "{scope}");
    }
}

#[tokio::test]
async fn subjects_of_people_and_clients_are_disjoint() {
    let world = seed::world().await;
    let web = world.web();
    let person = world.tokens(&web, "documents:read", "person").await.member("access_token");
    let machine = world.machine().client_credentials("documents:read").await.member("access_token");
    let jwks = web.jwks().await;
    let sub = |token: &str| read(token, &jwks).1["sub"].as_str().unwrap().to_owned();
    assert!(sub(&person).starts_with("acct_") && sub(&person).len() >= "acct_".len() + 22);
    assert!(!sub(&person).contains("alice"));
    assert_eq!(sub(&machine), "machine");
    // The same person is the same subject for every client.
    let other = world.tokens(&client(&world, "both"), "documents:read", "other").await;
    assert_eq!(sub(&other.member("access_token")), sub(&person));
}
