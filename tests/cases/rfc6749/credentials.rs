//! Client credentials (RFC 6749 section 4.4): a client that acts for itself, and never for a person.

use tests::oracle::read;
use tests::seed::{self, MAIL, client};
use tests::world::World;

#[tokio::test]
async fn a_client_gets_what_it_is_registered_for() {
    let world = World::start().await;
    let machine = world.machine();
    for (asked, granted) in [
        ("documents:read", "documents:read"),
        ("documents:write documents:read", "documents:read documents:write"),
        ("", "documents:read documents:write"),
    ] {
        let answer = machine.client_credentials(asked).await.expect(200);
        assert_eq!(answer.member("scope"), granted, "{asked}");
        let claims = read(&answer.member("access_token"), &machine.jwks().await).1;
        assert_eq!(claims["scope"], granted);
        assert_eq!(claims["sub"], "machine");
        assert_eq!(claims["aud"], world.resource);
        for absent in ["auth_time", "acr", "amr", "sid", "nonce"] {
            assert_eq!(claims.get(absent), None, "{absent}: nobody signed in");
        }
    }
}

#[tokio::test]
async fn more_than_registered_and_scopes_about_people_are_refused() {
    let world = World::start().await;
    for scope in [
        "documents:share",
        "documents:read documents:share",
        "openid",
        "profile",
        "offline_access",
        "unknown",
        "\"",
        "documents:read\t",
    ] {
        let answer = world.machine().client_credentials(scope).await.expect(400);
        assert_eq!(answer.error(), "invalid_scope", "{scope}");
    }
}

#[tokio::test]
async fn such_a_token_is_no_key_to_userinfo() {
    let world = World::start().await;
    let token = world
        .machine()
        .client_credentials("documents:read")
        .await
        .expect(200)
        .member("access_token");
    let answer = world.machine().userinfo(&token).await.expect(401);
    assert_eq!(answer.challenge().get("error"), "invalid_token");
}

#[tokio::test]
async fn a_resource_has_its_own_algorithm_lifetime_and_scopes() {
    let world = seed::world().await;
    let odd = tests::client::Client::new(&world.auth.issuer, "odd:client 1", seed::ODD_SECRET, "");
    let fields = [("grant_type", "client_credentials"), ("resource", MAIL)];
    let answer = odd.token(&fields).await.expect(200);
    assert_eq!(answer.json()["expires_in"], 600);
    assert_eq!(answer.member("scope"), "mail:send");
    let (header, claims) = read(&answer.member("access_token"), &odd.jwks().await);
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(claims["aud"], MAIL);
    // Not at the other API, whatever it says.
    let token = answer.member("access_token");
    assert_eq!(world.documents(&token).whoami().await.status, 401);
    assert_eq!(client(&world, "both").userinfo(&token).await.status, 401);
}
