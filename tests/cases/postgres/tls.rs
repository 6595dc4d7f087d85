//! TLS to PostgreSQL: whoever asks for it gets a verified server, or none.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tests::cluster::Cluster;
use tests::engine::{MASTER_KEY, ask, execute, write_master_key};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port, run};

use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

/// An authority of its own.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Puts certificate and key for `localhost` where the server may read them, and nobody else the key.
fn give_certificate(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
    let path = folder.join("server.key");
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    // As root the server runs under an account of its own; else it is ours already.
    drop(Command::new("chown").arg("postgres").arg(&path).output());
}

#[tokio::test]
async fn postgres_is_spoken_to_by_tls_when_its_certificate_holds_and_not_at_all_when_not() {
    let (good, other) = (authority(), authority());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.pem"), good.pem()).unwrap();
    std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
    write_master_key(folder.path());
    let files = ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key"];
    let prepare = |path: &Path| give_certificate(path, &good);
    let Some(cluster) = Cluster::start_with("postgres_is_spoken_to_by_tls", &files, prepare) else {
        return;
    };
    let issuer = FakeIssuer::start().await;
    for (number, program) in [AUTH_SERVER, RESOURCE_SERVER].into_iter().enumerate() {
        cluster.execute(&format!("CREATE DATABASE db{number}")).await;
        let url = |host: &str, roots: &str| {
            let port = cluster.port;
            format!("postgres://postgres@{host}:{port}/db{number}?sslrootcert={roots}")
        };
        let more = if program == AUTH_SERVER {
            ["--master-key-file", MASTER_KEY]
        } else {
            ["--issuer", &issuer.url]
        };
        for (host, roots, why) in [
            ("localhost", "other.pem", "invalid peer certificate"),
            ("127.0.0.1", "good.pem", "not valid for name"),
            ("localhost", "absent.pem", "absent.pem"),
            ("localhost", MASTER_KEY, "no certificate"),
        ] {
            let url = url(host, roots);
            let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"];
            args.extend(["--database", &url].into_iter().chain(more));
            let output = run(program, folder.path(), &args, "");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{host} {roots}: {said}");
            assert!(said.contains(why), "{host} {roots}: {said}");
        }
        let url = url("localhost", "good.pem");
        let args: Vec<&str> = ["--database", &url].into_iter().chain(more).collect();
        let server = Process::start(program, folder.path(), free_port(), &args).await;
        let encrypted = format!(
            "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE datname = 'db{number}' AND pid <> pg_backend_pid()"
        );
        assert_eq!(ask(&format!("{}/db{number}", cluster.url()), &encrypted).await, "t");
        assert_eq!(server.stop().await.0, Some(0));
        execute(&format!("{}/postgres", cluster.url()), &format!("DROP DATABASE db{number}"))
            .await
            .unwrap();
    }
}
