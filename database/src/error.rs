//! What can go wrong below a unit of work, in words that name no engine.

use thiserror::Error;

/// Why a unit of work, or the database as a whole, did not do what was asked.
///
/// Messages name tables, columns and causes, never the values of parameters or rows, so that
/// they may be logged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DatabaseError {
    /// Nothing was changed, and the same unit may succeed later: the queue is full, the job was
    /// late, the database is closing, its disk is full. Over HTTP: 503 with `Retry-After`.
    #[error("the database is unavailable: {0}")]
    Unavailable(&'static str),
    /// COMMIT itself failed, so the unit may or may not be durable. Never retried by this crate,
    /// since a second run could do the work twice. Over HTTP: 503.
    #[error("the database did not confirm the commit: the outcome is unknown")]
    OutcomeUnknown,
    /// A UNIQUE, CHECK, NOT NULL or REFERENCES constraint refused the statement, whose text this
    /// is. An *expected* conflict is better asked for: `ON CONFLICT DO NOTHING` and the row count.
    #[error("a constraint refused: {0}")]
    Conflict(&'static str),
    /// A stored value is not of the type the code expects, or the file is damaged.
    #[error("the stored data is corrupt: {0}")]
    Corrupt(String),
    /// The engine refused a statement: a bug in its text or parameters.
    #[error("a statement failed: {0}")]
    Statement(String),
    /// The closure of this unit panicked; it was rolled back, its neighbors were not.
    #[error("the unit of work begun at {0} panicked")]
    Panicked(String),
    /// The stored schema and the known migrations do not fit each other.
    #[error("migration refused: {0}")]
    Migration(String),
    /// A newer build has changed the schema in a way that this one cannot work with. Versions are those of migrations.
    #[error(
        "the database has schema {database}, which is for builds that know schema {needs} or later; this build knows schema {known}: start a newer build"
    )]
    TooNew {
        /// The last migration that was applied.
        database: i64,
        /// The oldest that a build has to know.
        needs: i64,
        /// The last that this build knows.
        known: i64,
    },
    /// A migration that goes statement by statement has begun, so the schema is in part one that this build does not know: it may
    /// serve on it, but not move it or back it up by rows.
    #[error(
        "a newer build has begun migration {version} of the schema and not finished it: start that build and let it finish first"
    )]
    Unfinished {
        /// The migration's.
        version: i64,
    },
    /// It was moved elsewhere, is being moved, or is an unfinished copy: no server starts on it. The message says what to do.
    #[error("{0}")]
    Fenced(String),
    /// This build cannot do what was asked.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The database cannot be opened or created.
    #[error("cannot open the database: {0}")]
    Open(String),
}
