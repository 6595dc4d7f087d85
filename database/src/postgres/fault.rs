//! What PostgreSQL's error codes mean to a unit of work.

use std::error::Error as StdError;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::connector::NoLink;
use crate::DatabaseError;
use crate::job::Kind;
use crate::migrate::HELD;
use crate::transfer::FENCED;

const SHORT: &str = "the database server is short of disk, memory or connections";

/// Limits of time of whole transactions, after which the server hangs up.
const IDLE_IN_TRANSACTION: &str = "25P03";
const TRANSACTION_TIMEOUT: &str = "25P04";

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
    meaning(fault.code(), fault.message(), sql, text, kind)
}

fn meaning(
    code: &SqlState,
    message: &str,
    sql: &str,
    text: &'static str,
    kind: Kind,
) -> DatabaseError {
    match class(code) {
        "23" => DatabaseError::Conflict(text),
        _ if ends_the_connection(code) => {
            DatabaseError::Unavailable("the database server ends the connection")
        }
        "57" => DatabaseError::Unavailable("a statement took too long"),
        "53" => DatabaseError::Unavailable(SHORT),
        "58" => DatabaseError::Unavailable("the database server's disk failed"),
        "40" => DatabaseError::Unavailable("the unit met others again and again"),
        // Damaged pages and indexes, and what the server says only when something is wrong with itself.
        "XX" => DatabaseError::Corrupt(message.to_owned()),
        _ if code.code() == "FENCE" => DatabaseError::Unavailable(FENCED),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => DatabaseError::Unavailable(HELD),
        // Our reads ask for it; if a write meets it, the server is a replica or its disk was closed off.
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION && kind == Kind::Write => {
            DatabaseError::Unavailable("the database server is read-only")
        }
        _ => DatabaseError::Statement(format!("{message}, in: {sql}")),
    }
}

/// Translates a failure to connect.
pub(super) fn open(error: &Error) -> NoLink {
    match error.code() {
        Some(code) if !ends_the_connection(code) => {
            let reason = if class(code) == "53" { SHORT } else { "the database server refuses us" };
            NoLink::Refused(in_words(error), DatabaseError::Unavailable(reason))
        }
        _ => NoLink::Away(in_words(error)),
    }
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
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
    }) || is_outdated(error)
}

/// Is what was prepared of no use any more? Another instance has changed the schema: the statements are prepared anew.
pub(super) fn is_outdated(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME].contains(code)
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
        Some(fault) => ends_the_connection(fault.code()),
        None => {
            error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<std::io::Error>)
        }
    }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// Does the server hang up behind this? An operator, a shutdown, a network that failed, or a limit of time that is ours to keep.
fn ends_the_connection(code: &SqlState) -> bool {
    match class(code) {
        "08" => true,
        "57" => *code != SqlState::QUERY_CANCELED,
        _ => [IDLE_IN_TRANSACTION, TRANSACTION_TIMEOUT].contains(&code.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "UPDATE item SET flag = 1";

    fn met(code: &str, kind: Kind) -> DatabaseError {
        meaning(&SqlState::from_code(code), "the server's words", SQL, SQL, kind)
    }

    #[test]
    fn what_may_pass_is_unavailable() {
        let shortage = ["53000", "53100", "53200", "53300", "53400"];
        let ends = ["08006", "08P01", "25P03", "25P04", "57P01", "57P02", "57P03", "57P05"];
        let others = ["40001", "40P01", "55P03", "57014", "58000", "58030", "FENCE"];
        for code in shortage.iter().chain(&ends).chain(&others) {
            for kind in [Kind::Read, Kind::Write] {
                let error = met(code, kind);
                assert!(matches!(error, DatabaseError::Unavailable(_)), "{code}: {error}");
            }
        }
        for code in shortage {
            assert_eq!(met(code, Kind::Write), DatabaseError::Unavailable(SHORT), "{code}");
        }
    }

    #[test]
    fn a_server_that_has_become_read_only_is_unavailable_and_a_read_that_writes_is_a_bug() {
        let replica = met("25006", Kind::Write);
        assert_eq!(replica, DatabaseError::Unavailable("the database server is read-only"));
        assert!(matches!(met("25006", Kind::Read), DatabaseError::Statement(_)));
    }

    #[test]
    fn damage_is_corrupt() {
        for code in ["XX000", "XX001", "XX002"] {
            let told = DatabaseError::Corrupt("the server's words".to_owned());
            assert_eq!(met(code, Kind::Read), told, "{code}");
        }
    }

    #[test]
    fn a_constraint_is_a_conflict_and_everything_else_a_bug() {
        assert_eq!(met("23505", Kind::Write), DatabaseError::Conflict(SQL));
        for code in ["0A000", "22003", "25P02", "26000", "42601", "42P01", "42501"] {
            let error = met(code, Kind::Write);
            assert!(matches!(error, DatabaseError::Statement(_)), "{code}: {error}");
        }
    }

    #[test]
    fn a_connection_is_given_up_only_when_the_server_hangs_up() {
        let ends = |code: &str| ends_the_connection(&SqlState::from_code(code));
        assert!(["08006", "25P03", "25P04", "57P01", "57P02", "57P03"].into_iter().all(ends));
        assert!(!["23505", "25006", "40001", "53100", "53300", "57014"].into_iter().any(ends));
    }
}
