//! One SQL text, two engines: units of work as plain closures, with group commit.

mod error;
mod location;
mod migrate;
mod options;
mod sql;

use std::future::Future;

pub use error::DatabaseError;
pub use location::DatabaseUrl;
pub use migrate::Migration;
pub use options::{Options, Synchronous};
pub use sql::{Row, Sql, Value};

/// An open database; a clone is another handle to the same threads.
#[derive(Clone, Debug)]
pub struct Database;

/// What the database has done so far and what it has before it, for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commits of write transactions, which is the number of fsyncs.
    pub commits: u64,
    /// Units of work acknowledged as committed; divided by `commits`, the size of a group.
    pub units: u64,
    /// Units of work that ended without a change: by their own `Err`, a failure or a panic.
    pub rolled_back: u64,
    /// Reads answered.
    pub reads: u64,
    /// Jobs refused because a queue was full.
    pub refused: u64,
    /// Jobs dropped because they were late or nobody waited for them any more.
    pub dropped: u64,
    /// Checkpoints of the write-ahead log.
    pub checkpoints: u64,
    /// Writes that wait now.
    pub queued_writes: usize,
    /// Reads that wait now.
    pub queued_reads: usize,
}

impl Database {
    /// Opens or creates the database and starts its threads.
    pub async fn open(_url: &DatabaseUrl, _options: &Options) -> Result<Self, DatabaseError> {
        Err(DatabaseError::Unsupported("being written".into()))
    }

    /// Runs a unit of work that may change data: `Ok` commits, `Err` rolls back.
    #[track_caller]
    pub fn write<T, E>(
        &self,
        _work: impl FnMut(&mut dyn Sql) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let unavailable = DatabaseError::Unavailable("being written");
        async move { Err(unavailable.into()) }
    }

    /// Runs a unit of work that only reads.
    #[track_caller]
    pub fn read<T, E>(
        &self,
        _work: impl FnMut(&mut dyn Sql) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let unavailable = DatabaseError::Unavailable("being written");
        async move { Err(unavailable.into()) }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self, _migrations: &'static [Migration]) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// Counters since the start.
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// False once the disk has failed during a commit or a checkpoint.
    pub fn is_healthy(&self) -> bool {
        true
    }

    /// Refuses new work, finishes what is queued, and waits for the threads to end.
    pub async fn close(&self) {}
}
