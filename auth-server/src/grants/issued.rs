//! Tokens that were given out, coming back: which of them still count ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662), [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
//!
//! Everything here reads by primary key on a reader connection, so a text that was never a token costs no write.

use std::sync::Arc;

use database::Sql;
use shared_types::{AccessTokenClaims, UnixSeconds};

use crate::app::App;
use crate::domain::grant::Grant;
use crate::domain::registry::Registry;
use crate::domain::row_id::RowId;
use crate::domain::secret::constant_time_eq;
use crate::store::{StoreError, denied_tokens, grants};
use crate::tokens::access_token;
use crate::tokens::opaque::{self, OpaqueKind};

/// What an access token that counts came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// What a person allowed; it lives.
    Grant(Box<Grant>),
    /// The client itself, which the registry has to know still.
    Client,
}

/// What the token with these claims, whose signature was proven, came from: `None` if it was given back, or if that has ended. `grant` is what
/// its `jti` names. For use within a read, so that whatever is read besides was true at the same moment.
pub fn origin(
    sql: &mut dyn Sql,
    claims: &AccessTokenClaims,
    grant: Option<RowId>,
    now: UnixSeconds,
) -> Result<Option<Origin>, StoreError> {
    if denied_tokens::is_denied(sql, &claims.jti)? {
        return Ok(None);
    }
    let Some(id) = grant else {
        return Ok((claims.sub.as_str() == claims.client_id.as_str()).then_some(Origin::Client));
    };
    let lives = |grant: &Grant| {
        let parties = &grant.new.parties;
        grant.is_live(now) && parties.client_id == claims.client_id && parties.subject == claims.sub
    };
    let grant = grants::find(sql, id, now)?.filter(lives);
    Ok(grant.map(|grant| Origin::Grant(Box::new(grant))))
}

/// The claims of an access token of ours that counts: signed, not expired, not given back, and what it came from still lives.
pub async fn live_access_token(
    app: &App,
    registry: &Registry,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<AccessTokenClaims>, StoreError> {
    let Ok(claims) = access_token::verify_own(&app.keys, &app.settings.issuer, token, now) else {
        return Ok(None);
    };
    let grant = opaque::grant_of_jti(&app.vault, &claims.jti);
    let claims = Arc::new(claims);
    let asked = Arc::clone(&claims);
    let counts = match app.database.read(move |sql| origin(sql, &asked, grant, now)).await? {
        None => false,
        Some(Origin::Grant(_)) => true,
        // It ends with the client, and when the operator revokes the client's tokens.
        Some(Origin::Client) => registry
            .client(&claims.client_id)
            .is_some_and(|client| claims.iat >= client.tokens_not_before),
    };
    Ok(counts.then(|| Arc::unwrap_or_clone(claims)))
}

/// The grant of a refresh token whose secret is right, and the token's generation: genuine, but perhaps replaced or ended long ago.
pub async fn genuine_refresh_token(
    app: &App,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<(Grant, u32)>, StoreError> {
    let Some(token) = opaque::decode(&app.vault, OpaqueKind::Refresh, token) else {
        return Ok(None);
    };
    let id = token.id;
    let grant = app.database.read(move |sql| grants::find(sql, id, now)).await?;
    let is_genuine = |grant: &Grant| {
        let expected =
            opaque::refresh_secret(&app.vault, grant.id, token.generation, &grant.new.salt);
        constant_time_eq(&expected, &token.secret)
            && grant.new.refreshable
            && grant.spent_at.is_some()
    };
    Ok(grant.filter(is_genuine).map(|grant| (grant, token.generation)))
}
