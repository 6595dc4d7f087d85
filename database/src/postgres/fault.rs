//! What PostgreSQL's error codes mean to a unit of work.

use std::error::Error as StdError;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::DatabaseError;
use crate::job::Kind;
use crate::migrate::HELD;
use crate::transfer::FENCED;

/// Translates the failure of a statement. Only the primary message is used: it names tables and columns, while DETAIL holds values.
pub(super) fn statement(error: &Error, sql: &str, text: &'static str, kind: Kind) -> DatabaseError {
    let Some(fault) = error.as_db_error() else {
        return match error.source() {
            // A parameter or a column that does not fit is found on this side.
            Some(cause) if !is_lost(error) => {
                DatabaseError::Statement(format!("{cause}, in: {sql}"))
            }
            _ if !is_lost(error) => DatabaseError::Statement(format!("{error}, in: {sql}")),
            _ => DatabaseError::Unavailable("the connection to the database was lost"),
        };
    };
    let code = fault.code();
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        "23" => DatabaseError::Conflict(text),
        "08" | "57" if *code != SqlState::QUERY_CANCELED => {
            DatabaseError::Unavailable("the database server ends the connection")
        }
        "57" => DatabaseError::Unavailable("a statement took too long"),
        "53" => DatabaseError::Unavailable(
            "the database server is short of disk, memory or connections",
        ),
        "58" => DatabaseError::Unavailable("the database server's disk failed"),
        "40" => DatabaseError::Unavailable("the unit met others again and again"),
        "XX" => DatabaseError::Corrupt(fault.message().to_owned()),
        _ if code.code() == "FENCE" => DatabaseError::Unavailable(FENCED),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => DatabaseError::Unavailable(HELD),
        // Our reads ask for it; if a write meets it, the server is a replica or its disk was closed off.
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION && kind == Kind::Write => {
            DatabaseError::Unavailable("the database server is read-only")
        }
        _ => DatabaseError::Statement(format!("{}, in: {sql}", fault.message())),
    }
}

/// Translates a failure to connect.
pub(super) fn open(error: &Error) -> DatabaseError {
    DatabaseError::Open(in_words(error))
}

/// What happened, for people. The driver's own text is as general as "db error"; the cause is below it.
pub(super) fn in_words(error: &Error) -> String {
    let cause = || error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    match error.as_db_error() {
        Some(fault) => fault.message().to_owned(),
        None => format!("{error}{}", cause()),
    }
}

/// May the unit run again from its start, once rolled back?
pub(super) fn is_passing(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            // Another instance has changed the schema: the statement is prepared anew.
            SqlState::FEATURE_NOT_SUPPORTED,
            SqlState::INVALID_SQL_STATEMENT_NAME,
        ]
        .contains(code)
    })
}

/// Two instances created the same thing at once; the second one finds it there when it looks again.
pub(super) fn is_race_of_definitions(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT]
            .contains(code)
    })
}

/// Is the connection gone, or about to go?
pub(super) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(fault) => {
            let code = fault.code();
            code.code().starts_with("08")
                || (code.code().starts_with("57") && *code != SqlState::QUERY_CANCELED)
        }
        None => {
            error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<std::io::Error>)
        }
    }
}
