//! What is true of PostgreSQL alone: how a server finds it, what it says while it is away, and that it understands every statement.

mod outage;
mod silence;
mod start;
mod statements;
mod tls;

use shared_types::{Clock as _, SystemClock};
use tempfile::TempDir;
use tests::client::Documents;
use tests::cluster::Cluster;
use tests::engine::Store;
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};

use crate::processes::RESOURCE_SERVER;

/// A resource server whose rows are on a cluster, with one document in it.
struct House {
    /// The API, with a token.
    documents: Documents,
    /// The document.
    id: String,
    /// Where the server says whether it is ready.
    ready: String,
    // In the order in which they have to end.
    _server: Process,
    _issuer: FakeIssuer,
    _store: Store,
    _folder: TempDir,
}

impl House {
    async fn on(cluster: &Cluster) -> Self {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::on(&cluster.url()).await);
        let (issuer, resource) = (FakeIssuer::start().await, "https://api.example");
        let args = ["--issuer", &issuer.url, "--resource", resource, "--database", &store.url];
        let server = Process::start(RESOURCE_SERVER, folder.path(), free_port(), &args).await;
        let token = issuer.token(resource, SystemClock.now().as_i64()).text();
        let documents = Documents::bearer(&server.url, &token);
        let id = documents.create("kept", "text").await.expect(201).member("id");
        let ready = format!("{}/readyz", server.url);
        Self {
            documents,
            id,
            ready,
            _server: server,
            _issuer: issuer,
            _store: store,
            _folder: folder,
        }
    }
}
