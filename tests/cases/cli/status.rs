//! Exit statuses and settings.

use tests::world::state;

use super::cli;

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
