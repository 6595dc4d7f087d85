//! Client authentication (RFC 6749 section 2.3): one method, the registered one, proven.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use tests::client::{Client, ClientAuth};
use tests::http::{Answer, Http, send};
use tests::seed::{self, ODD_SECRET, client};
use tests::world::{SECRET, World};

const ASK: [(&str, &str); 1] = [("grant_type", "client_credentials")];

async fn with_header(world: &World, header: &str, fields: &[(&str, &str)]) -> Answer {
    let request = Http::new()
        .request(Method::POST, &format!("{}/token", world.auth.issuer))
        .header("Authorization", header)
        .form(fields);
    send(request).await
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// "the authorization server MUST respond with an HTTP 401 [..] and include the "WWW-Authenticate" response header field matching
/// the authentication scheme used by the client" (section 5.2).
#[tokio::test]
async fn a_wrong_secret_in_the_header_is_401_with_a_challenge() {
    let world = World::start().await;
    for header in [
        basic("machine", "wrong"),
        basic("machine", ""),
        basic("nobody", SECRET),
        basic("web", &format!("{SECRET}x")),
        basic("", SECRET),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        format!("Basic {}", STANDARD.encode("no colon")),
        "Bearer x".to_owned(),
    ] {
        let answer = with_header(&world, &header, &ASK).await.expect(401);
        assert_eq!(answer.error(), "invalid_client", "{header}");
        assert_eq!(answer.challenge().scheme, "Basic", "{header}");
        assert_eq!(answer.header("Cache-Control"), "no-store");
    }
}

#[tokio::test]
async fn a_wrong_secret_in_the_form_is_401() {
    let world = seed::world().await;
    let post = client(&world, "post").with_auth(ClientAuth::Post);
    // Good to begin with: only the token is unknown.
    assert_eq!(post.refresh("x").await.expect(400).error(), "invalid_grant");
    let mut wrong = post.clone();
    wrong.secret = "wrong".to_owned();
    assert_eq!(wrong.refresh("x").await.expect(401).error(), "invalid_client");
    let nameless = Http::new().post_form(&format!("{}/token", post.issuer), &ASK).await;
    assert_eq!(nameless.expect(401).error(), "invalid_client");
}

#[tokio::test]
async fn only_the_registered_method_is_taken() {
    let world = seed::world().await;
    let (web, post, native) = (world.web(), client(&world, "post"), world.native());
    let ok = |answer: Answer| assert_eq!(answer.expect(400).error(), "invalid_grant");
    ok(web.refresh("x").await);
    ok(post.clone().with_auth(ClientAuth::Post).refresh("x").await);
    ok(native.refresh("x").await);
    for (why, client) in [
        ("basic client by form", web.clone().with_auth(ClientAuth::Post)),
        ("basic client by name", web.clone().with_auth(ClientAuth::None)),
        ("form client by header", post.clone().with_auth(ClientAuth::Basic)),
        ("form client by name", post.clone().with_auth(ClientAuth::None)),
        ("public client by header", native.clone().with_auth(ClientAuth::Basic)),
        (
            "public client by form",
            Client::new(&native.issuer, "native", "x", "").with_auth(ClientAuth::Post),
        ),
    ] {
        let answer = client.refresh("x").await.expect(401);
        assert_eq!(answer.error(), "invalid_client", "{why}");
    }
}

/// "The client MUST NOT use more than one authentication method in each request."
#[tokio::test]
async fn two_methods_at_once_are_an_invalid_request() {
    let world = World::start().await;
    let header = basic("machine", SECRET);
    let grant = ("grant_type", "client_credentials");
    for fields in [
        vec![grant, ("client_secret", SECRET)],
        vec![grant, ("client_id", "machine"), ("client_secret", SECRET)],
        vec![grant, ("client_id", "web")],
        vec![grant, ("client_assertion_type", "x"), ("client_assertion", "y")],
    ] {
        let answer = with_header(&world, &header, &fields).await.expect(400);
        assert_eq!(answer.error(), "invalid_request", "{fields:?}");
    }
    // A client_id in the body beside Basic is not a second method.
    with_header(&world, &header, &[grant, ("client_id", "machine")]).await.expect(200);
    // Two headers: nobody knows which one counts.
    let twice = Http::new()
        .request(Method::POST, &format!("{}/token", world.auth.issuer))
        .header("Authorization", &header)
        .header("Authorization", &header)
        .form(&[grant]);
    assert_eq!(send(twice).await.expect(400).error(), "invalid_request");
}

/// Both halves of Basic are form-encoded first (section 2.3.1), so names and secrets may hold any character.
#[tokio::test]
async fn odd_characters_in_name_and_secret_arrive_whole() {
    let world = seed::world().await;
    let odd = Client::new(&world.auth.issuer, "odd:client 1", ODD_SECRET, "");
    odd.client_credentials("documents:read").await.expect(200);
    let raw = with_header(&world, &basic("odd:client 1", ODD_SECRET), &ASK).await;
    assert_eq!(raw.expect(401).error(), "invalid_client", "not encoded, it is another name");
}

#[tokio::test]
async fn an_unsupported_assertion_is_refused_and_not_overlooked() {
    let world = World::start().await;
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "native"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "a.b.c"),
    ];
    let answer = Http::new().post_form(&format!("{}/token", world.auth.issuer), &fields).await;
    assert_eq!(answer.expect(401).error(), "invalid_client");
}

#[tokio::test]
async fn a_client_id_of_any_length_or_shape_is_only_unknown() {
    let world = World::start().await;
    let long = "x".repeat(10_000);
    for id in ["", "\u{e4}", "' OR 1=1 --", "../../etc", "acct_1", &long, "web\n"] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", id)];
        let answer = Http::new().post_form(&format!("{}/token", world.auth.issuer), &fields).await;
        assert_eq!(answer.expect(401).error(), "invalid_client", "{id:.20}");
    }
}
