//! Grants: one row from the authorization code to the last refresh token of its family.
//!
//! A row's liveness is derived, never propagated: it carries the epochs that were seen of its client, account, consent and session, and
//! every use compares them. So ending a parent is one UPDATE there, whatever hangs below, and no unit of work beside it can miss it.

use database::{Row, Sql, Value};
use shared_types::{ClientId, Scope, Subject, UnixSeconds};

use super::{StoreError, from_json, to_json};
use crate::domain::grant::{EndReason, Grant, NewGrant, Parties};
use crate::domain::row_id::{CANDIDATES, RowId};
use crate::domain::secret::SecretHash;

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

const INSERT: &str = "INSERT INTO authorization_grant (id, code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, \
     nonce, client_id, client_epoch, account_id, account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, resources, \
     auth_time, acr, amr, offline, salt, refreshable, generation, rotated_at, retries, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, 0, ?25, 0, ?26) \
     ON CONFLICT (id) DO NOTHING";

const FIND: &str = concat!(
    "SELECT code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, nonce, client_id, client_epoch, account_id,
            account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, resources, auth_time, acr, amr, offline, salt,
            refreshable, expires_at, spent_at, generation, rotated_at, retries, ended_at, CASE WHEN ",
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

/// Stores a grant with its code, under the first of `ids` that is free; `None` if none is. Two inserts never share a row.
pub fn insert(
    sql: &mut dyn Sql,
    ids: &[RowId; CANDIDATES],
    new: &NewGrant,
) -> Result<Option<RowId>, StoreError> {
    for id in ids {
        if sql.execute(INSERT, &insert_values(*id, new)?)? == 1 {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Reads a grant and whether its parents live. One statement, so one snapshot: the answer was true at one moment.
pub fn find(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<Option<Grant>, StoreError> {
    sql.query(FIND, &[id.into(), now.as_i64().into()])?
        .first()
        .map(|row| grant(id, row))
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

fn insert_values(id: RowId, new: &NewGrant) -> Result<[Value; 26], StoreError> {
    let parties = &new.parties;
    Ok([
        id.into(),
        new.code_hash.as_bytes().into(),
        new.code_expires_at.as_i64().into(),
        new.redirect_uri.as_str().into(),
        new.redirect_uri_sent.into(),
        new.code_challenge.as_deref().into(),
        new.nonce.as_deref().into(),
        parties.client_id.as_str().into(),
        parties.client_epoch.into(),
        parties.account_id.into(),
        parties.account_epoch.into(),
        parties.session_id.into(),
        parties.session_epoch.into(),
        parties.consent_epoch.into(),
        parties.subject.as_str().into(),
        parties.sid.as_str().into(),
        new.scope.to_string().into(),
        to_json(&new.resources)?.into(),
        parties.auth_time.as_i64().into(),
        parties.acr.as_str().into(),
        to_json(&parties.amr)?.into(),
        new.offline.into(),
        new.salt.into(),
        new.refreshable.into(),
        // rotated_at: redeeming sets it; until then no refresh token exists whose age could count.
        new.code_expires_at.as_i64().into(),
        new.expires_at.as_i64().into(),
    ])
}

fn grant(id: RowId, row: &Row) -> Result<Grant, StoreError> {
    let time = |column| row.int(column).map(UnixSeconds::new);
    let opt_time = |column| row.opt_int(column).map(|time| time.map(UnixSeconds::new));
    Ok(Grant {
        id,
        new: NewGrant {
            code_hash: SecretHash::from_stored(&row.bytes(0)?)
                .ok_or_else(|| corrupt("code_hash"))?,
            code_expires_at: time(1)?,
            redirect_uri: row.text(2)?,
            redirect_uri_sent: row.flag(3)?,
            code_challenge: row.opt_text(4)?,
            nonce: row.opt_text(5)?,
            parties: parties(row)?,
            scope: Scope::parse(&row.text(15)?).map_err(|_| corrupt("scope"))?,
            resources: from_json("authorization_grant.resources", &row.text(16)?)?,
            offline: row.flag(20)?,
            salt: row.bytes(21)?.try_into().map_err(|_| corrupt("salt"))?,
            refreshable: row.flag(22)?,
            expires_at: time(23)?,
        },
        spent_at: opt_time(24)?,
        generation: u32::try_from(row.int(25)?).map_err(|_| corrupt("generation"))?,
        rotated_at: time(26)?,
        retries: row.int(27)?,
        ended_at: opt_time(28)?,
        parents_live: row.flag(29)?,
    })
}

fn parties(row: &Row) -> Result<Parties, StoreError> {
    Ok(Parties {
        client_id: ClientId::parse(row.text(6)?).map_err(|_| corrupt("client_id"))?,
        client_epoch: row.int(7)?,
        account_id: RowId::new(row.int(8)?),
        account_epoch: row.int(9)?,
        session_id: RowId::new(row.int(10)?),
        session_epoch: row.int(11)?,
        consent_epoch: row.int(12)?,
        subject: Subject::parse(row.text(13)?).map_err(|_| corrupt("subject"))?,
        sid: row.text(14)?,
        auth_time: UnixSeconds::new(row.int(17)?),
        acr: row.text(18)?,
        amr: from_json("authorization_grant.amr", &row.text(19)?)?,
    })
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt(format!(
        "column authorization_grant.{column} does not hold what was stored"
    ))
}
