//! Exit statuses and settings.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::processes::run;
use tests::world::state;

use super::cli;
use crate::processes::AUTH_SERVER;

#[test]
fn exit_status_is_0_when_done_1_when_it_cannot_be_and_2_when_it_was_asked_wrongly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.toml"), state("http://localhost:9001")).unwrap();
    for (args, expected) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["apply", "state.toml"], 0),
        (&["account", "add", "alice", "--generate"], 1),
        (&["account", "disable", "nobody"], 1),
        (&["client", "show", "nobody"], 1),
        (&["client", "add", "web", "--redirect-uri", "https://web.example/cb"], 1),
        (&["client", "add", "x", "--redirect-uri", "http://web.example/cb"], 2),
        (
            &[
                "client",
                "add",
                "x",
                "--scope",
                "unknown",
                "--redirect-uri",
                "https://web.example/cb",
            ],
            2,
        ),
        (&["client", "add", "acct_x"], 2),
        (&["account", "add", "", "--generate"], 2),
        (&["account", "add", "x", "--claims", "{\"email_verified\": \"yes\"}", "--generate"], 2),
        (&["apply", "absent.toml"], 2),
        (&["frobnicate"], 2),
        (&[], 2),
        (&["config", "--workers", "0"], 2),
        (&["config", "--no-such-flag"], 2),
        (&["config", "--config", "absent.toml"], 2),
    ] {
        let (status, out, error) = cli(folder.path(), args);
        assert_eq!(status, Some(expected), "{args:?}: {out} {error}");
    }
}

#[test]
fn config_prints_what_is_in_force_and_reads_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (status, printed, _) =
        cli(folder.path(), &["config", "--issuer", "https://id.example", "--drain", "7"]);
    assert_eq!(status, Some(0));
    assert!(
        printed.contains("issuer = \"https://id.example\"") && printed.contains("drain = 7"),
        "{printed}"
    );
    std::fs::write(folder.path().join("settings.toml"), &printed).unwrap();
    let (status, again, error) = cli(folder.path(), &["config", "--config", "settings.toml"]);
    assert_eq!((status, again), (Some(0), printed), "{error}");
    let made: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(made.len(), 1, "no database was made for it: {made:?}");
}

/// Whatever ends with status 2 leaves nothing behind: no database that looks like an empty server, no master key.
#[test]
fn wrong_arguments_make_no_database_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let callback = ["--redirect-uri", "https://web.example/cb"];
    let state = "[[client]]\nclient_id = \"m\"\nredirect_uris = [\"https://m.example/cb\"]\nscope = \"documents:read\"\n";
    let path = folder.path().join("state.toml");
    std::fs::write(&path, state).unwrap();
    for (args, input, said) in [
        (
            &["client", "add", "m", "--scope", "documents:read", callback[0], callback[1]][..],
            "",
            &["no api has the scope documents:read"][..],
        ),
        (&["client", "add", "m"], "", &["redirect_uri"]),
        (&["account", "add", "", "--generate"], "", &["user name"]),
        (&["account", "add", "alice"], "short\n", &["shorter than 8"]),
        (&["account", "add", ""], "short\n", &["user name", "shorter than 8"]),
        (&["account", "add", "alice"], "two lines\nof password\n", &["more than one line"]),
        (&["apply", "state.toml"], "", &["no api has the scope documents:read"]),
    ] {
        let output = run(AUTH_SERVER, folder.path(), args, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        for part in said {
            assert!(error.contains(part), "{args:?}: {part} in {error}");
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{args:?} leaves {left:?}");
    }
    // The same arguments put right begin a database.
    let output = run(AUTH_SERVER, folder.path(), &["account", "add", "alice"], "long enough\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The exit status and standard error of a command whose standard output is `out`.
fn printing_to(out: impl Into<Stdio>, folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(AUTH_SERVER);
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(out);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_secret_that_could_not_be_printed_is_a_failure_that_names_the_way_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let uri = "https://web.example/cb";
    let state = "[[client]]\nclient_id = \"declared\"\ngrant_types = [\"client_credentials\"]\n";
    std::fs::write(folder.path().join("one.toml"), state).unwrap();
    std::fs::write(folder.path().join("two.toml"), state.replace("declared", "other")).unwrap();
    for (args, remedy) in [
        (&["client", "add", "web", "--redirect-uri", uri][..], "client rotate-secret web"),
        (&["client", "rotate-secret", "web", "--json"], "client rotate-secret web"),
        (&["account", "add", "alice", "--generate"], "account set-password alice"),
        (&["account", "set-password", "alice", "--generate"], "account set-password alice"),
        (&["apply", "one.toml"], "client rotate-secret declared"),
        (&["apply", "two.toml", "--json"], "client rotate-secret other"),
    ] {
        let (status, told) = printing_to(full(), folder.path(), args);
        assert_eq!(status, Some(1), "{args:?}: {told}");
        assert!(told.contains(remedy), "{args:?}: {told}");
    }
    // Half a list is no list; but a reader that has seen enough is no fault.
    let list = ["client", "list"];
    assert_eq!(printing_to(full(), folder.path(), &list).0, Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(printing_to(writer, folder.path(), &list), (Some(0), String::new()));
}
