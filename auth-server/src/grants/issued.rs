//! Tokens that were given out, coming back: which of them still count ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662), [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
//!
//! Everything here reads by primary key on a reader connection, so a text that was never a token costs no write.

use shared_types::{AccessTokenClaims, UnixSeconds};

use crate::app::App;
use crate::domain::grant::Grant;
use crate::domain::registry::Registry;
use crate::domain::secret::constant_time_eq;
use crate::store::{StoreError, denied_tokens, grants};
use crate::tokens::access_token;
use crate::tokens::opaque::{self, OpaqueKind};

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
    let grant_id = opaque::grant_of_jti(&app.vault, &claims.jti);
    let jti = claims.jti.clone();
    let (is_denied, grant) = app
        .database
        .read(move |sql| {
            let grant = grant_id.map(|id| grants::find(sql, id, now)).transpose()?.flatten();
            Ok::<_, StoreError>((denied_tokens::is_denied(sql, &jti)?, grant))
        })
        .await?;
    let counts = if grant_id.is_some() {
        let of_client = |grant: &Grant| grant.new.parties.client_id == claims.client_id;
        grant.is_some_and(|grant| grant.is_live(now) && of_client(&grant))
    } else {
        // Of no grant: a client's own. It ends with the client, and when the operator revokes the client's tokens.
        let client = registry.client(&claims.client_id);
        claims.sub.as_str() == claims.client_id.as_str()
            && client.is_some_and(|client| claims.iat >= client.tokens_not_before)
    };
    Ok((counts && !is_denied).then_some(claims))
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
