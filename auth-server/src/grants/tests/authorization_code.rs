//! Redeeming codes ([RFC 6749 section 4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3)): bindings, replays, races, and what ends with its parents.

use super::*;

#[tokio::test]
async fn a_code_gives_an_access_token_an_id_token_and_a_refresh_token() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let response = world.redeem(&code).await.unwrap();
    assert_eq!(response.scope, scope("openid offline_access read write"));
    assert_eq!((response.token_type, response.expires_in), ("Bearer", 300));
    assert!(world.counts(&response).await);
    let id_token = response.id_token.as_ref().unwrap();
    let proven = world.app.keys.verify(id_token.expose(), ID_TOKEN_TYP).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&proven.payload).unwrap();
    assert_eq!(
        (claims["nonce"].as_str(), claims["sub"].as_str()),
        (Some("n-1"), Some("acct_alice"))
    );
    assert_eq!((claims["aud"].as_str(), claims["sid"].as_str()), (Some("web"), Some("sid-1")));
    assert!(
        claims["at_hash"].is_string() && claims["auth_time"].is_i64() && claims["amr"][0] == "pwd"
    );
}

#[tokio::test]
async fn a_second_redemption_revokes_the_family() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let first = world.redeem(&code).await.unwrap();
    assert_eq!(world.redeem(&code).await.unwrap_err(), TokenError::CodeReplayed);
    assert!(!world.counts(&first).await);
    assert_eq!(world.refresh(&refresh_token(&first)).await.unwrap_err(), TokenError::GrantEnded);
}

#[tokio::test]
async fn a_replay_counts_even_after_the_code_would_have_expired() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let first = world.redeem(&code).await.unwrap();
    world.clock.advance(61);
    assert_eq!(world.redeem(&code).await.unwrap_err(), TokenError::CodeReplayed);
    assert!(!world.counts(&first).await);
}

#[tokio::test]
async fn a_replay_that_fails_an_earlier_check_ends_nothing() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let first = world.redeem(&code).await.unwrap();
    let wrong = "grant_type=authorization_code&code_verifier=";
    let other_verifier = VERIFIER.replacen('d', "e", 1);
    for (client, form, cause) in [
        ("other", redemption(&code), TokenError::CodeOfAnotherClient),
        (
            "web",
            format!("{wrong}{VERIFIER}&code={code}&redirect_uri=https://evil.example"),
            TokenError::RedirectMismatch,
        ),
        (
            "web",
            format!("{wrong}{other_verifier}&code={code}&redirect_uri={CALLBACK}"),
            TokenError::VerifierMismatch,
        ),
        (
            "web",
            format!("{wrong}&code={code}&redirect_uri={CALLBACK}"),
            TokenError::VerifierMissing,
        ),
    ] {
        assert_eq!(world.request(client, &form).await.unwrap_err(), cause);
    }
    assert!(world.counts(&first).await);
    assert!(world.refresh(&refresh_token(&first)).await.is_ok());
}

#[tokio::test]
async fn a_check_that_fails_does_not_burn_the_code() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    assert!(world.request("other", &redemption(&code)).await.is_err());
    let elsewhere = format!("{}&resource=https://other.example", redemption(&code));
    let fault = world.request("web", &elsewhere).await.unwrap_err();
    assert_eq!(fault, TokenError::Target(TargetFault::Unknown));
    assert!(world.redeem(&code).await.is_ok());
}

#[tokio::test]
async fn a_code_expires_with_its_own_second() {
    let world = World::new().await;
    let (early, late) = (world.code(|_| {}).await, world.code(|_| {}).await);
    world.clock.advance(59);
    assert!(world.redeem(&early).await.is_ok());
    world.clock.advance(1);
    assert_eq!(world.redeem(&late).await.unwrap_err(), TokenError::CodeExpired);
}

#[tokio::test]
async fn a_verifier_for_a_code_without_challenge_is_a_downgrade() {
    let world = World::new().await;
    let code = world.code(|new| new.code_challenge = None).await;
    assert_eq!(world.redeem(&code).await.unwrap_err(), TokenError::VerifierUnexpected);
    let plain = format!("grant_type=authorization_code&code={code}");
    assert_eq!(world.request("web", &plain).await.unwrap_err(), TokenError::RedirectMismatch);
    assert!(world.request("web", &format!("{plain}&redirect_uri={CALLBACK}")).await.is_ok());
}

#[tokio::test]
async fn a_client_of_oauth_2_1_may_leave_redirect_uri_out() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let form = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}");
    assert!(world.request("web", &form).await.is_ok());
}

#[tokio::test]
async fn garbage_and_tokens_of_another_kind_are_unknown_and_write_nothing() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let response = world.redeem(&code).await.unwrap();
    let before = world.app.database.statistics().units;
    let sessionlike = refresh_token(&response);
    for text in ["x", "", &"A".repeat(59), &"A".repeat(5_000), &sessionlike, &format!("{code}A")] {
        let fault = world.redeem(text).await.unwrap_err();
        assert!(
            matches!(fault, TokenError::CodeUnknown | TokenError::Missing("code")),
            "{text}: {fault}"
        );
    }
    for text in ["x", &"A".repeat(59), &code] {
        assert_eq!(world.refresh(text).await.unwrap_err(), TokenError::RefreshUnknown, "{text}");
    }
    assert_eq!(world.app.database.statistics().units, before, "nothing reached the writer");
    assert!(world.counts(&response).await);
}

#[tokio::test]
async fn of_64_parallel_redemptions_exactly_one_wins_and_the_family_ends() {
    let world = World::new().await;
    let code = world.code(|_| {}).await;
    let outcomes = join_all((0..64).map(|_| world.redeem(&code))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|outcome| outcome.unwrap_err() == TokenError::CodeReplayed));
    assert!(!world.counts(won[0].as_ref().unwrap()).await);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_codes_and_grants_along_unless_they_are_offline() {
    let world = World::new().await;
    let (code, late) = (world.code(|_| {}).await, world.code(|_| {}).await);
    let offline = world.code(|new| new.offline = true).await;
    let (bound, free) = (world.redeem(&code).await.unwrap(), world.redeem(&offline).await.unwrap());
    let session = world.session;
    world.write(move |sql| sessions::end(sql, session, NOW).map(drop)).await;
    assert_eq!(world.redeem(&late).await.unwrap_err(), TokenError::GrantEnded);
    assert_eq!(world.refresh(&refresh_token(&bound)).await.unwrap_err(), TokenError::GrantEnded);
    assert!(!world.counts(&bound).await);
    assert!(world.counts(&free).await);
    assert!(world.refresh(&refresh_token(&free)).await.is_ok());
}

#[tokio::test]
async fn an_expired_session_ends_its_grants() {
    let world = World::new().await;
    let response = world.redeem(&world.code(|_| {}).await).await.unwrap();
    world.clock.advance(86_399);
    let response = world.refresh(&refresh_token(&response)).await.unwrap();
    world.clock.advance(1);
    assert_eq!(world.refresh(&refresh_token(&response)).await.unwrap_err(), TokenError::GrantEnded);
}

type Act = Box<dyn Fn(&mut dyn Sql) -> Result<(), StoreError> + Send>;

#[tokio::test]
async fn every_parent_that_changes_ends_the_grant() {
    let world = World::new().await;
    let account = world.account;
    let acts: Vec<(&str, Act)> = vec![
        (
            "consent withdrawn",
            Box::new(move |sql| consents::withdraw(sql, account, &client_id("web"))),
        ),
        (
            "tokens revoked",
            Box::new(|sql| clients::revoke_tokens(sql, &client_id("web"), NOW).map(drop)),
        ),
        (
            "account disabled",
            Box::new(move |sql| accounts::set_enabled(sql, account, false).map(drop)),
        ),
        ("client deleted", Box::new(|sql| clients::delete(sql, &client_id("web")).map(drop))),
    ];
    let mut parties = world.parties();
    for (what, act) in acts {
        let code = world.code(|new| new.parties = parties.clone()).await;
        let response = world.redeem(&code).await.unwrap();
        assert!(world.counts(&response).await, "before: {what}");
        world.write(move |sql| act(sql)).await;
        assert!(!world.counts(&response).await, "after: {what}");
        assert_eq!(
            world.refresh(&refresh_token(&response)).await.unwrap_err(),
            TokenError::GrantEnded,
            "{what}"
        );
        match what {
            "consent withdrawn" => parties.consent_epoch = 1,
            "tokens revoked" => parties.client_epoch = 6,
            _ => {
                world.write(move |sql| accounts::set_enabled(sql, account, true).map(drop)).await;
            }
        }
        parties.account_epoch = if what == "account disabled" { 2 } else { 0 };
    }
}
