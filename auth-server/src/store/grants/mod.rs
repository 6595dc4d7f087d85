//! Grants: one row from the authorization code to the last refresh token of its family.
//!
//! A row's liveness is derived, never propagated: it carries the epochs that were seen of its client, account, consent and session, and
//! every use compares them. So ending a parent is one UPDATE there, whatever hangs below, and no unit of work beside it can miss it.

mod row;

use database::Sql;
use shared_types::UnixSeconds;

use self::row::columns;
use super::StoreError;
use crate::domain::grant::{EndReason, Grant, NewGrant};
use crate::domain::row_id::{CANDIDATES, RowId};

/// Whether every parent still is what it was; `?2` is now. A session counts only while the grant does not outlive it (`offline`), and
/// an absent consent row has epoch 0: consent was never stored. One text, so that reading and writing cannot disagree.
macro_rules! parents_live {
    () => {
        "EXISTS (SELECT 1 FROM client WHERE client.client_id = authorization_grant.client_id
             AND client.enabled = 1 AND client.epoch = authorization_grant.client_epoch)
         AND EXISTS (SELECT 1 FROM account WHERE account.id = authorization_grant.account_id
             AND account.enabled = 1 AND account.epoch = authorization_grant.account_epoch)
         AND COALESCE((SELECT consent.epoch FROM consent WHERE consent.account_id = authorization_grant.account_id
             AND consent.client_id = authorization_grant.client_id), 0) = authorization_grant.consent_epoch
         AND (authorization_grant.offline = 1
              OR EXISTS (SELECT 1 FROM session WHERE session.id = authorization_grant.session_id
                  AND session.epoch = authorization_grant.session_epoch
                  AND session.ended_at IS NULL AND session.expires_at > ?2))"
    };
}

mod vouching;
pub use vouching::vouches;

const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    ", CASE WHEN ",
    parents_live!(),
    " THEN 1 ELSE 0 END FROM authorization_grant WHERE id = ?1"
);

const SPEND: &str = concat!(
    "UPDATE authorization_grant SET spent_at = ?2, rotated_at = ?2
     WHERE id = ?1 AND spent_at IS NULL AND ended_at IS NULL AND code_expires_at > ?2 AND ",
    parents_live!()
);

const ROTATE: &str = concat!(
    "UPDATE authorization_grant SET generation = generation + 1, rotated_at = ?2, retries = 0
     WHERE id = ?1 AND generation = ?3 AND spent_at IS NOT NULL AND ended_at IS NULL AND ",
    parents_live!()
);

const TOUCH: &str = concat!(
    "UPDATE authorization_grant SET rotated_at = ?2
     WHERE id = ?1 AND generation = ?3 AND spent_at IS NOT NULL AND ended_at IS NULL AND ",
    parents_live!()
);

const COUNT_RETRY: &str = concat!(
    "UPDATE authorization_grant SET retries = retries + 1
     WHERE id = ?1 AND generation = ?3 AND retries < ?4 AND ended_at IS NULL AND ",
    parents_live!()
);

/// How many codes of one session may wait to be redeemed: a browser with many tabs needs a few.
pub const MAX_WAITING: i64 = 16;

/// All but the newest of a session's codes that wait; what was redeemed in this moment stays.
const FORGET_WAITING: &str = "DELETE FROM authorization_grant WHERE spent_at IS NULL AND id IN
     (SELECT id FROM authorization_grant WHERE session_id = ?1 AND spent_at IS NULL ORDER BY code_expires_at DESC, id DESC LIMIT 500 OFFSET ?2)";

/// Stores a grant with its code, under the first of `ids` that is free; `None` if none is. Two inserts never share a row.
pub fn insert(
    sql: &mut dyn Sql,
    ids: &[RowId; CANDIDATES],
    new: &NewGrant,
) -> Result<Option<RowId>, StoreError> {
    for id in ids {
        if sql.execute(row::INSERT, &row::insert_values(*id, new)?)? == 1 {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Removes the oldest codes of a session that nobody has redeemed, beyond [`MAX_WAITING`]: whoever is signed in could ask for codes faster
/// than expired ones are removed. Two that issue at once may leave one more, until the next; a code redeemed meanwhile is kept.
pub fn forget_oldest_waiting(sql: &mut dyn Sql, session_id: RowId) -> Result<u64, StoreError> {
    Ok(sql.execute(FORGET_WAITING, &[session_id.into(), MAX_WAITING.into()])?)
}

/// Reads a grant and whether its parents live. One statement, so one snapshot: the answer was true at one moment.
pub fn find(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<Option<Grant>, StoreError> {
    sql.query(FIND, &[id.into(), now.as_i64().into()])?
        .first()
        .map(|row| row::grant(id, row))
        .transpose()
}

/// Redeems the code. One guarded statement: of any number at once exactly one sees true, and none on a grant that has ended.
pub fn spend(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<bool, StoreError> {
    Ok(sql.execute(SPEND, &[id.into(), now.as_i64().into()])? == 1)
}

/// Replaces refresh token `generation` by its successor. One guarded statement: of any number at once exactly one sees true.
pub fn rotate(
    sql: &mut dyn Sql,
    id: RowId,
    generation: u32,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    Ok(sql.execute(ROTATE, &[id.into(), now.as_i64().into(), i64::from(generation).into()])? == 1)
}

/// Notes the use of a refresh token that stays. One guarded statement; two at once both count, the later time stands.
pub fn touch(
    sql: &mut dyn Sql,
    id: RowId,
    generation: u32,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    Ok(sql.execute(TOUCH, &[id.into(), now.as_i64().into(), i64::from(generation).into()])? == 1)
}

/// Counts that the predecessor of `generation` was answered again. One guarded statement: at most `limit` ever see true, and none
/// once the generation has moved on.
pub fn count_retry(
    sql: &mut dyn Sql,
    id: RowId,
    generation: u32,
    limit: i64,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let values = [id.into(), now.as_i64().into(), i64::from(generation).into(), limit.into()];
    Ok(sql.execute(COUNT_RETRY, &values)? == 1)
}

/// Ends a grant, with all of its tokens. One guarded statement: the first reason stands. True for the one that ended it.
pub fn end(
    sql: &mut dyn Sql,
    id: RowId,
    reason: EndReason,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE authorization_grant SET ended_at = ?2, end_reason = ?3 WHERE id = ?1 AND ended_at IS NULL",
        &[id.into(), now.as_i64().into(), reason.as_str().into()],
    )?;
    Ok(rows == 1)
}
