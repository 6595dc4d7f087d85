//! Fixtures: for every version of either schema a database as the server of that version left it, and what people and clients hold of it.
//!
//! `tests/fixtures/schema/SERVER/VERSION/` has the definitions as each engine keeps them (`sqlite.sql`, `postgres.sql`), the rows for
//! both (`rows.sql`), and `hands.toml`. They are written once, by `making`, and never again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use database::{Database, DatabaseError, Migration, Options};
use serde::{Deserialize, Serialize};
use tests::background;
use tests::engine::{Store, execute};

/// Whose schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The authorization server's.
    Auth,
    /// The resource server's.
    Resource,
}

impl Server {
    /// Each of them.
    pub const BOTH: [Self; 2] = [Self::Auth, Self::Resource];

    /// Its name, which is that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth-server",
            Self::Resource => "resource-server",
        }
    }

    /// Every migration that this build knows.
    pub fn migrations(self) -> &'static [Migration] {
        match self {
            Self::Auth => auth_server::store::MIGRATIONS,
            Self::Resource => resource_server::store::MIGRATIONS,
        }
    }

    /// What a build of that version knew.
    pub fn known_at(self, version: i64) -> &'static [Migration] {
        let all = self.migrations();
        &all[..all.iter().take_while(|migration| migration.version <= version).count()]
    }

    /// Every version that this build knows, the oldest first.
    pub fn versions(self) -> impl Iterator<Item = i64> {
        self.migrations().iter().map(|migration| migration.version)
    }

    /// Where the fixture of that version is.
    pub fn folder(self, version: i64) -> PathBuf {
        root().join(self.name()).join(format!("{version:04}"))
    }

    /// One file of the fixture of that version.
    ///
    /// # Panics
    /// When it is missing: says how it is made.
    pub fn read(self, version: i64, file: &str) -> String {
        let path = self.folder(version).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}. {}", path.display(), super::making::HOW);
        })
    }
}

/// Where the fixtures are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/schema")
}

/// What people and clients hold of an authorization server's fixture.
#[derive(Debug, Deserialize, Serialize)]
pub struct AuthHands {
    /// When it was made, in Unix seconds.
    pub now: i64,
    /// The issuer identifier that everything was made for.
    pub issuer: String,
    /// What the master key file held.
    pub master_key: String,
    /// Of its confidential clients.
    pub client_secret: String,
    /// Of the people by their names.
    pub passwords: BTreeMap<String, String>,
    /// The cookies of Alice's browser.
    pub cookies: BTreeMap<String, String>,
    /// Alive.
    pub access_token: String,
    /// Of the same grant, not yet used.
    pub refresh_token: String,
    /// Of a grant that was given back.
    pub revoked_refresh_token: String,
    /// Given back before its time.
    pub revoked_access_token: String,
    /// Not yet redeemed.
    pub code: String,
    /// Proves that the code is the client's.
    pub code_verifier: String,
    /// Redeemed.
    pub spent_code: String,
    /// Its verifier.
    pub spent_code_verifier: String,
}

/// What a caller holds of a resource server's fixture.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ResourceHands {
    /// When it was made, in Unix seconds.
    pub now: i64,
    /// Who signed the access token.
    pub issuer: String,
    /// The resource server's identifier, the token's audience.
    pub resource: String,
    /// Alive, and good for every document.
    pub access_token: String,
    /// Ids of documents by their titles.
    pub documents: BTreeMap<String, String>,
}

/// Brings the fixture of that version into an empty place.
pub async fn load(server: Server, version: i64, store: &Store) {
    let rows = server.read(version, "rows.sql");
    if store.is_postgres() {
        let definitions = server.read(version, "postgres.sql");
        // The one literal that the engines write differently.
        let rows = rows.replace("X'", "'\\x");
        execute(&store.url, &format!("{definitions}\n{rows}")).await.unwrap();
        return;
    }
    let definitions = server.read(version, "sqlite.sql");
    let all: Vec<&'static str> = definitions
        .split(";\n")
        .chain(rows.split(";\n"))
        .filter(|statement| !statement.trim().is_empty())
        .map(|statement| &*statement.to_owned().leak())
        .collect();
    let url = store.database_url();
    background::run(async move {
        let database = Database::open(&url, &Options::default()).await.unwrap();
        let load = move |sql: &mut dyn database::Sql| {
            all.iter().try_for_each(|statement| sql.execute(statement, &[]).map(drop))
        };
        database.write::<_, DatabaseError>(load).await.unwrap();
        database.close().await;
    })
    .await;
}
