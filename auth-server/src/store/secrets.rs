//! Keys of our own, sealed under the master key: written once, replaced only all together.

use database::Sql;

use super::StoreError;

/// One row: a name and what is sealed under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// What the key is for; also bound into the ciphertext.
    pub name: String,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
}

/// All rows in the order of their names. One statement.
pub fn list(sql: &mut dyn Sql) -> Result<Vec<SealedSecret>, StoreError> {
    let rows = sql.query("SELECT name, sealed FROM secret ORDER BY name", &[])?;
    rows.iter().map(|row| Ok(SealedSecret { name: row.text(0)?, sealed: row.bytes(1)? })).collect()
}

/// Whether the database holds nothing that was sealed. One statement.
pub fn none_sealed(sql: &mut dyn Sql) -> Result<bool, StoreError> {
    let rows = sql.query(
        "SELECT 1 FROM secret UNION ALL SELECT 1 FROM signing_key WHERE sealed_private IS NOT NULL LIMIT 1",
        &[],
    )?;
    Ok(rows.is_empty())
}

/// Writes the first secrets; does nothing when there are any. The guard row orders two instances that start at once.
pub fn insert_if_none(sql: &mut dyn Sql, fresh: &[SealedSecret]) -> Result<(), StoreError> {
    take_guard(sql)?;
    if !none_sealed(sql)? {
        return Ok(());
    }
    for row in fresh {
        sql.execute(
            "INSERT INTO secret (name, sealed) VALUES (?1, ?2)",
            &[(&row.name).into(), row.sealed.clone().into()],
        )?;
    }
    Ok(())
}

/// Replaces every row, if they still are `before`. The guard row orders it beside others of its kind.
pub fn replace_all(
    sql: &mut dyn Sql,
    before: &[SealedSecret],
    after: &[SealedSecret],
) -> Result<(), StoreError> {
    take_guard(sql)?;
    if list(sql)? != before {
        return Err(StoreError::Conflict("the secrets were sealed anew by somebody else"));
    }
    for row in after {
        sql.execute(
            "UPDATE secret SET sealed = ?2 WHERE name = ?1",
            &[(&row.name).into(), row.sealed.clone().into()],
        )?;
    }
    Ok(())
}

fn take_guard(sql: &mut dyn Sql) -> Result<(), StoreError> {
    match sql.execute("UPDATE guard SET version = version + 1 WHERE name = 'secrets'", &[])? {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt("the guard row of the secrets is missing".into())),
    }
}
