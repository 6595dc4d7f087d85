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
use crate::tokens::opaque::{self, OpaqueKind, Source};
use crate::tokens::verified::VerifiedToken;

/// What an access token that counts came from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// What the person of this account allowed; it lives.
    Person(RowId),
    /// The client itself, which the registry has to know still: at this epoch, if the token says at which.
    Client(Option<i64>),
}

/// What `token` came from: `None` if it was given back, or if that has ended. For use within a read, so that whatever is read besides was
/// true at the same moment.
pub fn origin(
    sql: &mut dyn Sql,
    token: &VerifiedToken,
    now: UnixSeconds,
) -> Result<Option<Origin>, StoreError> {
    let claims = &token.claims;
    let grant = match token.source {
        Some(Source::Grant(grant)) => grant,
        Some(Source::Client { epoch }) => return of_client(sql, claims, Some(epoch)),
        None => return of_client(sql, claims, None),
    };
    let vouched = grants::vouches(sql, grant, &claims.jti, now)?
        .filter(|by| by.client_id == claims.client_id && by.subject == claims.sub);
    Ok(vouched.map(|by| Origin::Person(by.account_id)))
}

fn of_client(
    sql: &mut dyn Sql,
    claims: &AccessTokenClaims,
    epoch: Option<i64>,
) -> Result<Option<Origin>, StoreError> {
    let own = claims.sub.as_str() == claims.client_id.as_str();
    let counts = own && !denied_tokens::is_denied(sql, &claims.jti)?;
    Ok(counts.then_some(Origin::Client(epoch)))
}

/// An access token of ours that counts: signed, not expired, not given back, and what it came from still lives.
pub async fn live_access_token(
    app: &App,
    registry: &Registry,
    text: &str,
    now: UnixSeconds,
) -> Result<Option<Arc<VerifiedToken>>, StoreError> {
    let Ok(token) = app.verified.verify(app.proof(), text, now) else {
        return Ok(None);
    };
    let asked = Arc::clone(&token);
    let counts = match app.database.read(move |sql| origin(sql, &asked, now)).await? {
        None => false,
        Some(Origin::Person(_)) => true,
        // It ends with the client, and when the operator revokes the client's tokens.
        Some(Origin::Client(epoch)) => {
            registry.client(&token.claims.client_id).is_some_and(|client| match epoch {
                // Whoever has moved it has ended what came before, whatever the clocks say of two instances. A later one comes from an
                // instance whose picture is younger than ours.
                Some(epoch) => epoch >= client.epoch,
                // Builds before this one gave out tokens that do not say.
                None => token.claims.iat >= client.tokens_not_before,
            })
        }
    };
    Ok(counts.then_some(token))
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
