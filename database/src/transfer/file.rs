//! A backup: one SQLite file with everything that was acknowledged before it began, made while servers go on.
//!
//! The file gets its name when it is complete, checked and on the disk. Until then it is called `FILE.part`.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::schema::{self, Table};
use super::{Side, TransferFault, copy, make_schema, must_be_current, patient};
use crate::migrate::Migration;
use crate::{Database, DatabaseUrl, Options, machine};

/// Writes a consistent copy of the database to the new file `to`, mode 0600; its size in bytes.
///
/// SQLite's pages are copied as they are, a fence and a half-done migration with them. PostgreSQL's rows are copied out of one
/// snapshot, counted and compared.
///
/// # Errors
/// [`TransferFault::Refused`] when there is no such database or the file is there already. On PostgreSQL
/// [`DatabaseError::TooNew`](crate::DatabaseError::TooNew) and [`DatabaseError::Unfinished`](crate::DatabaseError::Unfinished)
/// where a newer build has changed the schema, or begun to.
pub async fn backup(
    from: &DatabaseUrl,
    to: &Path,
    migrations: &'static [Migration],
    options: &Options,
) -> Result<u64, TransferFault> {
    let part = reserve(to)?;
    let outcome = write(from, &part, migrations, &patient(options)).await;
    let outcome = match outcome {
        Ok(()) => publish(&part, to).await,
        Err(fault) => Err(fault),
    };
    for path in with_companions(&part) {
        // Only its own name is left to it, or it is not complete.
        std::fs::remove_file(path).ok();
    }
    outcome
}

/// An empty file that nobody else may read.
fn reserve(to: &Path) -> Result<PathBuf, TransferFault> {
    if to.symlink_metadata().is_ok() {
        return Err(TransferFault::Refused(format!("{} is there already", to.display())));
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(&part) {
        Ok(_) => Ok(part),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!(
                "{} is there: another backup is under way, or was broken off; then remove it",
                part.display()
            );
            Err(TransferFault::Refused(message))
        }
        Err(error) => Err(TransferFault::File(format!("{}: {error}", part.display()))),
    }
}

async fn write(
    from: &DatabaseUrl,
    part: &Path,
    migrations: &'static [Migration],
    options: &Options,
) -> Result<(), TransferFault> {
    if let DatabaseUrl::Sqlite(path) = from {
        if !path.exists() {
            return Err(TransferFault::Refused(format!("there is no database at {from}")));
        }
        let (path, part, patience) = (path.clone(), part.to_owned(), options.busy_timeout);
        let vacuum = move || copy_pages(&path, &part, patience);
        return machine::off_thread("db-backup", vacuum).await?;
    }
    let tables: Arc<[Table]> = schema::tables(migrations)?.into();
    let source = Side::existing(from, options).await?;
    let outcome = copy_rows(&source, part, &tables, migrations, options).await;
    source.database.close().await;
    outcome
}

/// One read transaction, whatever is written meanwhile.
fn copy_pages(from: &Path, part: &Path, patience: Duration) -> Result<(), TransferFault> {
    let copy = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(from, flags)?;
        connection.busy_timeout(patience)?;
        connection.execute("VACUUM INTO ?1", [part.to_string_lossy()]).map(drop)
    };
    copy().map_err(|error| TransferFault::File(error.to_string()))
}

async fn copy_rows(
    source: &Side,
    part: &Path,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
    options: &Options,
) -> Result<(), TransferFault> {
    must_be_current(&source.database, migrations).await?;
    let target = Database::open(&DatabaseUrl::Sqlite(part.to_owned()), options).await?;
    let filled = async {
        make_schema(&target, tables, migrations).await?;
        let read = copy::copy(&source.database, source.engine, &target, tables, migrations).await?;
        copy::compare(&read, &copy::tally(&target, tables).await?, "database and backup")
    };
    let outcome = filled.await;
    target.close().await;
    outcome
}

/// Checks the file, makes it durable, and gives it its name, unless somebody else has taken that meanwhile.
async fn publish(part: &Path, to: &Path) -> Result<u64, TransferFault> {
    let (part, to) = (part.to_owned(), to.to_owned());
    let work = move || {
        check(&part)?;
        let durable = || -> std::io::Result<u64> {
            let file = File::open(&part)?;
            file.sync_all()?;
            std::fs::hard_link(&part, &to)?;
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        durable().map_err(|error| TransferFault::File(format!("{}: {error}", to.display())))
    };
    machine::off_thread("db-backup", work).await?
}

fn check(part: &Path) -> Result<(), TransferFault> {
    let ask = || -> rusqlite::Result<String> {
        let connection = Connection::open_with_flags(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))
    };
    match ask() {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(TransferFault::Differs(verdict)),
        Err(error) => Err(TransferFault::File(error.to_string())),
    }
}

/// A database's file and what SQLite keeps beside it.
pub(super) fn with_companions(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"]
        .map(|ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        })
        .into_iter()
}
