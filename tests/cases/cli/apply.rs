//! `apply`: a plan first, then what changed, and nothing the second time.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tests::world::{ALICE, SECRET, state};

use super::cli;

#[test]
fn apply_shows_its_plan_changes_nothing_when_dry_and_nothing_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.toml"), state("http://localhost:9001")).unwrap();
    let (status, dry, _) = cli(folder.path(), &["apply", "state.toml", "--dry-run"]);
    assert_eq!(status, Some(0));
    for line in [
        "+ api http://localhost:9001",
        "+ client web",
        "+ client native",
        "+ account alice",
        "+ account bob",
    ] {
        assert!(dry.contains(line), "{line} in {dry}");
    }
    let (_, listed, _) = cli(folder.path(), &["client", "list"]);
    assert_eq!(listed, "", "a dry run changes nothing");
    let (status, first, _) = cli(folder.path(), &["apply", "state.toml"]);
    assert_eq!(status, Some(0));
    assert!(first.contains("+ client web"), "{first}");
    assert!(
        !first.contains(SECRET) && !first.contains(ALICE.1),
        "declared secrets are not repeated"
    );
    let (_, second, _) = cli(folder.path(), &["apply", "state.toml"]);
    assert_eq!(second, "nothing to change\n");
    let (_, listed, _) = cli(folder.path(), &["client", "list"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let (_, json, _) = cli(folder.path(), &["apply", "state.toml", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, json!({"changes": [], "applied": true, "generated": []}));
}

#[test]
fn apply_never_deletes_or_reenables_or_resets_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (full, few) = (
        state("http://localhost:9001"),
        "[[account]]\nusername = \"alice\"\npassword = \"another password of hers\"\n",
    );
    std::fs::write(folder.path().join("full.toml"), full).unwrap();
    std::fs::write(folder.path().join("few.toml"), few).unwrap();
    cli(folder.path(), &["apply", "full.toml"]);
    cli(folder.path(), &["client", "disable", "web"]);
    cli(folder.path(), &["account", "disable", "bob"]);
    let (_, again, _) = cli(folder.path(), &["apply", "full.toml"]);
    assert_eq!(again, "nothing to change\n");
    let (_, claims, _) = cli(folder.path(), &["apply", "few.toml"]);
    assert_eq!(claims, "~ account alice: claims\n1 changed\n", "a password acts at creation only");
    let (_, listed, _) = cli(folder.path(), &["client", "list"]);
    assert!(listed.contains("web\tdisabled") && listed.lines().count() == 4, "{listed}");
    let (_, pruned, _) = cli(folder.path(), &["apply", "few.toml", "--prune"]);
    for line in [
        "- client web",
        "- client native",
        "- client machine",
        "- client documents-rs",
        "- api http://localhost:9001",
    ] {
        assert!(pruned.contains(line), "{line} in {pruned}");
    }
    assert!(!pruned.contains("- account"), "people are not pruned: {pruned}");
    let (_, people, _) = cli(folder.path(), &["account", "list"]);
    assert!(people.contains("bob") && people.contains("alice"), "{people}");
}

#[test]
fn a_generated_secret_is_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[api]]\nidentifier = \"https://api.example\"\nscopes = { \"a\" = \"A\" }\n\
                [[client]]\nclient_id = \"m\"\ngrant_types = [\"client_credentials\"]\nscope = \"a\"\n\
                [[account]]\nusername = \"carol\"\n";
    std::fs::write(folder.path().join("s.toml"), text).unwrap();
    let (status, printed, _) = cli(folder.path(), &["apply", "s.toml", "--json"]);
    assert_eq!(status, Some(0));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let generated = printed["generated"].as_array().unwrap();
    assert_eq!(generated.len(), 2, "{printed}");
    assert!(generated[0]["client_secret"].as_str().unwrap().len() >= 32, "{printed}");
    assert!(generated[1]["password"].is_string(), "{printed}");
    let (_, again, _) = cli(folder.path(), &["apply", "s.toml"]);
    assert_eq!(again, "nothing to change\n");
}

/// Standard output of a production host tends to be kept for years.
#[test]
fn for_a_public_issuer_secrets_go_to_a_file_and_plain_passwords_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = ["--issuer", "https://id.example"];
    let arguments = |args: &[&'static str]| [args, &issuer[..]].concat();
    let (status, printed, _) =
        cli(folder.path(), &arguments(&["account", "add", "carol", "--generate", "--json"]));
    assert_eq!(status, Some(0));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert!(printed.get("password").is_none(), "{printed}");
    let path = folder.path().join(printed["password_file"].as_str().unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&path).unwrap().trim().len() >= 16);
    std::fs::write(
        folder.path().join("s.toml"),
        "[[account]]\nusername = \"dave\"\npassword = \"in clear text here\"\n",
    )
    .unwrap();
    let (status, _, error) = cli(folder.path(), &arguments(&["apply", "s.toml"]));
    assert_eq!(status, Some(2));
    assert!(error.contains("password_file") && !error.contains("in clear text here"), "{error}");
}

/// A fault in every line that can have one.
const FAULTY: &str = r#"
[[api]]
identifier = "https://api.example"
scopes = { "a" = "A", "openid" = "mine" }
[[client]]
client_id = "pkce"
redirect_uris = ["http://web.example/cb", "https://web.example/cb#x", "javascript:alert(1)"]
token_endpoint_auth_method = "none"
require_pkce = false
[[client]]
client_id = "public-machine"
grant_types = ["client_credentials"]
token_endpoint_auth_method = "none"
[[client]]
client_id = "rotation"
redirect_uris = ["https://web.example/cb"]
grant_types = ["authorization_code", "refresh_token"]
token_endpoint_auth_method = "none"
refresh_token_rotation = false
[[client]]
client_id = "short"
redirect_uris = ["https://web.example/cb"]
client_secret = "short-secret"
scope = "unknown"
[[client]]
client_id = "unknown-key"
colour = "red"
[[client]]
client_id = "acct_client"
[[account]]
username = "alice"
password = "a password that must not be repeated"
claims = { email_verified = "yes" }
[[account]]
username = "ALICE"
"#;

#[test]
fn every_fault_of_declared_state_is_told_at_once_and_nothing_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.toml"), FAULTY).unwrap();
    let (status, printed, error) = cli(folder.path(), &["apply", "s.toml"]);
    assert_eq!((status, printed.as_str()), (Some(2), ""), "{error}");
    for fault in [
        "scope openid",
        "http://web.example/cb",
        "https://web.example/cb#x",
        "javascript:",
        "require_pkce",
        "client_credentials",
        "refresh_token_rotation",
        "32 characters",
        "unknown",
        "colour",
        "acct_",
        "email_verified",
    ] {
        assert!(error.contains(fault), "{fault} in {error}");
    }
    assert!(
        !error.contains("short-secret") && !error.contains("a password that"),
        "no fault repeats a secret: {error}"
    );
    let (_, listed, _) = cli(folder.path(), &["client", "list"]);
    assert_eq!(listed, "");
}
