//! Uses a refresh token ([RFC 6749 section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)), replacing it by its successor ([RFC 9700 section 4.14](https://www.rfc-editor.org/rfc/rfc9700#section-4.14)).
//!
//! Rotation is idempotent: the token before the current one is answered with the same successor for a short while, so a lost answer or
//! two racing tabs do no harm. Any other reuse is theft and ends the family. Sender-constrained tokens are left out so far.

use database::Sql;
use shared_types::{Scope, UnixSeconds};

use super::{GrantContext, TokenResponse, issued};
use crate::domain::audience::one_resource;
use crate::domain::grant::{EndReason, Grant, Presented};
use crate::domain::row_id::RowId;
use crate::domain::secret::PlainSecret;
use crate::error::TokenError;
use crate::params::Params;
use crate::store::{StoreError, grants};

/// How often, in seconds, the use of a token that stays is noted: often enough for an idle time of days.
const TOUCH_EVERY: i64 = 60;

/// What the client sends.
#[derive(Debug)]
pub struct Request {
    refresh_token: PlainSecret,
    scope: Option<Scope>,
    resource: Option<String>,
}

impl TryFrom<&Params> for Request {
    type Error = TokenError;

    fn try_from(params: &Params) -> Result<Self, TokenError> {
        let scope = params.get("scope").map(Scope::parse).transpose();
        Ok(Self {
            refresh_token: params
                .get("refresh_token")
                .map(PlainSecret::new)
                .ok_or(TokenError::Missing("refresh_token"))?,
            scope: scope.map_err(|_| TokenError::ScopeRefused)?,
            resource: one_resource(params.all("resource"))?.map(str::to_owned),
        })
    }
}

/// How a use ended in the store. Values, not errors: theft has to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The token of this generation is the client's from now on.
    Current(u32),
    /// The token of this generation was given before, and is told once more.
    Retried(u32),
    Reused,
    Refused(TokenError),
}

/// Uses a refresh token. The checks come first, so a request that fails one uses nothing up.
pub async fn redeem(ctx: GrantContext<'_>, request: Request) -> Result<TokenResponse, TokenError> {
    let token = request.refresh_token.expose();
    let genuine = issued::genuine_refresh_token(ctx.app, token, ctx.now).await?;
    let (grant, generation) = genuine.ok_or(TokenError::RefreshUnknown)?;
    let presented = check(ctx, &grant, generation)?;
    if presented == Presented::Stolen {
        let (id, now) = (grant.id, ctx.now);
        ctx.app.database.write(move |sql| end_stolen(sql, id, now)).await?;
        return Err(reused(ctx, &grant));
    }
    // "The requested scope MUST NOT include any scope not originally granted by the resource owner" (RFC 6749 section 6).
    let scope = request.scope.as_ref().unwrap_or(&grant.new.scope);
    if !grant.new.scope.covers(scope) {
        return Err(TokenError::ScopeRefused);
    }
    // What the operator has taken from the client since then is gone, too.
    let scope = &scope.intersection(&ctx.client.metadata.scope);
    let target = ctx.target(scope, &grant.new.resources, request.resource.as_deref())?;
    let successor = match use_up(ctx, &grant, generation, presented).await? {
        Outcome::Current(successor) => successor,
        Outcome::Retried(successor) => {
            ctx.event("refresh_retried", &grant);
            successor
        }
        Outcome::Reused => return Err(reused(ctx, &grant)),
        Outcome::Refused(cause) => return Err(cause),
    };
    let mut response = ctx.access_token(&grant, target)?;
    // An ID token says that somebody signed in, which a refresh does not; a client that wants one anew asks for `openid` by name.
    // "it SHOULD NOT have a nonce Claim" (OpenID Connect Core section 12.2).
    if request.scope.is_some_and(|scope| scope.contains("openid")) {
        response.id_token = Some(ctx.id_token(&grant, None, &response.access_token)?);
    }
    response.refresh_token = Some(ctx.refresh_token(&grant, successor));
    Ok(response)
}

/// Who may use the token and whether it still counts; what it is worth if so.
fn check(ctx: GrantContext<'_>, grant: &Grant, generation: u32) -> Result<Presented, TokenError> {
    // "the refresh token is bound to the client to which it was issued" (RFC 6749 section 6)
    if grant.new.parties.client_id != *ctx.client.id() {
        return Err(TokenError::RefreshOfAnotherClient);
    }
    if !grant.is_live(ctx.now) {
        return Err(TokenError::GrantEnded);
    }
    let lifetimes = &ctx.app.settings.lifetimes;
    if ctx.now.has_reached(grant.rotated_at.plus(lifetimes.refresh_idle)) {
        return Err(TokenError::RefreshIdle);
    }
    match grant.presented(generation, lifetimes.refresh_retry_window, ctx.now) {
        Presented::Unissued => Err(TokenError::RefreshUnknown),
        presented @ (Presented::Current | Presented::Predecessor | Presented::Stolen) => {
            Ok(presented)
        }
    }
}

async fn use_up(
    ctx: GrantContext<'_>,
    grant: &Grant,
    generation: u32,
    presented: Presented,
) -> Result<Outcome, StoreError> {
    let (id, now, lifetimes) = (grant.id, ctx.now, &ctx.app.settings.lifetimes);
    if presented == Presented::Current && !ctx.client.metadata.refresh_token_rotation {
        if now.since(grant.rotated_at) < TOUCH_EVERY {
            return Ok(Outcome::Current(generation));
        }
        return ctx.app.database.write(move |sql| keep(sql, id, generation, now)).await;
    }
    let (window, limit) = (lifetimes.refresh_retry_window, lifetimes.refresh_retries);
    ctx.app.database.write(move |sql| rotate(sql, id, generation, (window, limit), now)).await
}

/// Notes that a token that stays was used.
fn keep(
    sql: &mut dyn Sql,
    id: RowId,
    generation: u32,
    now: UnixSeconds,
) -> Result<Outcome, StoreError> {
    let live = grants::touch(sql, id, generation, now)?;
    Ok(if live { Outcome::Current(generation) } else { Outcome::Refused(TokenError::GrantEnded) })
}

/// Replaces the token, or tells its successor again. The row counts decide, whatever others do meanwhile: of many at once one rotates,
/// and the rest read again and are retries.
fn rotate(
    sql: &mut dyn Sql,
    id: RowId,
    generation: u32,
    (window, limit): (i64, i64),
    now: UnixSeconds,
) -> Result<Outcome, StoreError> {
    if grants::rotate(sql, id, generation, now)? {
        return Ok(Outcome::Current(generation.saturating_add(1)));
    }
    let Some(grant) = grants::find(sql, id, now)?.filter(|grant| grant.is_live(now)) else {
        return Ok(Outcome::Refused(TokenError::GrantEnded));
    };
    match grant.presented(generation, window, now) {
        Presented::Predecessor if grants::count_retry(sql, id, grant.generation, limit, now)? => {
            Ok(Outcome::Retried(grant.generation))
        }
        Presented::Predecessor | Presented::Stolen => end_stolen(sql, id, now),
        Presented::Current | Presented::Unissued => Ok(Outcome::Refused(TokenError::GrantEnded)),
    }
}

/// RFC 9700 section 4.14.2: "the authorization server cannot determine which party submitted the invalid refresh token, but it will revoke
/// the active refresh token".
fn end_stolen(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<Outcome, StoreError> {
    grants::end(sql, id, EndReason::RefreshReused, now)?;
    Ok(Outcome::Reused)
}

fn reused(ctx: GrantContext<'_>, grant: &Grant) -> TokenError {
    ctx.event("refresh_reuse_detected", grant);
    TokenError::RefreshReused
}
