//! Which engine the servers of a case keep their rows in, and a place of its own for each of them.
//!
//! With `TEST_ENGINE=postgres` worlds and realms live on the server that `TEST_POSTGRES` names, else in SQLite files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use database::DatabaseUrl;
use tokio::runtime::Builder;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::skip::skip;

/// Where the master key of a server lies in its folder: where it would make one beside an SQLite database.
pub const MASTER_KEY: &str = "auth-server.master-key";

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file in the folder of the case.
    Sqlite,
    /// A database on the test server.
    Postgres,
}

impl Engine {
    /// What this run of the cases is about.
    pub fn chosen() -> Self {
        match std::env::var("TEST_ENGINE").as_deref() {
            Ok("postgres") => Self::Postgres,
            Ok("sqlite") | Err(_) => Self::Sqlite,
            Ok(other) => panic!("TEST_ENGINE is neither sqlite nor postgres but {other}"),
        }
    }
}

/// Where one server's rows are; gone with it.
#[derive(Debug)]
pub struct Store {
    /// As the setting `database` takes it.
    pub url: String,
    /// Goes away with it.
    database: Option<TestDatabase>,
}

impl Store {
    /// An empty place of the chosen engine; an SQLite file is `name` in `folder`.
    pub async fn chosen(folder: &Path, name: &str) -> Self {
        match Engine::chosen() {
            Engine::Sqlite => Self::file(folder, name),
            Engine::Postgres => {
                let server = server().expect("TEST_ENGINE=postgres needs TEST_POSTGRES");
                Self::on(&server).await
            }
        }
    }

    /// An SQLite file.
    pub fn file(folder: &Path, name: &str) -> Self {
        Self { url: format!("sqlite:{}", folder.join(name).display()), database: None }
    }

    /// An empty database on a PostgreSQL server.
    pub async fn on(server: &str) -> Self {
        let database = TestDatabase::create(server).await;
        Self { url: database.url(), database: Some(database) }
    }

    /// The same, typed.
    pub fn database_url(&self) -> DatabaseUrl {
        self.url.parse().unwrap()
    }

    /// Whether several machines may share it.
    pub fn is_postgres(&self) -> bool {
        self.database.is_some()
    }
}

/// The PostgreSQL server of this run, without a database's name.
pub fn server() -> Option<String> {
    std::env::var("TEST_POSTGRES").ok()
}

/// The same for the case `name`, which is skipped without one: the caller returns next.
#[track_caller]
pub fn server_or_skip(name: &str) -> Option<String> {
    let server = server();
    if server.is_none() {
        skip(name, "TEST_POSTGRES names no PostgreSQL server; tests/run starts one");
    }
    server
}

/// Writes a master key into a server's folder: on PostgreSQL it makes none of its own.
pub fn write_master_key(folder: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(folder.join(MASTER_KEY)).unwrap();
    writeln!(file, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA").unwrap();
}

/// A database that goes away with its handle.
#[derive(Debug)]
struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    async fn create(server: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("cases_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Self { server: server.to_owned(), name };
        let create = format!("CREATE DATABASE {}", database.name);
        execute(&format!("{server}/postgres"), &create).await.unwrap();
        database
    }

    fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that is still stopping loses its connections.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let url = format!("{}/postgres", self.server);
        // A runtime inside a runtime is refused, so this one has a thread of its own.
        let dropping = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&url, &drop))
        });
        // A cluster of the case's own may be gone already, and its databases with it.
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("the database {} is left over: {error}", self.name);
        }
    }
}

/// Runs statements as an operator would, on the side.
///
/// # Errors
/// When the server does not answer or refuses.
pub async fn execute(url: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let driver = tokio::spawn(connection);
    let outcome = client.batch_execute(sql).await;
    drop(client);
    driver.await.expect("the driver does not panic").and(outcome)
}

/// Bytes as PostgreSQL writes them in text.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a text takes everything");
        hex
    })
}

/// The one value that a query gives, as text.
pub async fn ask(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.expect("one value").to_owned()
}

/// Every row of every table as text, bytes in hexadecimal: what a thief of the database has.
pub async fn dump(url: &str) -> String {
    let tables = "SELECT string_agg(relname, ' ') FROM pg_stat_user_tables";
    let mut rows = String::new();
    for table in ask(url, tables).await.split(' ') {
        let all = format!("SELECT coalesce(string_agg(t::text, chr(10)), '') FROM {table} AS t");
        rows += &ask(url, &all).await;
        rows.push('\n');
    }
    rows
}
