//! Redeems an authorization code ([RFC 6749 section 4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3), PKCE by [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636#section-4.5)).
//!
//! Signing happens after the commit. A fault between the two leaves the code spent without an answer: we choose replay safety over the
//! client's convenience of trying again.

use database::Sql;
use shared_types::{ClientId, UnixSeconds};

use super::{GrantContext, TokenResponse};
use crate::domain::audience::{Target, one_resource};
use crate::domain::grant::{EndReason, Grant};
use crate::domain::pkce;
use crate::domain::row_id::RowId;
use crate::domain::secret::PlainSecret;
use crate::error::TokenError;
use crate::params::Params;
use crate::store::{StoreError, grants};
use crate::tokens::opaque::{self, OpaqueKind};

/// What the client sends.
#[derive(Debug)]
pub struct Request {
    code: PlainSecret,
    redirect_uri: Option<String>,
    code_verifier: Option<PlainSecret>,
    resource: Option<String>,
}

impl TryFrom<&Params> for Request {
    type Error = TokenError;

    fn try_from(params: &Params) -> Result<Self, TokenError> {
        Ok(Self {
            code: params.get("code").map(PlainSecret::new).ok_or(TokenError::Missing("code"))?,
            redirect_uri: params.get("redirect_uri").map(str::to_owned),
            code_verifier: params.get("code_verifier").map(PlainSecret::new),
            resource: one_resource(params.all("resource"))?.map(str::to_owned),
        })
    }
}

/// How a redemption ended in the store. Values, not errors: an error would roll back, and a replay has to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Redeemed,
    Replayed,
    Refused(TokenError),
}

/// Redeems a code for tokens. The checks come first, so a request that fails one neither burns the code nor ends anybody's grant: a
/// spent code found in a log is worth nothing without client and verifier.
pub async fn redeem(ctx: GrantContext<'_>, request: Request) -> Result<TokenResponse, TokenError> {
    let grant = find(ctx, &request.code).await?.ok_or(TokenError::CodeUnknown)?;
    check_binding(&grant, ctx.client.id(), &request)?;
    let (id, now) = (grant.id, ctx.now);
    if grant.spent_at.is_some() {
        if grant.ended_at.is_none() {
            ctx.app.database.write(move |sql| end_replayed(sql, id, now)).await?;
        }
        return Err(replayed(ctx, &grant));
    }
    check_time(&grant, now)?;
    let target = ctx.target(&grant.new.scope, &grant.new.resources, request.resource.as_deref())?;
    match ctx.app.database.write(move |sql| spend(sql, id, now)).await? {
        Outcome::Redeemed => issue(ctx, &grant, target),
        Outcome::Replayed => Err(replayed(ctx, &grant)),
        Outcome::Refused(cause) => Err(cause),
    }
}

/// The grant of a code whose secret is right. An unknown one ends here, on a reader: garbage never delays the one writer.
async fn find(ctx: GrantContext<'_>, code: &PlainSecret) -> Result<Option<Grant>, StoreError> {
    let Some(code) = opaque::decode(&ctx.app.vault, OpaqueKind::Code, code.expose()) else {
        return Ok(None);
    };
    let (id, now) = (code.id, ctx.now);
    let grant = ctx.app.database.read(move |sql| grants::find(sql, id, now)).await?;
    Ok(grant.filter(|grant| grant.new.code_hash.matches(&code.secret)))
}

/// Client, redirect and PKCE: what binds a code to the one that asked for it. None of it ever changes in the row.
fn check_binding(grant: &Grant, client: &ClientId, request: &Request) -> Result<(), TokenError> {
    // "ensure that the authorization code was issued to the authenticated confidential client, or if the client is public, ensure that
    // the code was issued to "client_id" in the request" (RFC 6749 section 4.1.3)
    if grant.new.parties.client_id != *client {
        return Err(TokenError::CodeOfAnotherClient);
    }
    // "ensure that the "redirect_uri" parameter is present if [it] was included in the initial authorization request [..], and if included
    // ensure that their values are identical" (same section). OAuth 2.1 clients leave it out: PKCE binds the code better.
    match request.redirect_uri.as_deref() {
        Some(sent) if sent != grant.new.redirect_uri => return Err(TokenError::RedirectMismatch),
        None if grant.new.redirect_uri_sent && grant.new.code_challenge.is_none() => {
            return Err(TokenError::RedirectMismatch);
        }
        Some(_) | None => {}
    }
    match (&grant.new.code_challenge, &request.code_verifier) {
        (Some(challenge), Some(verifier))
            if pkce::verifier_matches(challenge, verifier.expose()) =>
        {
            Ok(())
        }
        // "If the values are not equal, an error response indicating "invalid_grant" [..] MUST be returned." (RFC 7636 section 4.6)
        (Some(_), Some(_)) => Err(TokenError::VerifierMismatch),
        (Some(_), None) => Err(TokenError::VerifierMissing),
        // RFC 9700 section 2.1.1: "authorization servers MUST mitigate PKCE downgrade attacks by ensuring that a token request containing
        // a code_verifier parameter is accepted only if a code_challenge parameter was present in the authorization request".
        (None, Some(_)) => Err(TokenError::VerifierUnexpected),
        (None, None) => Ok(()),
    }
}

/// "the authorization code MUST expire shortly after it is issued" (RFC 6749 section 4.1.2), and with it goes whatever it hung on.
fn check_time(grant: &Grant, now: UnixSeconds) -> Result<(), TokenError> {
    if now.has_reached(grant.new.code_expires_at) {
        return Err(TokenError::CodeExpired);
    }
    if grant.is_live(now) { Ok(()) } else { Err(TokenError::GrantEnded) }
}

/// Spends the code. The row count decides: of many at once one redeems, and a lost race counts as replay, since nobody can tell the
/// honest client from the thief among them.
fn spend(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<Outcome, StoreError> {
    if grants::spend(sql, id, now)? {
        return Ok(Outcome::Redeemed);
    }
    match grants::find(sql, id, now)? {
        Some(grant) if grant.spent_at.is_some() => end_replayed(sql, id, now),
        // It ended between our reading and here: signed out, disabled, withdrawn.
        Some(_) => Ok(Outcome::Refused(TokenError::GrantEnded)),
        None => Ok(Outcome::Refused(TokenError::CodeUnknown)),
    }
}

/// "the authorization server [..] SHOULD revoke (when possible) all tokens previously issued based on that authorization code"
/// (RFC 6749 section 4.1.2): they all hang on the grant.
fn end_replayed(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<Outcome, StoreError> {
    grants::end(sql, id, EndReason::CodeReplayed, now)?;
    Ok(Outcome::Replayed)
}

fn replayed(ctx: GrantContext<'_>, grant: &Grant) -> TokenError {
    ctx.event("code_replayed", grant);
    TokenError::CodeReplayed
}

fn issue(
    ctx: GrantContext<'_>,
    grant: &Grant,
    target: Target,
) -> Result<TokenResponse, TokenError> {
    let mut response = ctx.access_token(grant, target)?;
    if grant.new.scope.contains("openid") {
        response.id_token =
            Some(ctx.id_token(grant, grant.new.nonce.clone(), &response.access_token)?);
    }
    response.refresh_token = grant.new.refreshable.then(|| ctx.refresh_token(grant, 0));
    Ok(response)
}
