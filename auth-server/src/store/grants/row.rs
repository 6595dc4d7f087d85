//! The columns of a grant: their order here and in the statements is one.

use database::{Row, Value};
use shared_types::{ClientId, Scope, Subject, UnixSeconds};

use crate::domain::grant::{Grant, NewGrant, Parties};
use crate::domain::pkce::CodeChallenge;
use crate::domain::row_id::RowId;
use crate::domain::secret::SecretHash;
use crate::store::{StoreError, from_json, to_json};

/// A grant and its code, unspent.
pub(super) const INSERT: &str = "INSERT INTO authorization_grant (id, code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, \
     nonce, client_id, client_epoch, account_id, account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, resources, \
     auth_time, acr, amr, offline, salt, refreshable, generation, rotated_at, retries, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, 0, ?25, 0, ?26) \
     ON CONFLICT (id) DO NOTHING";

/// What [`grant`] reads.
macro_rules! columns {
    () => {
        "code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, nonce, client_id, client_epoch, account_id,
            account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, resources, auth_time, acr, amr, offline, salt,
            refreshable, expires_at, spent_at, generation, rotated_at, retries, ended_at"
    };
}
pub(super) use columns;

/// The values of [`INSERT`].
pub(super) fn insert_values(id: RowId, new: &NewGrant) -> Result<[Value; 26], StoreError> {
    let parties = &new.parties;
    Ok([
        id.into(),
        new.code_hash.as_bytes().into(),
        new.code_expires_at.as_i64().into(),
        new.redirect_uri.as_str().into(),
        new.redirect_uri_sent.into(),
        new.code_challenge.as_ref().map(CodeChallenge::as_str).into(),
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

/// The grant of a row of `columns!()`, and behind them whether its parents live.
pub(super) fn grant(id: RowId, row: &Row) -> Result<Grant, StoreError> {
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
            code_challenge: code_challenge(row)?,
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

fn code_challenge(row: &Row) -> Result<Option<CodeChallenge>, StoreError> {
    let parse = |text: String| CodeChallenge::parse(&text).ok_or_else(|| corrupt("code_challenge"));
    row.opt_text(4)?.map(parse).transpose()
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

/// A column that holds something else.
pub(super) fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt(format!(
        "column authorization_grant.{column} does not hold what was stored"
    ))
}
