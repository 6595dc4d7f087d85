//! Databases of their own on the PostgreSQL server that `tests/run` starts.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use tokio_postgres::NoTls;

use super::Stage;
use crate::DatabaseUrl;

/// A database that goes away with the test.
pub(crate) struct PostgresDatabase {
    server: String,
    name: String,
}

impl Stage for PostgresDatabase {
    async fn empty() -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Ok(server) = std::env::var("TEST_POSTGRES") else {
            skip("TEST_POSTGRES names no PostgreSQL server; tests/run starts one");
            return None;
        };
        let name = format!("contract_{}_{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        command(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { server, name })
    }

    fn url(&self) -> DatabaseUrl {
        format!("{}/{}", self.server, self.name).parse().unwrap()
    }
}

impl PostgresDatabase {
    /// Runs a statement as an operator would, on the side.
    pub(crate) async fn command(&self, sql: &str) {
        command(&format!("{}/{}", self.server, self.name), sql).await;
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let Self { server, name } = self;
        let (server, drop) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // A runtime inside a runtime is refused, so this one has a thread of its own.
        let dropping = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(command(&server, &drop));
        });
        assert!(dropping.join().is_ok(), "the database {name} is left over");
    }
}

/// Says that the claims about PostgreSQL are skipped and why; with `CI=true` that is a failure. It is the rule of the `tests` crate, which
/// this one cannot use.
#[track_caller]
fn skip(why: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "they would be skipped: {why}");
    // Written past the capture of the test runner, which shows nothing of a test that passes.
    let line = format!("SKIPPED contract on PostgreSQL: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

async fn command(url: &str, sql: &str) {
    let url =
        if url.matches('/').count() == 2 { format!("{url}/postgres") } else { url.to_owned() };
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}
