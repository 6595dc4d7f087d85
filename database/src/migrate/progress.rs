//! How far a migration that only adds has come: one row of `guard`, for as long as statements of it are left.
//!
//! It stands for what this database has of the schema, so it goes nowhere without that: see [`crate::transfer`].

use super::{Migration, checksum, refused};
use crate::job::Session;
use crate::{DatabaseError, Row, Sql};

/// How its name begins; the row `migration`, which orders instances that migrate, has no space.
const PREFIX: &str = "migration ";
const BEGUN: &str = "SELECT name, version FROM guard WHERE name LIKE 'migration %'";
const COUNT: &str = "INSERT INTO guard (name, version) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version";
const FORGET: &str = "DELETE FROM guard WHERE name = ?1";

/// How many of a migration's statements are done. Refuses to go on with what was begun as something else: an edited text, or
/// another build's migration.
pub(super) fn done(
    session: &mut dyn Session,
    migration: &Migration,
) -> Result<usize, DatabaseError> {
    let only_adds = migration.compatible_from < migration.version;
    let ours = name(migration);
    let mut done = 0;
    for row in session.query(BEGUN, &[])? {
        let begun = row.text(0)?;
        if !only_adds || begun != ours {
            return refused(format!(
                "{} cannot go on with what was begun as {begun}: it was edited, or another build has its own",
                migration.name
            ));
        }
        done = usize::try_from(row.int(1)?).unwrap_or(usize::MAX);
    }
    Ok(done)
}

pub(super) fn count(
    session: &mut dyn Session,
    migration: &Migration,
    done: usize,
) -> Result<(), DatabaseError> {
    let done = i64::try_from(done).unwrap_or(i64::MAX);
    session.execute(COUNT, &[name(migration).into(), done.into()]).map(drop)
}

pub(super) fn forget(
    session: &mut dyn Session,
    migration: &Migration,
) -> Result<(), DatabaseError> {
    session.execute(FORGET, &[name(migration).into()]).map(drop)
}

/// Not even an unfinished one may be edited: what is left of it would be something else.
fn name(migration: &Migration) -> String {
    let sum = checksum(migration.sql);
    let mark = sum.iter().take(8).fold(0_u64, |mark, byte| (mark << 8) | u64::from(*byte));
    format!("{PREFIX}{} {mark:016x}", migration.version)
}

/// The version of a migration that was begun and is not finished.
pub(super) fn begun(sql: &mut dyn Sql) -> Result<Option<i64>, DatabaseError> {
    let rows = sql.query(BEGUN, &[])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let name = row.text(0)?;
    let version = name.strip_prefix(PREFIX).and_then(|rest| rest.split(' ').next()?.parse().ok());
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(DatabaseError::Corrupt(format!("the guard has a row \"{name}\""))),
    }
}

/// Is this row of `guard` such a one?
pub(crate) fn is_progress(row: &Row) -> bool {
    row.text(0).is_ok_and(|name| name.starts_with(PREFIX))
}
