//! The checks as a table: what is changed in a good request, and what comes of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use shared_types::{Audience, ErrorCode, SigningAlg};

use super::*;
use crate::domain::api::Api;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn client(document: serde_json::Value) -> Client {
    let metadata = serde_json::from_value(document).unwrap();
    Client {
        metadata,
        secret: None,
        old_secret: None,
        enabled: true,
        epoch: 0,
        tokens_not_before: UnixSeconds::new(0),
    }
}

fn api(identifier: &str, scope: &str, default: bool) -> Api {
    let scopes: BTreeMap<_, _> = Scope::parse(scope)
        .unwrap()
        .iter()
        .map(|token| (token.clone(), format!("May {token}")))
        .collect();
    Api {
        identifier: Audience::parse(identifier).unwrap(),
        name: "An API".into(),
        scopes,
        access_token_lifetime: 300,
        signing_alg: SigningAlg::Es256,
        default,
        introspected_by: Vec::new(),
    }
}

fn registry() -> Registry {
    let web = json!({
        "client_id": "web", "redirect_uris": ["https://app.example/cb"], "grant_types": ["authorization_code", "refresh_token"],
        "scope": "openid offline_access read write other gone", "default_max_age": 900
    });
    let native = json!({
        "client_id": "native", "redirect_uris": ["http://127.0.0.1/cb", "com.example.app:/cb"],
        "token_endpoint_auth_method": "none", "scope": "openid read offline_access"
    });
    let old = json!({
        "client_id": "old", "redirect_uris": ["https://old.example/cb?tenant=1"], "require_pkce": false, "scope": "openid"
    });
    let machine = json!({"client_id": "machine", "redirect_uris": ["https://m.example/cb"], "grant_types": ["client_credentials"]});
    let disabled = Client {
        enabled: false,
        ..client(
            json!({"client_id": "off", "redirect_uris": ["https://off.example/cb"], "scope": "read"}),
        )
    };
    let clients = [web, native, old, machine].map(client).into_iter().chain([disabled]).collect();
    let apis = vec![
        api("http://localhost:9001", "read write", true),
        api("https://other.example", "other", false),
    ];
    Registry::new(clients, apis, 1)
}

/// A good request of the client `web` with some parameters changed; the empty value removes one.
fn parse(changes: &[(&str, &str)]) -> Result<AuthorizationRequest, AuthorizeError> {
    let mut params: BTreeMap<&str, &str> = BTreeMap::from([
        ("client_id", "web"),
        ("redirect_uri", "https://app.example/cb"),
        ("response_type", "code"),
        ("state", "s t+a/te"),
        ("scope", "openid read"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    params.extend(changes.iter().copied().filter(|(name, _)| *name != "resource"));
    let resources =
        changes.iter().filter(|(name, _)| *name == "resource").map(|(_, value)| *value).collect();
    let get = |name: &str| params.get(name).copied().filter(|value| !value.is_empty());
    AuthorizationRequest::parse(&Sent { get: &get, resources }, &registry())
}

#[test]
fn a_good_request_is_understood() {
    let request = parse(&[
        ("nonce", "n"),
        ("login_hint", "alice"),
        ("prompt", "login consent"),
        ("max_age", "60"),
    ])
    .unwrap();
    assert_eq!(request.client.id().as_str(), "web");
    assert_eq!(request.reply_to.redirect_uri, "https://app.example/cb");
    assert_eq!(request.reply_to.mode, ResponseMode::Query);
    assert_eq!(request.reply_to.state.as_deref(), Some("s t+a/te"));
    assert!(request.redirect_uri_sent);
    assert_eq!(request.code_challenge.unwrap().as_str(), CHALLENGE);
    assert_eq!(request.nonce.as_deref(), Some("n"));
    assert_eq!(request.scope.to_string(), "openid read");
    assert_eq!(request.max_age, Some(60));
    assert_eq!(request.login_hint.as_deref(), Some("alice"));
    assert!(request.prompt.login && request.prompt.consent && !request.prompt.none);
}

#[test]
fn without_a_proven_redirect_uri_a_fault_stays_a_page() {
    for (changes, fault) in [
        (&[("client_id", "")][..], ShowFault::ClientMissing),
        (&[("client_id", "nobody")], ShowFault::ClientUnknown),
        (&[("client_id", "acct_1")], ShowFault::ClientUnknown),
        (&[("client_id", "off")], ShowFault::ClientUnknown),
        (&[("redirect_uri", "https://evil.example/cb")], ShowFault::RedirectUriUnknown),
        (&[("redirect_uri", "https://app.example/cb/")], ShowFault::RedirectUriUnknown),
        (&[("redirect_uri", "https://app.example/cb?x=1")], ShowFault::RedirectUriUnknown),
        (&[("redirect_uri", "https://app.example/cb#x")], ShowFault::RedirectUriUnknown),
        (&[("redirect_uri", "")], ShowFault::RedirectUriMissing),
        (
            &[("client_id", "native"), ("scope", "read"), ("redirect_uri", "")],
            ShowFault::RedirectUriMissing,
        ),
        // Whatever else is wrong: the first half comes first.
        (
            &[("redirect_uri", "https://evil.example/"), ("response_type", "token")],
            ShowFault::RedirectUriUnknown,
        ),
    ] {
        let error = parse(changes).unwrap_err();
        assert!(
            matches!(error, AuthorizeError::Show(found) if found == fault),
            "{changes:?}: {error:?}"
        );
        assert_eq!(fault.code(), ErrorCode::InvalidRequest);
    }
}

/// What is changed, the cause, the code on the wire.
type Case<'a> = (&'a [(&'a str, &'a str)], RedirectFault, ErrorCode);

fn assert_told_to_the_client(rows: &[Case<'_>]) {
    for (changes, fault, code) in rows {
        let error = parse(changes).unwrap_err();
        let AuthorizeError::Redirect { reply_to, fault: found, .. } = error else {
            panic!("{changes:?}: a page")
        };
        assert_eq!((found, found.code()), (*fault, *code), "{changes:?}");
        assert!(reply_to.state.is_some(), "the state goes back with every error");
    }
}

#[test]
fn with_a_proven_redirect_uri_a_fault_goes_to_the_client() {
    use ErrorCode as Code;
    use RedirectFault as Fault;
    let long = "x".repeat(2_049);
    let machine = [("client_id", "machine"), ("redirect_uri", "https://m.example/cb")];
    assert_told_to_the_client(&[
        (&[("response_mode", "fragment")], Fault::ResponseMode, Code::InvalidRequest),
        (&[("request", "e30.e30.")], Fault::RequestObject, Code::RequestNotSupported),
        (
            &[("request_uri", "https://app.example/r")],
            Fault::RequestUri,
            Code::RequestUriNotSupported,
        ),
        (&[("registration", "{}")], Fault::Registration, Code::RegistrationNotSupported),
        (&[("response_type", "")], Fault::ResponseTypeMissing, Code::InvalidRequest),
        (&[("response_type", "token")], Fault::ResponseType, Code::UnsupportedResponseType),
        (&[("response_type", "code id_token")], Fault::ResponseType, Code::UnsupportedResponseType),
        (&machine, Fault::GrantType, Code::UnauthorizedClient),
        (&[("state", &long)], Fault::TooLong, Code::InvalidRequest),
        (&[("nonce", &long)], Fault::TooLong, Code::InvalidRequest),
        (&[("login_hint", &long)], Fault::TooLong, Code::InvalidRequest),
    ]);
}

#[test]
fn what_is_asked_for_in_the_wrong_way_is_told_to_the_client() {
    use ErrorCode as Code;
    use RedirectFault as Fault;
    let other = [("resource", "https://other.example")];
    assert_told_to_the_client(&[
        (&[("code_challenge", "")], Fault::ChallengeMissing, Code::InvalidRequest),
        (&[("code_challenge_method", "")], Fault::ChallengeMethod, Code::InvalidRequest),
        (&[("code_challenge_method", "plain")], Fault::ChallengeMethod, Code::InvalidRequest),
        (&[("code_challenge", "short")], Fault::ChallengeMalformed, Code::InvalidRequest),
        (&[("resource", "https://nowhere.example")], Fault::Resource, Code::InvalidTarget),
        (&[("resource", "http://localhost:9001"); 9], Fault::TooManyResources, Code::InvalidTarget),
        (&other, Fault::ResourceWithoutScope, Code::InvalidTarget),
        (&[("scope", "a  b")], Fault::ScopeMalformed, Code::InvalidScope),
        (&[("scope", "unknown")], Fault::ScopeEmpty, Code::InvalidScope),
        (&[("scope", "gone")], Fault::ScopeEmpty, Code::InvalidScope),
        (&[("prompt", "none login")], Fault::Prompt, Code::InvalidRequest),
        (&[("prompt", "create")], Fault::Prompt, Code::InvalidRequest),
        (&[("max_age", "-1")], Fault::MaxAge, Code::InvalidRequest),
        (&[("max_age", "+1")], Fault::MaxAge, Code::InvalidRequest),
        (&[("max_age", "1h")], Fault::MaxAge, Code::InvalidRequest),
        (&[("max_age", "99999999999999999999")], Fault::MaxAge, Code::InvalidRequest),
    ]);
}

#[test]
fn an_error_travels_the_way_that_the_client_asked_for() {
    let error = parse(&[("response_mode", "form_post"), ("response_type", "token")]).unwrap_err();
    assert!(
        matches!(error, AuthorizeError::Redirect { reply_to, .. } if reply_to.mode == ResponseMode::FormPost)
    );
}

#[test]
fn only_an_excused_confidential_client_goes_without_pkce() {
    let old = [
        ("client_id", "old"),
        ("redirect_uri", "https://old.example/cb?tenant=1"),
        ("code_challenge", ""),
    ];
    let without = |method| parse(&[old[0], old[1], old[2], ("code_challenge_method", method)]);
    assert!(without("").unwrap().code_challenge.is_none());
    assert!(without("S256").is_err(), "a method without a challenge is half a request");
    let native = [
        ("client_id", "native"),
        ("redirect_uri", "http://127.0.0.1:5/cb"),
        ("code_challenge", ""),
    ];
    assert!(parse(&[native[0], native[1], native[2], ("code_challenge_method", "")]).is_err());
}

#[test]
fn the_redirect_uri_may_be_left_out_if_it_is_the_only_one_and_the_request_is_not_openid() {
    let request = parse(&[("scope", "read"), ("redirect_uri", "")]).unwrap();
    assert_eq!(request.reply_to.redirect_uri, "https://app.example/cb");
    assert!(!request.redirect_uri_sent);
}

#[test]
fn a_native_app_may_choose_its_port() {
    let request =
        parse(&[("client_id", "native"), ("redirect_uri", "http://127.0.0.1:50123/cb")]).unwrap();
    assert_eq!(request.reply_to.redirect_uri, "http://127.0.0.1:50123/cb");
}

#[test]
fn scope_is_narrowed_to_what_is_registered_and_known() {
    let scope = |changes: &[(&str, &str)]| parse(changes).unwrap().scope.to_string();
    assert_eq!(scope(&[("scope", "read admin gone email")]), "read");
    assert_eq!(
        scope(&[("scope", "")]),
        "openid other read write",
        "the default leaves offline_access out"
    );
    assert_eq!(scope(&[("scope", "read offline_access")]), "offline_access read");
    let native = [
        ("client_id", "native"),
        ("redirect_uri", "com.example.app:/cb"),
        ("scope", "read offline_access"),
    ];
    assert_eq!(scope(&native), "read", "without refresh tokens offline_access means nothing");
}

#[test]
fn resources_narrow_the_scope_and_are_kept_as_registered() {
    let request = parse(&[
        ("scope", "openid read other"),
        ("resource", "http://localhost:9001/"),
        ("resource", "http://localhost:9001"),
    ])
    .unwrap();
    assert_eq!(request.resources, ["http://localhost:9001"]);
    assert_eq!(request.scope.to_string(), "openid read");
}

#[test]
fn a_request_without_max_age_has_the_registered_one() {
    assert_eq!(parse(&[]).unwrap().max_age, Some(900));
}

#[test]
fn only_a_sign_in_through_this_very_request_satisfies_it() {
    let subject = Subject::parse("acct_1").unwrap();
    let at = |auth_time| SignedIn {
        subject: &subject,
        sid: "one",
        auth_time: UnixSeconds::new(auth_time),
    };
    let now = UnixSeconds::new(1_000);
    let needs = |changes: &[(&str, &str)], session: Option<SignedIn<'_>>, here: Option<&str>| {
        parse(changes).unwrap().needs_sign_in(session.as_ref(), here, now)
    };
    assert!(needs(&[], None, None));
    assert!(!needs(&[], Some(at(999)), None));
    for prompt in ["login", "select_account"] {
        assert!(needs(&[("prompt", prompt)], Some(at(1_000)), None));
        assert!(needs(&[("prompt", prompt)], Some(at(1_000)), Some("another")));
        assert!(!needs(&[("prompt", prompt)], Some(at(1_000)), Some("one")));
    }
    assert!(!needs(&[("max_age", "10")], Some(at(990)), None));
    assert!(needs(&[("max_age", "10")], Some(at(989)), None));
    assert!(!needs(&[("max_age", "10")], Some(at(989)), Some("one")));
    assert!(needs(&[("max_age", "0")], Some(at(1_000)), None));
    assert!(needs(&[], Some(at(99)), None), "the registered max_age counts too");
}

#[test]
fn what_a_sign_in_satisfied_it_satisfies_for_five_minutes_or_max_age() {
    let subject = Subject::parse("acct_1").unwrap();
    let needs = |changes: &[(&str, &str)], age: i64| {
        let auth_time = UnixSeconds::new(1_000);
        let session = SignedIn { subject: &subject, sid: "one", auth_time };
        parse(changes).unwrap().needs_sign_in(Some(&session), Some("one"), auth_time.plus(age))
    };
    let table: [(&[(&str, &str)], i64); 6] = [
        (&[("prompt", "login")], 300),
        (&[("prompt", "select_account")], 300),
        (&[("prompt", "login"), ("max_age", "86400")], 300),
        (&[("max_age", "0")], 300),
        (&[("max_age", "10")], 300),
        (&[("max_age", "600")], 600),
    ];
    for (changes, seconds) in table {
        assert!(!needs(changes, seconds), "{changes:?}");
        assert!(needs(changes, seconds + 1), "{changes:?}");
    }
}

#[test]
fn every_scope_of_openid_has_a_sentence() {
    for token in crate::domain::audience::issuer_scope().iter() {
        assert_ne!(describe_scope(&registry(), token), token.as_str());
    }
    assert_eq!(describe_scope(&registry(), &ScopeToken::parse("read").unwrap()), "May read");
    assert_eq!(describe_scope(&registry(), &ScopeToken::parse("strange").unwrap()), "strange");
}

proptest! {
    #[test]
    fn no_text_makes_an_answer_go_elsewhere(uri in "\\PC{0,40}", response_type in "[a-z ]{0,8}") {
        match parse(&[("redirect_uri", &uri), ("response_type", &response_type)]) {
            Err(AuthorizeError::Show(_)) => {}
            Err(AuthorizeError::Redirect { reply_to, .. }) => prop_assert_eq!(reply_to.redirect_uri, "https://app.example/cb"),
            Ok(request) => prop_assert_eq!(request.reply_to.redirect_uri, "https://app.example/cb"),
        }
    }
}
