//! Databases of their own on the PostgreSQL server that `tests/run` starts.

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
    #[expect(clippy::print_stdout, reason = "a skipped claim says why")]
    async fn empty() -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Ok(server) = std::env::var("TEST_POSTGRES") else {
            assert!(std::env::var_os("CI").is_none(), "TEST_POSTGRES names no server");
            println!("skipped: TEST_POSTGRES names no server; tests/run starts one");
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

async fn command(url: &str, sql: &str) {
    let url =
        if url.matches('/').count() == 2 { format!("{url}/postgres") } else { url.to_owned() };
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}
