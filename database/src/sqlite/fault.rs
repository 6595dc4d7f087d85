//! What SQLite's error codes mean to a unit of work.

use rusqlite::{Error, ErrorCode, ffi};

use crate::DatabaseError;
use crate::job::Kind;
use crate::transfer::FENCED;

const LOCKED: &str = "another process holds the lock";

/// Translates the failure of a statement. SQLite's messages name tables and columns, not values.
pub(super) fn statement(error: &Error, sql: &'static str, kind: Kind) -> DatabaseError {
    match error {
        Error::InvalidColumnType(..) | Error::Utf8Error(..) => {
            return DatabaseError::Corrupt(format!("{error}, reading: {sql}"));
        }
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DatabaseError::Unavailable(LOCKED)
        }
        Some(ErrorCode::DiskFull) => DatabaseError::Unavailable("the disk is full"),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            DatabaseError::Unavailable("the disk failed")
        }
        // Our reads ask for it; if a write meets it, the file or its file system was closed off.
        Some(ErrorCode::ReadOnly) if kind == Kind::Write => {
            DatabaseError::Unavailable("the file is read-only")
        }
        Some(ErrorCode::OutOfMemory) => DatabaseError::Unavailable("memory is short"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            DatabaseError::Corrupt(error.to_string())
        }
        // No schema of ours has a trigger but a fence.
        Some(ErrorCode::ConstraintViolation)
            if error.sqlite_error().map(|e| e.extended_code)
                == Some(ffi::SQLITE_CONSTRAINT_TRIGGER) =>
        {
            DatabaseError::Unavailable(FENCED)
        }
        // A text in a column of integers is a bug, not a conflict of data.
        Some(ErrorCode::ConstraintViolation)
            if error.sqlite_error().map(|e| e.extended_code)
                != Some(ffi::SQLITE_CONSTRAINT_DATATYPE) =>
        {
            DatabaseError::Conflict(sql)
        }
        _ => DatabaseError::Statement(format!("{error}, in: {sql}")),
    }
}

/// Translates a failure to open or to set up a connection. A lock passes; what else keeps a file from being opened is for a person to mend.
pub(super) fn open(error: Error) -> DatabaseError {
    if is_busy(&error) {
        return DatabaseError::Unavailable(LOCKED);
    }
    DatabaseError::Open(error.to_string())
}

/// Did a lock that another process holds cause this? Then nothing has happened yet.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// After this, nobody knows what the disk holds: a page that failed to be written or synced may
/// be dropped from the system's cache, so that a second try would succeed and prove nothing.
pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
