//! A resource server moves as well, while its readers go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shared_types::{Clock as _, SystemClock};
use tests::client::Documents;
use tests::engine::{Store, server_or_skip};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};

use super::{command, complaint, moved, rows};
use crate::processes::RESOURCE_SERVER;

const RESOURCE: &str = "https://api.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_go_to_postgres_and_back_and_are_read_meanwhile() {
    let Some(server) = server_or_skip("documents_go_to_postgres_and_back") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (first, third) = (file("first.db"), file("third.db"));
    let second = Store::on(&server).await;
    let issuer = FakeIssuer::start().await;
    let token = issuer.token(RESOURCE, SystemClock.now().as_i64()).text();
    let serve = async |database: &str| {
        let args = ["--issuer", &issuer.url, "--resource", RESOURCE, "--database", database];
        Process::start(RESOURCE_SERVER, folder.path(), free_port(), &args).await
    };
    let mut process = serve(&first).await;
    let caller = Documents::bearer(&process.url, &token);
    let long = "ä".repeat(10_000);
    for number in 0..60 {
        caller.create(&format!("title {number}"), &long).await.expect(201);
    }
    let id = caller.create("last", "text").await.expect(201).member("id");

    let mut caller = caller;
    for (from, to) in [(&first, &second.url), (&second.url, &third)] {
        let stop = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(read_on(caller.clone(), id.clone(), Arc::clone(&stop)));
        let args = ["move", "--from", from, "--to", to, "--json"];
        let report = moved(&command(RESOURCE_SERVER, folder.path(), &args).await);
        assert_eq!((rows(&report, "document"), rows(&report, "key_set")), (61, 1));
        stop.store(true, Ordering::Relaxed);
        assert!(reading.await.unwrap() > 0);
        caller.create("lost?", "no").await.is_put_off();
        caller.delete(&id).await.is_put_off();
        assert_eq!(process.stop().await.0, Some(0));

        process = serve(to).await;
        caller = Documents::bearer(&process.url, &token);
        assert_eq!(caller.read(&id).await.expect(200).member("title"), "last");
        let listed = caller.list("?limit=100").await.expect(200).json();
        assert_eq!(listed["documents"].as_array().unwrap().len(), 61);
        caller.change(&id, "last", "changed").await.expect(200);
    }
}

async fn read_on(caller: Documents, id: String, stop: Arc<AtomicBool>) -> u32 {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        caller.read(&id).await.expect(200);
        caller.list("").await.expect(200);
        reads += 1;
    }
    reads
}

#[tokio::test]
async fn the_database_of_another_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = FakeIssuer::start().await;
    let args = ["--issuer", &issuer.url, "--database", "sqlite:documents.db"];
    let process = Process::start(RESOURCE_SERVER, folder.path(), free_port(), &args).await;
    let args = ["move", "--from", "sqlite:documents.db", "--to", "sqlite:other.db"];
    let refused = command(crate::processes::AUTH_SERVER, folder.path(), &args).await;
    complaint(&refused, 2);
    assert!(!folder.path().join("other.db").exists());
    assert_eq!(process.stop().await.0, Some(0));
}
