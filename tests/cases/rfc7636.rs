//! Proof Key for Code Exchange (RFC 7636, RFC 9700 section 2.1.1): S256 alone, and no way around it.

use tests::browser::Browser;
use tests::client::{Client, Pending, sign_in};
use tests::http::Answer;
use tests::seed::{self, client};
use tests::world::{ALICE, World};

async fn redeem(client: &Client, code: &str, verifier: Option<&str>) -> Answer {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", client.redirect_uri.as_str()),
    ];
    fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    client.token(&fields).await
}

async fn code(client: &Client, pending: &Pending) -> String {
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    pending.code(&page, client)
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid", "pkce").await;
    let challenge = tests::client::challenge(&pending.verifier);
    let other = "y".repeat(43);
    let padded = format!("{}=", pending.verifier);
    let short = &pending.verifier[..42];
    for verifier in
        [None, Some(""), Some(short), Some(&other), Some(&challenge), Some(&padded), Some("\u{e4}")]
    {
        let answer = redeem(&web, &code, verifier).await.expect(400);
        assert_eq!(answer.error(), "invalid_grant", "{verifier:?}");
    }
    redeem(&web, &code, Some(&pending.verifier)).await.expect(200);
}

#[tokio::test]
async fn the_vectors_of_appendix_b_work() {
    let world = World::start().await;
    let web = world.web();
    let pending = web
        .begin("openid", "b")
        .param("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let code = code(&web, &pending).await;
    redeem(&web, &code, Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")).await.expect(200);
}

#[tokio::test]
async fn verifiers_of_every_allowed_length_are_taken() {
    let world = World::start().await;
    let web = world.web();
    for (length, status) in [(42, 400), (43, 200), (128, 200), (129, 400)] {
        let verifier = "-._~aZ0".repeat(20)[..length].to_owned();
        let pending = web
            .begin("openid", "long")
            .param("code_challenge", &tests::client::challenge(&verifier));
        let code = code(&web, &pending).await;
        assert_eq!(redeem(&web, &code, Some(&verifier)).await.status, status, "{length}");
    }
}

#[tokio::test]
async fn plain_is_refused_said_or_unsaid() {
    let world = World::start().await;
    for client in [world.web(), world.native()] {
        let begin = || client.begin("documents:read", "plain");
        for pending in [
            begin().param("code_challenge_method", "plain"),
            begin().without("code_challenge_method"),
            begin().param("code_challenge_method", "s256"),
            begin().param("code_challenge_method", "S512"),
            begin().without("code_challenge"),
            begin().without("code_challenge").without("code_challenge_method"),
            begin().param("code_challenge", &"A".repeat(42)),
            begin().param("code_challenge", &"A".repeat(44)),
            begin().param("code_challenge", &format!("{}=", "A".repeat(43))),
            begin().param("code_challenge", &"+".repeat(43)),
        ] {
            let page = Browser::new().get(&pending.url()).await;
            assert_eq!(page.location_param("error"), "invalid_request", "{:?}", pending.params);
        }
    }
}

#[tokio::test]
async fn a_confidential_client_may_be_excused_and_then_a_verifier_is_a_downgrade() {
    let world = seed::world().await;
    let without = client(&world, "without-pkce");
    let begin = |tag: &str| without.begin("openid", tag);
    let bare = begin("bare").without("code_challenge").without("code_challenge_method");
    let first = code(&without, &bare).await;
    // "accepted only if a code_challenge parameter was present in the authorization request" (RFC 9700 section 2.1.1)
    let answer = redeem(&without, &first, Some(&bare.verifier)).await.expect(400);
    assert_eq!(answer.error(), "invalid_grant");
    redeem(&without, &first, None).await.expect(200);
    // Who is excused and uses it all the same is held to it.
    let bound = begin("bound");
    let second = code(&without, &bound).await;
    assert_eq!(redeem(&without, &second, None).await.expect(400).error(), "invalid_grant");
    redeem(&without, &second, Some(&bound.verifier)).await.expect(200);
    // A method without a challenge is no PKCE at all.
    let half = begin("half").without("code_challenge");
    let page = Browser::new().get(&half.url()).await;
    assert_eq!(page.location_param("error"), "invalid_request");
}

#[tokio::test]
async fn a_code_injected_into_another_flow_of_the_same_client_fails() {
    let world = World::start().await;
    let web = world.web();
    let (stolen, _) = world.code(&web, "openid", "victim").await;
    let (_, attackers) = world.code(&web, "openid", "attacker").await;
    let answer = web.redeem(&stolen, &attackers).await.expect(400);
    assert_eq!(answer.error(), "invalid_grant");
}
