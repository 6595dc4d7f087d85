//! Using refresh tokens ([RFC 6749 section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)): idempotent rotation, theft, lifetimes, narrowing.

use super::*;

#[tokio::test]
async fn rotation_is_idempotent_within_the_window() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let second = refresh_token(&world.refresh(&first).await.unwrap());
    assert_ne!(first, second);
    world.clock.advance(29);
    for _ in 0..5 {
        let retried = world.refresh(&first).await.unwrap();
        assert_eq!(refresh_token(&retried), second, "the same successor");
        assert!(world.counts(&retried).await);
    }
    assert_eq!(
        world.refresh(&first).await.unwrap_err(),
        TokenError::RefreshReused,
        "the sixth retry"
    );
    assert_eq!(world.refresh(&second).await.unwrap_err(), TokenError::GrantEnded);
}

#[tokio::test]
async fn a_replay_after_the_window_ends_the_family() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let response = world.refresh(&first).await.unwrap();
    world.clock.advance(30);
    assert_eq!(world.refresh(&first).await.unwrap_err(), TokenError::RefreshReused);
    assert!(!world.counts(&response).await);
    assert_eq!(world.refresh(&refresh_token(&response)).await.unwrap_err(), TokenError::GrantEnded);
}

#[tokio::test]
async fn a_replay_after_the_successor_was_used_ends_the_family() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let second = refresh_token(&world.refresh(&first).await.unwrap());
    let third = refresh_token(&world.refresh(&second).await.unwrap());
    assert_eq!(world.refresh(&first).await.unwrap_err(), TokenError::RefreshReused);
    assert_eq!(world.refresh(&third).await.unwrap_err(), TokenError::GrantEnded);
}

#[tokio::test]
async fn another_client_and_a_wrong_secret_change_nothing() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let second = refresh_token(&world.refresh(&first).await.unwrap());
    world.clock.advance(60);
    let form = format!("grant_type=refresh_token&refresh_token={first}");
    assert_eq!(
        world.request("other", &form).await.unwrap_err(),
        TokenError::RefreshOfAnotherClient
    );
    let (grant, generation) =
        genuine_refresh_token(&world.app, &second, world.now()).await.unwrap().unwrap();
    let forged = Opaque { id: grant.id, generation: generation - 1, secret: [7; 32] };
    let forged = opaque::encode(&world.app.vault, OpaqueKind::Refresh, &forged);
    assert_eq!(world.refresh(forged.expose()).await.unwrap_err(), TokenError::RefreshUnknown);
    assert!(world.refresh(&second).await.is_ok());
}

#[tokio::test]
async fn racing_refreshes_agree_on_one_successor() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let outcomes = join_all((0..6).map(|_| world.refresh(&first))).await;
    let successors: BTreeSet<String> =
        outcomes.iter().map(|outcome| refresh_token(outcome.as_ref().unwrap())).collect();
    assert_eq!(successors.len(), 1);
    assert!(world.refresh(successors.first().unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_refresh_narrows_scope_and_never_widens_it() {
    let world = World::new().await;
    let code = world.code(|new| new.scope = scope("openid read")).await;
    let first = refresh_token(&world.redeem(&code).await.unwrap());
    let form =
        |token: &str, more: &str| format!("grant_type=refresh_token&refresh_token={token}&{more}");
    let wide = world.request("web", &form(&first, "scope=read+write")).await.unwrap_err();
    assert_eq!(wide, TokenError::ScopeRefused);
    let narrow = world.request("web", &form(&first, "scope=read")).await.unwrap();
    assert_eq!(narrow.scope, scope("read"));
    assert!(narrow.id_token.is_none());
    let whole = world.refresh(&refresh_token(&narrow)).await.unwrap();
    assert_eq!(whole.scope, scope("openid read"), "the grant itself is not narrowed");
    assert!(whole.id_token.is_none(), "nobody asked for it by name");
    let asked = world.request("web", &form(&refresh_token(&whole), "scope=openid")).await.unwrap();
    let proven = world.app.keys.verify(asked.id_token.unwrap().expose(), ID_TOKEN_TYP).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&proven.payload).unwrap();
    assert!(claims.get("nonce").is_none() && claims["auth_time"] == NOW.as_i64());
}

#[tokio::test]
async fn a_refresh_gives_no_more_than_the_client_is_registered_for_by_then() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    world
        .write(|sql| {
            let mut web = clients::find(sql, &client_id("web"))?.unwrap().metadata;
            web.scope = scope("openid read");
            clients::update(sql, &web).map(drop)
        })
        .await;
    world.app.poll().await.unwrap();
    assert_eq!(world.refresh(&first).await.unwrap().scope, scope("openid read"));
}

#[tokio::test]
async fn a_refresh_for_a_resource_is_for_that_api_alone() {
    let world = World::new().await;
    let first = refresh_token(&world.redeem(&world.code(|_| {}).await).await.unwrap());
    let form = format!("grant_type=refresh_token&refresh_token={first}&resource={API}");
    let response = world.request("web", &form).await.unwrap();
    assert_eq!(response.scope, scope("read write"));
}

#[tokio::test]
async fn idle_and_absolute_lifetimes_end_a_family() {
    let world = World::new().await;
    let offline = |new: &mut NewGrant| new.offline = true;
    let lifetimes = world.app.settings.lifetimes.clone();
    let idle = refresh_token(&world.redeem(&world.code(offline).await).await.unwrap());
    let mut used = refresh_token(&world.redeem(&world.code(offline).await).await.unwrap());
    world.clock.advance(lifetimes.refresh_idle - 1);
    used = refresh_token(&world.refresh(&used).await.unwrap());
    world.clock.advance(1);
    assert_eq!(world.refresh(&idle).await.unwrap_err(), TokenError::RefreshIdle);
    for _ in 0..4 {
        world.clock.advance(lifetimes.refresh_idle - 2);
        used = refresh_token(&world.refresh(&used).await.unwrap());
    }
    let end = NOW.plus(lifetimes.refresh_absolute);
    world.clock.set(end.plus(-lifetimes.refresh_idle));
    used = refresh_token(&world.refresh(&used).await.unwrap());
    world.clock.set(end.plus(-10));
    let last = world.refresh(&used).await.unwrap();
    assert_eq!(last.expires_in, 10, "an access token never outlives its grant");
    world.clock.set(end);
    assert_eq!(world.refresh(&refresh_token(&last)).await.unwrap_err(), TokenError::GrantEnded);
}

#[tokio::test]
async fn without_rotation_the_token_stays_and_its_use_is_noted() {
    let world = World::new().await;
    let code = world
        .code(|new| {
            new.parties.client_id = client_id("keeper");
            new.offline = true;
        })
        .await;
    let token = refresh_token(&world.request("keeper", &redemption(&code)).await.unwrap());
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    for _ in 0..3 {
        world.clock.advance(86_400 * 29);
        assert_eq!(refresh_token(&world.request("keeper", &form).await.unwrap()), token);
    }
}
