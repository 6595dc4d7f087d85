//! Migrations: the schema's history, applied forward only, once, by whichever instance is first.
//!
//! What is applied stands in the table `migration` with a checksum. As far as this build knows
//! migrations it must be the same: an edited file and a file slipped in between are refused before
//! anything changes. What a newer build has applied beyond that is accepted if those migrations
//! say that builds like this one can go on: then the instances of a server are replaced one by
//! one, the first new one migrates, and the old ones serve on (see [`Migration::compatible_from`]).
//!
//! The table `guard` orders decisions over more than one row, here and in the stores: whoever
//! first does `UPDATE guard SET version = version + 1 WHERE name = ?1` goes first, and the others
//! wait at that row until it has committed. A migration may insert further names into it.

mod additive;
mod index;
mod progress;
mod text;

use sha2::{Digest, Sha256};

use crate::job::Session;
use crate::{DatabaseError, Row, Sql, transfer};
pub(crate) use progress::is_progress;
use text::{Piece, pieces, translate};

/// One step of a schema, written once for every engine.
///
/// Three words in capitals are types: `ID` (a 64-bit integer primary key), `INT` (a 64-bit
/// integer) and `BYTES`; besides, there is `TEXT`. On SQLite every table becomes STRICT. Each
/// statement ends with `;`; comments may stand anywhere; triggers and `DEFERRABLE` constraints are
/// not supported, since the latter would fail at COMMIT and take other units' work with them.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts up; 1 is the first.
    pub version: i64,
    /// What it does, for messages: its file's name.
    pub name: &'static str,
    /// The oldest version that a build has to know, as its last one, to work on the schema once this migration is applied.
    ///
    /// An earlier version than its own promises that builds which do not know it can go on, also while it is applied. Such a
    /// migration may only add, which [`Database::migrate`](crate::Database::migrate) checks: tables, plain indexes
    /// (`IF NOT EXISTS`, so that one on a large table can be built beforehand) and columns that may be NULL or have a literal
    /// default. Each statement is a transaction of its own then, so that no two tables are locked at once; whoever comes after a
    /// crash goes on where it ended. Its own version: older builds must be stopped first, and refuse to start afterwards.
    pub compatible_from: i64,
    /// The statements. Never edited once released: a checksum is stored.
    pub sql: &'static str,
}

/// How an engine spells what a [`Migration`] leaves open.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) id: &'static str,
    pub(crate) int: &'static str,
    pub(crate) bytes: &'static str,
    /// Stands behind the closing parenthesis of CREATE TABLE.
    pub(crate) table_suffix: &'static str,
    /// Where an index may be there without being usable: asks of the index `?1` of the table `?2` whether it is, and whether it is
    /// unique.
    pub(crate) index: Option<&'static str>,
}

const CREATE_GUARD: &str = "CREATE TABLE IF NOT EXISTS guard (
    name TEXT NOT NULL PRIMARY KEY, version INT NOT NULL);";
const INSERT_GUARD: &str =
    "INSERT INTO guard (name, version) VALUES ('migration', 0) ON CONFLICT (name) DO NOTHING";
const TAKE_GUARD: &str = "UPDATE guard SET version = version + 1 WHERE name = 'migration'";
const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS migration (
    version ID PRIMARY KEY, name TEXT NOT NULL, compatible_from INT NOT NULL, checksum BYTES NOT NULL);";
const HISTORY: &str =
    "SELECT version, name, checksum, compatible_from FROM migration ORDER BY version";
const RECORD: &str =
    "INSERT INTO migration (version, name, checksum, compatible_from) VALUES (?1, ?2, ?3, ?4)";
/// A migration waits for a table that others use no longer than this at a time, in milliseconds: everybody who comes later waits
/// behind it, and gives up after two seconds.
pub(crate) const BRIEF_MILLIS: u32 = 500;
/// What an engine says of a lock that it did not get in time.
pub(crate) const HELD: &str = "another unit holds the lock";

/// Finds faults in the list itself, before the database is asked anything.
pub(crate) fn check(known: &[Migration]) -> Result<(), DatabaseError> {
    let mut last = 0;
    for migration in known {
        if migration.version <= last {
            return refused(format!("{} does not count up", migration.name));
        }
        last = migration.version;
        if !(1..=last).contains(&migration.compatible_from) {
            return refused(format!(
                "{} is compatible with no version that exists",
                migration.name
            ));
        }
        if migration.compatible_from < last {
            additive::check(migration)?;
        }
        if pieces(migration.sql).any(|piece| piece == Piece::Word("DEFERRABLE")) {
            return refused(format!("{} has a DEFERRABLE constraint", migration.name));
        }
    }
    Ok(())
}

/// The first unit: makes the guard's row exist, alone, so that everything after can wait at it. Not where a fence stands.
pub(crate) fn prepare(session: &mut dyn Session) -> Result<(), DatabaseError> {
    session.be_patient()?;
    transfer::found(session)?;
    transfer::heed(session)?;
    prepare_copy(session)
}

/// The same for a copy that is being made, whose fence is ours.
pub(crate) fn prepare_copy(session: &mut dyn Session) -> Result<(), DatabaseError> {
    run(session, CREATE_GUARD)?;
    session.execute(INSERT_GUARD, &[])?;
    Ok(())
}

/// Is everything applied that is known, and nothing else, not even in part? The database must have a history.
///
/// # Errors
/// [`DatabaseError::TooNew`] and [`DatabaseError::Unfinished`] also where this build could serve: it would not copy what it does
/// not know.
pub(crate) fn is_current(
    sql: &mut dyn Sql,
    known: &'static [Migration],
) -> Result<bool, DatabaseError> {
    let applied = sql.query(HISTORY, &[])?;
    let standing = compare(&applied, known)?;
    if let Some(version) = progress::begun(sql)? {
        return Err(DatabaseError::Unfinished { version });
    }
    match standing {
        Standing::Behind(_) => Ok(false),
        Standing::Level => Ok(true),
        Standing::Ahead(database) => {
            Err(DatabaseError::TooNew { database, needs: database, known: newest(known) })
        }
    }
}

/// What one step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This one was applied; there may be more.
    Applied(&'static str),
    /// A statement of one that has more.
    Begun,
    /// There is nothing left to do.
    Done,
    /// A newer build has brought the schema to this version, on which this build can work.
    Ahead(i64),
}

/// Each further unit: applies the next migration under the guard, or the next statement of one that only adds.
/// The history is read inside, so of two instances that start together each step has one winner.
pub(crate) fn step(
    session: &mut dyn Session,
    known: &'static [Migration],
) -> Result<Progress, DatabaseError> {
    session.be_patient()?;
    session.execute(TAKE_GUARD, &[])?;
    run(session, CREATE_HISTORY)?;
    let applied = session.query(HISTORY, &[])?;
    let next = match compare(&applied, known)? {
        Standing::Behind(next) => next,
        Standing::Level => return Ok(Progress::Done),
        Standing::Ahead(version) => return Ok(Progress::Ahead(version)),
    };
    let done = progress::done(session, next)?;
    session.be_brief()?;
    if next.compatible_from < next.version {
        if !add(session, next, done)? {
            return Ok(Progress::Begun);
        }
    } else {
        run(session, next.sql).map_err(|error| of(next, error))?;
    }
    let record = [
        next.version.into(),
        next.name.into(),
        checksum(next.sql).into(),
        next.compatible_from.into(),
    ];
    session.execute(RECORD, &record)?;
    Ok(Progress::Applied(next.name))
}

/// Runs the next statement of a migration; was it the last one?
///
/// Beside older builds a transaction may wait for no table while it holds another: a request that has the one and wants the other
/// would wait for it, and it for the request.
fn add(
    session: &mut dyn Session,
    migration: &Migration,
    done: usize,
) -> Result<bool, DatabaseError> {
    let statements = translate(migration.sql, session.dialect());
    let mut left = statements.iter().skip(done);
    if let Some(statement) = left.next() {
        define(session, statement).map_err(|error| of(migration, error))?;
    }
    if left.next().is_none() {
        progress::forget(session, migration)?;
        return Ok(true);
    }
    progress::count(session, migration, done + 1)?;
    Ok(false)
}

/// A failure, with the migration in which it came to pass; one that may pass stays what it is.
fn of(migration: &Migration, error: DatabaseError) -> DatabaseError {
    match error {
        DatabaseError::Unavailable(_) => error,
        DatabaseError::Migration(why) => {
            DatabaseError::Migration(format!("{}: {why}", migration.name))
        }
        error => DatabaseError::Migration(format!("{}: {error}", migration.name)),
    }
}

/// Where the database's history is, seen from what this build knows.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Behind(&'static Migration),
    Level,
    Ahead(i64),
}

fn compare(applied: &[Row], known: &'static [Migration]) -> Result<Standing, DatabaseError> {
    let mut left = known.iter();
    let (mut database, mut needs) = (0, 0);
    for row in applied {
        let (version, name) = (row.int(0)?, row.text(1)?);
        let Some(migration) = left.next() else {
            (database, needs) = (version, row.int(3)?.max(needs));
            continue;
        };
        if migration.version != version {
            let message =
                format!("the database has {name} where this build has {}", migration.name);
            return refused(message);
        }
        if row.bytes(2)? != checksum(migration.sql) {
            return refused(format!("{} was edited after it had been applied", migration.name));
        }
    }
    let known = newest(known);
    match left.next() {
        Some(next) => Ok(Standing::Behind(next)),
        None if database == 0 => Ok(Standing::Level),
        None if needs <= known => Ok(Standing::Ahead(database)),
        None => Err(DatabaseError::TooNew { database, needs, known }),
    }
}

/// The last version of a list; 0 of an empty one.
fn newest(known: &[Migration]) -> i64 {
    known.last().map_or(0, |migration| migration.version)
}

fn refused<T>(message: String) -> Result<T, DatabaseError> {
    Err(DatabaseError::Migration(message))
}

/// SHA-256 of the text as it is in every checkout (Git may write CR LF).
fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.replace("\r\n", "\n")).into()
}

pub(crate) fn run(session: &mut dyn Session, sql: &str) -> Result<(), DatabaseError> {
    translate(sql, session.dialect()).iter().try_for_each(|statement| define(session, statement))
}

fn define(session: &mut dyn Session, statement: &str) -> Result<(), DatabaseError> {
    session.define(statement)?;
    index::check(session, statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_line_ends() {
        assert_eq!(checksum("a\r\nb"), checksum("a\nb"));
        assert_ne!(checksum("a\nb"), checksum("a b"));
        assert!(checksum("").starts_with(&[0xe3, 0xb0, 0xc4, 0x42]), "SHA-256 of nothing");
    }

    #[test]
    fn a_list_that_does_not_count_up_is_refused() {
        let migration =
            |version, sql| Migration { version, name: "m", compatible_from: version, sql };
        assert!(check(&[migration(1, ""), migration(2, "")]).is_ok());
        assert!(check(&[migration(0, "")]).is_err());
        assert!(check(&[migration(2, ""), migration(2, "")]).is_err());
        let deferred = "CREATE TABLE a (b INT REFERENCES c DEFERRABLE INITIALLY DEFERRED);";
        assert!(check(&[migration(1, deferred)]).is_err());
        for compatible_from in [-1, 0, 3] {
            assert!(check(&[Migration { compatible_from, ..migration(2, "") }]).is_err());
        }
    }

    #[test]
    fn what_would_stop_older_builds_may_not_be_called_compatible() {
        let drop = |compatible_from| Migration {
            version: 2,
            name: "m",
            compatible_from,
            sql: "DROP TABLE a;",
        };
        assert!(check(&[drop(2)]).is_ok());
        assert!(check(&[drop(1)]).is_err());
    }
}
