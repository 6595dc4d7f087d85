//! A client: its metadata by the names of [RFC 7591](https://www.rfc-editor.org/rfc/rfc7591#section-2) and
//! [OpenID Connect Registration](https://openid.net/specs/openid-connect-registration-1_0.html#ClientMetadata), and what follows from it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared_types::{ClientId, Scope, SigningAlg, UnixSeconds};
use url::Url;

use super::display_text::is_plain_line;
use super::secret::SecretHash;

/// How a client obtains tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A person signs in ([RFC 6749 section 4.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1)).
    AuthorizationCode,
    /// The client renews what a person allowed ([RFC 6749 section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
    RefreshToken,
    /// The client acts for itself ([RFC 6749 section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
    ClientCredentials,
}

impl GrantType {
    /// Every grant type that is built.
    pub const ALL: [Self; 3] =
        [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// How a client proves who it is at the token endpoint ([RFC 6749 section 2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3)).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic, the default of RFC 7591.
    #[default]
    ClientSecretBasic,
    /// `client_secret` in the form.
    ClientSecretPost,
    /// Not at all: a public client.
    None,
}

impl AuthMethod {
    /// Every method that is built.
    pub const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None];

    /// The value of `token_endpoint_auth_method`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

/// When a person is asked what a client may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentMode {
    /// Once for each scope; the answer is kept.
    #[default]
    Remember,
    /// At every request.
    Always,
    /// Never: the operator has decided (a first-party client).
    Skip,
}

/// A client's metadata: the JSON document of its row, and one `[[client]]` of the declared state without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientMetadata {
    /// The identifier.
    pub client_id: ClientId,
    /// The name that people see; the identifier when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Where answers of `/authorize` may go, compared as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Where a browser may go after signing out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
    /// How it obtains tokens; `authorization_code` when absent.
    #[serde(default = "code_only")]
    pub grant_types: BTreeSet<GrantType>,
    /// How it proves who it is.
    #[serde(default)]
    pub token_endpoint_auth_method: AuthMethod,
    /// The most it may ever ask for.
    #[serde(default)]
    pub scope: Scope,
    /// Whether PKCE is demanded; `false` only for a confidential client that cannot.
    #[serde(default = "yes")]
    pub require_pkce: bool,
    /// Whether a refresh token is replaced at every use; `false` only for a confidential client.
    #[serde(default = "yes")]
    pub refresh_token_rotation: bool,
    /// When a person is asked.
    #[serde(default)]
    pub consent: ConsentMode,
    /// The algorithm of its ID tokens.
    #[serde(default = "rs256")]
    pub id_token_signed_response_alg: SigningAlg,
    /// The oldest sign-in, in seconds, that counts when the request says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<i64>,
    /// The client's home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Its logo. Never loaded by our pages, only linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its privacy policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Its terms of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
}

impl ClientMetadata {
    /// A client with every default of the registration documents.
    pub fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            client_name: None,
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            grant_types: code_only(),
            token_endpoint_auth_method: AuthMethod::default(),
            scope: Scope::default(),
            require_pkce: true,
            refresh_token_rotation: true,
            consent: ConsentMode::default(),
            id_token_signed_response_alg: rs256(),
            default_max_age: None,
            client_uri: None,
            logo_uri: None,
            policy_uri: None,
            tos_uri: None,
        }
    }
}

fn code_only() -> BTreeSet<GrantType> {
    BTreeSet::from([GrantType::AuthorizationCode])
}

const fn yes() -> bool {
    true
}

const fn rs256() -> SigningAlg {
    SigningAlg::Rs256
}

/// A secret that a replaced one is still taken beside, until a moment.
#[derive(Clone, Debug)]
pub struct OldSecret {
    /// Its hash.
    pub hash: SecretHash,
    /// From this second on it is refused.
    pub until: UnixSeconds,
}

/// A registered client as a request sees it.
#[derive(Clone, Debug)]
pub struct Client {
    /// What was registered.
    pub metadata: ClientMetadata,
    /// The secret's hash; none for public clients.
    pub secret: Option<SecretHash>,
    /// The secret before `client rotate-secret --keep-old`.
    pub old_secret: Option<OldSecret>,
    /// A disabled client is treated as unknown.
    pub enabled: bool,
    /// Grows when all its grants have to end.
    pub epoch: i64,
    /// Tokens of its own (client credentials) that were issued before this second count no more: they hang on no grant.
    pub tokens_not_before: UnixSeconds,
}

impl Client {
    /// The identifier.
    pub fn id(&self) -> &ClientId {
        &self.metadata.client_id
    }

    /// The name that people see.
    pub fn name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or(self.metadata.client_id.as_str())
    }

    /// Whether it can keep no secret ([RFC 6749 section 2.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.1)).
    pub fn is_public(&self) -> bool {
        self.metadata.token_endpoint_auth_method == AuthMethod::None
    }

    /// Whether it may use `grant`.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant)
    }

    /// Whether `secret` is its current one, or the one before it within its grace, in constant time.
    pub fn secret_matches(&self, secret: &[u8], now: UnixSeconds) -> bool {
        let current = self.secret.as_ref().is_some_and(|hash| hash.matches(secret));
        let old = self
            .old_secret
            .as_ref()
            .is_some_and(|old| !now.has_reached(old.until) && old.hash.matches(secret));
        current || old
    }
}

/// What is wrong with a client's metadata by itself, wherever it comes from.
pub fn metadata_faults(client: &ClientMetadata) -> Vec<String> {
    let mut faults = Vec::new();
    let public = client.token_endpoint_auth_method == AuthMethod::None;
    let uses = |grant| client.grant_types.contains(&grant);
    let mut demand = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    demand(
        client.client_name.as_deref().is_none_or(is_plain_line),
        "client_name is not one line of visible text",
    );
    demand(!client.grant_types.is_empty(), "grant_types is empty");
    demand(
        !public || client.require_pkce,
        "require_pkce = false is only for a confidential client",
    );
    demand(
        !public || client.refresh_token_rotation,
        "refresh_token_rotation = false is only for a confidential client",
    );
    demand(
        !public || !uses(GrantType::ClientCredentials),
        "client_credentials needs client authentication (RFC 6749 section 4.4)",
    );
    demand(
        !uses(GrantType::RefreshToken) || uses(GrantType::AuthorizationCode),
        "refresh_token comes only with authorization_code",
    );
    demand(
        !uses(GrantType::AuthorizationCode) || !client.redirect_uris.is_empty(),
        "authorization_code needs a redirect_uri",
    );
    demand(client.default_max_age.is_none_or(|age| age >= 0), "default_max_age is negative");
    let trusted_redirects = client.redirect_uris.iter().all(|uri| uri.starts_with("https://"));
    demand(
        client.consent != ConsentMode::Skip || !public || trusted_redirects,
        "consent = \"skip\" is only for a client that is confidential or has https redirects",
    );
    for uri in client.redirect_uris.iter().chain(&client.post_logout_redirect_uris) {
        if let Err(fault) = super::redirect_uri::check_registration(uri) {
            faults.push(format!("redirect URI {uri:?} {fault}"));
        }
    }
    let pages = [&client.client_uri, &client.logo_uri, &client.policy_uri, &client.tos_uri];
    for page in pages.into_iter().flatten() {
        // These become links on our pages: `javascript:` and the like must never get there.
        if !Url::parse(page).is_ok_and(|url| matches!(url.scheme(), "https" | "http")) {
            faults.push(format!("{page:?} is not an http or https URL"));
        }
    }
    faults
}
