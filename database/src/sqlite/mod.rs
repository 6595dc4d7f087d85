//! The SQLite engine: one writer with group commit, a few readers, one checkpointer.
//!
//! The file is in WAL mode, so readers see the last commit and never wait for the writer. Each
//! thread owns its connection; none is ever shared.

mod checkpoint;
mod fault;
mod reader;
mod session;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::job::{Kind, Session};
use crate::machine::Machine;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, Synchronous, clock};
use checkpoint::{Bell, Checkpointer};
use fault::is_busy;
use reader::Reader;
use session::SqliteSession;
use writer::Writer;

/// Statements that each connection keeps prepared; both servers have fewer.
const STATEMENTS: usize = 256;

/// How often something that met a foreign lock is tried again.
const RETRIES: u32 = 5;

/// How long a checkpoint waits for readers before it leaves the rest to the next one. Short,
/// because a truncating checkpoint holds the writer up meanwhile.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(1);

/// Opens or creates the file and starts the threads. Blocks for some milliseconds.
pub(crate) fn start(path: &Path, options: &Options) -> Result<Machine, DatabaseError> {
    create_private(path)?;
    let gauges = Arc::new(Gauges::default());
    let mut connection = connect(path, options, options.writer_cache_kib, options.busy_timeout)?;
    let (bell, rings) = Bell::new(options.checkpoint_pages, Arc::clone(&gauges));
    let hold = bell.hold();
    bell.hang(&mut connection).map_err(fault::open)?;
    let writer = Writer::new(connection, options, Arc::clone(&gauges));

    let mut machine = Machine::new(options, Arc::clone(&gauges));
    for number in 1..=options.readers.max(1) {
        let connection = connect(path, options, options.reader_cache_kib, options.busy_timeout)?;
        connection.pragma_update(None, "query_only", true).map_err(fault::open)?;
        let reader = Reader::new(connection, options, Arc::clone(&gauges));
        let hold = hold.clone();
        machine.hire(&format!("db-read-{number}"), Kind::Read, move |queue| {
            reader.serve(queue);
            drop(hold);
        })?;
    }
    let connection = connect(path, options, options.reader_cache_kib, CHECKPOINT_PATIENCE)?;
    let checkpointer = Checkpointer::new(connection, path, options.truncate_bytes, gauges);
    machine.start("db-checkpoint", move || checkpointer.serve(&rings))?;
    machine.hire("db-write", Kind::Write, move |queue| {
        writer.serve(queue);
        drop(hold);
    })?;
    Ok(machine)
}

/// Runs something on a database of its own that never reaches a disk.
pub(crate) fn in_memory<T>(
    work: impl FnOnce(&mut dyn Session) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    let connection = Connection::open_in_memory().map_err(fault::open)?;
    work(&mut SqliteSession::new(&connection, Kind::Write))
}

/// The file holds hashes, sealed keys and personal data: its owner alone may read it. SQLite
/// gives the same permissions to the `-wal` and `-shm` files beside it.
fn create_private(path: &Path) -> Result<(), DatabaseError> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    open.open(path)
        .map(drop)
        .map_err(|error| DatabaseError::Open(format!("{}: {error}", path.display())))
}

fn connect(
    path: &Path,
    options: &Options,
    cache_kib: u32,
    patience: Duration,
) -> Result<Connection, DatabaseError> {
    // Without SQLITE_OPEN_URI: a path is a path, even one that begins with `file:`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault::open)?;
    connection.busy_timeout(patience).map_err(fault::open)?;
    enter_wal_mode(&connection)?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    let settings = || {
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // Negative means KiB, positive would mean pages.
        connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
        // Checkpoints have a thread of their own; inside a commit they would make its tail long.
        // A query, since this pragma answers with a row.
        connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))
    };
    settings().map_err(fault::open)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The mode is a property of the file. Whoever sets it first needs the file for itself, and meets
/// BUSY without SQLite's own waiting when two processes start together.
fn enter_wal_mode(connection: &Connection) -> Result<(), DatabaseError> {
    let mut attempt = 0;
    loop {
        let answer =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
        match answer {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let message = format!("the file system offers journal mode {mode}, wal is needed");
                return Err(DatabaseError::Open(message));
            }
            Err(error) if is_busy(&error) && attempt < RETRIES => {
                clock::pause_after(attempt);
                attempt += 1;
            }
            Err(error) => return Err(fault::open(error)),
        }
    }
}

/// Runs one of the engine's own statements (BEGIN, COMMIT, SAVEPOINT, …).
fn control(connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
