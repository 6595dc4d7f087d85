//! Token revocation (RFC 7009): what ends with what.

use tests::client::Client;
use tests::oracle::{Alg, Key, Token};
use tests::seed::{self, client};
use tests::world::World;

async fn is_active(client: &Client, token: &str) -> bool {
    client.introspect(token).await.expect(200).json()["active"] == true
}

#[tokio::test]
async fn a_refresh_token_takes_its_whole_grant_along() {
    let world = World::start().await;
    let web = world.web();
    let first = world.tokens(&web, "openid documents:read", "rt").await;
    let second = web.refresh(&first.member("refresh_token")).await.expect(200);
    let answer = web.revoke(&second.member("refresh_token")).await.expect(200);
    assert_eq!(answer.body, b"");
    assert_eq!(answer.header("Cache-Control"), "no-store");
    for tokens in [&first, &second] {
        assert!(!is_active(&web, &tokens.member("access_token")).await);
        assert_eq!(web.userinfo(&tokens.member("access_token")).await.status, 401);
        assert_eq!(
            web.refresh(&tokens.member("refresh_token")).await.expect(400).error(),
            "invalid_grant"
        );
    }
    // Again, and for the old one: there is nothing left to do, and that is fine.
    web.revoke(&second.member("refresh_token")).await.expect(200);
    web.revoke(&first.member("refresh_token")).await.expect(200);
}

#[tokio::test]
async fn an_old_refresh_token_given_back_ends_the_grant_as_well() {
    let world = World::start().await;
    let web = world.web();
    let first = world.tokens(&web, "openid", "old").await;
    let second = web.refresh(&first.member("refresh_token")).await.expect(200);
    web.revoke(&first.member("refresh_token")).await.expect(200);
    assert_eq!(
        web.refresh(&second.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn an_access_token_goes_alone() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid documents:read", "at").await;
    let second = web.refresh(&tokens.member("refresh_token")).await.expect(200);
    let (gone, stays) = (tokens.member("access_token"), second.member("access_token"));
    web.revoke(&gone).await.expect(200);
    assert!(!is_active(&web, &gone).await);
    assert_eq!(web.userinfo(&gone).await.expect(401).challenge().get("error"), "invalid_token");
    assert!(is_active(&web, &stays).await);
    web.userinfo(&stays).await.expect(200);
    web.refresh(&second.member("refresh_token")).await.expect(200);
    // Until it would have expired, and it is inactive afterwards as any other.
    world.clock.advance(299);
    assert!(!is_active(&web, &gone).await);
    world.clock.advance(2);
    assert!(!is_active(&web, &gone).await);
}

#[tokio::test]
async fn a_clients_own_token_can_be_given_back() {
    let world = World::start().await;
    let machine = world.machine();
    let token = machine.client_credentials("documents:read").await.member("access_token");
    let other = machine.client_credentials("documents:read").await.member("access_token");
    assert!(is_active(&machine, &token).await);
    machine.revoke(&token).await.expect(200);
    assert!(!is_active(&machine, &token).await);
    assert!(is_active(&machine, &other).await);
}

/// "If this validation fails, the request is refused and the client is informed of the error" (section 2.1).
#[tokio::test]
async fn another_clients_token_is_refused_and_lives_on() {
    let world = seed::world().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid documents:read", "mine").await;
    for other in [client(&world, "both"), world.machine(), world.native()] {
        for token in [tokens.member("access_token"), tokens.member("refresh_token")] {
            let answer = other.revoke(&token).await.expect(400);
            assert_eq!(answer.error(), "invalid_grant", "{}", other.id);
        }
    }
    assert!(is_active(&web, &tokens.member("access_token")).await);
    web.refresh(&tokens.member("refresh_token")).await.expect(200);
}

/// "The authorization server responds with HTTP status code 200 [..] if the client submitted an invalid token" (section 2.2).
#[tokio::test]
async fn whatever_is_no_token_is_answered_200() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid", "x").await;
    let forged =
        Token::access(&Key::new(Alg::Es256, "k"), &world.auth.issuer, &world.resource, world.now());
    for text in ["x", "a.b.c", &forged.text(), &tokens.member("id_token"), &"x".repeat(20_000)] {
        web.revoke(text).await.expect(200);
    }
    assert!(is_active(&web, &tokens.member("access_token")).await);
    web.post("/revoke", &[("token", "x"), ("token_type_hint", "unknown")]).await.expect(200);
    assert_eq!(web.post("/revoke", &[]).await.expect(400).error(), "invalid_request");
}

#[tokio::test]
async fn a_wrong_hint_finds_the_token_all_the_same() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid", "hint").await;
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    web.post("/revoke", &[("token", &access), ("token_type_hint", "refresh_token")])
        .await
        .expect(200);
    assert!(!is_active(&web, &access).await);
    web.post("/revoke", &[("token", &refresh), ("token_type_hint", "access_token")])
        .await
        .expect(200);
    assert!(!is_active(&web, &refresh).await);
}

#[tokio::test]
async fn a_public_client_gives_its_own_tokens_back_by_its_name() {
    let world = World::start().await;
    let native = world.native();
    let tokens = world.tokens(&native, "openid documents:read", "public").await;
    native.revoke(&tokens.member("refresh_token")).await.expect(200);
    assert_eq!(
        native.refresh(&tokens.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    assert_eq!(native.userinfo(&tokens.member("access_token")).await.status, 401);
}

#[tokio::test]
async fn the_caller_is_authenticated() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid", "auth").await;
    let wrong = Client::new(&world.auth.issuer, "web", "wrong", "");
    let answer = wrong.revoke(&tokens.member("refresh_token")).await.expect(401);
    assert_eq!(answer.error(), "invalid_client");
    assert!(is_active(&web, &tokens.member("refresh_token")).await);
}
