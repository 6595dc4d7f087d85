//! Every fault of a file is told, each once, and none hides another.

use shared_types::{Issuer, SigningAlg};

use super::*;
use crate::domain::client::AuthMethod;

fn read(text: &str) -> Result<DeclaredState, Vec<String>> {
    let issuer = Issuer::parse("http://localhost:9000").unwrap();
    let context =
        Context { issuer: &issuer, folder: Path::new("."), default_alg: SigningAlg::Es256 };
    parse(text, &context)
}

const GOOD: &str = r#"
    [[api]]
    identifier = "http://localhost:9001"
    scopes = { "documents:read" = "Read your documents" }
    access_token_lifetime = "10m"
    default = true
    [[client]]
    client_id = "machine"
    grant_types = ["client_credentials"]
    client_secret = "0123456789abcdef0123456789abcdef"
    scope = "documents:read"
    [[account]]
    username = "alice"
    claims = { name = "Alice Example", email = "alice@example.com", email_verified = true }
"#;

#[test]
fn a_good_file_is_read_with_its_defaults() {
    let state = read(GOOD).unwrap();
    assert_eq!(state.apis[0].access_token_lifetime, 600);
    assert_eq!(state.apis[0].signing_alg, SigningAlg::Es256);
    assert_eq!(state.clients[0].metadata.token_endpoint_auth_method, AuthMethod::ClientSecretBasic);
    assert!(state.clients[0].metadata.require_pkce);
    assert_eq!(state.accounts[0].username, "alice");
}

#[test]
fn json_of_the_same_shape_is_read_too() {
    let value: Value = toml::from_str(GOOD).unwrap();
    assert_eq!(read(&value.to_string()).unwrap().clients.len(), 1);
}

#[test]
fn every_fault_is_listed_at_once() {
    let text = r#"
        [[api]]
        identifier = "http://localhost:9001"
        access_token_lifetime = "5"
        name = "Documents\u202E"
        scopes = { openid = "no", read = "Read\u000Anothing" }
        [[client]]
        client_id = "a"
        client_name = "A\u2066"
        token_endpoint_auth_method = "none"
        grant_types = ["client_credentials"]
        require_pkce = false
        scope = "nowhere"
        [[client]]
        client_id = "b"
        colour = "red"
        consent = "sideways"
        [[client]]
        client_id = "acct_c"
        client_secret = "short"
        redirect_uris = ["https://c.example/cb"]
        [flat]
    "#;
    let faults = read(text).unwrap_err().join("\n");
    for part in [
        "not a duration",
        "openid",
        "client_credentials needs",
        "require_pkce",
        "colour",
        "sideways",
        "begins with acct_",
        "shorter than 32",
        "unknown key flat",
        "the name is not one line",
        "the sentence of scope read is not one line",
        "client_name is not one line",
    ] {
        assert!(faults.contains(part), "{part} in:\n{faults}");
    }
}

fn two_apis(second: &str) -> String {
    let first = r#"[[api]]
        identifier = "https://a.example"
        scopes = { read = "Read" }
        default = true
    "#;
    let state = read(&format!("{first}[[api]]\n{second}")).unwrap();
    faults_beside(&state, &Registered::default()).join("\n")
}

#[test]
fn two_apis_share_no_scope_no_resource_and_no_default() {
    assert_eq!(two_apis("identifier = \"https://b.example\""), "");
    let scope = two_apis("identifier = \"https://b.example\"\nscopes = { read = \"Too\" }");
    assert!(scope.contains("the scope read belongs to"), "{scope}");
    let slash = two_apis("identifier = \"https://a.example/\"");
    assert!(slash.contains("the same resource"), "{slash}");
    let default = two_apis("identifier = \"https://b.example\"\ndefault = true");
    assert!(default.contains("default = true already"), "{default}");
}

#[test]
fn of_what_is_registered_and_what_is_declared_the_file_is_blamed() {
    let registered = read("[[api]]\nidentifier = \"https://a.example\"\ndefault = true").unwrap();
    let registered = Registered { apis: registered.apis, ..Registered::default() };
    let declared = read("[[api]]\nidentifier = \"https://b.example\"\ndefault = true").unwrap();
    assert_eq!(
        faults_beside(&declared, &registered),
        [r#"api "https://b.example": "https://a.example" has default = true already"#]
    );
}

#[test]
fn a_secret_must_be_long_and_never_appears_in_a_fault() {
    let text = "[[client]]\nclient_id = \"a\"\nclient_secret = \"hunter2\"\nredirect_uris = [\"https://a.example/cb\"]";
    let faults = read(text).unwrap_err().join("\n");
    assert!(faults.contains("shorter than 32"), "{faults}");
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn links_on_our_pages_are_web_pages() {
    let text = "[[client]]\nclient_id = \"a\"\nredirect_uris = [\"https://a.example/cb\"]\npolicy_uri = \"javascript:alert(1)\"";
    assert!(read(text).unwrap_err().join("\n").contains("not an http or https URL"));
}

#[test]
fn an_unknown_key_hides_no_other_fault_of_its_table() {
    let text = r#"
        [[account]]
        username = "alice"
        nosuch = 1
        password = "x"
        [[client]]
        client_id = "a"
        nosuch = 1
        client_secret = "short"
        token_endpoint_auth_method = "none"
        [[api]]
        identifier = "https://a.example"
        nosuch = 1
        access_token_lifetime = "2d"
    "#;
    let faults = read(text).unwrap_err();
    let of = |kind: &str| {
        let all = faults.iter().filter(|fault| fault.starts_with(kind)).cloned();
        all.collect::<Vec<_>>().join("\n")
    };
    for (kind, parts) in [
        (
            "account \"alice\"",
            &["`nosuch`", "`username`", "`password`, `password_file`", "shorter than 8"][..],
        ),
        (
            "client \"a\"",
            &[
                "`nosuch`",
                "`client_secret`, `client_secret_file`",
                "shorter than 32",
                "needs a redirect_uri",
                "has no client_secret",
            ],
        ),
        ("api \"https://a.example\"", &["`nosuch`", "between 1s and 1d"]),
    ] {
        for part in parts {
            assert!(of(kind).contains(part), "{part} in:\n{}", of(kind));
        }
    }
}

#[test]
fn a_missing_name_hides_nothing_either_and_makes_nothing_up() {
    let faults = read("[[account]]\npassword = \"x\"").unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let faults = read("[[client]]\nredirect_uris = 5\nclient_secret = \"short\"").unwrap_err();
    assert!(faults.iter().all(|fault| !fault.contains("needs a redirect_uri")), "{faults:?}");
    assert_eq!(faults.len(), 3, "the type, the name, the secret: {faults:?}");
}
