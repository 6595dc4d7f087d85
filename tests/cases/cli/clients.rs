//! What an operator does to a client, and what ends with it.

use serde_json::{Value, json};
use tests::browser::Browser;
use tests::client::Client;
use tests::realm::{Realm, within_five_seconds};
use tests::world::{ALICE, SECRET, WEB_CALLBACK};

use super::{are_alive, are_dead, cli, realm, tokens};

#[tokio::test]
async fn a_disabled_client_is_unknown_within_five_seconds_and_its_grants_end() {
    let realm = realm().await;
    let tokens = tokens(&realm).await;
    let own = realm
        .machine()
        .client_credentials("documents:read")
        .await
        .expect(200)
        .member("access_token");
    realm.cli(&["client", "disable", "web"], "");
    are_dead(&realm, &tokens).await;
    let url = realm.web().begin("openid", "off").url();
    within_five_seconds("the client is unknown", || async {
        Browser::new().get(&url).await.status() == 400
    })
    .await;
    assert_eq!(realm.web().refresh("x").await.expect(401).error(), "invalid_client");
    realm.machine().client_credentials("").await.expect(200);
    realm.cli(&["client", "enable", "web"], "");
    within_five_seconds("the client is back", || async {
        Browser::new().get(&url).await.status() == 303
    })
    .await;
    are_dead(&realm, &tokens).await;

    let introspector = Client::new(&realm.issuer, "documents-rs", SECRET, "");
    assert_eq!(introspector.introspect(&own).await.json()["active"], true);
    realm.cli(&["client", "disable", "machine"], "");
    let active = || async { introspector.introspect(&own).await.json()["active"] == true };
    within_five_seconds("its own tokens are inactive", || async { !active().await }).await;
    realm.cli(&["client", "enable", "machine"], "");
    within_five_seconds("it gets others", || gets_a_live_token(&realm, &introspector)).await;
    assert!(!active().await, "enabling brings none back");
}

/// Whether the machine client gets a token of its own that introspection finds active.
async fn gets_a_live_token(realm: &Realm, asker: &Client) -> bool {
    let answer = realm.machine().client_credentials("documents:read").await;
    let token = answer.member("access_token");
    answer.status == 200 && asker.introspect(&token).await.json()["active"] == true
}

#[tokio::test]
async fn revoke_tokens_ends_a_clients_own_tokens_and_not_those_that_follow() {
    let realm = realm().await;
    let introspector = Client::new(&realm.issuer, "documents-rs", SECRET, "");
    let own = realm.machine().client_credentials("documents:read").await.expect(200);
    let own = own.member("access_token");
    let active = || async { introspector.introspect(&own).await.json()["active"] == true };
    assert!(active().await);
    realm.cli(&["client", "revoke-tokens", "machine"], "");
    within_five_seconds("they are inactive", || async { !active().await }).await;
    within_five_seconds("later ones count", || gets_a_live_token(&realm, &introspector)).await;
    assert!(!active().await, "for good");
}

#[tokio::test]
async fn revoke_tokens_ends_the_grants_of_a_client_and_delete_ends_it_altogether() {
    let realm = realm().await;
    let first = tokens(&realm).await;
    realm.cli(&["client", "revoke-tokens", "web"], "");
    are_dead(&realm, &first).await;
    let second = tokens(&realm).await;
    let next = are_alive(&realm, &second).await;
    realm.cli(&["client", "delete", "web"], "");
    are_dead(&realm, &next).await;
    let shown = realm.command(&["client", "show", "web"], "");
    assert_eq!(shown.status.code(), Some(1));
    // A later client of that name inherits neither grants nor consents.
    realm.cli(&["apply", "state.toml"], "");
    are_dead(&realm, &next).await;
    let url = realm.web().begin("openid", "new").url();
    within_five_seconds("it is back", || async { Browser::new().get(&url).await.status() == 303 })
        .await;
    let mut browser = Browser::new();
    let page = browser.get(&url).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    assert!(browser.settle(next).await.element("consent-form").is_some(), "she is asked again");
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_the_old_one_works_only_if_kept() {
    let realm = realm().await;
    let tokens = tokens(&realm).await;
    let with = |secret: &str| Client::new(&realm.issuer, "web", secret, WEB_CALLBACK);
    let taken = |client: Client| async move { client.refresh("x").await.status == 400 };
    let new = realm.json(&["client", "rotate-secret", "web", "--keep-old", "24h"])["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    within_five_seconds("the new one is taken", || taken(with(&new))).await;
    assert!(taken(with(SECRET)).await, "the old one is kept for a day");
    let newer = realm.json(&["client", "rotate-secret", "web"])["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    within_five_seconds("the newest is taken", || taken(with(&newer))).await;
    assert!(!taken(with(&new)).await);
    assert!(!taken(with(SECRET)).await);
    assert_ne!(new, newer);
    // Grants go on: only the client's proof changed.
    with(&newer).refresh(&tokens.member("refresh_token")).await.expect(200);
    let shown = [
        realm.cli(&["client", "show", "web"], ""),
        realm.json(&["client", "show", "web"]).to_string(),
        realm.log(),
    ];
    assert!(shown.iter().all(|text| !text.contains(&newer) && !text.contains(&new)));
    let public = realm.command(&["client", "rotate-secret", "native"], "");
    assert_eq!(public.status.code(), Some(1));
}

#[test]
fn a_client_added_by_hand_has_its_secret_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let (status, printed, error) = cli(
        folder.path(),
        &[
            "client",
            "add",
            "hand",
            "--redirect-uri",
            "https://web.example/cb",
            "--scope",
            "openid",
            "--json",
        ],
    );
    assert_eq!(status, Some(0), "{error}");
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert!(printed["client_secret"].as_str().unwrap().len() >= 32);
    let (_, shown, _) = cli(folder.path(), &["client", "show", "hand", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["redirect_uris"], json!(["https://web.example/cb"]));
    assert!(shown.get("client_secret").is_none());
    let (_, public, _) = cli(
        folder.path(),
        &["client", "add", "app", "--public", "--redirect-uri", "com.example.app:/cb", "--json"],
    );
    let public: Value = serde_json::from_str(&public).unwrap();
    assert!(public.get("client_secret").is_none());
}
