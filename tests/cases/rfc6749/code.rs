//! Redeeming a code (RFC 6749 section 4.1.3): what binds it, how long it lives, and what a replay costs.

use tests::client::Client;
use tests::http::Answer;
use tests::seed::{self, client};
use tests::world::{NATIVE_CALLBACK, World};

fn invalid_grant(answer: Answer) {
    assert_eq!(answer.expect(400).error(), "invalid_grant");
}

/// The same client, but for where it says that the code went.
fn to(client: &Client, redirect_uri: &str) -> Client {
    let mut client = client.clone();
    redirect_uri.clone_into(&mut client.redirect_uri);
    client
}

/// Everything that hung on a grant is dead: refresh token, userinfo, introspection.
async fn is_dead(client: &Client, tokens: &Answer) {
    invalid_grant(client.refresh(&tokens.member("refresh_token")).await);
    is_access_dead(client, tokens).await;
}

async fn is_access_dead(client: &Client, tokens: &Answer) {
    let access = tokens.member("access_token");
    let answer = client.userinfo(&access).await.expect(401);
    assert_eq!(answer.challenge().get("error"), "invalid_token");
    for token in [access, tokens.member("refresh_token")] {
        let told = client.introspect(&token).await.expect(200);
        assert_eq!(told.text(), r#"{"active":false}"#);
    }
}

async fn is_alive(client: &Client, tokens: &Answer) {
    client.userinfo(&tokens.member("access_token")).await.expect(200);
    let told = client.introspect(&tokens.member("refresh_token")).await.expect(200);
    assert_eq!(told.json()["active"], true);
}

#[tokio::test]
async fn a_code_lives_sixty_seconds_and_not_one_more() {
    let world = World::start().await;
    let web = world.web();
    for (age, status) in [(59, 200), (60, 400), (61, 400)] {
        let (code, pending) = world.code(&web, "openid", "age").await;
        world.clock.advance(age);
        assert_eq!(web.redeem(&code, &pending).await.status, status, "{age}");
    }
}

#[tokio::test]
async fn a_replayed_code_ends_what_it_gave() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid documents:read", "replay").await;
    let tokens = web.redeem(&code, &pending).await.expect(200);
    is_alive(&web, &tokens).await;
    invalid_grant(web.redeem(&code, &pending).await);
    is_dead(&web, &tokens).await;
    invalid_grant(web.redeem(&code, &pending).await);
}

#[tokio::test]
async fn a_replay_after_a_refresh_ends_the_refreshed_tokens_too() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "late").await;
    let first = web.redeem(&code, &pending).await.expect(200);
    let second = web.refresh(&first.member("refresh_token")).await.expect(200);
    // Long after the code itself has expired: its row stays as long as its grant.
    world.clock.advance(86_400 * 7);
    let third = web.refresh(&second.member("refresh_token")).await.expect(200);
    invalid_grant(web.redeem(&code, &pending).await);
    is_dead(&web, &third).await;
}

/// A spent code found in a log must not end anybody's grant: a replay counts only from the client, with redirect and verifier.
#[tokio::test]
async fn a_replay_that_fails_an_earlier_check_changes_nothing() {
    let world = seed::world().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "found").await;
    let tokens = web.redeem(&code, &pending).await.expect(200);
    invalid_grant(client(&world, "both").redeem(&code, &pending).await);
    let wrong = web.begin("openid", "another verifier");
    invalid_grant(web.redeem(&code, &wrong).await);
    let elsewhere = to(&web, "https://web.example/other");
    invalid_grant(elsewhere.redeem(&code, &pending).await);
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str())];
    invalid_grant(web.token(&fields).await);
    is_alive(&web, &tokens).await;
}

#[tokio::test]
async fn a_code_is_redeemed_by_its_own_client_only_and_survives_the_others() {
    let world = seed::world().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "mine").await;
    for other in [client(&world, "both"), to(&world.native(), &web.redirect_uri)] {
        invalid_grant(other.redeem(&code, &pending).await);
    }
    web.redeem(&code, &pending).await.expect(200);
}

#[tokio::test]
async fn the_redirect_uri_must_be_the_same_as_before() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "redirect").await;
    for uri in [
        "https://web.example/callback/",
        "https://web.example/",
        "https://evil.example/callback",
        "x",
    ] {
        let other = to(&web, uri);
        invalid_grant(other.redeem(&code, &pending).await);
    }
    web.redeem(&code, &pending).await.expect(200);
}

/// OAuth 2.1 section 4.1.3 has no `redirect_uri` any more: PKCE binds better. Without PKCE it is still REQUIRED.
#[tokio::test]
async fn with_pkce_the_redirect_uri_may_be_left_out_and_without_it_may_not() {
    let world = seed::world().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "short").await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", &pending.verifier),
    ];
    web.token(&fields).await.expect(200);

    let without = client(&world, "without-pkce");
    let pending =
        without.begin("openid", "old").without("code_challenge").without("code_challenge_method");
    let mut browser = tests::browser::Browser::new();
    let page =
        tests::client::sign_in(&mut browser, &pending.url(), "alice", tests::world::ALICE.1).await;
    let code = pending.code(&page, &without);
    invalid_grant(without.token(&[("grant_type", "authorization_code"), ("code", &code)]).await);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &without.redirect_uri),
    ];
    without.token(&fields).await.expect(200);
}

#[tokio::test]
async fn garbage_is_no_code() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "garbage").await;
    let tokens = web.redeem(&code, &pending).await.expect(200);
    let (fresh, fresh_pending) = world.code(&web, "openid", "fresh").await;
    let other = if fresh.starts_with('A') { "B" } else { "A" };
    let altered = format!("{other}{}", &fresh[1..]);
    let truncated = fresh[..fresh.len() - 1].to_owned();
    let long = "x".repeat(10_000);
    for text in [
        "x",
        "a.b.c",
        "' OR 1=1 --",
        "\u{0}",
        "\u{1f511}",
        &altered,
        &truncated,
        &format!("{fresh}A"),
        &format!(" {fresh}"),
        &long,
        &tokens.member("refresh_token"),
        &tokens.member("access_token"),
    ] {
        let answer = web.redeem(text, &fresh_pending).await;
        // NUL is no text at all.
        let expected = if text == "\u{0}" { "invalid_request" } else { "invalid_grant" };
        assert_eq!(answer.expect(400).error(), expected, "{text:.30}");
    }
    is_alive(&web, &tokens).await;
    web.redeem(&fresh, &fresh_pending).await.expect(200);
}

#[tokio::test]
async fn codes_look_random_and_share_nothing() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = tests::browser::Browser::new();
    let mut codes = Vec::new();
    for tag in ["a", "b", "c"] {
        let (page, pending) = world.authorize(&mut browser, &web, "openid", tag).await;
        codes.push(pending.code(&page, &web));
    }
    for (index, code) in codes.iter().enumerate() {
        // 256 bits of secret and a masked row id: nothing counts, nothing is shared.
        assert_eq!(code.len(), 59, "{code}");
        for other in &codes[index + 1..] {
            let same = code.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
            assert!(same < 12, "{code} {other}");
            assert_ne!(code[..3], other[..3]);
        }
    }
}

#[tokio::test]
async fn a_client_without_refresh_tokens_gets_none() {
    let world = seed::world().await;
    let code_only = client(&world, "code-only");
    let tokens = world.tokens(&code_only, "openid offline_access documents:read", "none").await;
    assert_eq!(tokens.json().get("refresh_token"), None);
    assert_eq!(tokens.member("scope"), "documents:read openid", "it could not use offline_access");
    code_only.userinfo(&tokens.member("access_token")).await.expect(200);
}

#[tokio::test]
async fn a_replay_of_a_public_client_ends_its_grant_as_well() {
    let world = World::start().await;
    let native = world.native();
    assert_eq!(native.redirect_uri, NATIVE_CALLBACK);
    let (code, pending) = world.code(&native, "openid documents:read", "public").await;
    let tokens = native.redeem(&code, &pending).await.expect(200);
    invalid_grant(native.redeem(&code, &pending).await);
    invalid_grant(native.refresh(&tokens.member("refresh_token")).await);
    assert_eq!(native.userinfo(&tokens.member("access_token")).await.status, 401);
    // The API checks tokens by itself: there this one lives until it expires, which is why that is soon.
    let access = tokens.member("access_token");
    assert_eq!(world.documents(&access).list("").await.status, 200);
    world.clock.advance(300);
    assert_eq!(world.documents(&access).list("").await.status, 401);
}
