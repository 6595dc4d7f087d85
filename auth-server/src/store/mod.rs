//! Everything that names SQL: one file a noun, functions in the order of its life. A doc line on each says what concurrency it survives.

pub mod accounts;
pub mod apis;
pub mod clients;
pub mod consents;
pub mod denied_tokens;
pub mod epochs;
pub mod grants;
pub mod keys;
pub mod purge;
pub mod secrets;
pub mod sessions;
pub mod throttle;

#[cfg(test)]
pub(crate) mod testing;

use database::{DatabaseError, Migration};

use crate::domain::password::HasherFault;

/// The schema, oldest first. Forward only: never change a file that was released.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "base",
    compatible_from: 1,
    sql: include_str!("migrations/0001_base.sql"),
}];

/// A list as a column holds it: JSON text.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|_| StoreError::Corrupt("a value cannot be written as JSON".into()))
}

/// A column's JSON text.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt(format!("column {column} does not hold what was stored")))
}

/// What can go wrong in the store. It hides the engine; "not found" is an `Option`, never an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database, or the password hasher, cannot answer now: 503, the client may try again.
    #[error("not available now: {0}")]
    Unavailable(String),
    /// Something that had to be unique or unchanged is not.
    #[error("conflict: {0}")]
    Conflict(&'static str),
    /// A row does not hold what was stored, or a statement failed: a fault of ours, 500.
    #[error("corrupt or impossible: {0}")]
    Corrupt(String),
}

/// A password that could not be checked is answered like a store that could not: 503.
impl From<HasherFault> for StoreError {
    fn from(fault: HasherFault) -> Self {
        Self::Unavailable(fault.to_string())
    }
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
