//! The dials of an open database; every number has its unit.

use std::time::Duration;

/// How to run a database. The defaults are those of a server; a command-line tool that works
/// beside one takes [`Options::for_tools`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Reader threads, each with a connection of its own. At least one is started.
    pub readers: usize,
    /// Writer threads, each with a connection of its own (PostgreSQL; SQLite has one). At least one is started.
    pub writers: usize,
    /// Jobs that may wait in one queue (writes have one, reads another); one more is refused at
    /// once with [`Unavailable`](crate::DatabaseError::Unavailable).
    pub queue: usize,
    /// How long a job may wait before it starts; a later one is dropped, since whoever asked has
    /// most likely given up. A job that has started always ends: on PostgreSQL it waits for the server until its deadline or, where
    /// that is near, a second, and for its COMMIT a second at least.
    pub deadline: Duration,
    /// How long one statement waits for a lock that another process holds (SQLite).
    pub busy_timeout: Duration,
    /// How long making a connection may take (PostgreSQL).
    pub connect_timeout: Duration,
    /// How long one statement may take (PostgreSQL). Migrations are exempt.
    pub statement_timeout: Duration,
    /// How long one statement waits for a row that another unit holds (PostgreSQL). Migrations are exempt.
    pub lock_timeout: Duration,
    /// When a commit counts as durable.
    pub synchronous: Synchronous,
    /// Units of work that may share one commit.
    pub batch_units: usize,
    /// How long a batch may take up further units before it commits. Nothing ever waits for this
    /// time to pass: a batch also ends when the queue is empty.
    pub batch_time: Duration,
    /// A unit of work that runs longer is logged with the place that asked for it.
    pub slow: Duration,
    /// Page cache of the writer's connection, in KiB.
    pub writer_cache_kib: u32,
    /// Page cache of each reader's connection, in KiB.
    pub reader_cache_kib: u32,
    /// Pages (of 4 KiB) that the write-ahead log may grow before they are moved to the main file.
    pub checkpoint_pages: u32,
    /// Size in bytes above which the file of the write-ahead log is cut back to nothing.
    pub truncate_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 2,
            writers: 4,
            queue: 1_024,
            deadline: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            synchronous: Synchronous::Full,
            batch_units: 256,
            batch_time: Duration::from_millis(10),
            slow: Duration::from_millis(20),
            writer_cache_kib: 4 * 1024,
            reader_cache_kib: 1024,
            checkpoint_pages: 4_000,
            truncate_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Options {
    /// With what an operator has set for a PostgreSQL server.
    #[must_use]
    pub fn on_postgres(self, settings: &PostgresSettings) -> Self {
        let readers = settings.connections / 2;
        Self {
            readers,
            writers: settings.connections.saturating_sub(readers),
            connect_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
            lock_timeout: settings.lock_timeout,
            ..self
        }
    }

    /// For a command beside a running server: one reader, and patience with the server's locks.
    pub fn for_tools() -> Self {
        let patience = Duration::from_secs(30);
        Self {
            readers: 1,
            writers: 1,
            deadline: patience,
            busy_timeout: patience,
            statement_timeout: patience,
            lock_timeout: patience,
            ..Self::default()
        }
    }
}

/// What an operator may set of a PostgreSQL database; see [`Options`] for what each means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Connections of one instance: half of them for reads, the rest for writes. At least 2.
    pub connections: usize,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long one statement waits for a row that another unit holds.
    pub lock_timeout: Duration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        let Options { connect_timeout, statement_timeout, lock_timeout, .. } = Options::default();
        Self { connections: 10, connect_timeout, statement_timeout, lock_timeout }
    }
}

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// After an fsync: an acknowledged unit survives a power cut. Group commit makes it cheap.
    #[default]
    Full,
    /// Without one: a power cut may lose the last commits, never the database. For tests and for
    /// data that can be made again.
    Normal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_with_the_odd_one_to_the_writers() {
        for (connections, readers, writers) in [(2, 1, 1), (3, 1, 2), (10, 5, 5)] {
            let settings = PostgresSettings { connections, ..PostgresSettings::default() };
            let options = Options::default().on_postgres(&settings);
            assert_eq!((options.readers, options.writers), (readers, writers), "{connections}");
        }
    }
}
