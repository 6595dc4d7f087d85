//! Token introspection (RFC 7662): who may ask, and what the answer says.

use serde_json::json;
use tests::client::Client;
use tests::http::Answer;
use tests::oracle::{Alg, Key, Token};
use tests::seed::{self, MAIL, client};
use tests::world::{SECRET, World};

const INACTIVE: &str = r#"{"active":false}"#;

async fn is_inactive(client: &Client, token: &str, why: &str) {
    let answer = client.introspect(token).await.expect(200);
    assert_eq!(answer.text(), INACTIVE, "{why}: nothing else is said");
}

#[tokio::test]
async fn a_live_token_is_told_in_full() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid documents:read", "told").await;
    let access = tokens.member("access_token");
    let answer = web.introspect(&access).await.expect(200);
    assert_eq!(answer.header("Cache-Control"), "no-store");
    let told = answer.json();
    let claims = tests::oracle::read(&access, &web.jwks().await).1;
    assert_eq!(
        (told["active"].as_bool(), told["token_type"].as_str()),
        (Some(true), Some("Bearer"))
    );
    for name in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr"]
    {
        assert_eq!(told[name], claims[name], "{name}");
    }
    let refresh = tokens.member("refresh_token");
    let told = web.introspect(&refresh).await.expect(200).json();
    assert_eq!(told["active"], true);
    assert_eq!(told["client_id"], "web");
    assert_eq!(told["scope"], "documents:read openid");
    assert_eq!(told["exp"], world.now() + 30 * 86_400);
    assert_eq!(told.get("token_type"), None, "a refresh token is none");
}

#[tokio::test]
async fn a_token_is_shown_to_its_client_and_to_whom_its_api_names() {
    let world = seed::world().await;
    let (web, introspector) = (world.web(), world.introspector());
    let tokens = world.tokens(&web, "openid documents:read", "shown").await;
    let access = tokens.member("access_token");
    for asker in [&web, &introspector] {
        assert_eq!(asker.introspect(&access).await.json()["active"], true, "{}", asker.id);
    }
    for asker in [client(&world, "both"), world.machine()] {
        is_inactive(&asker, &access, &asker.id).await;
    }
    // A refresh token is its own client's alone, and a token for another API is none of this one's.
    is_inactive(&introspector, &tokens.member("refresh_token"), "refresh").await;
    let userinfo_only = world.tokens(&web, "openid", "own").await.member("access_token");
    is_inactive(&introspector, &userinfo_only, "for the issuer alone").await;
    let both = client(&world, "both");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", ""), ("resource", MAIL)];
    let refresh =
        world.tokens(&both, "documents:read mail:send", "mail").await.member("refresh_token");
    let fields = [fields[0], ("refresh_token", refresh.as_str()), fields[2]];
    let mail = both.token(&fields).await.expect(200).member("access_token");
    is_inactive(&introspector, &mail, "for another API").await;
}

/// "the authorization server MUST also require some form of authorization" (section 2.1): never `none`.
#[tokio::test]
async fn the_caller_is_authenticated_and_never_by_its_name_alone() {
    let world = World::start().await;
    let native = world.native();
    let token = world.tokens(&native, "documents:read", "n").await.member("access_token");
    assert_eq!(native.introspect(&token).await.expect(401).error(), "invalid_client");
    let wrong = Client::new(&world.auth.issuer, "web", "wrong", "");
    let answer = wrong.introspect(&token).await.expect(401);
    assert_eq!(answer.error(), "invalid_client");
    assert_eq!(answer.challenge().scheme, "Basic");
    let nobody = tests::http::Http::new();
    let answer =
        nobody.post_form(&format!("{}/introspect", world.auth.issuer), &[("token", &token)]).await;
    assert_eq!(answer.expect(401).error(), "invalid_client");
    assert_eq!(world.web().post("/introspect", &[]).await.expect(400).error(), "invalid_request");
    let get = nobody.get(&format!("{}/introspect?token={token}", world.auth.issuer)).await;
    assert_eq!((get.status, get.header("Allow")), (405, "POST"));
}

#[tokio::test]
async fn whatever_is_no_live_token_of_ours_is_inactive() {
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid documents:read", "dead").await;
    let access = tokens.member("access_token");
    let key = Key::new(Alg::Es256, "k");
    let forged = Token::access(&key, &world.auth.issuer, &world.resource, world.now()).text();
    let (head, signature) = access.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{head}.{flipped}{}", &signature[1..]);
    for (why, text) in [
        ("garbage", "x".to_owned()),
        ("three segments", "a.b.c".to_owned()),
        ("forged", forged),
        ("altered", altered),
        ("an ID token", tokens.member("id_token")),
        ("long", "x".repeat(20_000)),
        ("unsigned", format!("{head}.")),
    ] {
        is_inactive(&web, &text, why).await;
    }
    for hint in ["access_token", "refresh_token", "unknown"] {
        let fields = [("token", access.as_str()), ("token_type_hint", hint)];
        let told = web.post("/introspect", &fields).await.expect(200).json();
        assert_eq!(told["active"], true, "a wrong hint is only a hint: {hint}");
    }
    let old = tokens.member("refresh_token");
    let next = web.refresh(&old).await.expect(200).member("refresh_token");
    is_inactive(&web, &old, "replaced").await;
    assert_eq!(web.introspect(&next).await.json()["active"], true);
}

#[tokio::test]
async fn a_clients_own_token_is_active_until_it_expires() {
    let world = World::start().await;
    let token = world.machine().client_credentials("documents:read").await.member("access_token");
    let asker = world.introspector();
    for (age, active) in [(299, true), (1, false), (1, false)] {
        world.clock.advance(age);
        assert_eq!(asker.introspect(&token).await.json()["active"], active, "{}", world.now());
    }
}

#[tokio::test]
async fn a_refresh_token_is_active_until_the_second_it_idles_out() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid offline_access", "idle").await.member("refresh_token");
    for (age, active) in [(30 * 86_400 - 1, true), (1, false), (1, false)] {
        world.clock.advance(age);
        assert_eq!(web.introspect(&token).await.json()["active"], active);
    }
}

#[tokio::test]
async fn the_answer_is_json_and_nothing_of_the_token_is_in_an_error() {
    let world = World::start().await;
    let answer: Answer =
        Client::new(&world.auth.issuer, "web", SECRET, "").introspect("marked-token").await;
    assert_eq!(answer.header("Content-Type"), "application/json");
    assert_eq!(answer.json(), json!({"active": false}));
}
