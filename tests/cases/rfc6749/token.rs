//! The token endpoint (RFC 6749 sections 3.2, 5.1 and 5.2): how a request arrives, and how its answer looks.

use reqwest::Method;
use tests::http::{Answer, Http, send};
use tests::world::{SECRET, World};

async fn post(world: &World, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = Http::new()
        .request(Method::POST, &format!("{}/token", world.auth.issuer))
        .header("Content-Type", content_type)
        .basic_auth("machine", Some(SECRET))
        .body(body.into());
    send(request).await
}

const FORM: &str = "application/x-www-form-urlencoded";

fn refused(answer: &Answer, status: u16, error: &str, why: &str) {
    assert_eq!(answer.status, status, "{why}: {}", answer.text());
    assert_eq!(answer.error(), error, "{why}");
    assert_eq!(answer.header("Cache-Control"), "no-store", "{why}");
    assert_eq!(answer.header("Pragma"), "no-cache", "{why}");
    assert_eq!(answer.header("Content-Type"), "application/json", "{why}");
    let description = answer.member("error_description");
    assert!(!description.is_empty(), "{why}");
}

/// "The client MUST use the HTTP "POST" method"; and whatever stands in a URL ends up in logs.
#[tokio::test]
async fn only_post_and_never_the_query() {
    let world = World::start().await;
    let url = format!("{}/token", world.auth.issuer);
    let http = Http::new();
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::OPTIONS] {
        let answer = send(http.request(method.clone(), &url)).await;
        assert_eq!((answer.status, answer.header("Allow")), (405, "POST"), "{method}");
    }
    for query in ["?grant_type=client_credentials", "?x", "?client_secret=x"] {
        let request = http
            .request(Method::POST, &format!("{url}{query}"))
            .basic_auth("machine", Some(SECRET))
            .form(&[("grant_type", "client_credentials")]);
        refused(&send(request).await, 400, "invalid_request", query);
    }
}

#[tokio::test]
async fn a_success_looks_as_section_5_1_says() {
    let world = World::start().await;
    let answer = world.machine().client_credentials("documents:read").await.expect(200);
    assert_eq!(answer.header("Content-Type"), "application/json");
    assert_eq!(answer.header("Cache-Control"), "no-store");
    assert_eq!(answer.header("Pragma"), "no-cache");
    assert_eq!(
        answer.header("Access-Control-Allow-Origin"),
        "",
        "no browser script redeems tokens here"
    );
    let body = answer.json();
    let mut names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
}

#[tokio::test]
async fn a_body_that_is_no_form_is_an_invalid_request() {
    let world = World::start().await;
    let good = "grant_type=client_credentials&scope=documents%3Aread";
    assert_eq!(post(&world, FORM, good).await.status, 200);
    assert_eq!(
        post(&world, "Application/X-WWW-Form-URLEncoded; charset=UTF-8", good).await.status,
        200
    );
    for content_type in [
        "application/json",
        "text/plain",
        "multipart/form-data",
        "application/x-www-form-urlencodedx",
        "",
    ] {
        refused(&post(&world, content_type, good).await, 400, "invalid_request", content_type);
    }
    for body in [
        "",
        "scope=documents%3Aread",
        "grant_type=",
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=client_credentials&scope=a&scope=b",
        "grant_type=client_credentials&x=1&x=2",
        "grant_type=client_credentials&x=%",
        "grant_type=client_credentials&x=%GG",
        "grant_type=client_credentials&x=%ff%fe",
        "grant_type=client_credentials&x=%00",
    ] {
        refused(&post(&world, FORM, body).await, 400, "invalid_request", body);
    }
    let many: Vec<String> = (0..100).map(|number| format!("&p{number}=1")).collect();
    let many = many.concat();
    refused(&post(&world, FORM, format!("{good}{many}")).await, 400, "invalid_request", "many");
    let large = format!("{good}&x={}", "y".repeat(70_000));
    assert_eq!(post(&world, FORM, large).await.status, 413);
}

/// What a proxy reads in a body and what we read must not be two things.
#[tokio::test]
async fn a_body_of_two_media_types_or_a_compressed_one_is_not_read() {
    let world = World::start().await;
    let of = |lines: &[(&'static str, &'static str)]| {
        let mut request = Http::new()
            .request(Method::POST, &format!("{}/token", world.auth.issuer))
            .basic_auth("machine", Some(SECRET));
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        send(request.body("grant_type=client_credentials&scope=documents%3Aread"))
    };
    let form = ("Content-Type", FORM);
    of(&[form, ("Content-Encoding", "identity")]).await.expect(200);
    for other in [FORM, "application/json"] {
        let answer = of(&[form, ("Content-Type", other)]).await;
        refused(&answer, 400, "invalid_request", other);
    }
    for coding in ["gzip", "deflate", "identity, gzip"] {
        let answer = of(&[form, ("Content-Encoding", coding)]).await;
        refused(&answer, 415, "invalid_request", coding);
    }
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_unknown_grant_types_are_not() {
    let world = World::start().await;
    let machine = world.machine();
    let fields = [("grant_type", "client_credentials"), ("utm_source", "x"), ("audience", "y")];
    machine.token(&fields).await.expect(200);
    for grant in [
        "password",
        "implicit",
        "CLIENT_CREDENTIALS",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_credentials ",
    ] {
        let answer =
            machine.token(&[("grant_type", grant), ("username", "alice"), ("password", "x")]).await;
        refused(&answer, 400, "unsupported_grant_type", grant);
    }
}

#[tokio::test]
async fn a_client_uses_only_what_it_is_registered_for() {
    let world = World::start().await;
    let (web, machine) = (world.web(), world.machine());
    refused(&web.client_credentials("documents:read").await, 400, "unauthorized_client", "web");
    let fields = [("grant_type", "authorization_code"), ("code", "x")];
    refused(&machine.token(&fields).await, 400, "unauthorized_client", "machine, code");
    refused(&machine.refresh("x").await, 400, "unauthorized_client", "machine, refresh");
    // RFC 6749 section 4.4: never a client that cannot be authenticated.
    refused(
        &world.native().client_credentials("documents:read").await,
        400,
        "unauthorized_client",
        "native",
    );
}

#[tokio::test]
async fn a_missing_parameter_is_an_invalid_request() {
    let world = World::start().await;
    let web = world.web();
    for grant in ["authorization_code", "refresh_token"] {
        refused(&web.token(&[("grant_type", grant)]).await, 400, "invalid_request", grant);
        let empty = [("grant_type", grant), ("code", ""), ("refresh_token", "")];
        refused(&web.token(&empty).await, 400, "invalid_request", grant);
    }
}

#[tokio::test]
async fn nothing_that_was_sent_comes_back_in_an_error() {
    let world = World::start().await;
    let marked = "marked-by-the-sender";
    for fields in [
        [("grant_type", marked), ("scope", marked)],
        [("grant_type", "client_credentials"), ("scope", marked)],
        [
            ("grant_type", "client_credentials"),
            ("resource", "https://marked-by-the-sender.example"),
        ],
    ] {
        let answer = world.machine().token(&fields).await.expect(400);
        assert!(!answer.text().contains(marked), "{}", answer.text());
    }
}
