//! The vocabulary that both servers share: scopes, JSON, signed tokens, key sets, identifiers.

use proptest::prelude::*;
use serde_json::Value;
use shared_types::json::{self, MAX_DEPTH};
use shared_types::jws::{MAX_TOKEN_BYTES, typ_is};
use shared_types::{
    AccessTokenClaims, Audience, ClientId, CompactJws, Issuer, JwkSet, Scope, ScopeToken,
};
use tests::oracle::{Alg, Key, Token, b64};

fn scope_token() -> impl Strategy<Value = String> {
    // The grammar of RFC 6749 section 3.3, written from the RFC and not from the parser.
    "[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,20}"
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_scope_is_a_set_whose_text_reads_back(tokens in prop::collection::vec(scope_token(), 1..20)) {
        let scope = Scope::parse(&tokens.join(" ")).unwrap();
        prop_assert_eq!(&Scope::parse(&scope.to_string()).unwrap(), &scope);
        let mut reversed = tokens.clone();
        reversed.reverse();
        prop_assert_eq!(&Scope::parse(&reversed.join(" ")).unwrap(), &scope);
        for token in &tokens {
            prop_assert!(scope.contains(token));
        }
    }

    #[test]
    fn a_scope_with_a_stray_character_is_refused(
        token in scope_token(), stray in "[\"\\\\\\x00-\\x1f\\x7f-\\u{ffff}]", at in 0usize..20,
    ) {
        let mut text = token;
        text.insert_str(at.min(text.len()), &stray);
        prop_assert!(ScopeToken::parse(&text).is_err());
        prop_assert!(Scope::parse(&text).is_err());
    }

    #[test]
    fn blanks_in_a_scope_separate_and_nothing_else(tokens in prop::collection::vec(scope_token(), 1..5)) {
        let text = tokens.join(" ");
        for wrong in [format!(" {text}"), format!("{text} "), text.clone() + "  x", text.clone() + "\tx"] {
            prop_assert!(Scope::parse(&wrong).is_err(), "{:?}", wrong);
        }
    }

    #[test]
    fn strict_json_agrees_with_the_reference_on_what_is_unambiguous(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(json::parse(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn strict_json_refuses_a_member_twice_at_any_depth(
        value in any_json(), name in "[a-z]{1,5}", depth in 0usize..MAX_DEPTH - 6,
    ) {
        let doubled = format!("{{\"{name}\":{value},\"{name}\":{value}}}");
        let text = format!("{}{doubled}{}", "[".repeat(depth), "]".repeat(depth));
        prop_assert!(json::parse(text.as_bytes()).is_err());
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(value) = json::parse(&bytes) {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok(), "{:?}", value);
        }
        drop((JwkSet::parse(&bytes), AccessTokenClaims::parse(&bytes), Scope::parse(&text)));
        drop((Issuer::parse(&*text), Audience::parse(&*text), ClientId::parse(&*text)));
        if let Ok(jws) = CompactJws::split(&text) {
            drop((jws.header(), jws.payload()));
        }
        prop_assert!(!typ_is(&text, "at+jwt") || text.to_ascii_lowercase().ends_with("at+jwt"));
    }

    #[test]
    fn a_token_is_three_segments_and_nothing_else(segments in prop::collection::vec("[A-Za-z0-9_-]{0,8}", 0..8)) {
        let right = segments.len() == 3 && segments.iter().all(|segment| !segment.is_empty());
        prop_assert_eq!(CompactJws::split(&segments.join(".")).is_ok(), right);
    }

    #[test]
    fn splitting_keeps_every_byte(header in "[A-Za-z0-9_-]{1,40}", payload in "[A-Za-z0-9_-]{1,40}", signature in "[A-Za-z0-9_-]{1,40}") {
        let text = format!("{header}.{payload}.{signature}");
        let jws = CompactJws::split(&text).unwrap();
        prop_assert_eq!(jws.signing_input, format!("{header}.{payload}"));
        prop_assert_eq!(jws.signature, signature);
    }

    #[test]
    fn a_header_is_read_only_from_canonical_base64url(tail in "[=+/ \n]{1,3}") {
        let header = format!("{}{tail}", b64(r#"{"alg":"ES256"}"#));
        let text = format!("{header}.e30.AA");
        let read = CompactJws::split(&text).and_then(|jws| jws.header());
        prop_assert!(read.is_err());
    }

    #[test]
    fn too_long_a_token_is_not_looked_at(extra in 1usize..5_000) {
        let text = format!("a.{}.c", "b".repeat(MAX_TOKEN_BYTES - 4 + extra));
        prop_assert!(CompactJws::split(&text).is_err());
    }

    #[test]
    fn claims_of_another_type_are_refused_not_overlooked(
        name in prop::sample::select(vec!["iss", "sub", "aud", "client_id", "exp", "iat", "nbf", "jti", "scope", "auth_time", "cnf"]),
        value in any_json(),
    ) {
        let key = Key::new(Alg::EdDsa, "k");
        let token = Token::access(&key, "https://id.example", "https://api.example", 1_000);
        let read = AccessTokenClaims::parse(token.claim(name, value.clone()).payload().as_bytes());
        let plausible = match name {
            "exp" | "iat" | "nbf" | "auth_time" => value.is_number(),
            "cnf" => value.is_object(),
            "aud" => value.is_string() || value.is_array(),
            _ => value.is_string(),
        };
        prop_assert!(plausible || read.is_err(), "{} = {}", name, value);
    }

    #[test]
    fn an_issuer_is_never_normalised(text in "https://[a-z]{1,8}\\.example(:[0-9]{2,4})?(/[a-zA-Z0-9%._~-]{0,8}){0,2}/?") {
        if let Ok(issuer) = Issuer::parse(text.as_str()) {
            prop_assert_eq!(issuer.as_str(), text);
        }
    }

    #[test]
    fn an_issuer_is_what_a_url_parser_makes_of_it(
        text in "https?://(a\\.example|localhost|\\[::1\\]|[ -~]{0,8})(:[0-9]{0,4})?(/[ -~]{0,8}|/\\.\\.|/%[0-9A-Fa-f]{2}|[\\t\\n ]){0,3}",
    ) {
        if let Ok(issuer) = Issuer::parse(text.as_str()) {
            let normal = url::Url::parse(&text).unwrap();
            prop_assert!(normal.as_str() == text || normal.as_str() == format!("{text}/"), "{}", text);
            prop_assert!(!text.contains(|c: char| c.is_whitespace() || "\"'<>\\`{}|^?#".contains(c)), "{}", text);
            prop_assert_eq!(issuer.as_str(), text);
        }
    }

    #[test]
    fn a_blank_or_control_character_makes_no_resource(
        stray in "[\\x00-\\x20\\x7f\\u{80}-\\u{a0}\\u{2028}]", at in 0usize..19,
    ) {
        let mut text = "https://a.example/b".to_owned();
        prop_assert!(Audience::parse(text.as_str()).is_ok());
        text.insert_str(at, &stray);
        prop_assert!(Audience::parse(text.as_str()).is_err(), "{:?}", text);
        prop_assert!(Issuer::parse(text.as_str()).is_err(), "{:?}", text);
    }

    #[test]
    fn an_audience_is_found_among_any_names(others in prop::collection::vec(".{0,12}", 0..5), at in 0usize..5) {
        let key = Key::new(Alg::EdDsa, "k");
        let api = "https://api.example";
        let read = |aud: &[String]| {
            let token = Token::access(&key, "https://id.example", api, 1_000).claim("aud", aud);
            AccessTokenClaims::parse(token.payload().as_bytes()).map(|claims| claims.aud.contains(api))
        };
        let mut names = others.clone();
        names.insert(at.min(others.len()), api.to_owned());
        prop_assert_eq!(read(&names), Ok(true));
        let found = read(&others);
        prop_assert_eq!(found.is_ok(), !others.is_empty());
        prop_assert_ne!(found, Ok(true));
    }

    #[test]
    fn a_key_set_takes_what_is_good_whatever_stands_beside_it(junk in prop::collection::vec(any_json(), 0..6), at in 0usize..6) {
        let mut keys = junk.clone();
        keys.insert(at.min(keys.len()), Key::new(Alg::Es256, "good").jwk());
        let set = JwkSet::parse(serde_json::json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        prop_assert_eq!(set.keys.len(), 1);
        prop_assert_eq!(set.skipped, junk.len());
    }
}
