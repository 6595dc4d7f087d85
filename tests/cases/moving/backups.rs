//! A backup is made under load; a server that starts on it knows everything that was acknowledged before it began.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::Value;
use tests::browser::Browser;
use tests::client::Client;
use tests::engine::{MASTER_KEY, Store, server_or_skip};

use super::{Town, complaint, moved};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_sqlite_holds_every_acknowledged_token() {
    let town = Town::new();
    let database = town.file("a.db");
    holds_every_acknowledged_token(town, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgres_holds_every_acknowledged_token() {
    let Some(server) = server_or_skip("a_backup_of_postgres") else { return };
    let store = Store::on(&server).await;
    holds_every_acknowledged_token(Town::new(), &store.url).await;
}

async fn holds_every_acknowledged_token(town: Town, database: &str) {
    let process = town.found(database).await;
    let web = town.web();
    let mut browser = Browser::new();
    let mut kept = vec![town.tokens(&mut browser, "kept").await.member("refresh_token")];
    let busy = town.tokens(&mut Browser::new(), "busy").await.member("refresh_token");
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load = tokio::spawn(refresh_on(web.clone(), busy, Arc::clone(&stop), Arc::clone(&count)));
    while count.load(Ordering::Relaxed) < 5 {
        tokio::task::yield_now().await;
    }
    let next = web.refresh(&kept[0]).await.expect(200).member("refresh_token");
    kept.push(next);

    let args = ["backup", "--database", database, "--master-key-file", MASTER_KEY];
    let backup = [&args[..], &["--to", "copy.db", "--json"]].concat();
    let report: Value = moved(&town.command(&backup).await);
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let file = town.folder.path().join("copy.db").metadata().unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(report["bytes"], file.len());
    let said = complaint(&town.command(&backup).await, 2);
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(process.stop().await.0, Some(0));

    let _process = town.serve(&town.file("copy.db")).await;
    web.refresh(&kept[1]).await.expect(200);
    let silent = web.begin(super::SCOPE, "silent").param("prompt", "none");
    let page = browser.get(&silent.url()).await;
    let code = silent.code(&page, &web);
    web.redeem(&code, &silent).await.expect(200);
}

/// The load, which never meets an error.
async fn refresh_on(web: Client, mut token: String, stop: Arc<AtomicBool>, count: Arc<AtomicU32>) {
    while !stop.load(Ordering::Relaxed) {
        token = web.refresh(&token).await.expect(200).member("refresh_token");
        count.fetch_add(1, Ordering::Relaxed);
    }
}
