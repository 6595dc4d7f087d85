//! What a real process writes down over whole flows: enough to see what happened, and no secret.

use std::os::unix::fs::PermissionsExt as _;

use shared_types::{Clock as _, SystemClock};
use tests::browser::Browser;
use tests::client::{Client, Documents, sign_in};
use tests::engine::dump;
use tests::http::Http;
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};
use tests::realm::{End, Realm};
use tests::world::{ALICE, SECRET};

use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

/// A client that nobody has registered, and that would rather write lines of its own.
const STRANGER: &str = "stranger\" client_id=web\nINFO security: forged";

/// Goes through every endpoint, well and badly; gives every secret that was seen on the way.
async fn everything(realm: &Realm) -> Vec<String> {
    let web = realm.web();
    let mut secrets = vec![ALICE.1.to_owned(), SECRET.to_owned(), "my-other-password".to_owned()];
    let mut browser = Browser::new();
    sign_in(&mut browser, &web.begin("openid", "wrong").url(), "alice", "my-other-password").await;
    // A password in the wrong field.
    sign_in(&mut browser, &web.begin("openid", "wrong").url(), "my-other-password", "x").await;
    let (page, pending) =
        realm.authorize(&mut browser, "openid documents:read offline_access", "logs").await;
    let code = pending.code(&page, &web);
    secrets.extend([
        code.clone(),
        pending.verifier.clone(),
        pending.state.clone(),
        pending.nonce.clone(),
    ]);
    for name in ["as_session", "as_browser", "as_known"] {
        secrets.push(browser.cookie("127.0.0.1", name).expect(name).to_owned());
    }
    let tokens = web.redeem(&code, &pending).await.expect(200);
    let next = web.refresh(&tokens.member("refresh_token")).await.expect(200);
    for answer in [&tokens, &next] {
        for name in ["access_token", "refresh_token", "id_token"] {
            secrets.extend(Some(answer.member(name)).filter(|token| !token.is_empty()));
        }
    }
    let access = tokens.member("access_token");
    web.userinfo(&access).await.expect(200);
    web.introspect(&access).await.expect(200);
    for id in ["web", STRANGER] {
        let wrong = Client::new(&realm.issuer, id, "not-the-secret-of-any-client", "");
        wrong.introspect(&access).await.expect(401);
        wrong.revoke(&access).await.expect(401);
    }
    secrets.push(refused_requests(&web).await);
    // Tokens and codes in places where they do not belong.
    let http = Http::new();
    http.get(&format!("{}/userinfo?access_token={access}", realm.issuer)).await;
    http.get(&format!("{}/{access}", realm.issuer)).await;
    http.post_form(&format!("{}/token?code={code}", realm.issuer), &[("code", &code)]).await;
    web.token(&[("grant_type", &code), ("scope", &access), ("resource", &code)]).await;
    web.redeem(&code, &pending).await.expect(400);
    web.revoke(&next.member("refresh_token")).await.expect(200);
    // A retry, and then a theft.
    let first = realm.tokens("openid", "reused").await.member("refresh_token");
    let second = web.refresh(&first).await.expect(200).member("refresh_token");
    web.refresh(&first).await.expect(200);
    web.refresh(&second).await.expect(200);
    web.refresh(&first).await.expect(400);
    secrets.extend([first, second]);
    let hint = tokens.member("id_token");
    browser.get(&format!("{}/end_session?id_token_hint={hint}", realm.issuer)).await;
    let machine = realm.machine().client_credentials("documents:read").await.expect(200);
    secrets.push(machine.member("access_token"));
    secrets
}

/// Requests of a known client and of a stranger that go nowhere, and a form that was not ours; gives its forged token.
async fn refused_requests(web: &Client) -> String {
    let forged = "another-browsers-csrf-token";
    let mut browser = Browser::new();
    browser.get(&web.begin("openid", "refused").param("response_type", "token").url()).await;
    browser.get(&web.begin("openid", "refused").param("client_id", STRANGER).url()).await;
    let page = browser.get(&web.begin("openid", "forged").url()).await;
    let page = browser.settle(page).await;
    let form = page.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let form = form.set("csrf", forged).press("login-submit");
    assert_eq!(browser.submit(&page, &form).await.status(), 403);
    forged.to_owned()
}

/// A secret is there if a long enough piece of it is.
fn check(log: &str, secrets: &[String]) {
    for secret in secrets {
        // The signature is what makes a token a token.
        let piece = secret.rsplit('.').next().unwrap();
        let piece = &piece[..piece.len().min(24)];
        let line = log.lines().find(|line| line.contains(piece));
        assert!(line.is_none(), "{piece} in {line:?}");
    }
}

#[tokio::test]
async fn no_secret_reaches_the_log_and_every_event_does() {
    for format in ["text", "json"] {
        let mut realm =
            Realm::start(AUTH_SERVER, &["--log-format", format, "--log", "debug"]).await;
        let secrets = everything(&realm).await;
        realm.end(End::Asked).await;
        let log = realm.log();
        check(&log, &secrets);
        for event in [
            "sign_in",
            "sign_in_failed",
            "consent",
            "code_issued",
            "token_issued",
            "token_refused",
            "client_refused",
            "code_replayed",
            "revoked",
            "signed_out",
            "refresh_retried",
            "refresh_reuse_detected",
            "authorization_refused",
            "form_forged",
        ] {
            let named = match format {
                "json" => log.contains(&format!("\"event\":\"{event}\"")),
                _ => {
                    log.contains(&format!(" event={event} "))
                        || log.contains(&format!(" event={event}\n"))
                }
            };
            assert!(named, "{event} is missing in:\n{log}");
        }
        if format == "json" {
            // Standard output has what `--apply` did; the log is on standard error.
            let report = |line: &&str| line.starts_with("+ ") || line.ends_with(" changed");
            for line in log.lines().filter(|line| !report(line)) {
                let line: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                assert!(
                    line["time"].is_string()
                        && line["level"].is_string()
                        && line["message"].is_string()
                );
            }
        }
    }
}

/// Who reads of a theft has to know whose grant it was, and through which client.
#[tokio::test]
async fn security_events_name_the_client_and_the_person_and_never_a_stranger() {
    let mut realm = Realm::start(AUTH_SERVER, &["--log-format", "json"]).await;
    everything(&realm).await;
    realm.end(End::Asked).await;
    let log = realm.log();
    assert!(!log.contains("stranger") && !log.contains("security: forged"), "{log}");
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let events = |name: &str| -> Vec<&serde_json::Value> {
        let found: Vec<_> = lines.iter().filter(|line| line["event"] == name).collect();
        assert!(!found.is_empty(), "{name} is missing in:\n{log}");
        found
    };
    for name in
        ["token_issued", "code_replayed", "refresh_retried", "refresh_reuse_detected", "revoked"]
    {
        for line in events(name) {
            let (client, subject) = (&line["client_id"], line["sub"].as_str().unwrap_or_default());
            let is_whole = match client.as_str() {
                Some("web") => subject.starts_with("acct_"),
                Some("machine") => subject == "machine",
                _ => false,
            };
            assert!(is_whole, "{line}");
        }
    }
    let known = |line: &&&serde_json::Value| line["client_id"] == "web";
    let refused = events("token_refused");
    assert!(refused.iter().filter(known).any(|line| line["error"] == "invalid_grant"), "{log}");
    let unproven = events("client_refused");
    assert_eq!(unproven.iter().filter(known).count(), 2, "one each at /introspect and /revoke");
    assert!(unproven.iter().any(|line| line.get("client_id").is_none()), "{log}");
    let refused = events("authorization_refused");
    let of_web = refused.iter().filter(known);
    let codes: Vec<&str> = of_web.filter_map(|line| line["error"].as_str()).collect();
    assert_eq!(codes, ["unsupported_response_type"], "{log}");
    assert!(refused.iter().any(|line| line.get("client_id").is_none()), "{log}");
    assert!(refused.iter().all(|line| line["cause"].is_string()), "{log}");
    let forged = events("form_forged");
    assert_eq!(forged.len(), 1, "{log}");
    assert_eq!(forged[0]["form"], "login");
    assert_eq!(forged[0]["cause"], "the token is not this browser's");
}

/// The resource server says of a token that did not open the door which check refused it, and nothing that stood in it. Without a token
/// nothing was tried, so nothing is said.
#[tokio::test]
async fn a_refused_token_is_an_event_of_the_resource_server_and_never_in_it() {
    let issuer = FakeIssuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let resource = format!("http://127.0.0.1:{port}");
    let args = [
        "--issuer",
        &issuer.url,
        "--resource",
        &resource,
        "--log-format",
        "json",
        "--log",
        "debug",
    ];
    let server = Process::start(RESOURCE_SERVER, folder.path(), port, &args).await;
    let now = SystemClock.now().as_i64();
    let token = || issuer.token(&resource, now);
    let good = token().text();
    let late = token().claim("exp", now - 60).text();
    let poor = token().claim("scope", "documents:write").text();
    let refused =
        [(late.as_str(), 401), (poor.as_str(), 403), ("marked-as-no-token", 401), ("a b", 400)];
    Documents::bearer(&resource, &good).list("").await.expect(200);
    Documents::anonymous(&resource).list("").await.expect(401);
    for (token, status) in refused {
        Documents::bearer(&resource, token).list("").await.expect(status);
    }
    let (status, log) = server.stop().await;
    assert_eq!(status, Some(0), "{log}");
    check(&log, &[good, late.clone(), poor.clone(), "marked-as-no-token".to_owned()]);
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let events: Vec<serde_json::Value> =
        lines.filter(|line: &serde_json::Value| line["event"] == "bearer_refused").collect();
    let said: Vec<(&str, &str)> = events
        .iter()
        .map(|line| (line["error"].as_str().unwrap(), line["cause"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("invalid_token", "expired"),
            ("insufficient_scope", "scope"),
            ("invalid_token", "segments"),
            ("invalid_request", "invalid_request"),
        ]
    );
    assert!(
        events.iter().all(|line| line["target"] == "security" && line["request_id"].is_string())
    );
}

#[tokio::test]
async fn the_access_log_has_the_route_and_a_request_id_and_never_the_query() {
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    let http = Http::new();
    let answer = http.get(&format!("{}/authorize?client_id=marked", realm.issuer)).await;
    let id = answer.header("X-Request-Id").to_owned();
    assert!(!id.is_empty());
    http.get(&format!("{}/marked-path", realm.issuer)).await;
    realm.end(End::Asked).await;
    let log = realm.log();
    assert!(!log.contains("marked"), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains(&format!("request_id={id}")) && line.contains("access"))
        .unwrap();
    assert!(
        line.contains("GET /authorize 400")
            && line.contains("route=/authorize")
            && line.contains("status=400"),
        "{line}"
    );
}

/// A thief of the database finds no token, no code, no cookie and no password in it.
#[tokio::test]
async fn no_secret_reaches_the_disk_in_clear() {
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    std::fs::remove_file(realm.folder().join("state.toml")).unwrap();
    let secrets = everything(&realm).await;
    realm.end(End::Asked).await;
    let mut places = Vec::new();
    for entry in std::fs::read_dir(realm.folder()).unwrap() {
        let path = entry.unwrap().path();
        places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        if path.extension().is_some_and(|ending| ending == "master-key") {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
    if realm.database().starts_with("postgres:") {
        let rows = dump(realm.database()).await;
        assert!(rows.contains("alice"), "the rows are there");
        places.push(("the database".to_owned(), rows.into_bytes()));
    }
    let secrets =
        secrets.iter().filter(|secret| !["state-logs", "nonce-logs"].contains(&secret.as_str()));
    for secret in secrets {
        let piece = secret.rsplit('.').next().unwrap();
        let piece = &piece.as_bytes()[..piece.len().min(24)];
        // The bytes of a column are written in hexadecimal.
        let hex = tests::engine::hex(piece);
        for (place, bytes) in &places {
            let holds = |piece: &[u8]| bytes.windows(piece.len()).any(|window| window == piece);
            assert!(!holds(piece) && !holds(hex.as_bytes()), "{place} holds a secret");
        }
    }
}
