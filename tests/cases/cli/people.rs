//! What an operator does to a person's account, and what ends with it.

use serde_json::Value;
use tests::browser::Browser;
use tests::world::{ALICE, BOB};

use super::{are_alive, are_dead, may_sign_in, realm, tokens};

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_nothing_comes_back_with_enable() {
    let realm = realm().await;
    let (tokens, mut browser) = (tokens(&realm).await, Browser::new());
    realm.authorize(&mut browser, "openid", "session").await;
    realm.cli(&["account", "disable", "ALICE"], "");
    are_dead(&realm, &tokens).await;
    let told = realm.web().introspect(&tokens.member("access_token")).await.expect(200);
    assert_eq!(told.text(), r#"{"active":false}"#);
    assert!(!may_sign_in(&realm, ALICE).await);
    assert!(may_sign_in(&realm, BOB).await);
    let silent = realm.web().begin("openid", "silent").param("prompt", "none").url();
    assert_eq!(browser.get(&silent).await.location_param("error"), "login_required");
    realm.cli(&["account", "enable", "alice"], "");
    are_dead(&realm, &tokens).await;
    assert_eq!(browser.get(&silent).await.location_param("error"), "login_required");
    assert!(may_sign_in(&realm, ALICE).await);
}

#[tokio::test]
async fn a_new_password_ends_sessions_and_grants() {
    let realm = realm().await;
    let tokens = tokens(&realm).await;
    realm.cli(&["account", "set-password", "alice"], "a quite different password\n");
    are_dead(&realm, &tokens).await;
    assert!(!may_sign_in(&realm, ALICE).await);
    assert!(may_sign_in(&realm, ("alice", "a quite different password")).await);
    // Generated, it is printed once, and it works.
    let printed = realm.json(&["account", "set-password", "alice", "--generate"]);
    let password = printed["password"].as_str().unwrap().to_owned();
    assert!(password.len() >= 16);
    assert!(may_sign_in(&realm, ("alice", &password)).await);
    assert!(!realm.log().contains(&password));
}

#[tokio::test]
async fn signing_a_person_out_leaves_offline_access() {
    let realm = realm().await;
    let offline = tokens(&realm).await;
    let plain = realm.tokens("openid documents:read", "plain").await;
    realm.cli(&["account", "sign-out", "alice"], "");
    are_dead(&realm, &plain).await;
    are_alive(&realm, &offline).await;
}

#[tokio::test]
async fn a_deleted_person_is_gone_and_her_subject_never_comes_back() {
    let realm = realm().await;
    let tokens = tokens(&realm).await;
    let before = realm.json(&["account", "list"]);
    let subject = |list: &Value, name: &str| {
        let of = |account: &&Value| account["username"] == name;
        list.as_array()
            .unwrap()
            .iter()
            .find(of)
            .map(|account| account["sub"].as_str().unwrap().to_owned())
    };
    let old = subject(&before, "alice").unwrap();
    realm.cli(&["account", "delete", &old], "");
    are_dead(&realm, &tokens).await;
    assert!(!may_sign_in(&realm, ALICE).await);
    realm.cli(&["account", "add", "alice"], &format!("{}\n", ALICE.1));
    assert!(may_sign_in(&realm, ALICE).await);
    let new = subject(&realm.json(&["account", "list"]), "alice").unwrap();
    assert_ne!(old, new);
    are_dead(&realm, &tokens).await;
}
