//! Forged tokens and odd requests at the authorization server's own doors.

use serde_json::json;
use tests::http::Http;
use tests::oracle::{Alg, Key, Token, read};
use tests::world::World;

/// Forged in every part at our own resource, userinfo, and at introspection.
#[tokio::test]
async fn forged_tokens_open_neither_userinfo_nor_introspection() {
    let world = World::start().await;
    let web = world.web();
    let real = world.tokens(&web, "openid documents:read", "real").await.member("access_token");
    let jwks = web.jwks().await;
    let (header, claims) = read(&real, &jwks);
    let key = Key::new(Alg::Es256, header["kid"].as_str().unwrap());
    let copy = |key: &Key| {
        let mut token = Token::access(key, &world.auth.issuer, &world.auth.issuer, world.now());
        for (name, value) in claims.as_object().unwrap() {
            token = token.claim(name, value.clone());
        }
        token
    };
    let signature = real.rsplit('.').next().unwrap();
    let segments: Vec<&str> = real.split('.').collect();
    let none = tests::oracle::b64(r#"{"alg":"none","typ":"at+jwt"}"#);
    let public =
        jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == header["kid"]).unwrap();
    let all = [
        ("another key under our kid", copy(&key).text()),
        ("alg none", format!("{none}.{}.", segments[1])),
        ("alg none with a signature", format!("{none}.{}.{signature}", segments[1])),
        (
            "HS256 with the public JWK",
            copy(&key).header("alg", "HS256").maced_with(public.to_string()).text(),
        ),
        ("an embedded key", copy(&key).header("jwk", key.jwk()).text()),
        ("a jku", copy(&key).header("jku", "http://127.0.0.1:1/jwks.json").text()),
        ("no kid", copy(&key).without_header("kid").text()),
        ("a kid like a path", copy(&key.named("../../dev/null")).text()),
        ("zeros as signature", copy(&key).signature(vec![0; 64]).text()),
        ("no signature", format!("{}.{}.", segments[0], segments[1])),
        ("two segments", format!("{}.{}", segments[0], segments[1])),
        ("four segments", format!("{real}.x")),
        (
            "a changed payload",
            format!(
                "{}.{}.{signature}",
                segments[0],
                tests::oracle::b64(claims.to_string().replace("acct_", "acct_x"))
            ),
        ),
        ("padding", format!("{real}=")),
        ("line breaks", real.replace('.', ".\n")),
        (
            "JSON",
            json!({"protected": segments[0], "payload": segments[1], "signature": signature})
                .to_string(),
        ),
    ];
    for (why, token) in all {
        let header_safe = !token.contains('\n') && token.is_ascii();
        if header_safe {
            // What follows no grammar of a token is no request (RFC 6750 section 3.1).
            let status = if why == "JSON" { 400 } else { 401 };
            assert_eq!(web.userinfo(&token).await.status, status, "{why}");
        }
        let told = web.introspect(&token).await.expect(200);
        assert_eq!(told.text(), r#"{"active":false}"#, "{why}");
    }
    web.userinfo(&real).await.expect(200);
}

/// Odd paths reach nothing that has rules of its own.
#[tokio::test]
async fn odd_paths_are_404_and_never_another_route() {
    let world = World::start().await;
    let authority = world.auth.issuer.strip_prefix("http://").unwrap();
    for path in [
        "/token/",
        "//token",
        "/%74oken",
        "/token%00",
        "/token;x",
        "/./token",
        "/x/../token",
        "/TOKEN",
        "/token%2f",
        "/jwks.json/",
        "/metrics",
        "/.git/config",
        "/openapi.json/../metrics",
    ] {
        let status = raw(
            authority,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
        )
        .await;
        // Of a path that is ours in another spelling, nothing but the answer to a client that does not say who it is.
        assert!(matches!(status, 400 | 401 | 404 | 405), "{path}: {status}");
    }
    let metrics = Http::new().get(&format!("{}/metrics", world.auth.issuer)).await;
    assert_eq!(metrics.status, 404, "metrics have a listener of their own");
}

/// Two lengths, or a length and chunks: the seam along which a proxy and a server cut one request into two.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused() {
    let world = World::start().await;
    let authority = world.auth.issuer.strip_prefix("http://").unwrap();
    for framing in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!(
            "POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n0\r\n\r\n"
        );
        assert_eq!(raw(authority, &request).await, 400, "{framing}");
    }
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
