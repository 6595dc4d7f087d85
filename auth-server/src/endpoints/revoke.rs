//! Token revocation ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)): a client gives a token back.
//!
//! A refresh token takes its whole grant along; an access token is denied alone, until it would have expired.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use shared_types::{ClientId, Subject, UnixSeconds};

use crate::app::App;
use crate::client_auth;
use crate::domain::grant::EndReason;
use crate::error::{TokenError, no_store};
use crate::grants::issued;
use crate::log_format::security_event;
use crate::params::ClientRequest;
use crate::store::{denied_tokens, grants};
use crate::tokens::access_token;

/// Where it is.
pub const PATH: &str = "/revoke";

/// Revokes a token. "The authorization server responds with HTTP status code 200 if the token has been revoked successfully or if the
/// client submitted an invalid token." (RFC 7009 section 2.2)
pub async fn post(
    app: web::Data<App>,
    request: Result<ClientRequest, TokenError>,
) -> Result<HttpResponse, TokenError> {
    revoke(&app, request).await.map_err(|cause| cause.counted(&app.metrics))?;
    Ok(no_store(StatusCode::OK).finish())
}

async fn revoke(app: &App, request: Result<ClientRequest, TokenError>) -> Result<(), TokenError> {
    let (request, now) = (request?, app.clock.now());
    let registry = app.registry().await?;
    let client = client_auth::authenticate(app, &registry, &request, now).await?;
    let token = request.params.get("token").ok_or(TokenError::Missing("token"))?;
    // "If the server is unable to locate the token using the given hint, it MUST extend its search across all of its supported token
    // types": the two kinds cannot be mistaken for each other, so the hint is not even read.
    let revoked = if token.contains('.') {
        deny_access_token(app, client.id(), token, now).await?
    } else {
        end_grant(app, client.id(), token, now).await?
    };
    if let Some((kind, subject)) = revoked {
        app.metrics.count_event("revoked");
        security_event(
            "revoked",
            &[("client_id", client.id()), ("sub", &subject), ("kind", &kind)],
        );
    }
    Ok(())
}

/// What was revoked, and whose it was.
type Revoked = (&'static str, Subject);

async fn deny_access_token(
    app: &App,
    client: &ClientId,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<Revoked>, TokenError> {
    let Ok((claims, _)) = access_token::verify_own(&app.keys, &app.settings.issuer, token, now)
    else {
        return Ok(None);
    };
    check_owner(client, &claims.client_id)?;
    app.database.write(move |sql| denied_tokens::deny(sql, &claims.jti, claims.exp)).await?;
    Ok(Some(("access_token", claims.sub)))
}

/// Ends the grant of a refresh token of any generation: whoever holds an old one and gives it back wants it to end.
async fn end_grant(
    app: &App,
    client: &ClientId,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<Revoked>, TokenError> {
    let Some((grant, _)) = issued::genuine_refresh_token(app, token, now).await? else {
        return Ok(None);
    };
    check_owner(client, &grant.new.parties.client_id)?;
    let id = grant.id;
    if grant.ended_at.is_none() {
        app.database.write(move |sql| grants::end(sql, id, EndReason::Revoked, now)).await?;
    }
    Ok(Some(("refresh_token", grant.new.parties.subject)))
}

/// "verifies whether the token was issued to the client making the revocation request. If this validation fails, the request is refused
/// and the client is informed of the error" (RFC 7009 section 2.1).
fn check_owner(caller: &ClientId, owner: &ClientId) -> Result<(), TokenError> {
    if caller == owner { Ok(()) } else { Err(TokenError::TokenOfAnotherClient) }
}
