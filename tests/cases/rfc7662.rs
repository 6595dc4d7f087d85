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

/// A token that was active a moment ago lends nothing to texts that resemble it.
#[tokio::test]
async fn what_resembles_a_token_that_was_just_shown_is_inactive() {
    let world = World::start().await;
    let web = world.web();
    let access = world.tokens(&web, "openid documents:read", "twin").await.member("access_token");
    let other = world.tokens(&web, "openid documents:read", "other").await.member("access_token");
    let shown = || async { web.introspect(&access).await.expect(200).json()["active"] == true };
    assert!(shown().await && shown().await);
    let parts = |token: &str| -> [String; 3] {
        token.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
    };
    let ([head, payload, signature], [_, other_payload, other_signature]) =
        (parts(&access), parts(&other));
    let header = tests::oracle::unverified_header(&access);
    let with_header = |name: &str, value: &str| {
        let mut header = header.clone();
        header[name] = json!(value);
        format!("{}.{payload}.{signature}", tests::oracle::b64(header.to_string()))
    };
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let key = Key::new(Alg::Es256, header["kid"].as_str().unwrap());
    let foreign = Token::access(&key, "https://other.example", &world.resource, world.now());
    for (why, text) in [
        ("spoilt at its beginning", format!("{head}.{payload}.{first}{}", &signature[1..])),
        ("another's signature", format!("{head}.{payload}.{other_signature}")),
        ("another's payload", format!("{head}.{other_payload}.{signature}")),
        ("none", with_header("alg", "none")),
        ("another algorithm", with_header("alg", "EdDSA")),
        ("another key", with_header("kid", "other")),
        ("another type", with_header("typ", "JWT")),
        ("longer", format!("{access}A")),
        ("shorter", access[..access.len() - 1].to_owned()),
        ("another issuer", foreign.text()),
    ] {
        for _ in 0..2 {
            is_inactive(&web, &text, why).await;
            assert_eq!(web.userinfo(&text).await.status, 401, "{why}");
        }
    }
    assert!(shown().await);
    web.userinfo(&access).await.expect(200);
}

/// What ends a token ends it although it was active a moment ago.
#[tokio::test]
async fn a_token_that_was_just_shown_ends_at_once() {
    let world = World::start().await;
    let web = world.web();
    for (tag, why) in [("a", "given back"), ("b", "its grant ended"), ("c", "expired")] {
        let tokens = world.tokens(&web, "openid documents:read", tag).await;
        let access = tokens.member("access_token");
        for _ in 0..2 {
            assert_eq!(web.introspect(&access).await.expect(200).json()["active"], true, "{why}");
            web.userinfo(&access).await.expect(200);
        }
        match tag {
            "a" => web.revoke(&access).await.expect(200),
            "b" => web.revoke(&tokens.member("refresh_token")).await.expect(200),
            _ => {
                world.clock.advance(300);
                tokens
            }
        };
        is_inactive(&web, &access, why).await;
        assert_eq!(web.userinfo(&access).await.status, 401, "{why}");
    }
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
