//! Resource indicators (RFC 8707): a token for one API is no token for another.

use tests::browser::Browser;
use tests::client::{Client, Pending, sign_in};
use tests::http::Answer;
use tests::oracle::read;
use tests::seed::{self, MAIL, client};
use tests::world::{ALICE, World};

async fn code(client: &Client, pending: &Pending) -> String {
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    pending.code(&page, client)
}

async fn redeem(client: &Client, code: &str, pending: &Pending, resource: &[&str]) -> Answer {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", client.redirect_uri.as_str()),
        ("code_verifier", pending.verifier.as_str()),
    ];
    fields.extend(resource.iter().map(|resource| ("resource", *resource)));
    client.token(&fields).await
}

#[tokio::test]
async fn a_token_for_a_named_resource_is_for_it_alone() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let pending = both.begin("openid documents:read mail:send", "mail").param("resource", MAIL);
    let code = code(&both, &pending).await;
    let answer = redeem(&both, &code, &pending, &[]).await.expect(200);
    assert_eq!(answer.member("scope"), "mail:send");
    let (header, claims) = read(&answer.member("access_token"), &both.jwks().await);
    assert_eq!((claims["aud"].as_str(), header["alg"].as_str()), (Some(MAIL), Some("EdDSA")));
    assert_eq!(answer.json()["expires_in"], 600);
    let access = answer.member("access_token");
    assert_eq!(world.documents(&access).whoami().await.status, 401);
    assert_eq!(both.userinfo(&access).await.status, 401, "not for the issuer either");
    assert!(answer.json()["id_token"].is_string(), "who signed in is a matter of its own");
}

#[tokio::test]
async fn a_grant_for_two_resources_gives_tokens_for_one_at_a_time() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let pending = both
        .begin("documents:read mail:send", "two")
        .again("resource", &world.resource)
        .again("resource", MAIL);
    let code = code(&both, &pending).await;
    for ambiguous in [&[][..], &[world.resource.as_str(), MAIL]] {
        let answer = redeem(&both, &code, &pending, ambiguous).await.expect(400);
        assert_eq!(answer.error(), "invalid_target");
    }
    let first = redeem(&both, &code, &pending, &[MAIL]).await.expect(200);
    assert_eq!(first.member("scope"), "mail:send");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &first.member("refresh_token")),
        ("resource", &world.resource),
    ];
    let second = both.token(&fields).await.expect(200);
    assert_eq!(second.member("scope"), "documents:read");
    assert_eq!(world.documents(&second.member("access_token")).list("").await.status, 200);
}

#[tokio::test]
async fn a_resource_that_was_not_granted_is_refused_and_uses_nothing_up() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let pending = both.begin("documents:read mail:send", "one").param("resource", MAIL);
    let code = code(&both, &pending).await;
    for resource in
        [world.resource.as_str(), "https://unknown.example", "not a uri", &format!("{MAIL}/")]
    {
        let answer = redeem(&both, &code, &pending, &[resource]).await.expect(400);
        assert_eq!(answer.error(), "invalid_target", "{resource}");
    }
    redeem(&both, &code, &pending, &[MAIL]).await.expect(200);
}

#[tokio::test]
async fn without_a_named_resource_a_grant_may_ask_for_any_that_its_scope_reaches() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let tokens = world.tokens(&both, "documents:read mail:send", "any").await;
    assert_eq!(tokens.member("scope"), "documents:read", "the default API");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.member("refresh_token")),
        ("resource", MAIL),
    ];
    let mail = both.token(&fields).await.expect(200);
    assert_eq!(mail.member("scope"), "mail:send");
}

/// Clients send `http://localhost:9001/` for `http://localhost:9001`: an empty path is `/`, and that is all that is equal.
#[tokio::test]
async fn an_empty_path_may_be_sent_as_a_slash_and_aud_is_the_registered_text() {
    let world = World::start().await;
    let machine = world.machine();
    let ask = |resource: String| {
        let machine = machine.clone();
        async move {
            machine.token(&[("grant_type", "client_credentials"), ("resource", &resource)]).await
        }
    };
    for same in [world.resource.clone(), format!("{}/", world.resource)] {
        let answer = ask(same).await.expect(200);
        let claims = read(&answer.member("access_token"), &machine.jwks().await).1;
        assert_eq!(claims["aud"], world.resource);
        assert_eq!(world.documents(&answer.member("access_token")).list("").await.status, 200);
    }
    let upper = world.resource.replace("http", "HTTP");
    for other in [
        format!("{}//", world.resource),
        format!("{}/x", world.resource),
        format!("{}#x", world.resource),
        upper,
    ] {
        assert_eq!(ask(other.clone()).await.expect(400).error(), "invalid_target", "{other}");
    }
}

#[tokio::test]
async fn a_resource_without_any_scope_of_its_own_is_said_before_the_person_is_asked() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let pending = both.begin("openid documents:read", "none").param("resource", MAIL);
    let page = Browser::new().get(&pending.url()).await;
    assert_eq!(page.location_param("error"), "invalid_target");
}
