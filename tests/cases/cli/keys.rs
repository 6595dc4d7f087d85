//! Signature keys and the master key, changed while the server runs.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::oracle::read;
use tests::realm::{End, within_five_seconds};

use super::{are_alive, realm, tokens};

#[tokio::test]
async fn a_revoked_key_counts_for_nothing_and_its_announced_successor_signs() {
    let realm = realm().await;
    let machine = realm.machine();
    let token =
        machine.client_credentials("documents:read").await.expect(200).member("access_token");
    let jwks = machine.jwks().await;
    assert_eq!(machine.introspect(&token).await.json()["active"], true, "it was proven before");
    let kid = read(&token, &jwks).0["kid"].as_str().unwrap().to_owned();
    let keys = realm.json(&["key", "list"]);
    let signing = |key: &&Value| key["kid"] == kid;
    assert_eq!(keys.as_array().unwrap().iter().find(signing).unwrap()["state"], "signing");
    realm.cli(&["key", "revoke", &kid], "");
    let kids = |jwks: &Value| -> BTreeSet<String> {
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    within_five_seconds("it is published no more", || async {
        !kids(&machine.jwks().await).contains(&kid)
    })
    .await;
    let told = machine.introspect(&token).await.expect(200);
    assert_eq!(told.text(), r#"{"active":false}"#);
    let next =
        machine.client_credentials("documents:read").await.expect(200).member("access_token");
    let (header, _) = read(&next, &machine.jwks().await);
    assert!(
        kids(&jwks).contains(header["kid"].as_str().unwrap()),
        "caches held its successor already"
    );
    assert_eq!(realm.command(&["key", "revoke", "unknown"], "").status.code(), Some(1));
}

#[tokio::test]
async fn a_rotated_key_goes_on_verifying() {
    let realm = realm().await;
    let machine = realm.machine();
    let token =
        machine.client_credentials("documents:read").await.expect(200).member("access_token");
    let old = read(&token, &machine.jwks().await).0["kid"].clone();
    realm.cli(&["key", "rotate", "ES256"], "");
    within_five_seconds("another key signs", || async {
        let token =
            machine.client_credentials("documents:read").await.expect(200).member("access_token");
        read(&token, &machine.jwks().await).0["kid"] != old
    })
    .await;
    assert_eq!(machine.introspect(&token).await.json()["active"], true);
    read(&token, &machine.jwks().await);
    assert_eq!(realm.command(&["key", "rotate", "HS256"], "").status.code(), Some(2));
}

#[tokio::test]
async fn rewrap_keeps_every_token_alive_under_another_master_key() {
    let mut realm = realm().await;
    let tokens = tokens(&realm).await;
    std::fs::write(realm.folder().join("bad.key"), "too short").unwrap();
    let refused = realm.command(&["key", "rewrap", "--to", "bad.key"], "");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    realm.cli(&["key", "rewrap", "--to", "new.key"], "");
    let next = are_alive(&realm, &tokens).await;
    realm.end(End::Asked).await;
    // The old key opens nothing any more.
    let refused = realm.command(&["key", "list"], "");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    std::fs::rename(realm.folder().join("new.key"), realm.folder().join("auth-server.master-key"))
        .unwrap();
    realm.restart_ended().await;
    are_alive(&realm, &next).await;
}

#[tokio::test]
async fn a_missing_or_wrong_master_key_is_status_2_and_changes_nothing() {
    let mut realm = realm().await;
    realm.end(End::Asked).await;
    let path = realm.folder().join("auth-server.master-key");
    let key = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let missing = realm.command(&["account", "list"], "");
    assert_eq!(missing.status.code(), Some(2), "{}", String::from_utf8_lossy(&missing.stderr));
    assert!(!path.exists(), "none is made up for a database that holds something");
    std::fs::write(&path, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    assert_eq!(realm.command(&["account", "list"], "").status.code(), Some(2));
    std::fs::write(&path, key).unwrap();
    assert_eq!(realm.command(&["account", "list"], "").status.code(), Some(0));
}
