//! A proxy before the servers: what it says of a request is believed where it is trusted, what others say never is.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use shared_types::{Clock as _, SystemClock};
use tests::client::Documents;
use tests::http::{Answer, Http, send};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};
use tests::realm::{End, Realm};

use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

/// What a caller invents, before what the proxy saw of it.
const INVENTED: &str = "198.51.100.66";
const CALLER: &str = "203.0.113.9";

/// Whom a server trusts, and whether our proxy, which is on this machine, is among them.
const TRUSTED: [(&[&str], bool); 3] = [
    (&[], false),
    (&["--trusted-proxy", "192.0.2.1"], false),
    (&["--trusted-proxy", "192.0.2.1", "--trusted-proxy", "127.0.0.0/8"], true),
];

/// A request as the proxy passes it on.
async fn pass_on(request: RequestBuilder, id: &str) -> Answer {
    let chain = format!("{INVENTED}, {CALLER}");
    send(request.header("X-Forwarded-For", chain).header("X-Request-Id", id)).await
}

/// The lines about one request, `access` and `security`, have its address and its id as they should be.
fn check(log: &str, (sent, answer): (&str, &Answer), believed: bool, targets: &[&str]) {
    let id = answer.header("X-Request-Id");
    assert_eq!(id == sent, believed, "{id}");
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["request_id"] == id && line.get("client").is_some())
        .collect();
    let found: Vec<&str> = lines.iter().filter_map(|line| line["target"].as_str()).collect();
    assert_eq!(found, targets, "{log}");
    let client = if believed { CALLER } else { "127.0.0.1" };
    assert!(lines.iter().all(|line| line["client"] == client), "{log}");
    assert!(!log.contains(INVENTED), "{log}");
    assert!(believed || !log.contains(CALLER) && !log.contains(sent), "{log}");
}

#[tokio::test]
async fn the_resource_server_believes_a_trusted_proxy_about_address_and_id_and_nobody_else() {
    let issuer = FakeIssuer::start().await;
    for (more, believed) in TRUSTED {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let resource = format!("http://127.0.0.1:{port}");
        let args = ["--issuer", &issuer.url, "--resource", &resource, "--log-format", "json"];
        let args = [&args, more].concat();
        let server = Process::start(RESOURCE_SERVER, folder.path(), port, &args).await;
        let now = SystemClock.now().as_i64();
        let token = issuer.token(&resource, now);
        let ask =
            |token: &str| Documents::bearer(&resource, token).request(Method::GET, "/documents");
        let good = pass_on(ask(&token.text()), "id-of-the-good").await.expect(200);
        let late = issuer.token(&resource, now).claim("exp", now - 60).text();
        let late = pass_on(ask(&late), "id-of-the-late").await.expect(401);
        let (status, log) = server.stop().await;
        assert_eq!(status, Some(0), "{log}");
        check(&log, ("id-of-the-good", &good), believed, &["access"]);
        check(&log, ("id-of-the-late", &late), believed, &["security", "access"]);
    }
}

#[tokio::test]
async fn the_auth_server_believes_a_trusted_proxy_about_address_and_id_and_nobody_else() {
    for (more, believed) in TRUSTED {
        let args = [&["--log-format", "json"], more].concat();
        let mut realm = Realm::start(AUTH_SERVER, &args).await;
        let ask = Http::new().request(Method::GET, &format!("{}/jwks.json", realm.issuer));
        let answer = pass_on(ask, "id-of-the-proxy").await.expect(200);
        realm.end(End::Asked).await;
        check(&realm.log(), ("id-of-the-proxy", &answer), believed, &["access"]);
    }
}
