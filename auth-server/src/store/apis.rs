//! APIs: a JSON document for each, all of them held in memory by every instance.

use database::Sql;

use super::{StoreError, epochs, from_json, to_json};
use crate::domain::api::Api;

/// Every API, ordered by identifier.
pub fn list(sql: &mut dyn Sql) -> Result<Vec<Api>, StoreError> {
    let rows = sql.query("SELECT document FROM api ORDER BY identifier", &[])?;
    rows.iter().map(|row| from_json("api.document", &row.text(0)?)).collect()
}

/// Creates or replaces an API. Two at once: the later one stands, whole.
pub fn put(sql: &mut dyn Sql, api: &Api) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO api (identifier, document) VALUES (?1, ?2)
         ON CONFLICT (identifier) DO UPDATE SET document = excluded.document",
        &[api.identifier.as_str().into(), to_json(api)?.into()],
    )?;
    epochs::bump_registry(sql)
}

/// Removes an API. Tokens that name it live until they expire; no new ones are made within 5 s.
pub fn delete(sql: &mut dyn Sql, identifier: &str) -> Result<bool, StoreError> {
    let rows = sql.execute("DELETE FROM api WHERE identifier = ?1", &[identifier.into()])?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}
