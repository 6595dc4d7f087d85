//! Attacks on what a rightly signed token says: for whom, by whom, until when, and of which kind.

use serde_json::{Value, json};
use tests::oracle::Token;

use tests::world::Guarded;

/// OWASP/ASVS#2005: an ID token, rightly signed by the right issuer, sent as an access token.
#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let api = Guarded::start().await;
    for typ in [
        "JWT",
        "jwt",
        "",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "at",
        "at+jwt ",
        "application/jwt",
        "at+jwt;v=1",
        "text/at+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
    ] {
        api.refuses(&api.token().header("typ", typ).text(), "typ").await;
    }
    api.refuses(&api.token().without_header("typ").text(), "typ").await;
    for typ in [json!(1), json!(null), json!(["at+jwt"])] {
        api.refuses(&api.token().header("typ", typ).text(), "header").await;
    }
    let id_token = api.token().header("typ", "JWT").claim("nonce", "n").claim("at_hash", "h");
    api.refuses(&id_token.text(), "typ").await;
}

#[tokio::test]
async fn both_spellings_of_the_type_are_taken() {
    let api = Guarded::start().await;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert_eq!(api.ask(&api.token().header("typ", typ).text()).await.status, 200, "{typ}");
    }
}

#[tokio::test]
async fn every_claim_that_must_be_there_is_demanded() {
    let api = Guarded::start().await;
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"] {
        let refused = api.refuses(&api.token().without_claim(name).text(), "claim_missing").await;
        assert!(!refused.text().contains("acct_alice"), "claims are not echoed");
    }
}

/// vouch#688, mcp-proxy#177, fosite#845: a token for somebody else.
#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let api = Guarded::start().await;
    let upper = api.url.to_uppercase();
    let slash = format!("{}/", api.url);
    let prefix = format!("{}/evil", api.url);
    for aud in ["https://other.example", &upper, &slash, &prefix, "account", "*", ""] {
        api.refuses(&api.token().claim("aud", aud).text(), "aud").await;
    }
    api.refuses(
        &api.token().claim("aud", json!(["https://a.example", "https://b.example"])).text(),
        "aud",
    )
    .await;
    let nobody: [Value; 7] = [
        json!([]),
        json!(null),
        json!(1),
        json!({"aud": api.url}),
        json!([1]),
        json!([null]),
        json!([[api.url]]),
    ];
    for aud in nobody {
        api.refuses(&api.token().claim("aud", aud).text(), "claim_malformed").await;
    }
    for other in ["https://other.example", "account"] {
        let several = api.token().claim("aud", json!([other, api.url]));
        assert_eq!(api.ask(&several.text()).await.status, 200, "one of several is enough");
    }
}

#[tokio::test]
async fn the_issuer_is_compared_byte_for_byte() {
    let api = Guarded::start().await;
    let slash = format!("{}/", api.issuer.url);
    let localhost = api.issuer.url.replace("127.0.0.1", "localhost");
    for iss in [slash.as_str(), &localhost, "https://id.example", ""] {
        api.refuses(&api.token().claim("iss", iss).text(), "unknown_issuer").await;
    }
    for iss in [json!(null), json!(1), json!([api.issuer.url]), json!({"iss": api.issuer.url})] {
        api.refuses(&api.token().claim("iss", iss).text(), "claim_malformed").await;
    }
}

#[tokio::test]
async fn expiry_holds_to_the_second_and_has_no_leeway() {
    let api = Guarded::start().await;
    let token = api.token().text();
    api.clock.advance(299);
    assert_eq!(api.ask(&token).await.status, 200, "one second before");
    api.clock.advance(1);
    api.refuses(&token, "expired").await;
    let long_dead = api.token().claim("exp", api.now() - 86_400);
    api.refuses(&long_dead.text(), "expired").await;
    api.refuses(&api.token().claim("exp", 0).text(), "expired").await;
}

#[tokio::test]
async fn a_token_of_the_future_waits_for_its_time() {
    let api = Guarded::start().await;
    let now = api.now();
    for name in ["iat", "nbf"] {
        let at =
            |seconds: i64| api.token().claim("exp", now + 900).claim(name, now + seconds).text();
        assert_eq!(api.ask(&at(10)).await.status, 200, "{name}: within the leeway");
        let early = at(11);
        api.refuses(&early, "not_yet_valid").await;
        api.clock.advance(1);
        assert_eq!(api.ask(&early).await.status, 200, "{name}: a second later");
        api.clock.set(shared_types::UnixSeconds::new(now));
    }
}

/// CVE-2026-25537, libjwt#283: a time of another type, taken for absent.
#[tokio::test]
async fn times_of_another_type_are_faults() {
    let api = Guarded::start().await;
    let later = api.now() + 600;
    let odd: [Value; 9] = [
        json!(later.to_string()),
        json!("never"),
        json!(true),
        json!([later]),
        json!({"n": later}),
        json!(null),
        json!(-1),
        json!(1e300),
        json!(9_007_199_254_740_993_i64),
    ];
    for name in ["exp", "iat", "nbf"] {
        for value in &odd {
            api.refuses(&api.token().claim(name, value.clone()).text(), "claim_malformed").await;
        }
    }
    for number in ["1e400", "-1e400", "0x10", "1_000", "Infinity", "NaN"] {
        let payload = api.token().without_claim("exp").claims_after(&format!(r#""exp":{number}"#));
        api.refuses(&payload.text(), "claims_json").await;
    }
    let fraction =
        api.token().without_claim("exp").claims_after(&format!(r#""exp":{}.5"#, api.now()));
    api.refuses(&fraction.text(), "expired").await;
}

#[tokio::test]
async fn identifiers_of_another_type_are_faults() {
    let api = Guarded::start().await;
    for name in ["sub", "jti", "client_id"] {
        for value in [
            json!(1),
            json!(null),
            json!(["a"]),
            json!({}),
            json!(""),
            json!("a\nb"),
            json!("x".repeat(256)),
        ] {
            api.refuses(&api.token().claim(name, value).text(), "claim_malformed").await;
        }
    }
    for value in [
        json!(["documents:read"]),
        json!(null),
        json!(1),
        json!("a  b"),
        json!("a\"b"),
        json!(" a"),
    ] {
        api.refuses(&api.token().claim("scope", value).text(), "claim_malformed").await;
    }
}

/// CVE-2022-39227, ruby-jwt#713, Abblix#284: the first reader takes the first, the second the last.
#[tokio::test]
async fn claims_that_stand_twice_are_refused_at_every_depth() {
    let api = Guarded::start().await;
    for doubled in [
        r#""sub":"acct_eve""#,
        r#""exp":9999999999"#,
        r#""scope":"documents:share""#,
        r#""s\u0075b":"acct_eve""#,
        r#""cnf":{"jkt":"a","jkt":"b"}"#,
        r#""x":[{"deep":{"a":1,"a":1}}]"#,
    ] {
        api.refuses(&api.token().claims_after(doubled).text(), "claims_json").await;
    }
}

#[tokio::test]
async fn a_payload_that_is_no_object_is_refused() {
    let api = Guarded::start().await;
    for payload in ["[]", "null", "1", "\"text\"", "{", "{}{}", "{} x", "", "\u{feff}{}"] {
        let cause = if payload.is_empty() { "segments" } else { "claims_json" };
        api.refuses(&api.token().raw_claims(payload).text(), cause).await;
    }
    let text = api.token().text();
    let parts: Vec<&str> = text.split('.').collect();
    api.refuses(&format!("{}.~~~~.{}", parts[0], parts[2]), "encoding").await;
}

#[tokio::test]
async fn deep_nesting_is_refused_before_it_costs_anything() {
    let api = Guarded::start().await;
    let nested = |depth: usize| format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(api.ask(&api.token().claims_after(&nested(14)).text()).await.status, 200);
    api.refuses(&api.token().claims_after(&nested(17)).text(), "claims_json").await;
    api.refuses(&api.token().claims_after(&nested(4_000)).text(), "claims_json").await;
}

/// authkestra#288: a token bound to a key, sent as if a bearer were enough.
#[tokio::test]
async fn a_token_bound_to_a_key_is_no_bearer_token() {
    let api = Guarded::start().await;
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "AA"}),
        json!({"kid": "k"}),
        json!({"unknown": 1}),
        json!({}),
    ] {
        api.refuses(&api.token().claim("cnf", cnf).text(), "cnf").await;
    }
    for cnf in [json!(null), json!("jkt"), json!([])] {
        api.refuses(&api.token().claim("cnf", cnf).text(), "claim_malformed").await;
    }
}

/// Oathkeeper CVE-2021-32701, liboauth2 CWE-613: what lies in the cache is asked again every time.
#[tokio::test]
async fn a_cached_token_is_still_checked() {
    let api = Guarded::start().await;
    let token = api.token().claim("scope", "documents:read").text();
    assert_eq!(api.documents(&token).list("").await.status, 200);
    assert_eq!(api.documents(&token).create("t", "b").await.status, 403, "its scope");
    api.clock.advance(300);
    assert_eq!(api.documents(&token).list("").await.status, 401, "its expiry");
    api.clock.advance(-300);
    assert_eq!(api.documents(&token).list("").await.status, 200);
    // The clock went back before the token's time, further than the leeway.
    api.clock.advance(-11);
    assert_eq!(api.documents(&token).list("").await.status, 401, "its beginning");
}

/// When a key leaves the set, so do the tokens that it vouched for, however often they were seen.
#[tokio::test]
async fn a_cached_token_dies_with_its_key() {
    let api = Guarded::start().await;
    let token = api.token().claim("exp", api.now() + 86_400).text();
    assert_eq!(api.ask(&token).await.status, 200);
    let next = tests::oracle::Key::new(tests::oracle::Alg::Es256, "next");
    api.publish(std::slice::from_ref(&next)).await;
    api.refuses(&token, "unknown_key").await;
    let of_next: Token = api.token().with_key(&next);
    assert_eq!(api.ask(&of_next.text()).await.status, 200);
}

/// Oathkeeper GHSA-4mq7-pvjg-xp2r, fast-jwt GHSA-rp9m-7r4c-75qg: what one verifier had accepted, another took from the cache.
#[tokio::test]
async fn a_token_that_one_server_remembers_opens_no_other() {
    let first = Guarded::start().await;
    let second = Guarded::start_with(&[&first.issuer.url]).await;
    let token = first.token().text();
    for _ in 0..2 {
        assert_eq!(first.ask(&token).await.status, 200);
        second.refuses(&token, "aud").await;
    }
    let both = first.token().claim("aud", json!([first.url, second.url])).text();
    assert_eq!(first.ask(&both).await.status, 200);
    assert_eq!(second.ask(&both).await.status, 200);
    second.clock.advance(300);
    second.refuses(&both, "expired").await;
    assert_eq!(first.ask(&both).await.status, 200, "its own time is another");
}
