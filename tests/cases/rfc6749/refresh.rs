//! Refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14): idempotent rotation, theft, and every end.

use tests::client::Client;
use tests::http::Answer;
use tests::oracle::read;
use tests::seed::{self, client};
use tests::world::World;

const DAY: i64 = 86_400;

fn invalid_grant(answer: Answer) {
    assert_eq!(answer.expect(400).error(), "invalid_grant");
}

fn refresh_token(answer: &Answer) -> String {
    answer.member("refresh_token")
}

async fn begin(world: &World, client: &Client) -> String {
    refresh_token(&world.tokens(client, "openid offline_access documents:read", "begin").await)
}

#[tokio::test]
async fn a_refresh_replaces_the_token_and_the_old_one_leads_to_the_same_successor() {
    let world = World::start().await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let answer = web.refresh(&first).await.expect(200);
    let second = refresh_token(&answer);
    assert_ne!(first, second);
    // A lost answer: the same successor, and a fresh access token.
    let retried = web.refresh(&first).await.expect(200);
    assert_eq!(refresh_token(&retried), second);
    assert_ne!(retried.member("access_token"), answer.member("access_token"));
    web.userinfo(&answer.member("access_token")).await.expect(200);
    web.userinfo(&retried.member("access_token")).await.expect(200);
    web.refresh(&second).await.expect(200);
}

#[tokio::test]
async fn the_retry_window_is_thirty_seconds_and_not_one_more() {
    let world = World::start().await;
    let web = world.web();
    for (age, status) in [(0, 200), (29, 200), (30, 400), (31, 400)] {
        let first = begin(&world, &web).await;
        let second = refresh_token(&web.refresh(&first).await.expect(200));
        world.clock.advance(age);
        assert_eq!(web.refresh(&first).await.status, status, "{age}");
        // After the window it is theft: the successor is dead as well.
        assert_eq!(web.refresh(&second).await.status, status, "{age}");
    }
}

#[tokio::test]
async fn the_same_predecessor_is_answered_five_times_and_the_sixth_is_theft() {
    let world = World::start().await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let second = refresh_token(&web.refresh(&first).await.expect(200));
    for time in 1..=5 {
        let retried = web.refresh(&first).await;
        assert_eq!(retried.status, 200, "{time}");
        assert_eq!(refresh_token(&retried), second);
    }
    invalid_grant(web.refresh(&first).await);
    invalid_grant(web.refresh(&second).await);
}

#[tokio::test]
async fn retries_are_counted_for_each_generation() {
    let world = World::start().await;
    let web = world.web();
    let mut token = begin(&world, &web).await;
    for _ in 0..3 {
        let next = refresh_token(&web.refresh(&token).await.expect(200));
        for _ in 0..5 {
            web.refresh(&token).await.expect(200);
        }
        token = next;
    }
}

#[tokio::test]
async fn a_token_two_generations_old_is_theft_at_any_time() {
    let world = World::start().await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let second = web.refresh(&first).await.expect(200);
    let third = web.refresh(&refresh_token(&second)).await.expect(200);
    invalid_grant(web.refresh(&first).await);
    invalid_grant(web.refresh(&refresh_token(&third)).await);
    for answer in [&second, &third] {
        assert_eq!(web.userinfo(&answer.member("access_token")).await.status, 401);
        let told = web.introspect(&answer.member("access_token")).await.expect(200);
        assert_eq!(told.text(), r#"{"active":false}"#);
    }
}

#[tokio::test]
async fn without_a_window_every_reuse_is_theft() {
    let world = World::with(|settings| settings.lifetimes.refresh_retry_window = 0).await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let second = refresh_token(&web.refresh(&first).await.expect(200));
    invalid_grant(web.refresh(&first).await);
    invalid_grant(web.refresh(&second).await);
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_no_thief_of_anybody() {
    let world = World::start().await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let second = refresh_token(&web.refresh(&first).await.expect(200));
    world.clock.advance(-3_600);
    assert_eq!(refresh_token(&web.refresh(&first).await.expect(200)), second);
    web.refresh(&second).await.expect(200);
}

#[tokio::test]
async fn a_family_idles_out_after_thirty_days() {
    let world = World::start().await;
    let web = world.web();
    for (age, status) in [(30 * DAY - 1, 200), (30 * DAY, 400), (30 * DAY + 1, 400)] {
        let token = begin(&world, &web).await;
        world.clock.advance(age);
        assert_eq!(web.refresh(&token).await.status, status, "{age}");
    }
}

#[tokio::test]
async fn a_family_ends_absolutely_after_a_hundred_and_eighty_days() {
    let world = World::start().await;
    let web = world.web();
    let mut token = begin(&world, &web).await;
    let end = world.now() + 180 * DAY;
    while world.now() + 29 * DAY < end {
        world.clock.advance(29 * DAY);
        token = refresh_token(&web.refresh(&token).await.expect(200));
    }
    world.clock.advance(end - 1 - world.now());
    let last = web.refresh(&token).await.expect(200);
    assert_eq!(last.json()["expires_in"], 1, "an access token never outlives its grant");
    world.clock.advance(1);
    invalid_grant(web.refresh(&refresh_token(&last)).await);
}

#[tokio::test]
async fn a_refresh_may_narrow_the_scope_for_one_token_and_never_widen_it() {
    let world = World::start().await;
    let web = world.web();
    let answer = world.tokens(&web, "openid documents:read documents:write", "scope").await;
    let narrow = |token: String, scope: &'static str| {
        let web = web.clone();
        async move {
            web.token(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", &token),
                ("scope", scope),
            ])
            .await
        }
    };
    let less = narrow(refresh_token(&answer), "documents:read").await.expect(200);
    assert_eq!(less.member("scope"), "documents:read");
    let claims = read(&less.member("access_token"), &web.jwks().await).1;
    assert_eq!(claims["scope"], "documents:read");
    assert_eq!(claims["aud"], world.resource, "nothing of openid is left");
    for more in ["documents:share", "documents:read profile", "offline_access", "unknown", "\""] {
        let refused = narrow(refresh_token(&less), more).await.expect(400);
        assert_eq!(refused.error(), "invalid_scope", "{more}");
    }
    // A refused request used nothing up, and the whole grant is still there.
    let all = web.refresh(&refresh_token(&less)).await.expect(200);
    assert_eq!(all.member("scope"), "documents:read documents:write openid");
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_alone() {
    let world = seed::world().await;
    let web = world.web();
    let token = begin(&world, &web).await;
    invalid_grant(client(&world, "both").refresh(&token).await);
    invalid_grant(world.native().refresh(&token).await);
    // Nobody's attempt has used anything up.
    let next = refresh_token(&web.refresh(&token).await.expect(200));
    web.refresh(&next).await.expect(200);
}

/// A wrong verifier changes nothing, however close it is.
#[tokio::test]
async fn garbage_is_no_refresh_token_and_harms_none() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "garbage").await;
    let answer = web.redeem(&code, &pending).await.expect(200);
    let token = refresh_token(&answer);
    let flip = |at: usize| {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    };
    let access = answer.member("access_token");
    let mut all: Vec<String> = (0..token.len()).step_by(7).map(flip).collect();
    all.extend([
        "x".to_owned(),
        "a.b.c".to_owned(),
        format!("{token}="),
        format!("{token} "),
        code,
        access,
    ]);
    for text in &all {
        invalid_grant(web.refresh(text).await);
    }
    web.refresh(&token).await.expect(200);
}

#[tokio::test]
async fn a_client_that_is_excused_from_rotation_keeps_its_token() {
    let world = seed::world().await;
    let stays = client(&world, "stays");
    let token = begin(&world, &stays).await;
    for _ in 0..10 {
        let answer = stays.refresh(&token).await.expect(200);
        assert_eq!(refresh_token(&answer), token);
        world.clock.advance(29 * DAY / 2);
    }
    // Use keeps it from idling out; disuse does not.
    world.clock.advance(30 * DAY);
    invalid_grant(stays.refresh(&token).await);
}

/// "it SHOULD NOT have a nonce Claim", and `iss`, `sub`, `aud` and `auth_time` stay (OpenID Connect Core section 12.2).
#[tokio::test]
async fn an_id_token_of_a_refresh_tells_of_the_first_sign_in() {
    let world = World::start().await;
    let web = world.web();
    let answer = world.tokens(&web, "openid documents:read", "idt").await;
    let jwks = web.jwks().await;
    let before = read(&answer.member("id_token"), &jwks).1;
    world.clock.advance(1_000);
    let next = web.refresh(&refresh_token(&answer)).await.expect(200);
    assert_eq!(next.json().get("id_token"), None, "nobody signed in");
    let asked = web
        .token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh_token(&next)),
            ("scope", "openid"),
        ])
        .await
        .expect(200);
    let after = read(&asked.member("id_token"), &web.jwks().await).1;
    for same in ["iss", "sub", "aud", "auth_time", "sid", "amr", "acr"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after.get("nonce"), None);
    assert_eq!(after["iat"], world.now());
}

#[tokio::test]
async fn refresh_tokens_of_one_family_share_no_prefix() {
    let world = World::start().await;
    let web = world.web();
    let first = begin(&world, &web).await;
    let second = refresh_token(&web.refresh(&first).await.expect(200));
    let same = first.bytes().zip(second.bytes()).filter(|(a, b)| a == b).count();
    assert!(same < 12, "{first} {second}");
}
