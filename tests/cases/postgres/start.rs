//! What keeps a server from finding its PostgreSQL database is told at the start, with status 2 and without the password.

use std::path::Path;

use tests::cluster::Cluster;
use tests::engine::{MASTER_KEY, write_master_key};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port, run};

use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

const BOTH: [&str; 2] = [AUTH_SERVER, RESOURCE_SERVER];

/// A server that lets `app` in by its password only.
fn guarded_cluster(name: &str) -> Option<Cluster> {
    let cluster = Cluster::start(name, &[])?;
    let rules = "host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(cluster.folder().join("data/pg_hba.conf"), rules).unwrap();
    Some(cluster)
}

/// Runs `serve`, which refuses; what it said.
fn refused(program: &str, folder: &Path, args: &[&str]) -> String {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"];
    if program == AUTH_SERVER {
        all.extend(["--master-key-file", MASTER_KEY]);
    }
    all.extend(args);
    let output = run(program, folder, &all, "");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(2), "{program} {args:?}: {said}");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

#[tokio::test]
async fn a_wrong_password_and_an_absent_database_are_told_at_the_start() {
    let Some(cluster) = guarded_cluster("a_wrong_password") else { return };
    for sql in ["SELECT pg_reload_conf()", "CREATE ROLE app LOGIN PASSWORD 'right-and-long'"] {
        cluster.execute(sql).await;
    }
    let folder = tempfile::tempdir().unwrap();
    write_master_key(folder.path());
    std::fs::write(folder.path().join("wrong"), "hunter2\n").unwrap();
    std::fs::write(folder.path().join("right"), "right-and-long\n").unwrap();
    let issuer = FakeIssuer::start().await;
    for (number, program) in BOTH.into_iter().enumerate() {
        cluster.execute(&format!("CREATE DATABASE db{number} OWNER app")).await;
        let at =
            |user: &str, name: &str| format!("postgres://{user}@127.0.0.1:{}/{name}", cluster.port);
        let (url, absent) = (at("app", &format!("db{number}")), at("postgres", "absent"));
        let with_password = at("app:hunter2", &format!("db{number}"));
        for args in [
            &["--database", &with_password][..],
            &["--database", &url, "--database-password-file", "wrong"],
        ] {
            let said = refused(program, folder.path(), args);
            assert!(said.contains("password authentication failed"), "{said}");
        }
        let said = refused(program, folder.path(), &["--database", &absent]);
        assert!(said.contains("\"absent\" does not exist"), "{said}");
        // The file's password beats the one in the URL.
        let mut args = vec!["--database", &with_password, "--database-password-file", "right"];
        args.extend(if program == AUTH_SERVER {
            ["--master-key-file", MASTER_KEY]
        } else {
            ["--issuer", &issuer.url]
        });
        let server = Process::start(program, folder.path(), free_port(), &args).await;
        let (status, log) = server.stop().await;
        assert_eq!(status, Some(0));
        assert!(!log.contains("right-and-long") && !log.contains("hunter2"), "{log}");
    }
}

/// They are told along with whatever else is wrong.
#[test]
fn settings_of_postgres_that_cannot_hold_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let postgres = "postgres://u:hunter2@db.example/d";
    for program in BOTH {
        for (args, words) in [
            (
                &["--database-password-file", "no-such-file", "--database-connections", "1"][..],
                &["database-password-file", "database-connections", "from 2 to"][..],
            ),
            (&["--database-password-file", "empty"], &["database_password_file", "is empty"]),
            (
                &["--database-lock-timeout", "2", "--database-statement-timeout", "0s"],
                &["database-lock-timeout", "database-statement-timeout"],
            ),
            (
                &["--database-connect-timeout", "6m", "--workers", "0"],
                &["database-connect-timeout", "workers"],
            ),
        ] {
            let said = refused(program, folder.path(), &[&["--database", postgres], args].concat());
            for word in words {
                let dashed = word.replace('_', "-");
                assert!(
                    said.contains(word)
                        || said.contains(&dashed)
                        || said.contains(&word.replace('-', "_")),
                    "{word} is missing in: {said}"
                );
            }
        }
        let sqlite = ["--database", "sqlite:a.db", "--database-password-file", "empty"];
        assert!(refused(program, folder.path(), &sqlite).contains("no password"));
        for (url, word) in [
            ("postgres://u:hunter2@h", "names no database"),
            ("postgres://u:hunter2@h/d?sslmode=prefer", "sslmode"),
            ("mysql://u:hunter2@h/d", "sqlite:PATH or postgres://"),
        ] {
            let said = refused(program, folder.path(), &["--database", url]);
            assert!(said.contains(word), "{said}");
        }
    }
    assert!(!folder.path().join("a.db").exists());
}
