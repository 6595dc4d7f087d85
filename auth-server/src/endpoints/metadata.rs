//! What this server offers and where: one document for [RFC 8414](https://www.rfc-editor.org/rfc/rfc8414#section-3) and for
//! [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig).
//!
//! Nothing is written by hand that the program knows: endpoints come from the table of routes, values from the enums that parse them.

use std::sync::{Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use shared_types::metadata::AuthorizationServerMetadata;
use shared_types::{Issuer, Scope, SigningAlg};

use super::{Offers, authorize, end_session, introspect, jwks, revoke, token, userinfo};
use crate::app::App;
use crate::domain::account::standard_claims;
use crate::domain::audience::ISSUER_SCOPES;
use crate::domain::authorization_request::ResponseMode;
use crate::domain::client::{AuthMethod, GrantType};
use crate::domain::registry::Registry;
use crate::error::TokenError;

/// RFC 8414.
pub const PATH: &str = "/.well-known/oauth-authorization-server";
/// OpenID Connect Discovery.
pub const OPENID_PATH: &str = "/.well-known/openid-configuration";

/// How long a client may keep it, in seconds: as long as a scope that was just declared may stay unknown.
const MAX_AGE: u32 = 300;

/// The document as bytes, made anew when clients, APIs or keys have changed.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<(Picture, Bytes)>>);

/// What the document depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Picture {
    registry_epoch: i64,
    algorithms: Vec<SigningAlg>,
}

/// The document.
pub async fn get(
    app: Data<App>,
    cache: Data<Cache>,
    offers: Data<Offers>,
) -> Result<HttpResponse, TokenError> {
    let registry = app.registry().await?;
    let picture = Picture { registry_epoch: registry.epoch, algorithms: app.keys.algorithms() };
    let document = cache.document(&app.settings.issuer, &registry, &offers, picture);
    Ok(HttpResponse::Ok()
        // "a JSON object [..] using the application/json content type" (RFC 8414 section 3.2)
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, format!("public, max-age={MAX_AGE}")))
        // Public, and the same for everybody: a client that runs in a browser may read it.
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .body(document))
}

impl Cache {
    fn document(
        &self,
        issuer: &Issuer,
        registry: &Registry,
        offers: &Offers,
        picture: Picture,
    ) -> Bytes {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, document)) = &*cached
            && *of == picture
        {
            return document.clone();
        }
        let metadata = describe(issuer, registry, offers, &picture.algorithms);
        // A struct of strings and lists cannot fail to be written.
        let document = Bytes::from(serde_json::to_vec(&metadata).unwrap_or_default());
        *cached = Some((picture, document.clone()));
        document
    }
}

/// The metadata of what is built and registered.
pub fn describe(
    issuer: &Issuer,
    registry: &Registry,
    offers: &Offers,
    algorithms: &[SigningAlg],
) -> AuthorizationServerMetadata {
    let endpoint = |path: &str| offers.has(path).then(|| issuer.join(path));
    AuthorizationServerMetadata {
        issuer: issuer.as_str().to_owned(),
        authorization_endpoint: endpoint(authorize::PATH),
        token_endpoint: endpoint(token::PATH),
        jwks_uri: endpoint(jwks::PATH),
        userinfo_endpoint: endpoint(userinfo::PATH),
        introspection_endpoint: endpoint(introspect::PATH),
        revocation_endpoint: endpoint(revoke::PATH),
        end_session_endpoint: endpoint(end_session::PATH),
        scopes_supported: scopes(registry),
        // OAuth 2.1 has no other.
        response_types_supported: vec!["code".to_owned()],
        response_modes_supported: names(ResponseMode::ALL.map(ResponseMode::as_str)),
        grant_types_supported: names(GrantType::ALL.map(GrantType::as_str)),
        token_endpoint_auth_methods_supported: names(AuthMethod::ALL.map(AuthMethod::as_str)),
        // The caller of introspection is always authenticated: a public client learns nothing about a token it has stolen.
        introspection_endpoint_auth_methods_supported: AuthMethod::ALL
            .into_iter()
            .filter(|method| *method != AuthMethod::None)
            .map(|method| method.as_str().to_owned())
            .collect(),
        revocation_endpoint_auth_methods_supported: names(AuthMethod::ALL.map(AuthMethod::as_str)),
        code_challenge_methods_supported: names(["S256"]),
        subject_types_supported: vec!["public".to_owned()],
        id_token_signing_alg_values_supported: algorithms
            .iter()
            .map(|alg| alg.as_str().to_owned())
            .collect(),
        claims_supported: claims(),
        // False is written out: absent would mean true for `request_uri` (Discovery section 3).
        claims_parameter_supported: false,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        prompt_values_supported: names(["none", "login", "consent", "select_account"]),
        acr_values_supported: Vec::new(),
        authorization_response_iss_parameter_supported: true,
        protected_resources: registry
            .apis()
            .map(|api| api.identifier.as_str().to_owned())
            .collect(),
    }
}

/// OpenID Connect's own scopes first, then those of the APIs.
fn scopes(registry: &Registry) -> Vec<String> {
    let of_apis: Scope = registry.api_scopes();
    let own = ISSUER_SCOPES.into_iter().map(str::to_owned);
    own.chain(of_apis.iter().map(|token| token.as_str().to_owned())).collect()
}

/// Claims of the ID token itself, then those about the person.
fn claims() -> Vec<String> {
    let own =
        ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"];
    own.into_iter().chain(standard_claims()).map(str::to_owned).collect()
}

fn names<const N: usize>(names: [&'static str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::offers;

    fn document() -> AuthorizationServerMetadata {
        let issuer = Issuer::parse("https://id.example/tenant").unwrap();
        describe(&issuer, &Registry::default(), &offers(), &[SigningAlg::Rs256])
    }

    #[test]
    fn the_issuer_stands_there_byte_for_byte_and_endpoints_below_it() {
        let document = document();
        assert_eq!(document.issuer, "https://id.example/tenant");
        assert_eq!(document.token_endpoint.as_deref(), Some("https://id.example/tenant/token"));
    }

    #[test]
    fn only_what_oauth_2_1_keeps_is_offered() {
        let document = document();
        assert_eq!(document.response_types_supported, ["code"]);
        assert_eq!(document.code_challenge_methods_supported, ["S256"]);
        assert!(
            !document
                .grant_types_supported
                .iter()
                .any(|grant| grant == "password" || grant == "implicit")
        );
        assert!(
            !document.introspection_endpoint_auth_methods_supported.contains(&"none".to_owned())
        );
    }

    #[test]
    fn a_changed_registry_makes_a_new_document() {
        let (cache, issuer) = (Cache::default(), Issuer::parse("https://id.example").unwrap());
        let (registry, offers) = (Registry::default(), offers());
        let picture = |registry_epoch, algorithms| Picture { registry_epoch, algorithms };
        let first = cache.document(&issuer, &registry, &offers, picture(1, vec![]));
        let same = cache.document(&issuer, &registry, &offers, picture(1, vec![]));
        let other =
            cache.document(&issuer, &registry, &offers, picture(1, vec![SigningAlg::EdDsa]));
        assert_eq!(first.as_ptr(), same.as_ptr(), "served from memory");
        assert_ne!(first, other);
    }
}
