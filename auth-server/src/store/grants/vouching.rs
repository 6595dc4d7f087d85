//! Whether a grant stands behind an access token still: the read of every introspection, of as little as it takes.

use database::{Row, Sql};
use shared_types::{ClientId, JwtId, Subject, UnixSeconds};

use super::row::corrupt;
use crate::domain::grant::Vouched;
use crate::domain::row_id::RowId;
use crate::store::StoreError;

/// The first two lines say what `domain/grant.rs:Grant::is_live` does, so that a row that does not count is not even read.
const VOUCHES: &str = concat!(
    "SELECT client_id, subject, account_id FROM authorization_grant
     WHERE id = ?1 AND ended_at IS NULL AND expires_at > ?2
         AND NOT EXISTS (SELECT 1 FROM denied_token WHERE denied_token.jti = ?3) AND ",
    parents_live!()
);

/// Whom a live grant is about, if it stands behind the access token `jti` still: neither has the grant ended nor was the token given back.
/// One statement, so one snapshot, by primary keys only.
pub fn vouches(
    sql: &mut dyn Sql,
    id: RowId,
    jti: &JwtId,
    now: UnixSeconds,
) -> Result<Option<Vouched>, StoreError> {
    let rows = sql.query(VOUCHES, &[id.into(), now.as_i64().into(), jti.as_str().into()])?;
    rows.first().map(vouched).transpose()
}

fn vouched(row: &Row) -> Result<Vouched, StoreError> {
    Ok(Vouched {
        client_id: ClientId::parse(row.text(0)?).map_err(|_| corrupt("client_id"))?,
        subject: Subject::parse(row.text(1)?).map_err(|_| corrupt("subject"))?,
        account_id: RowId::new(row.int(2)?),
    })
}
