//! A store for tests: a fresh SQLite file with the whole schema, gone with its handle.

use database::{Database, DatabaseUrl, Options, Synchronous};

use super::MIGRATIONS;

/// A database of a test's own.
pub(crate) struct TestStore {
    /// The database.
    pub database: Database,
    /// Where its file is, and whatever else the test writes.
    pub folder: tempfile::TempDir,
}

impl TestStore {
    /// Makes one.
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        let options = Options { synchronous: Synchronous::Normal, ..Options::default() };
        let database = Database::open(&url, &options).await.unwrap();
        database.migrate(MIGRATIONS).await.unwrap();
        Self { database, folder }
    }
}
