//! The flow over native TLS: what changes where the issuer is https.

use auth_server::config::TlsFiles;
use tests::browser::Browser;
use tests::http::{Http, send};
use tests::world::{ALICE, Auth, SECRET, WEB_CALLBACK, clock, state};

#[tokio::test]
async fn on_https_cookies_are_host_bound_and_secure_and_answers_say_hsts() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut issuer = String::new();
    let auth = Auth::start(folder.path(), &state("http://127.0.0.1:1"), &clock(), |settings| {
        issuer = format!("https://localhost:{}", settings.listen.port());
        settings.issuer = shared_types::Issuer::parse(&issuer).unwrap();
        settings.tls = Some(TlsFiles { cert, key });
    })
    .await;
    let http = Http::trusting(&[made.cert.der().to_vec()]);
    let mut browser = Browser::with(http.clone());
    let web = tests::client::Client::new(&issuer, "web", SECRET, WEB_CALLBACK);
    let pending = web.begin("openid", "tls");
    let page = tests::client::sign_in(&mut browser, &pending.url(), ALICE.0, ALICE.1).await;
    let code = pending.code(&page, &web);
    assert_eq!(page.answer.header("Strict-Transport-Security"), "max-age=31536000");
    for name in ["__Host-as_session", "__Host-as_browser", "__Host-as_known"] {
        let line =
            browser.cookie_line("localhost", name).unwrap_or_else(|| panic!("{name} is not set"));
        for part in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("Domain"), "{line}");
    }
    // What a neighboring host plants without the prefix is not looked at.
    let session = browser.cookie("localhost", "__Host-as_session").unwrap().to_owned();
    let mut planted = Browser::with(http.clone());
    planted.plant("localhost", "as_session", &session);
    let page = planted.get(&web.begin("openid", "planted").param("prompt", "none").url()).await;
    assert_eq!(page.location_param("error"), "login_required");

    let redeemed = http
        .request(reqwest::Method::POST, &format!("{issuer}/token"))
        .basic_auth("web", Some(SECRET))
        .form(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", &pending.verifier),
        ]);
    let tokens = send(redeemed).await.expect(200);
    assert_eq!(tokens.header("Strict-Transport-Security"), "max-age=31536000");
    auth.running.stop().await;
}

#[tokio::test]
async fn on_http_cookies_are_http_only_and_lax_and_no_answer_says_hsts() {
    let world = tests::world::World::start().await;
    let mut browser = Browser::new();
    let (page, _) = world.authorize(&mut browser, &world.web(), "openid", "plain").await;
    assert_eq!(page.answer.header("Strict-Transport-Security"), "");
    for name in ["as_session", "as_browser", "as_known"] {
        let line = browser.cookie_line("127.0.0.1", name).unwrap();
        assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Lax"), "{line}");
        assert!(!line.contains("Secure") && !line.contains("Domain"), "{line}");
    }
    // A session ends with the browser; that it was here once is remembered.
    assert!(!browser.cookie_line("127.0.0.1", "as_session").unwrap().contains("Max-Age"));
    assert!(browser.cookie_line("127.0.0.1", "as_known").unwrap().contains("Max-Age"));
}
