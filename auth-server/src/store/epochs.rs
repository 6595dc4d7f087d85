//! One row of counters that every instance polls, so that a change made by one is seen by all within seconds.

use database::Sql;

use super::StoreError;

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Grows when a signature key changes its state.
    pub keys: i64,
    /// Grows when a client or an API changes.
    pub registry: i64,
}

/// Reads the counters. Safe beside any writer: one row, one statement.
pub fn read(sql: &mut dyn Sql) -> Result<Epochs, StoreError> {
    let rows = sql.query("SELECT keys, registry FROM epochs WHERE id = 1", &[])?;
    let row =
        rows.first().ok_or_else(|| StoreError::Corrupt("the epochs row is missing".into()))?;
    Ok(Epochs { keys: row.int(0)?, registry: row.int(1)? })
}

/// Announces a change of keys, in the unit of work that makes it. The row's lock orders parallel units.
pub fn bump_keys(sql: &mut dyn Sql) -> Result<(), StoreError> {
    sql.execute("UPDATE epochs SET keys = keys + 1 WHERE id = 1", &[])?;
    Ok(())
}

/// Announces a change of clients or APIs, in the unit of work that makes it. The row's lock orders parallel units.
pub fn bump_registry(sql: &mut dyn Sql) -> Result<(), StoreError> {
    sql.execute("UPDATE epochs SET registry = registry + 1 WHERE id = 1", &[])?;
    Ok(())
}
