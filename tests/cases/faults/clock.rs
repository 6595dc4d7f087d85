//! A clock that jumps by an hour, forwards and back.

use tests::world::World;

const HOUR: i64 = 3_600;

#[tokio::test]
async fn an_hour_forwards_ends_what_is_short_lived_and_nothing_else() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid documents:read", "code").await;
    let tokens = world.tokens(&web, "openid documents:read", "tokens").await;
    world.clock.advance(HOUR);
    assert_eq!(web.redeem(&code, &pending).await.expect(400).error(), "invalid_grant");
    world.documents(&tokens.member("access_token")).list("").await.expect(401);
    web.userinfo(&tokens.member("access_token")).await.expect(401);
    let tokens = web.refresh(&tokens.member("refresh_token")).await.expect(200);
    world.documents(&tokens.member("access_token")).list("").await.expect(200);
}

#[tokio::test]
async fn an_hour_back_lets_the_living_live_and_the_dead_stay_dead() {
    let world = World::start().await;
    let web = world.web();
    let revoked = world.tokens(&web, "openid documents:read", "revoked").await;
    web.revoke(&revoked.member("refresh_token")).await.expect(200);
    let (spent, pending) = world.code(&web, "openid documents:read", "spent").await;
    let tokens = web.redeem(&spent, &pending).await.expect(200);
    world.clock.advance(-HOUR);
    // Of the future: the resource server has no reason to believe that, and says so rather than guess.
    world.documents(&tokens.member("access_token")).list("").await.expect(401);
    assert_eq!(
        web.refresh(&revoked.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    web.userinfo(&revoked.member("access_token")).await.expect(401);
    let next = web.refresh(&tokens.member("refresh_token")).await.expect(200);
    world.documents(&next.member("access_token")).list("").await.expect(200);
    web.userinfo(&next.member("access_token")).await.expect(200);
    // A replay is one in either direction.
    assert_eq!(web.redeem(&spent, &pending).await.expect(400).error(), "invalid_grant");
    assert_eq!(
        web.refresh(&next.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    // And back to where it was: what ended stays ended, people can sign in.
    world.clock.advance(HOUR);
    assert_eq!(
        web.refresh(&next.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    world.tokens(&web, "openid documents:read", "afterwards").await;
}
