//! Metadata documents: how each party says where it is and what it can do.

use serde::{Deserialize, Serialize};

use crate::ids::{Audience, Issuer};

/// Authorization server metadata ([RFC 8414 section 2](https://www.rfc-editor.org/rfc/rfc8414#section-2)) together with OpenID Provider metadata
/// ([OpenID Connect Discovery section 3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)). A member that is absent is not offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a document with a member for each, not a state")]
pub struct AuthorizationServerMetadata {
    /// The issuer identifier. "This MUST be identical to the "iss" Claim value" of its tokens.
    pub issuer: String,
    /// Where a browser is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// Where tokens are handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// Where the public keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Where claims about the person are ([OpenID Connect Core section 5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<String>,
    /// Where a token's state is told ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    /// Where tokens are given back ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// Where a browser is sent to sign out ([OpenID Connect RP-Initiated Logout](https://openid.net/specs/openid-connect-rpinitiated-1_0.html)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<String>,
    /// Scope tokens that can be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// `response_type` values.
    #[serde(default)]
    pub response_types_supported: Vec<String>,
    /// `response_mode` values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_modes_supported: Vec<String>,
    /// `grant_type` values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant_types_supported: Vec<String>,
    /// Client authentication at the token endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// Client authentication at the introspection endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Client authentication at the revocation endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    /// PKCE methods: `S256` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code_challenge_methods_supported: Vec<String>,
    /// `sub` is the same for every client (`public`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_types_supported: Vec<String>,
    /// Algorithms of ID tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// Claims about the person that can be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims_supported: Vec<String>,
    /// Whether the `claims` parameter is read.
    #[serde(default)]
    pub claims_parameter_supported: bool,
    /// Whether `request` is read.
    #[serde(default)]
    pub request_parameter_supported: bool,
    /// Whether `request_uri` is read; absent means true, so it is always written.
    #[serde(default)]
    pub request_uri_parameter_supported: bool,
    /// `prompt` values ([Initiating User Registration via OpenID Connect](https://openid.net/specs/openid-connect-prompt-create-1_0.html)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt_values_supported: Vec<String>,
    /// Authentication context classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values_supported: Vec<String>,
    /// Whether authorization responses carry `iss` ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// The resources it issues tokens for ([RFC 9728 section 4](https://www.rfc-editor.org/rfc/rfc9728#section-4)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected_resources: Vec<String>,
}

/// Protected resource metadata ([RFC 9728 section 2](https://www.rfc-editor.org/rfc/rfc9728#section-2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedResourceMetadata {
    /// The resource identifier: the `aud` of its tokens.
    pub resource: Audience,
    /// Whose tokens it takes.
    pub authorization_servers: Vec<Issuer>,
    /// The scope tokens its routes ask for.
    pub scopes_supported: Vec<String>,
    /// How a token is sent: `header` alone.
    pub bearer_methods_supported: Vec<String>,
    /// Its name for people.
    pub resource_name: String,
}
