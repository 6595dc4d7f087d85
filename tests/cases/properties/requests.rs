//! What a request brings: forms, redirect URIs, the `Authorization` header.

use auth_server::domain::pkce::{CodeChallenge, is_verifier, verifier_matches};
use auth_server::domain::redirect_uri::{check_registration, matches};
use auth_server::params::Params;
use proptest::prelude::*;
use resource_server::guard::bearer::has_access_token;
use tests::client::challenge;

fn encode(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn loopback() -> impl Strategy<Value = String> {
    "http://(127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?(/[a-z]{0,6})?"
}

proptest! {
    #[test]
    fn a_form_reads_back_what_was_written(
        pairs in prop::collection::btree_map("[^\u{0}]{1,12}", "[^\u{0}]{1,24}", 0..20),
    ) {
        let pairs: Vec<(String, String)> = pairs.into_iter().collect();
        let params = Params::parse(encode(&pairs).as_bytes()).unwrap();
        for (name, value) in &pairs {
            prop_assert_eq!(params.get(name), Some(value.as_str()));
        }
        prop_assert_eq!(params.iter().count(), pairs.len());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written(
        name in "[a-z_]{1,12}", values in ("[a-z]{0,5}", "[a-z]{0,5}"), between in "[a-z]{1,3}1=x",
    ) {
        let first = name.as_bytes()[0];
        let escaped = format!("%{first:02x}{}", &name[1..]);
        for second in [&name, &escaped] {
            let text = format!("{name}={}&{between}&{second}={}", values.0, values.1);
            let read = Params::parse(text.as_bytes());
            prop_assert_eq!(read.is_ok(), name == "resource", "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_the_form_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(params) = Params::parse(&bytes) {
            prop_assert!(params.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
        }
    }

    #[test]
    fn a_redirect_uri_is_itself_and_nothing_else(uri in "https://[a-z]{1,8}\\.example(/[a-z]{0,6}){0,2}(\\?[a-z]=[a-z])?", at in 0usize..60, other in "[ -~]") {
        prop_assert!(matches(&uri, &uri));
        let mut changed = uri.clone();
        changed.insert_str(at.min(uri.len()), &other);
        prop_assert!(!matches(&uri, &changed));
        prop_assert!(!matches(&changed, &uri));
        prop_assert!(!matches(&uri, &uri[..uri.len() - 1]));
    }

    #[test]
    fn only_the_port_of_a_loopback_literal_is_free(registered in loopback(), port in 1u16..) {
        let rest = registered.strip_prefix("http://").unwrap();
        let host_end = rest.find(']').map_or_else(|| rest.find([':', '/']).unwrap_or(rest.len()), |at| at + 1);
        let (host, tail) = rest.split_at(host_end);
        let path = tail.find('/').map_or("", |at| &tail[at..]);
        let with_port = format!("http://{host}:{port}{path}");
        prop_assert!(matches(&registered, &with_port), "{} {}", registered, with_port);
        for wrong in [
            format!("https://{host}:{port}{path}"),
            format!("http://{host}:{port}{path}x"),
            format!("http://{host}.evil.example:{port}{path}"),
            format!("http://{host}:{port}@evil.example{path}"),
            format!("http://localhost:{port}{path}"),
            format!("http://127.1:{port}{path}"),
            format!("http://{host}:0{port}{path}"),
        ] {
            prop_assert!(!matches(&registered, &wrong), "{} {}", registered, wrong);
        }
    }

    #[test]
    fn whatever_may_be_registered_matches_itself(uri in "[a-zA-Z.]{1,8}:(//)?[!-~]{0,30}") {
        if check_registration(&uri).is_ok() {
            prop_assert!(matches(&uri, &uri));
            prop_assert!(!uri.contains('#') && !uri.contains(' ') && !uri.contains('*'));
            prop_assert!(!uri.to_ascii_lowercase().starts_with("javascript:"));
        }
    }

    #[test]
    fn a_verifier_proves_its_own_challenge_only(verifier in "[A-Za-z0-9._~-]{43,128}", at in 0usize..43) {
        prop_assert!(is_verifier(&verifier));
        let challenge = CodeChallenge::parse(&challenge(&verifier)).unwrap();
        prop_assert!(verifier_matches(&challenge, &verifier));
        let mut other = verifier.clone().into_bytes();
        other[at] = if other[at] == b'a' { b'b' } else { b'a' };
        let other = String::from_utf8(other).unwrap();
        prop_assert!(!verifier_matches(&challenge, &other));
        let plain = CodeChallenge::parse(&verifier);
        let taken = plain.is_some_and(|plain| verifier_matches(&plain, &verifier));
        prop_assert!(!taken, "`plain` is not a method");
    }

    #[test]
    fn a_verifier_has_the_length_and_the_letters_of_its_grammar(text in "[!-~]{0,140}") {
        let right = (43..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        prop_assert_eq!(is_verifier(&text), right);
    }

    #[test]
    fn a_token_in_a_query_is_seen_however_its_name_is_written(at in 0usize..12, rest in "[a-z]{0,6}") {
        let name = "access_token";
        let escaped = format!("{}%{:02x}{}", &name[..at], name.as_bytes()[at], &name[at + 1..]);
        for query in [format!("{name}={rest}"), format!("x=1&{escaped}=y"), escaped.clone(), format!("{rest}&{name}")] {
            prop_assert!(has_access_token(query.as_bytes()), "{}", query);
        }
        let longer = format!("x{name}={rest}");
        prop_assert!(!has_access_token(longer.as_bytes()));
    }
}
