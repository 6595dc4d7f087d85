//! Both servers as real processes: how they start, refuse to start, tell their health, reload, and stop.

use std::process::Command;

use shared_types::{Clock as _, SystemClock};
use tests::http::{Http, try_send};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The authorization server's program, as fresh as the cases.
pub const AUTH_SERVER: &str = env!("CARGO_BIN_EXE_auth-server-under-test");
/// The resource server's program.
pub const RESOURCE_SERVER: &str = env!("CARGO_BIN_EXE_resource-server-under-test");

const BOTH: [&str; 2] = [AUTH_SERVER, RESOURCE_SERVER];

#[tokio::test]
async fn a_server_is_ready_soon_and_stops_with_status_0() {
    let issuer = FakeIssuer::start().await;
    for program in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let args = if program == RESOURCE_SERVER { vec!["--issuer", &issuer.url] } else { vec![] };
        let server = Process::start(program, folder.path(), free_port(), &args).await;
        let health = Http::new().get(&format!("{}/healthz", server.url)).await;
        assert_eq!(health.status, 200);
        let (status, log) = server.stop().await;
        assert_eq!(status, Some(0), "{log}");
    }
}

#[tokio::test]
async fn every_wrong_setting_is_told_at_once_and_nothing_is_started() {
    for program in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "workers = \"many\"\nno_such_key = 1\n").unwrap();
        let output = run(
            program,
            folder.path(),
            &[
                "serve",
                "--config",
                "settings.toml",
                "--issuer",
                "http://id.example",
                "--tls-cert",
                "only.pem",
            ],
            "",
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for wrong in ["workers", "no_such_key", "issuer", "tls"] {
            assert!(said.contains(wrong), "{wrong} is missing in: {said}");
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no database was made: {left:?}");
    }
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.toml"), "drain = 3\nworkers = 1\n").unwrap();
    let drain = |variable: Option<&str>, flags: &[&str]| {
        let mut command = Command::new(AUTH_SERVER);
        command.args(["config", "--json", "--config", "s.toml"]).args(flags);
        command.current_dir(folder.path()).env_remove("AUTH_SERVER_DRAIN");
        command.envs(variable.map(|value| ("AUTH_SERVER_DRAIN", value)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (settings["drain"].as_u64(), settings["workers"].as_u64())
    };
    assert_eq!(drain(None, &[]), (Some(3), Some(1)));
    assert_eq!(drain(Some("4"), &[]), (Some(4), Some(1)));
    assert_eq!(drain(Some("4"), &["--drain", "5"]), (Some(5), Some(1)));
    assert_eq!(drain(None, &["--drain", "5"]), (Some(5), Some(1)));
}

/// The resource server prints no settings; which address its health check asks shows which one counts.
#[tokio::test]
async fn the_resource_server_ranks_its_settings_alike() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = FakeIssuer::start().await;
    let (port, nobody) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let args = ["--issuer", &issuer.url];
    let server = Process::start(RESOURCE_SERVER, folder.path(), port, &args).await;
    let there = format!("127.0.0.1:{port}");
    let finds_it = |file: &str, variable: Option<&str>, flag: Option<&str>| {
        std::fs::write(folder.path().join("s.toml"), format!("listen = \"{file}\"\n")).unwrap();
        let mut command = Command::new(RESOURCE_SERVER);
        command.args(["healthcheck", "--config", "s.toml"]).current_dir(folder.path());
        command.args(flag.into_iter().flat_map(|address| ["--listen", address]));
        command.env_remove("RESOURCE_SERVER_LISTEN");
        command.envs(variable.map(|address| ("RESOURCE_SERVER_LISTEN", address)));
        let output = command.output().unwrap();
        match output.status.code() {
            Some(0) => true,
            Some(1) => false,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    };
    assert!(finds_it(&there, None, None));
    assert!(finds_it(&nobody, Some(&there), None));
    assert!(!finds_it(&there, Some(&nobody), None));
    assert!(finds_it(&nobody, Some(&nobody), Some(&there)));
    assert!(!finds_it(&there, Some(&there), Some(&nobody)));
    assert_eq!(server.stop().await.0, Some(0));
}

#[tokio::test]
async fn the_health_check_says_what_readyz_says() {
    let issuer = FakeIssuer::start().await;
    for program in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let check =
            || run(program, folder.path(), &["healthcheck", "--listen", &listen], "").status.code();
        assert_eq!(check(), Some(1), "nobody is there");
        let args = if program == RESOURCE_SERVER { vec!["--issuer", &issuer.url] } else { vec![] };
        let server = Process::start(program, folder.path(), port, &args).await;
        assert_eq!(check(), Some(0));
        let json = run(program, folder.path(), &["healthcheck", "--json", "--listen", &listen], "");
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json, serde_json::json!({ "ready": true, "status": 200 }));
        server.stop().await;
        assert_eq!(check(), Some(1));
    }
}

/// Exit status 2: an operator has to mend something first. All of it is told, and nothing was begun.
#[tokio::test]
async fn the_resource_server_tells_every_file_that_is_wrong_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], wrong: &[&str]| {
        let output = run(RESOURCE_SERVER, folder.path(), args, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for wrong in wrong {
            assert!(said.contains(wrong), "{wrong} is missing in: {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    };
    let authorities = ["--outbound-extra-ca-file", "no-ca.pem"];
    let mut serve = vec!["serve", "--database", "postgres://u:hunter2@db/x"];
    serve.extend(["--tls-cert", "no-cert.pem", "--tls-key", "no-key.pem"]);
    serve.extend(authorities);
    refused(&serve, &["no-cert.pem", "no-key.pem", "no-ca.pem"]);
    refused(&[["serve"].as_slice(), &authorities].concat(), &["no-ca.pem"]);
    let mut explain = vec!["explain", "--token-file", "no-token", "--request", "BREW /tea"];
    explain.extend(authorities);
    refused(&explain, &["--token-file", "--request", "no-ca.pem"]);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "no database was made");
}

#[tokio::test]
async fn a_token_that_would_be_refused_is_exit_status_1() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "no.token").unwrap();
    let output = run(RESOURCE_SERVER, folder.path(), &["explain", "--token-file", "token"], "");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// SIGHUP loads a new certificate; a key that is none, or is another certificate's, changes nothing.
#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let issuer = FakeIssuer::start().await;
    for program in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let issue = || {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
            std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())
                .unwrap();
            made.cert.der().to_vec()
        };
        let first = issue();
        let port = free_port();
        let url = format!("https://localhost:{port}/healthz");
        let own = format!("https://localhost:{port}");
        let issued_by = if program == AUTH_SERVER { own.as_str() } else { issuer.url.as_str() };
        let args = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--issuer", issued_by];
        let server = Process::launch(program, folder.path(), port, &args);
        let server = server.until_logged("listen=127").await;
        let trusts = async |certificate: &Vec<u8>| {
            let http = Http::trusting(std::slice::from_ref(certificate));
            try_send(http.request(reqwest::Method::GET, &url)).await.is_ok()
        };
        assert!(trusts(&first).await);
        let second = issue();
        assert!(!trusts(&second).await, "not yet");
        server.signal("HUP");
        let server = server.until_logged("certificate and key reloaded").await;
        assert!(trusts(&second).await);
        assert!(!trusts(&first).await);
        std::fs::write(folder.path().join("key.pem"), "not a key").unwrap();
        server.signal("HUP");
        let server = server.until_logged("old ones stay").await;
        assert!(trusts(&second).await, "the old pair stays");
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
        server.signal("HUP");
        let server = server.until_logged("old ones stay").await;
        assert!(trusts(&second).await, "a good key of another certificate is no pair");
        assert_eq!(server.stop().await.0, Some(0));
    }
}

/// What is under way when the signal comes is answered. The interim answer 100 (RFC 9110 section 10.1.1) shows that it is.
#[tokio::test]
async fn a_stop_answers_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = FakeIssuer::start().await;
    let port = free_port();
    let resource = format!("http://127.0.0.1:{port}");
    let args = ["--issuer", &issuer.url, "--resource", &resource];
    let server = Process::start(RESOURCE_SERVER, folder.path(), port, &args).await;
    let token = issuer.token(&resource, SystemClock.now().as_i64()).text();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let body = r#"{"title":"t","body":"b"}"#;
    let head = format!(
        "POST /documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal("TERM");
    let server = server.until_logged("stopping").await;
    // From the end of the listener on, answers say that their connections end.
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {}
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(server.end().await.0, Some(0));
}
