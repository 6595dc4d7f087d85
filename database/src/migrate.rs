//! Migrations: the schema's history, applied forward only, once, by whichever instance is first.
//!
//! What is applied stands in the table `migration` with a checksum, and must be a prefix of what
//! this build knows: an edited file, a file slipped in between, and a database that a newer build
//! has touched are all refused before anything changes.
//!
//! The table `guard` orders decisions over more than one row, here and in the stores: whoever
//! first does `UPDATE guard SET version = version + 1 WHERE name = ?1` goes first, and the others
//! wait at that row until it has committed. A migration may insert further names into it.

use sha2::{Digest, Sha256};

use crate::job::Session;
use crate::{DatabaseError, Row, Sql, transfer};

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
}

const CREATE_GUARD: &str = "CREATE TABLE IF NOT EXISTS guard (
    name TEXT NOT NULL PRIMARY KEY, version INT NOT NULL);";
const INSERT_GUARD: &str =
    "INSERT INTO guard (name, version) VALUES ('migration', 0) ON CONFLICT (name) DO NOTHING";
const TAKE_GUARD: &str = "UPDATE guard SET version = version + 1 WHERE name = 'migration'";
const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS migration (
    version ID PRIMARY KEY, name TEXT NOT NULL, checksum BYTES NOT NULL);";
const HISTORY: &str = "SELECT version, name, checksum FROM migration ORDER BY version";
const RECORD: &str = "INSERT INTO migration (version, name, checksum) VALUES (?1, ?2, ?3)";

/// Finds faults in the list itself, before the database is asked anything.
pub(crate) fn check(known: &[Migration]) -> Result<(), DatabaseError> {
    let mut last = 0;
    for migration in known {
        if migration.version <= last {
            return refused(format!("{} does not count up", migration.name));
        }
        last = migration.version;
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

/// Is everything applied that is known? The database must have a history.
pub(crate) fn is_current(
    sql: &mut dyn Sql,
    known: &'static [Migration],
) -> Result<bool, DatabaseError> {
    let applied = sql.query(HISTORY, &[])?;
    Ok(next(&applied, known)?.is_none())
}

/// Each further unit: applies the next migration under the guard; `None` when there is none left.
/// The history is read inside, so of two instances that start together each step has one winner.
pub(crate) fn step(
    session: &mut dyn Session,
    known: &'static [Migration],
) -> Result<Option<&'static str>, DatabaseError> {
    session.be_patient()?;
    session.execute(TAKE_GUARD, &[])?;
    run(session, CREATE_HISTORY)?;
    let applied = session.query(HISTORY, &[])?;
    let Some(next) = next(&applied, known)? else {
        return Ok(None);
    };
    run(session, next.sql)
        .map_err(|error| DatabaseError::Migration(format!("{}: {error}", next.name)))?;
    let record = [next.version.into(), next.name.into(), checksum(next.sql).into()];
    session.execute(RECORD, &record)?;
    Ok(Some(next.name))
}

/// The migration to apply now, if the history is a prefix of what is known.
fn next(
    applied: &[Row],
    known: &'static [Migration],
) -> Result<Option<&'static Migration>, DatabaseError> {
    let mut known = known.iter();
    for row in applied {
        let (version, name) = (row.int(0)?, row.text(1)?);
        let Some(migration) = known.next() else {
            return refused(format!("{name} was applied by a newer build; this one is too old"));
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
    Ok(known.next())
}

fn refused<T>(message: String) -> Result<T, DatabaseError> {
    Err(DatabaseError::Migration(message))
}

/// SHA-256 of the text as it is in every checkout (Git may write CR LF).
fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.replace("\r\n", "\n")).into()
}

pub(crate) fn run(session: &mut dyn Session, sql: &str) -> Result<(), DatabaseError> {
    translate(sql, session.dialect()).iter().try_for_each(|statement| session.define(statement))
}

/// Splits at `;`, drops comments, and puts the engine's types in place of the three words.
fn translate(sql: &str, dialect: &Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut words = 0;
    let mut makes_table = false;
    for piece in pieces(sql).chain([Piece::End]) {
        match piece {
            Piece::Word(word) => {
                words += 1;
                makes_table = match words {
                    1 => word.eq_ignore_ascii_case("CREATE"),
                    2 => makes_table && word.eq_ignore_ascii_case("TABLE"),
                    _ => makes_table,
                };
                current.push_str(match word {
                    "ID" => dialect.id,
                    "INT" => dialect.int,
                    "BYTES" => dialect.bytes,
                    other => other,
                });
            }
            Piece::Other(text) => current.push_str(text),
            Piece::Comment => current.push(' '),
            Piece::End => {
                let mut statement = std::mem::take(&mut current).trim().to_owned();
                if makes_table && words > 1 && statement.ends_with(')') {
                    statement.push_str(dialect.table_suffix);
                }
                if !statement.is_empty() {
                    statements.push(statement);
                }
                (words, makes_table) = (0, false);
            }
        }
    }
    statements
}

/// As much of SQL's lexical structure as it takes to know a word from a quotation.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Word(&'a str),
    /// A quoted text or name with its quotes, a space, a number, an operator.
    Other(&'a str),
    Comment,
    /// `;`
    End,
}

fn pieces(sql: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if rest.starts_with("--") => rest.find('\n'),
            _ if rest.starts_with("/*") => rest.find("*/").map(|at| at + 2),
            // A doubled quote inside reads as two quotations side by side, which is as good.
            '\'' | '"' => rest
                .chars()
                .skip(1)
                .position(|c| c == first)
                .map(|inner| rest.chars().take(inner + 2).map(char::len_utf8).sum()),
            c if is_word(c) => rest.find(|c| !is_word(c)),
            c => Some(c.len_utf8()),
        };
        let (piece, after) = rest.split_at(length.unwrap_or(rest.len()));
        rest = after;
        Some(match first {
            _ if piece.starts_with("--") || piece.starts_with("/*") => Piece::Comment,
            ';' => Piece::End,
            c if is_word(c) => Piece::Word(piece),
            _ => Piece::Other(piece),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: Dialect = Dialect { id: "A", int: "B", bytes: "C", table_suffix: " D" };

    #[test]
    fn types_are_replaced_and_nothing_else() {
        let sql = "-- ID; INT\nCREATE TABLE t (id ID PRIMARY KEY, n INT, \"INT\" BYTES /* ID; */);\n\
                   CREATE INDEX t_n ON t (n) WHERE n <> 1;INSERT INTO t VALUES ('INT; ''ID', 'ü');";
        assert_eq!(
            translate(sql, &WORDS),
            [
                "CREATE TABLE t (id A PRIMARY KEY, n B, \"INT\" C  ) D",
                "CREATE INDEX t_n ON t (n) WHERE n <> 1",
                "INSERT INTO t VALUES ('INT; ''ID', 'ü')",
            ]
        );
    }

    #[test]
    fn an_unfinished_text_ends_with_the_file() {
        assert_eq!(translate("SELECT 'a", &WORDS), ["SELECT 'a"]);
        assert_eq!(translate("SELECT 1 /* a", &WORDS), ["SELECT 1"]);
        assert_eq!(translate(" ;; -- a", &WORDS), Vec::<String>::new());
    }

    #[test]
    fn a_checksum_does_not_depend_on_line_ends() {
        assert_eq!(checksum("a\r\nb"), checksum("a\nb"));
        assert_ne!(checksum("a\nb"), checksum("a b"));
        assert!(checksum("").starts_with(&[0xe3, 0xb0, 0xc4, 0x42]), "SHA-256 of nothing");
    }

    #[test]
    fn a_list_that_does_not_count_up_is_refused() {
        let migration = |version, sql| Migration { version, name: "m", sql };
        assert!(check(&[migration(1, ""), migration(2, "")]).is_ok());
        assert!(check(&[migration(0, "")]).is_err());
        assert!(check(&[migration(2, ""), migration(2, "")]).is_err());
        let deferred = "CREATE TABLE a (b INT REFERENCES c DEFERRABLE INITIALLY DEFERRED);";
        assert!(check(&[migration(1, deferred)]).is_err());
    }
}
