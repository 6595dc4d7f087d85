//! Metadata (RFC 8414, OpenID Connect Discovery): every value that is advertised is tried.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tests::browser::Browser;
use tests::client::{Client, ClientAuth, sign_in};
use tests::http::{Answer, Http, send};
use tests::oracle::read;
use tests::seed::{self, BYE, client};
use tests::world::{ALICE, SECRET, WEB_CALLBACK, World};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn metadata(world: &World) -> Value {
    let answer = Http::new().get(&format!("{}{OAUTH}", world.auth.issuer)).await;
    answer.expect(200).json()
}

fn list<'a>(metadata: &'a Value, name: &str) -> Vec<&'a str> {
    let values = metadata[name].as_array().unwrap_or_else(|| panic!("{name} is absent"));
    values.iter().map(|value| value.as_str().unwrap()).collect()
}

#[tokio::test]
async fn both_documents_are_the_same_and_say_how_long_they_may_be_kept() {
    let world = World::start().await;
    let http = Http::new();
    let mut bodies = Vec::new();
    for path in [OAUTH, OPENID] {
        let answer = http.get(&format!("{}{path}", world.auth.issuer)).await.expect(200);
        assert_eq!(answer.header("Content-Type"), "application/json");
        assert_eq!(answer.header("Cache-Control"), "public, max-age=300");
        assert_eq!(answer.json()["issuer"], world.auth.issuer, "byte for byte");
        bodies.push(answer.body);
        let head = send(http.request(Method::HEAD, &format!("{}{path}", world.auth.issuer))).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn the_members_that_the_specifications_require_are_there() {
    let world = World::start().await;
    let metadata = metadata(&world).await;
    for name in [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "scopes_supported",
        "claims_supported",
        "code_challenge_methods_supported",
        "grant_types_supported",
        "authorization_response_iss_parameter_supported",
        "end_session_endpoint",
    ] {
        assert!(!metadata[name].is_null(), "{name}");
    }
    assert_eq!(list(&metadata, "response_types_supported"), ["code"]);
    assert_eq!(list(&metadata, "code_challenge_methods_supported"), ["S256"]);
    assert_eq!(list(&metadata, "subject_types_supported"), ["public"]);
    assert_eq!(metadata["request_uri_parameter_supported"], false, "absent would mean true");
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["protected_resources"], serde_json::json!([world.resource]));
    let algorithms = list(&metadata, "id_token_signing_alg_values_supported");
    assert!(algorithms.contains(&"RS256"), "Discovery section 3: MUST be included");
    // An endpoint that is not built is absent.
    for absent in [
        "registration_endpoint",
        "device_authorization_endpoint",
        "pushed_authorization_request_endpoint",
    ] {
        assert!(metadata[absent].is_null(), "{absent}");
    }
}

/// Every endpoint answers by the methods of its specification, and 405 with Allow by others.
#[tokio::test]
async fn every_advertised_endpoint_answers() {
    let world = World::start().await;
    let metadata = metadata(&world).await;
    let http = Http::new();
    let endpoints: Vec<(&String, &str)> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri"))
        .map(|(name, url)| (name, url.as_str().unwrap()))
        .collect();
    assert_eq!(endpoints.len(), 7, "{endpoints:?}");
    for (name, url) in endpoints {
        assert!(url.starts_with(&world.auth.issuer), "{name}: {url}");
        let status = match name.as_str() {
            "token_endpoint" | "introspection_endpoint" | "revocation_endpoint" => {
                http.post_form(url, &[("client_id", "nobody")]).await.status
            }
            _ => http.get(url).await.status,
        };
        let expected = match name.as_str() {
            "authorization_endpoint" => 400,
            "token_endpoint"
            | "introspection_endpoint"
            | "revocation_endpoint"
            | "userinfo_endpoint" => 401,
            "end_session_endpoint" => 303,
            _ => 200,
        };
        assert_eq!(status, expected, "{name}");
        let other = send(http.request(Method::DELETE, url)).await;
        assert_eq!(other.status, 405, "{name}");
        assert!(!other.header("Allow").is_empty(), "{name}");
    }
    let nothing = http.get(&format!("{}/nothing", world.auth.issuer)).await;
    assert_eq!(nothing.status, 404);
}

#[tokio::test]
async fn every_advertised_grant_type_works_and_no_other_does() {
    let world = World::start().await;
    let metadata = metadata(&world).await;
    let web = world.web();
    for grant in list(&metadata, "grant_types_supported") {
        let answer: Answer = match grant {
            "authorization_code" => world.tokens(&web, "openid", "g").await,
            "refresh_token" => {
                web.refresh(&world.tokens(&web, "openid", "r").await.member("refresh_token")).await
            }
            "client_credentials" => world.machine().client_credentials("documents:read").await,
            other => panic!("{other} is advertised and unknown to this case"),
        };
        assert_eq!(answer.status, 200, "{grant}");
    }
    for grant in [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ] {
        let answer = web.token(&[("grant_type", grant)]).await.expect(400);
        assert_eq!(answer.error(), "unsupported_grant_type", "{grant}");
    }
}

#[tokio::test]
async fn every_advertised_authentication_method_works_at_its_endpoint() {
    let world = seed::world().await;
    let metadata = metadata(&world).await;
    let by_method = |method: &str| match method {
        "client_secret_basic" => world.web(),
        "client_secret_post" => client(&world, "post").with_auth(ClientAuth::Post),
        "none" => world.native(),
        other => panic!("{other} is advertised and unknown to this case"),
    };
    for (endpoint, name) in [
        ("/token", "token_endpoint_auth_methods_supported"),
        ("/introspect", "introspection_endpoint_auth_methods_supported"),
        ("/revoke", "revocation_endpoint_auth_methods_supported"),
    ] {
        for method in list(&metadata, name) {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("token", "x")];
            let answer = by_method(method).post(endpoint, &fields).await;
            assert_ne!(answer.status, 401, "{endpoint} {method}: {}", answer.text());
        }
    }
    assert!(!list(&metadata, "introspection_endpoint_auth_methods_supported").contains(&"none"));
}

#[tokio::test]
async fn every_advertised_response_type_mode_and_prompt_works() {
    let world = seed::world().await;
    let metadata = metadata(&world).await;
    let web = client(&world, "first-party");
    let mut browser = Browser::new();
    sign_in(&mut browser, &web.begin("openid", "in").url(), ALICE.0, ALICE.1).await;
    for response_type in list(&metadata, "response_types_supported") {
        let pending = web.begin("openid", "type").param("response_type", response_type);
        let page = browser.get(&pending.url()).await;
        pending.code(&page, &web);
    }
    for mode in list(&metadata, "response_modes_supported") {
        let pending = web.begin("openid", "mode").param("response_mode", mode);
        let page = browser.get(&pending.url()).await;
        let code = match mode {
            "query" => pending.code(&page, &web),
            "form_post" => page.form("form-post").get("code").to_owned(),
            other => panic!("{other} is advertised and unknown to this case"),
        };
        web.redeem(&code, &pending).await.expect(200);
    }
    for prompt in list(&metadata, "prompt_values_supported") {
        let page = browser.get(&web.begin("openid", "prompt").param("prompt", prompt).url()).await;
        let page = browser.settle(page).await;
        match prompt {
            "none" => assert_ne!(page.location_param("code"), ""),
            "login" | "select_account" => assert!(page.element("login-form").is_some(), "{prompt}"),
            "consent" => assert!(page.element("consent-form").is_some()),
            other => panic!("{other} is advertised and unknown to this case"),
        }
    }
}

#[tokio::test]
async fn every_advertised_scope_can_be_granted() {
    let world = World::start().await;
    let metadata = metadata(&world).await;
    let scopes = list(&metadata, "scopes_supported");
    let state = format!(
        "[[client]]\nclient_id = \"everything\"\nredirect_uris = [\"https://web.example/callback\"]\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\nclient_secret = \"{SECRET}\"\nscope = \"{}\"\n",
        scopes.join(" ")
    );
    seed::declare(&world.auth, &state).await;
    let everything = client(&world, "everything");
    let tokens = world.tokens(&everything, &scopes.join(" "), "all").await;
    let granted = tokens.member("scope");
    let granted: BTreeSet<_> = granted.split(' ').collect();
    assert_eq!(granted, scopes.iter().copied().collect());
}

#[tokio::test]
async fn every_advertised_algorithm_signs_id_tokens_and_is_published() {
    let world = seed::world().await;
    let metadata = metadata(&world).await;
    let jwks = world.web().jwks().await;
    for alg in list(&metadata, "id_token_signing_alg_values_supported") {
        let id = format!("alg-{}", alg.to_lowercase());
        let state = format!(
            "[[client]]\nclient_id = \"{id}\"\nredirect_uris = [\"https://web.example/callback\"]\nclient_secret = \"{SECRET}\"\n\
             scope = \"openid\"\nid_token_signed_response_alg = \"{alg}\"\n"
        );
        seed::declare(&world.auth, &state).await;
        let client = client(&world, &id);
        let tokens = world.tokens(&client, "openid", "alg").await;
        assert_eq!(read(&tokens.member("id_token"), &jwks).0["alg"], alg);
        // One more of each is announced, so that an emergency goes on with a key that caches hold.
        let published =
            jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == alg).count();
        assert!(published >= 2, "{alg}: {published}");
    }
}

/// A person of whom everything is known, and a client that may learn it.
const KNOWN: &str = r#"
[[account]]
username = "alice"

[account.claims]
name = "Alice Example"
family_name = "Example"
given_name = "Alice"
middle_name = "B."
nickname = "Al"
preferred_username = "alice"
profile = "https://people.example/alice"
picture = "https://people.example/alice.png"
website = "https://alice.example"
gender = "female"
birthdate = "1990-01-31"
zoneinfo = "Europe/Berlin"
locale = "en-GB"
updated_at = 1789000000
email = "alice@example.com"
email_verified = true
address = { country = "DE" }
phone_number = "+49 30 1234567"
phone_number_verified = false
"#;

/// Nothing is given that is not advertised, and nothing advertised that is never given.
#[tokio::test]
async fn the_advertised_claims_are_those_that_are_given() {
    let world = World::start().await;
    let scope = "openid profile email address phone";
    let learns = format!(
        "[[client]]\nclient_id = \"learns\"\nredirect_uris = [\"{WEB_CALLBACK}\"]\nclient_secret = \"{SECRET}\"\n\
         scope = \"{scope}\"\n"
    );
    seed::declare(&world.auth, &format!("{learns}{KNOWN}")).await;
    let learns = client(&world, "learns");
    let tokens = world.tokens(&learns, scope, "claims").await;
    let id_token = read(&tokens.member("id_token"), &learns.jwks().await).1;
    let person = learns.userinfo(&tokens.member("access_token")).await.expect(200).json();
    let given: BTreeSet<&str> = [&id_token, &person]
        .into_iter()
        .flat_map(|claims| claims.as_object().unwrap().keys().map(String::as_str))
        .collect();
    let metadata = metadata(&world).await;
    let advertised: BTreeSet<&str> = list(&metadata, "claims_supported").into_iter().collect();
    assert_eq!(advertised, given);
}

#[tokio::test]
async fn the_key_set_is_public_cacheable_and_has_no_private_half() {
    let world = World::start().await;
    let http = Http::new();
    let url = metadata(&world).await["jwks_uri"].as_str().unwrap().to_owned();
    let answer = http.get(&url).await.expect(200);
    assert_eq!(answer.header("Cache-Control"), "public, max-age=300");
    let etag = answer.header("ETag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 10, "strong: {etag}");
    for condition in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let again = send(http.request(Method::GET, &url).header("If-None-Match", condition)).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("ETag"), etag);
    }
    send(http.request(Method::GET, &url).header("If-None-Match", "\"x\"")).await.expect(200);
    let mut kids = BTreeSet::new();
    for key in answer.json()["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "sig");
        assert!(key["alg"].is_string() && key["kty"] != "oct", "{key}");
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        assert!(kids.insert(key["kid"].as_str().unwrap().to_owned()), "every kid once");
    }
}

#[tokio::test]
async fn the_end_session_endpoint_ends_sessions() {
    let world = seed::world().await;
    let bye = client(&world, "bye");
    let mut browser = Browser::new();
    let (page, pending) = world.authorize(&mut browser, &bye, "openid", "end").await;
    let hint = bye.redeem(&pending.code(&page, &bye), &pending).await.member("id_token");
    let endpoint = metadata(&world).await["end_session_endpoint"].as_str().unwrap().to_owned();
    let url = format!("{endpoint}?id_token_hint={hint}&post_logout_redirect_uri={BYE}");
    assert!(browser.get(&url).await.location().as_str().starts_with(BYE));
}

/// RFC 8414 section 3 inserts the well-known part, Discovery appends it; clients try both for both.
#[tokio::test]
async fn an_issuer_with_a_path_has_its_documents_and_endpoints_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = tests::world::clock();
    let state = tests::world::state("http://127.0.0.1:1");
    let mut issuer = String::new();
    let auth = tests::world::Auth::start(folder.path(), &state, &clock, |settings| {
        issuer = format!("{}/tenant/one", settings.issuer.as_str());
        settings.issuer = shared_types::Issuer::parse(&issuer).unwrap();
    })
    .await;
    let http = Http::new();
    let root = auth.issuer.trim_end_matches("/tenant/one").to_owned();
    for path in [
        "/.well-known/oauth-authorization-server/tenant/one",
        "/.well-known/openid-configuration/tenant/one",
        "/tenant/one/.well-known/oauth-authorization-server",
        "/tenant/one/.well-known/openid-configuration",
    ] {
        let document = http.get(&format!("{root}{path}")).await.expect(200).json();
        assert_eq!(document["issuer"], issuer, "{path}");
        assert_eq!(document["token_endpoint"], format!("{issuer}/token"));
    }
    http.get(&format!("{root}/readyz")).await.expect(200);
    let web = Client::new(&issuer, "web", SECRET, WEB_CALLBACK);
    let pending = web.begin("openid", "path");
    let page = sign_in(&mut Browser::new(), &pending.url(), ALICE.0, ALICE.1).await;
    let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    web.userinfo(&tokens.member("access_token")).await.expect(200);
    assert_eq!(http.get(&format!("{root}/jwks.json")).await.status, 404, "nothing beside it");
    auth.running.stop().await;
}

#[tokio::test]
async fn openapi_names_every_advertised_endpoint() {
    let world = World::start().await;
    let document =
        Http::new().get(&format!("{}/openapi.json", world.auth.issuer)).await.expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for (name, url) in metadata(&world).await.as_object().unwrap() {
        let Some(path) = url.as_str().and_then(|url| url.strip_prefix(&world.auth.issuer)) else {
            continue;
        };
        if !path.is_empty() {
            assert!(paths.contains_key(path), "{name}: {path}");
        }
    }
}
