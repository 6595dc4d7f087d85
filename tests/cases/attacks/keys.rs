//! Attacks on where keys come from: embedded keys, foreign addresses, other issuers' keys, bad sets.

use serde_json::{Value, json};
use tests::oracle::{Alg, FakeIssuer, Fetch, Key, Mood, b64};

use tests::world::Guarded;

/// CVE-2018-0114, CVE-2026-27962: the token brings its own key.
#[tokio::test]
async fn a_key_in_the_token_is_not_believed() {
    let api = Guarded::start().await;
    let own = Key::new(Alg::Es256, "mine");
    let embedded = api.token().with_key(&own).header("jwk", own.jwk());
    api.refuses(&embedded.text(), "header_member").await;
    // Refused too when the rest is in order: whoever sends such a token is confused about who vouches for it.
    let superfluous = api.token().header("jwk", api.issuer.key.jwk());
    api.refuses(&superfluous.text(), "header_member").await;
    let chain = api.token().header("x5c", json!(["MIIB"]));
    api.refuses(&chain.text(), "header_member").await;
}

/// OWASP/CheatSheetSeries#2317: addresses in the header make the server fetch what the attacker wants.
#[tokio::test]
async fn addresses_in_the_token_are_never_fetched() {
    let api = Guarded::start().await;
    let trap = FakeIssuer::start().await;
    for name in ["jku", "x5u"] {
        let token = api.token().header(name, format!("{}/keys", trap.url));
        api.refuses(&token.text(), "header_member").await;
        let token = trap.token(&api.url, api.now()).header(name, format!("{}/keys", trap.url));
        api.refuses(&token.text(), "header_member").await;
    }
    for fetch in [Fetch::Metadata, Fetch::Jwks, Fetch::Elsewhere] {
        assert_eq!(trap.count(fetch), 0, "{fetch:?}");
    }
}

/// OWASP/wstg#1275: a key's name as a path, a query, a statement.
#[tokio::test]
async fn the_name_of_a_key_is_only_looked_up() {
    let api = Guarded::start().await;
    api.warm().await;
    let before = api.issuer.count(Fetch::Jwks);
    for kid in [
        "../../../../dev/null",
        "' OR 1=1 --",
        "/proc/self/environ",
        "k1?x=y",
        "k1#",
        "K1",
        "k1 ",
        "\u{0}",
        "http://127.0.0.1/",
    ] {
        api.refuses(&api.token().header("kid", kid).text(), "unknown_key").await;
    }
    for kid in ["", &"k".repeat(257)] {
        api.refuses(&api.token().header("kid", kid).text(), "header").await;
    }
    for kid in [json!(1), json!(null), json!(["k1"]), json!({"k": 1})] {
        api.refuses(&api.token().header("kid", kid).text(), "header").await;
    }
    assert!(api.issuer.count(Fetch::Jwks) <= before + 1, "one attempt for all of them");
    assert_eq!(api.issuer.count(Fetch::Elsewhere), 0);
}

#[tokio::test]
async fn a_token_without_a_key_name_is_refused() {
    let api = Guarded::start().await;
    api.refuses(&api.token().without_header("kid").text(), "no_kid").await;
}

/// OWASP CheatSheet#2391: a union of all key sets lets one issuer sign for another.
#[tokio::test]
async fn one_issuers_key_does_not_sign_for_another() {
    let second = FakeIssuer::start().await;
    let api = Guarded::start_with(&[&second.url]).await;
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
    let of_second = second.token(&api.url, api.now());
    assert_eq!(api.ask(&of_second.text()).await.status, 200);
    // Both name their key k1.
    api.refuses(&api.token().signed_by(&second.key).text(), "signature").await;
    api.refuses(&of_second.clone().signed_by(&api.issuer.key).text(), "signature").await;
    let second_key = Key::new(Alg::Es256, "of-second");
    second.publish(vec![second_key.jwk()]);
    api.clock.advance(301);
    let foreign = second.token(&api.url, api.now()).with_key(&second_key);
    assert_eq!(api.ask(&foreign.text()).await.status, 200);
    api.refuses(&api.token().with_key(&second_key).text(), "unknown_key").await;
}

#[tokio::test]
async fn an_issuer_that_is_not_configured_is_never_asked() {
    let api = Guarded::start().await;
    let stranger = FakeIssuer::start().await;
    let token = stranger.token(&api.url, api.now());
    api.refuses(&token.text(), "unknown_issuer").await;
    // The name alone must not start anything either.
    api.refuses(&api.token().claim("iss", stranger.url.as_str()).text(), "unknown_issuer").await;
    assert_eq!(stranger.count(Fetch::Metadata) + stranger.count(Fetch::Jwks), 0);
}

/// angular-auth-oidc-client#2116: metadata of another issuer, taken without a look at its name.
#[tokio::test]
async fn metadata_of_another_issuer_gives_no_keys() {
    for other in ["http://127.0.0.1:1", "", "https://id.example/"] {
        let issuer = FakeIssuer::start().await;
        issuer.set_metadata("issuer", other);
        let api = Guarded::of(issuer).await;
        api.unavailable(&api.token().text()).await;
        assert_eq!(api.issuer.count(Fetch::Jwks), 0, "its keys are not even asked for");
    }
    let issuer = FakeIssuer::start().await;
    let with_slash = format!("{}/", issuer.url);
    issuer.set_metadata("issuer", with_slash);
    let api = Guarded::of(issuer).await;
    api.unavailable(&api.token().text()).await;
}

/// pyjwt#1169, hermes-agent#116373, Istio: schemes and redirects that lead elsewhere.
#[tokio::test]
async fn keys_come_from_no_other_scheme_and_through_no_redirect() {
    let trap = FakeIssuer::start().await;
    for uri in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks",
        "http://169.254.169.254/jwks",
        "jwks.json",
        "",
    ] {
        let issuer = FakeIssuer::start().await;
        issuer.set_metadata("jwks_uri", uri);
        let api = Guarded::of(issuer).await;
        api.unavailable(&api.token().text()).await;
    }
    let issuer = FakeIssuer::start().await;
    trap.publish(vec![issuer.key.jwk()]);
    issuer.set_mood(Mood::Redirecting(format!("{}/jwks.json", trap.url)));
    let api = Guarded::of(issuer).await;
    api.unavailable(&api.token().text()).await;
    assert_eq!(trap.count(Fetch::Jwks), 0, "the redirect is not followed");
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Redirecting("/elsewhere".into()));
    let api = Guarded::of(issuer).await;
    api.unavailable(&api.token().text()).await;
    assert_eq!(api.issuer.count(Fetch::Elsewhere), 0, "not even on the same origin");
}

/// A `jwks_uri` on another origin of a private network is a way in; the issuer's own origin is where it was configured.
#[tokio::test]
async fn keys_on_a_private_address_of_another_origin_are_not_fetched() {
    let other = FakeIssuer::start().await;
    let issuer = FakeIssuer::start().await;
    other.publish(vec![issuer.key.jwk()]);
    issuer.set_metadata("jwks_uri", format!("{}/jwks.json", other.url));
    let api = Guarded::of(issuer).await;
    api.unavailable(&api.token().text()).await;
    assert_eq!(other.count(Fetch::Jwks), 0);
}

/// Istio's `FakeJwks`: where the fetch failed, "some" key was used.
#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    for mood in [Mood::Failing(500), Mood::Failing(404), Mood::Oversized(300 * 1024)] {
        let issuer = FakeIssuer::start().await;
        issuer.set_mood(mood);
        let api = Guarded::of(issuer).await;
        api.unavailable(&api.token().text()).await;
    }
    let issuer = FakeIssuer::start().await;
    issuer.publish(Vec::new());
    let api = Guarded::of(issuer).await;
    api.refuses(&api.token().text(), "unknown_key").await;
}

/// axum-jwks, tower-oauth2-resource-server: one strange entry, and no key of the set worked any more.
#[tokio::test]
async fn a_bad_key_does_not_spoil_the_good_ones() {
    let api = Guarded::start().await;
    let good = Key::new(Alg::EdDsa, "good");
    let rsa = Key::new(Alg::Rs256, "rsa").jwk();
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    api.issuer.publish(vec![
        json!(null),
        json!("text"),
        json!({}),
        json!({"kty": "oct", "k": "AAAA", "kid": "mac"}),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "odd", "x": "AA", "y": "AA"}),
        with(rsa.clone(), "use", json!("enc")),
        with(rsa, "d", json!("AAAA")),
        good.jwk(),
    ]);
    api.reload().await;
    assert_eq!(api.ask(&api.token().with_key(&good).text()).await.status, 200);
    let mac = api.token().header("kid", "mac").maced_with(vec![0, 0, 0]);
    api.refuses(&mac.text(), "alg").await;
}

/// Wycheproof: keys that are on no curve, too short, or verify everything.
#[tokio::test]
async fn weak_keys_are_not_loaded() {
    let api = Guarded::start().await;
    let rsa =
        |n: Vec<u8>, e: Vec<u8>| json!({"kty": "RSA", "kid": "weak", "n": b64(n), "e": b64(e)});
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    let point = |x: [u8; 32], y: [u8; 32]| json!({"kty": "EC", "crv": "P-256", "kid": "weak", "x": b64(x), "y": b64(y)});
    let edwards = |x: [u8; 32]| json!({"kty": "OKP", "crv": "Ed25519", "kid": "weak", "x": b64(x)});
    let mut identity = [0; 32];
    identity[0] = 1;
    let cases = [
        (rsa(vec![0xff; 128], vec![1, 0, 1]), "RS256"),
        (rsa(vec![0xff; 256], vec![1]), "RS256"),
        (rsa(vec![0xff; 256], vec![2]), "RS256"),
        (point([7; 32], [7; 32]), "ES256"),
        (point([0; 32], [0; 32]), "ES256"),
        (edwards([0; 32]), "EdDSA"),
        (edwards(identity), "EdDSA"),
    ];
    for (weak, alg) in cases {
        api.issuer.publish(vec![weak.clone(), api.issuer.key.jwk()]);
        api.reload().await;
        for signature in [vec![0; 64], [identity, [0; 32]].concat(), vec![0; 256], vec![1; 256]] {
            let token = api.token().header("kid", "weak").header("alg", alg).signature(signature);
            let answer = api.ask(&token.text()).await;
            assert_eq!(answer.status, 401, "{weak}");
        }
        assert_eq!(api.ask(&api.token().text()).await.status, 200, "the good key stays");
    }
}

/// A set with one name twice is ambiguous: the first counts, for everybody alike.
#[tokio::test]
async fn of_two_keys_with_one_name_the_first_counts() {
    let api = Guarded::start().await;
    let (first, second) = (Key::new(Alg::Es256, "twin"), Key::new(Alg::Es256, "twin"));
    api.publish(&[first.clone(), second.clone()]).await;
    assert_eq!(api.ask(&api.token().with_key(&first).text()).await.status, 200);
    api.refuses(&api.token().with_key(&second).text(), "signature").await;
}
