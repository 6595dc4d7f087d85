//! Everything that names SQL: one file a noun, functions in the order of its life. A doc line on each says what concurrency it survives.

pub mod documents;
pub mod key_sets;
pub mod owner;

use database::{DatabaseError, Migration, Sql};

/// The schema, oldest first. Forward only: never change a file that was released.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "key_set",
        compatible_from: 1,
        sql: include_str!("migrations/0001_key_set.sql"),
    },
    Migration {
        version: 2,
        name: "documents",
        compatible_from: 1,
        sql: include_str!("migrations/0002_documents.sql"),
    },
];

/// Whether the store answers and has our tables: one row at most, for `/readyz`.
pub fn reach(sql: &mut dyn Sql) -> Result<(), DatabaseError> {
    sql.query("SELECT issuer FROM key_set LIMIT 1", &[]).map(drop)
}

/// What can go wrong in the store. It hides the engine; "not found" is an `Option`, never an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot answer now: 503, the client may try again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A row does not hold what was stored, or a statement failed: a fault of ours, 500.
    #[error("corrupt or impossible: {0}")]
    Corrupt(String),
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable(_) | DatabaseError::OutcomeUnknown => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Corrupt(other.to_string()),
        }
    }
}
