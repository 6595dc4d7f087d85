//! An open SQLite transaction as a unit of work sees it.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, params_from_iter};

use super::fault;
use crate::job::{Kind, Session};
use crate::migrate::Dialect;
use crate::{DatabaseError, Row, Sql, Value};

/// `ID` must be spelled INTEGER: only `INTEGER PRIMARY KEY` makes the key the row id itself.
static DIALECT: Dialect =
    Dialect { id: "INTEGER", int: "INTEGER", bytes: "BLOB", table_suffix: " STRICT", index: None };

/// Lives as long as one closure runs once.
pub(super) struct SqliteSession<'c> {
    connection: &'c Connection,
    kind: Kind,
    failure: Option<DatabaseError>,
    met_a_lock: bool,
}

impl<'c> SqliteSession<'c> {
    pub(super) fn new(connection: &'c Connection, kind: Kind) -> Self {
        Self { connection, kind, failure: None, met_a_lock: false }
    }

    /// Was the first failure a foreign lock? Then, after the rollback, the unit may run again.
    pub(super) fn met_a_lock(&self) -> bool {
        self.met_a_lock
    }

    /// Runs one statement unless an earlier one has failed, and remembers the first failure.
    fn attempt<T>(
        &mut self,
        sql: &'static str,
        action: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        if let Some(first) = &self.failure {
            return Err(first.clone());
        }
        action(self.connection).map_err(|error| {
            self.met_a_lock = fault::is_busy(&error);
            self.failure.insert(fault::statement(&error, sql, self.kind)).clone()
        })
    }
}

impl Sql for SqliteSession<'_> {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DatabaseError> {
        self.attempt(sql, |connection| {
            let changed = connection.prepare_cached(sql)?.execute(bound(params))?;
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        })
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        self.attempt(sql, |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut found = statement.query(bound(params))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let values = (0..columns).map(|column| owned(row, column));
                rows.push(Row::new(values.collect::<rusqlite::Result<_>>()?));
            }
            Ok(rows)
        })
    }
}

impl Session for SqliteSession<'_> {
    fn failure(&self) -> Option<&DatabaseError> {
        self.failure.as_ref()
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn define(&mut self, statement: &str) -> Result<(), DatabaseError> {
        self.attempt("(a migration)", |connection| connection.execute(statement, []).map(drop))
    }

    /// The write lock is held already, and nothing else limits a statement.
    fn be_patient(&mut self) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// The one lock that there is, is held already.
    fn be_brief(&mut self) -> Result<(), DatabaseError> {
        Ok(())
    }
}

/// Binds without copying: SQLite makes its own copy for as long as the statement runs.
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(int) => ValueRef::Integer(*int),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn bound(params: &[Value]) -> impl rusqlite::Params {
    params_from_iter(params.iter().map(Bound))
}

fn owned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Value> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(int) => Ok(Value::Int(int)),
        ValueRef::Text(text) => match str::from_utf8(text) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(error) => Err(Error::Utf8Error(column, error)),
        },
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        // Neither engine's schema has floating-point columns.
        real @ ValueRef::Real(_) => {
            Err(Error::InvalidColumnType(column, String::new(), real.data_type()))
        }
    }
}
