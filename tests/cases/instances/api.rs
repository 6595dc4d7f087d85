//! Two resource servers on one database: one store of documents, and the keys that either of them has fetched.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use shared_types::{Clock as _, SystemClock};
use tests::client::Documents;
use tests::engine::{Store, server_or_skip};
use tests::oracle::{FakeIssuer, Mood};
use tests::processes::{Process, free_port};

use crate::processes::RESOURCE_SERVER;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_resource_servers_on_one_database_are_one_server() {
    let Some(server) = server_or_skip("two_resource_servers") else { return };
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::on(&server).await);
    let issuer = FakeIssuer::start().await;
    let resource = "https://api.example";
    let args = ["--issuer", &issuer.url, "--resource", resource, "--database", &store.url];
    let start = || Process::launch(RESOURCE_SERVER, folder.path(), free_port(), &args);
    // At the same moment, on an empty database.
    let both = [start(), start()];
    let both = join_all(both.map(|process| process.until_logged("is listening"))).await;
    let token = issuer.token(resource, SystemClock.now().as_i64()).text();
    let [here, there] = [0, 1].map(|at: usize| Documents::bearer(&both[at].url, &token));

    let made = here.create("mine", "text").await.expect(201).member("id");
    there.read(&made).await.expect(200);
    there.change(&made, "changed", "text").await.expect(200);
    assert_eq!(here.read(&made).await.expect(200).member("title"), "changed");
    here.delete(&made).await.expect(204);
    there.read(&made).await.expect(404);

    let creations = (0..20).map(|number| {
        let caller = if number % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { caller.create("t", "b").await.expect(201).member("id") })
    });
    let ids: BTreeSet<String> = join_all(creations).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 20);
    for caller in [&here, &there] {
        let listed = caller.list("?limit=50").await.expect(200).json();
        assert_eq!(listed["documents"].as_array().unwrap().len(), 20);
    }

    // A third one that never reached the issuer lives on the keys that the others have stored.
    issuer.set_mood(Mood::Failing(503));
    issuer.whole(true);
    let third = start().until_logged("is listening").await;
    Documents::bearer(&third.url, &token).list("").await.expect(200);
}
