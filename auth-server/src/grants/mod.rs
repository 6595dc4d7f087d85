//! Grants: one file for each grant type, and what they share: their context, and the answer that they sign ([RFC 6749 section 5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).

pub mod authorization_code;
pub mod client_credentials;
pub mod issued;
pub mod refresh_token;

#[cfg(test)]
pub(crate) mod tests;

use serde::{Serialize, Serializer};
use serde_json::Map;
use shared_types::id_token::half_hash;
use shared_types::{AccessTokenClaims, IdTokenClaims, Scope, Subject, UnixSeconds};

use crate::app::App;
use crate::domain::audience::{self, IssuerTokens, Target, TargetFault};
use crate::domain::client::{Client, GrantType};
use crate::domain::grant::Grant;
use crate::domain::registry::Registry;
use crate::domain::secret::PlainSecret;
use crate::error::TokenError;
use crate::log_format::security_event;
use crate::params::Params;
use crate::tokens::opaque::{self, Opaque, OpaqueKind, Source};
use crate::tokens::{access_token, id_token};

/// What a grant works with. `now` was read once, so everything in an answer agrees.
#[derive(Clone, Copy, Debug)]
pub struct GrantContext<'a> {
    /// Database, keys, settings.
    pub app: &'a App,
    /// What is registered.
    pub registry: &'a Registry,
    /// The authenticated client.
    pub client: &'a Client,
    /// The time of the request.
    pub now: UnixSeconds,
}

/// A token request, by its `grant_type`.
#[derive(Debug)]
pub enum Request {
    /// A code is redeemed.
    AuthorizationCode(authorization_code::Request),
    /// A refresh token is used.
    RefreshToken(refresh_token::Request),
    /// The client acts for itself.
    ClientCredentials(client_credentials::Request),
}

impl TryFrom<&Params> for Request {
    type Error = TokenError;

    fn try_from(params: &Params) -> Result<Self, TokenError> {
        match grant_type(params)? {
            GrantType::AuthorizationCode => Ok(Self::AuthorizationCode(params.try_into()?)),
            GrantType::RefreshToken => Ok(Self::RefreshToken(params.try_into()?)),
            GrantType::ClientCredentials => Ok(Self::ClientCredentials(params.try_into()?)),
        }
    }
}

/// The grant type that a request names.
pub fn grant_type(params: &Params) -> Result<GrantType, TokenError> {
    let name = params.get("grant_type").ok_or(TokenError::Missing("grant_type"))?;
    GrantType::ALL.into_iter().find(|grant| grant.as_str() == name).ok_or(TokenError::GrantUnknown)
}

/// Redeems what the request brings for tokens.
pub async fn redeem(ctx: GrantContext<'_>, request: Request) -> Result<TokenResponse, TokenError> {
    match request {
        Request::AuthorizationCode(request) => authorization_code::redeem(ctx, request).await,
        Request::RefreshToken(request) => refresh_token::redeem(ctx, request).await,
        Request::ClientCredentials(request) => client_credentials::redeem(ctx, &request),
    }
}

/// The answer of `/token`.
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// Whom the tokens are about: for the log, not for the client.
    #[serde(skip)]
    pub subject: Subject,
    /// The access token.
    #[serde(serialize_with = "exposed")]
    pub access_token: PlainSecret,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token is void.
    pub expires_in: i64,
    /// What the access token allows: always said, since it may be less than was asked for.
    pub scope: Scope,
    /// The refresh token.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub refresh_token: Option<PlainSecret>,
    /// The ID token.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub id_token: Option<PlainSecret>,
}

fn exposed<S: Serializer>(secret: &PlainSecret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[expect(clippy::ref_option, reason = "serde passes the field as it stands")]
fn exposed_if_any<S: Serializer>(
    secret: &Option<PlainSecret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(PlainSecret::expose).serialize(serializer)
}

impl GrantContext<'_> {
    /// Writes down what happened to a grant: whose it is, and at whose request.
    fn event(&self, name: &'static str, grant: &Grant) {
        self.app.metrics.count_event(name);
        security_event(
            name,
            &[("client_id", self.client.id()), ("sub", &grant.new.parties.subject)],
        );
    }

    /// For whom a token is and what it says: decided before anything is used up.
    fn target(
        &self,
        scope: &Scope,
        granted: &[String],
        requested: Option<&str>,
    ) -> Result<Target, TargetFault> {
        let settings = &self.app.settings;
        let issuer = IssuerTokens {
            issuer: &settings.issuer,
            lifetime: settings.lifetimes.access_token,
            alg: settings.signing.default_alg,
        };
        audience::target(self.registry, issuer, scope, granted, requested)
    }

    /// Signs the access token of a person's grant. It never outlives the grant.
    fn access_token(&self, grant: &Grant, target: Target) -> Result<TokenResponse, TokenError> {
        let (parties, now) = (&grant.new.parties, self.now);
        let exp = now.plus(target.lifetime).min(grant.new.expires_at);
        let claims = AccessTokenClaims {
            iss: self.app.settings.issuer.clone(),
            sub: parties.subject.clone(),
            aud: target.audiences,
            client_id: parties.client_id.clone(),
            scope: target.scope.clone(),
            exp,
            iat: now,
            nbf: None,
            jti: opaque::jti(&self.app.vault, Source::Grant(grant.id), &*self.app.random),
            auth_time: Some(parties.auth_time),
            acr: Some(parties.acr.clone()),
            cnf: None,
        };
        Ok(TokenResponse {
            subject: claims.sub.clone(),
            access_token: access_token::issue(&self.app.keys, target.alg, &claims)?,
            token_type: "Bearer",
            expires_in: exp.since(now),
            scope: target.scope,
            refresh_token: None,
            id_token: None,
        })
    }

    /// Signs the ID token beside `access_token` ([OpenID Connect Core section 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)).
    /// Claims about the person are left to `/userinfo`, as section 5.4 has it for the code flow.
    fn id_token(
        &self,
        grant: &Grant,
        nonce: Option<String>,
        access_token: &PlainSecret,
    ) -> Result<PlainSecret, TokenError> {
        let (parties, alg) =
            (&grant.new.parties, self.client.metadata.id_token_signed_response_alg);
        let claims = IdTokenClaims {
            iss: self.app.settings.issuer.clone(),
            sub: parties.subject.clone(),
            aud: parties.client_id.clone(),
            exp: self.now.plus(self.app.settings.lifetimes.id_token),
            iat: self.now,
            auth_time: Some(parties.auth_time),
            nonce,
            acr: Some(parties.acr.clone()),
            amr: parties.amr.clone(),
            at_hash: Some(half_hash(alg, access_token.expose())),
            sid: Some(parties.sid.clone()),
            other: Map::new(),
        };
        Ok(id_token::issue(&self.app.keys, alg, &claims)?)
    }

    /// The refresh token of a generation: derived, so the same one every time.
    fn refresh_token(&self, grant: &Grant, generation: u32) -> PlainSecret {
        let vault = &self.app.vault;
        let secret = opaque::refresh_secret(vault, grant.id, generation, &grant.new.salt);
        opaque::encode(vault, OpaqueKind::Refresh, &Opaque { id: grant.id, generation, secret })
    }
}
