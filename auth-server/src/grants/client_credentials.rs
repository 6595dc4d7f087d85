//! The client acts for itself ([RFC 6749 section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
//!
//! Nothing is written and no database is asked: the client is in memory, the token speaks for itself. "A refresh token SHOULD NOT be
//! included" (section 4.4.3), and there is nobody whom an ID token could be about.

use shared_types::{AccessTokenClaims, Scope, Subject};

use super::{GrantContext, TokenResponse};
use crate::domain::audience::{issuer_scope, one_resource};
use crate::error::TokenError;
use crate::params::Params;
use crate::tokens::access_token;
use crate::tokens::opaque::{self, Source};

/// What the client sends.
#[derive(Debug)]
pub struct Request {
    scope: Option<Scope>,
    resource: Option<String>,
}

impl TryFrom<&Params> for Request {
    type Error = TokenError;

    fn try_from(params: &Params) -> Result<Self, TokenError> {
        let scope = params.get("scope").map(Scope::parse).transpose();
        Ok(Self {
            scope: scope.map_err(|_| TokenError::ScopeRefused)?,
            resource: one_resource(params.all("resource"))?.map(str::to_owned),
        })
    }
}

/// Gives a confidential client a token of its own.
pub fn redeem(ctx: GrantContext<'_>, request: &Request) -> Result<TokenResponse, TokenError> {
    // "The client credentials grant type MUST only be used by confidential clients." (RFC 6749 section 4.4)
    if ctx.client.is_public() {
        return Err(TokenError::GrantNotAllowed);
    }
    let scope = scope(&ctx.client.metadata.scope, request.scope.as_ref())?;
    let target = ctx.target(&scope, &[], request.resource.as_deref())?;
    let (app, id) = (ctx.app, ctx.client.id());
    let source = Source::Client { epoch: ctx.client.epoch };
    let claims = AccessTokenClaims {
        iss: app.settings.issuer.clone(),
        // "In cases of access tokens obtained through grants where no resource owner is involved, [..] the value of "sub" SHOULD correspond
        // to an identifier the authorization server uses to indicate the client application." (RFC 9068 section 2.2)
        sub: Subject::parse(id.as_str()).map_err(|_| TokenError::GrantNotAllowed)?,
        aud: target.audiences,
        client_id: id.clone(),
        scope: target.scope.clone(),
        exp: ctx.now.plus(target.lifetime),
        iat: ctx.now,
        nbf: None,
        jti: opaque::jti(&app.vault, source, &*app.random),
        auth_time: None,
        acr: None,
        cnf: None,
    };
    Ok(TokenResponse {
        subject: claims.sub.clone(),
        access_token: access_token::issue(&app.keys, target.alg, &claims)?,
        token_type: "Bearer",
        expires_in: target.lifetime,
        scope: target.scope,
        refresh_token: None,
        id_token: None,
    })
}

/// What is asked for, within what is registered; everything registered when nothing is asked for. The issuer's own scope tokens are
/// about a person, so none of them can be had here.
fn scope(registered: &Scope, requested: Option<&Scope>) -> Result<Scope, TokenError> {
    let allowed = registered.difference(&issuer_scope());
    match requested {
        None => Ok(allowed),
        Some(requested) if allowed.covers(requested) => Ok(requested.clone()),
        Some(_) => Err(TokenError::ScopeRefused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    #[test]
    fn a_client_gets_what_it_asks_for_within_its_registration() {
        let registered = parse("openid offline_access a b");
        assert_eq!(scope(&registered, None).unwrap(), parse("a b"));
        assert_eq!(scope(&registered, Some(&parse("a"))).unwrap(), parse("a"));
    }

    #[test]
    fn more_than_registered_or_about_a_person_is_refused() {
        let registered = parse("openid offline_access a");
        for text in ["b", "a b", "openid", "a openid", "offline_access"] {
            assert_eq!(
                scope(&registered, Some(&parse(text))),
                Err(TokenError::ScopeRefused),
                "{text}"
            );
        }
    }
}
