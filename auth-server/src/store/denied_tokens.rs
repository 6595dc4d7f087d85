//! Access tokens given back before their time ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)), until they would have expired anyway.

use database::Sql;
use shared_types::{JwtId, UnixSeconds};

use super::StoreError;

/// Denies a token from now on. Twice is once: two units that race both succeed.
pub fn deny(sql: &mut dyn Sql, jti: &JwtId, expires_at: UnixSeconds) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO denied_token (jti, expires_at) VALUES (?1, ?2) ON CONFLICT (jti) DO NOTHING",
        &[jti.as_str().into(), expires_at.as_i64().into()],
    )?;
    Ok(())
}

/// Whether a token was given back. One statement: it sees every denial that was acknowledged before.
pub fn is_denied(sql: &mut dyn Sql, jti: &JwtId) -> Result<bool, StoreError> {
    Ok(!sql.query("SELECT 1 FROM denied_token WHERE jti = ?1", &[jti.as_str().into()])?.is_empty())
}
