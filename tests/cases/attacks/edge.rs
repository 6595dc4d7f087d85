//! Attacks at the edge: how a token arrives, what the answer gives away, and whose words about the address count.

use reqwest::Method;
use tests::client::Documents;
use tests::http::send;

use tests::world::Guarded;

/// "the resource server SHOULD NOT include an error code" where no credentials came (RFC 6750 section 3.1).
#[tokio::test]
async fn without_a_token_the_challenge_carries_no_error() {
    let api = Guarded::start().await;
    let answer = Documents::anonymous(&api.url).whoami().await.expect(401);
    let challenge = answer.challenge();
    assert_eq!(challenge.scheme, "Bearer");
    for name in ["error", "error_description", "scope"] {
        assert_eq!(challenge.get(name), "", "{name}");
    }
    let metadata = challenge.get("resource_metadata");
    assert_eq!(metadata, format!("{}/.well-known/oauth-protected-resource", api.url));
}

/// Kong, Envoy: a token in the query or the body ends up in logs, and next to another one in an argument.
#[tokio::test]
async fn a_token_is_taken_from_the_header_only() {
    let api = Guarded::start().await;
    let token = api.token().text();
    let anonymous = Documents::anonymous(&api.url);
    let query = anonymous.request(Method::GET, &format!("/whoami?access_token={token}"));
    let answer = send(query).await;
    assert!(matches!(answer.status, 400 | 401), "{}", answer.status);
    let body = anonymous.request(Method::POST, "/documents").form(&[("access_token", &token)]);
    assert!(matches!(send(body).await.status, 400 | 401 | 415));
    let cookie = anonymous
        .request(Method::GET, "/whoami")
        .header("Cookie", format!("access_token={token}; Authorization=Bearer {token}"));
    assert_eq!(send(cookie).await.status, 401);
}

#[tokio::test]
async fn two_tokens_are_an_invalid_request() {
    let api = Guarded::start().await;
    let token = api.token().text();
    let twice = api
        .documents(&token)
        .request(Method::GET, "/whoami")
        .header("Authorization", format!("Bearer {token}"));
    api.invalid_request(send(twice).await);
    let query =
        api.documents(&token).request(Method::GET, &format!("/whoami?access_token={token}"));
    api.invalid_request(send(query).await);
    let body =
        api.documents(&token).request(Method::POST, "/documents").form(&[("access_token", &token)]);
    api.invalid_request(send(body).await);
    let listed =
        Documents::with_authorization(&api.url, &format!("Bearer {token}, Bearer {token}"));
    api.invalid_request(listed.whoami().await);
}

#[tokio::test]
async fn other_schemes_and_other_shapes_are_not_read() {
    let api = Guarded::start().await;
    let token = api.token().text();
    let of = |header: String| Documents::with_authorization(&api.url, &header);
    for header in [
        format!("Basic {token}"),
        format!("Token {token}"),
        token.clone(),
        format!("Bearer{token}"),
        "Negotiate".to_owned(),
    ] {
        let answer = of(header.clone()).whoami().await;
        assert!(matches!(answer.status, 400 | 401), "{header:.20} {}", answer.status);
    }
    for header in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {token} x"),
        format!("Bearer \"{token}\""),
        format!("Bearer\t{token}"),
    ] {
        let answer = of(header.clone()).whoami().await;
        assert!(matches!(answer.status, 400 | 401), "{header:.20} {}", answer.status);
    }
    for header in [format!("bearer {token}"), format!("BEARER {token}")] {
        // "auth-scheme is case-insensitive" (RFC 9110 section 11.1).
        assert_eq!(of(header).whoami().await.status, 200);
    }
}

/// Spring's `resource_metadata` followed the Host header: whoever sets that sends clients to his own issuer.
#[tokio::test]
async fn the_challenge_names_the_configured_address_whatever_the_request_says() {
    let api = Guarded::start().await;
    let forged = Documents::anonymous(&api.url)
        .request(Method::GET, "/whoami")
        .header("Host", "evil.example")
        .header("X-Forwarded-Host", "evil.example")
        .header("Forwarded", "host=evil.example;proto=https");
    let answer = send(forged).await.expect(401);
    let metadata = answer.challenge().get("resource_metadata").to_owned();
    assert_eq!(metadata, format!("{}/.well-known/oauth-protected-resource", api.url));
}

/// Oathkeeper put claims into the details of its errors; a log or a page somewhere kept them.
#[tokio::test]
async fn an_answer_never_repeats_what_was_sent() {
    let api = Guarded::start().await;
    let marked =
        api.token().claim("sub", "acct_marked\"quote").claim("aud", "https://marked.example/\"x");
    let header = api.token().header("alg", "marked\", evil=\"1").header("kid", "marked");
    for token in [marked.text(), header.text(), "marked\"".to_owned()] {
        let answer = api.ask(&token).await;
        assert!(!answer.text().contains("marked"), "{}", answer.text());
        assert!(!answer.header("WWW-Authenticate").contains("marked"));
        answer.challenge();
    }
}

#[tokio::test]
async fn too_small_a_scope_is_told_which_one_is_missing() {
    let api = Guarded::start().await;
    let token = api.token().claim("scope", "documents:read").text();
    let answer = api.documents(&token).create("t", "b").await.expect(403);
    let challenge = answer.challenge();
    assert_eq!(challenge.get("error"), "insufficient_scope");
    assert_eq!(challenge.get("scope"), "documents:write");
    for close in [
        "documents:writer",
        "documents",
        "DOCUMENTS:WRITE",
        "documents:*",
        "*",
        "documents:read,documents:write",
    ] {
        let token = api.token().claim("scope", close).text();
        assert_eq!(api.documents(&token).create("t", "b").await.status, 403, "{close}");
    }
    let none = api.token().without_claim("scope").text();
    assert_eq!(api.documents(&none).list("").await.status, 403);
    assert_eq!(api.ask(&none).await.status, 200, "any good token may ask who it is");
}

/// Oathkeeper GHSA-p224-6x5r-fjpm: a path that one part reads in one way and the next in another.
#[tokio::test]
async fn odd_paths_reach_nothing_without_a_token() {
    let api = Guarded::start().await;
    let authority = api.url.strip_prefix("http://").unwrap();
    for path in [
        "/documents/../whoami",
        "/%77hoami",
        "//whoami",
        "/whoami/",
        "/healthz/..%2fwhoami",
        "/healthz/../whoami",
        "/healthz;/whoami",
        "/healthz%00/whoami",
        "/.well-known/../documents",
        "/documents%2f1",
        "/Whoami",
    ] {
        let status =
            raw(authority, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        assert!(matches!(status, 400 | 401 | 404), "{path}: {status}");
    }
}

/// Two lengths, or a length and chunks: the seam along which a proxy and a server cut one request into two.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused() {
    let api = Guarded::start().await;
    let authority = api.url.strip_prefix("http://").unwrap();
    for framing in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!(
            "POST /documents HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n0\r\n\r\n"
        );
        let status = raw(authority, &request).await;
        assert_eq!(status, 400, "{framing}");
    }
}

/// oauth2-proxy CVE-2025-64484, `mod_auth_openidc`: headers of a gate that is not there, believed all the same.
#[tokio::test]
async fn headers_that_name_a_person_name_nobody() {
    let api = Guarded::start().await;
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-Access-Token",
        "X_Forwarded_User",
        "X-Auth-Request-User",
        "X-Remote-User",
        "Remote-User",
        "OIDC_CLAIM_sub",
        "X-Original-URI",
        "X-Forwarded-Uri",
        "X-Rewrite-Url",
        "X-HTTP-Method-Override",
    ];
    let mut forged = Documents::anonymous(&api.url).request(Method::GET, "/whoami");
    let mut honest = api.documents(&api.token().text()).request(Method::GET, "/whoami");
    for name in names {
        forged = forged.header(name, "acct_eve");
        honest = honest.header(name, "acct_eve");
    }
    assert_eq!(send(forged).await.status, 401);
    assert_eq!(send(honest).await.member("sub"), "acct_alice");
}

/// Sends bytes as they are and reads the status of the first answer.
async fn raw(authority: &str, request: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    let status =
        text.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
    status.parse().unwrap()
}
