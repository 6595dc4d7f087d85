//! Declared state: the APIs, clients and accounts that a file says there shall be, read and checked as a whole.
//!
//! Nothing here touches the store: [`parse`] turns a text into checked declarations, or lists every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use shared_types::{Audience, ClientId, Issuer, Scope, ScopeToken, SigningAlg};
use url::Url;

use super::api::Api;
use super::client::{AuthMethod, ClientMetadata, ConsentMode, GrantType};
use super::duration::parse_seconds;
use super::redirect_uri;
use super::secret::PlainSecret;

/// The shortest declared client secret, in characters: it is stored under a fast hash, so it must not be guessable.
pub const MIN_CLIENT_SECRET: usize = 32;
/// The scopes that OpenID Connect defines ([Core sections 5.4 and 11](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims)); no API may define them.
pub const OIDC_SCOPES: [&str; 6] =
    ["openid", "profile", "email", "address", "phone", "offline_access"];
/// The longest access token lifetime, in seconds: an API checks tokens on its own, so nobody can call one back earlier.
const MAX_ACCESS_TOKEN_LIFETIME: i64 = 86_400;

/// What a file declares.
#[derive(Clone, Debug, Default)]
pub struct DeclaredState {
    /// Resource servers.
    pub apis: Vec<Api>,
    /// Clients.
    pub clients: Vec<DeclaredClient>,
    /// Resource owners.
    pub accounts: Vec<DeclaredAccount>,
}

/// A declared client.
#[derive(Clone, Debug)]
pub struct DeclaredClient {
    /// Its metadata.
    pub metadata: ClientMetadata,
    /// Its secret, where the file or the file it names gives one.
    pub secret: Option<PlainSecret>,
}

/// A declared account.
#[derive(Clone, Debug)]
pub struct DeclaredAccount {
    /// What the person signs in with.
    pub username: String,
    /// The first password, where one is given.
    pub password: Option<PlainSecret>,
    /// Claims about the person.
    pub claims: Map<String, Value>,
}

/// Where a declaration is read: what it may refer to.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The issuer: plain passwords are taken only where it is on loopback.
    pub issuer: &'a Issuer,
    /// The folder that `client_secret_file` and `password_file` are relative to.
    pub folder: &'a Path,
    /// The algorithm of an API that names none.
    pub default_alg: SigningAlg,
    /// Scopes and clients that are registered already: a file may add to them.
    pub known_scopes: Scope,
    /// Clients that are registered already.
    pub known_clients: BTreeSet<ClientId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    api: Vec<Value>,
    #[serde(default)]
    client: Vec<Value>,
    #[serde(default)]
    account: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiTable {
    identifier: Audience,
    name: Option<String>,
    #[serde(default)]
    scopes: BTreeMap<ScopeToken, String>,
    access_token_lifetime: Option<String>,
    signing_alg: Option<SigningAlg>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    introspected_by: Vec<ClientId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountTable {
    username: String,
    #[serde(default)]
    claims: Map<String, Value>,
}

/// Reads TOML, or JSON of the same shape when the text begins with `{`.
pub fn parse(text: &str, context: &Context<'_>) -> Result<DeclaredState, Vec<String>> {
    let file: File = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| vec![format!("not valid JSON: {error}")])?
    } else {
        toml::from_str(text)
            .map_err(|error| vec![format!("not valid TOML: {}", error.message())])?
    };
    let mut faults = Vec::new();
    let state = DeclaredState {
        apis: each(&mut faults, "api", "identifier", file.api, |table| api(table, context)),
        clients: each(&mut faults, "client", "client_id", file.client, |table| {
            client(table, context)
        }),
        accounts: each(&mut faults, "account", "username", file.account, |table| {
            account(table, context)
        }),
    };
    check_together(&state, context, &mut faults);
    if faults.is_empty() { Ok(state) } else { Err(faults) }
}

/// Reads every table, so that one fault does not hide the next.
fn each<T>(
    faults: &mut Vec<String>,
    kind: &str,
    name: &str,
    tables: Vec<Value>,
    read: impl Fn(Value) -> Result<T, Vec<String>>,
) -> Vec<T> {
    let mut all = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let label = match table.get(name).and_then(Value::as_str) {
            Some(text) => format!("{kind} {text:?}"),
            None => format!("{kind} number {}", index + 1),
        };
        match read(table) {
            Ok(item) => all.push(item),
            Err(list) => faults.extend(list.into_iter().map(|fault| format!("{label}: {fault}"))),
        }
    }
    all
}

fn api(table: Value, context: &Context<'_>) -> Result<Api, Vec<String>> {
    let table: ApiTable = serde_json::from_value(table).map_err(|error| vec![error.to_string()])?;
    let mut faults = Vec::new();
    let lifetime = match table.access_token_lifetime.as_deref().map_or(Ok(300), parse_seconds) {
        Ok(seconds) if (1..=MAX_ACCESS_TOKEN_LIFETIME).contains(&seconds) => seconds,
        Ok(_) => {
            faults.push("access_token_lifetime must be between 1s and 1d".into());
            300
        }
        Err(fault) => {
            faults.push(format!("access_token_lifetime: {fault}"));
            300
        }
    };
    for token in table.scopes.keys().filter(|token| OIDC_SCOPES.contains(&token.as_str())) {
        faults.push(format!("scope {token} belongs to OpenID Connect"));
    }
    if table.identifier.as_str() == context.issuer.as_str() {
        faults.push("the identifier is the issuer's own, which is the audience of userinfo".into());
    }
    let name = table.name.unwrap_or_else(|| table.identifier.to_string());
    done(
        faults,
        Api {
            identifier: table.identifier,
            name,
            scopes: table.scopes,
            access_token_lifetime: lifetime,
            signing_alg: table.signing_alg.unwrap_or(context.default_alg),
            default: table.default,
            introspected_by: table.introspected_by,
        },
    )
}

fn client(mut table: Value, context: &Context<'_>) -> Result<DeclaredClient, Vec<String>> {
    let mut take = |name: &str| table.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("client_secret"), take("client_secret_file"));
    let metadata: ClientMetadata =
        serde_json::from_value(table).map_err(|error| vec![error.to_string()])?;
    let mut faults = metadata_faults(&metadata);
    let secret = secret("client_secret", inline, file, context.folder).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if let Some(secret) = &secret {
        if metadata.token_endpoint_auth_method == AuthMethod::None {
            faults
                .push("a client with token_endpoint_auth_method none has no client_secret".into());
        }
        if secret.expose().chars().count() < MIN_CLIENT_SECRET {
            faults.push(format!("client_secret is shorter than {MIN_CLIENT_SECRET} characters"));
        }
    }
    done(faults, DeclaredClient { metadata, secret })
}

fn account(mut table: Value, context: &Context<'_>) -> Result<DeclaredAccount, Vec<String>> {
    // Taken out first: a fault of the rest may quote what it found.
    let mut take = |name: &str| table.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("password"), take("password_file"));
    let table: AccountTable =
        serde_json::from_value(table).map_err(|error| vec![error.to_string()])?;
    let mut faults = Vec::new();
    if inline.is_some() && !context.issuer.is_loopback() {
        faults.push("password stands in clear text: use password_file (allowed only where the issuer is on loopback)".into());
    }
    let password = secret("password", inline, file, context.folder).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if let Err(fault) = super::account::check_username(&table.username) {
        faults.push(fault.to_string());
    }
    if let Some(Err(fault)) = password.as_ref().map(super::password::check_password) {
        faults.push(fault.to_string());
    }
    if let Err(fault) = super::account::check_claims(&table.claims) {
        faults.push(fault.to_string());
    }
    done(faults, DeclaredAccount { username: table.username, password, claims: table.claims })
}

fn done<T>(faults: Vec<String>, item: T) -> Result<T, Vec<String>> {
    if faults.is_empty() { Ok(item) } else { Err(faults) }
}

/// The secret itself, or the first line of the file that holds it.
fn secret(
    name: &str,
    inline: Option<Value>,
    file: Option<Value>,
    folder: &Path,
) -> Result<Option<PlainSecret>, String> {
    match (inline, file) {
        (None, None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(PlainSecret::new(text))),
        (None, Some(Value::String(path))) => {
            let text = std::fs::read_to_string(folder.join(path))
                .map_err(|error| format!("{name}_file cannot be read: {error}"))?;
            Ok(Some(PlainSecret::new(text.lines().next().unwrap_or_default())))
        }
        (Some(_), Some(_)) => Err(format!("{name} and {name}_file exclude each other")),
        _ => Err(format!("{name} must be a text")),
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
        if let Err(fault) = redirect_uri::check_registration(uri) {
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

fn check_together(state: &DeclaredState, context: &Context<'_>, faults: &mut Vec<String>) {
    once(faults, "api", state.apis.iter().map(|api| api.identifier.to_string()));
    once(
        faults,
        "client",
        state.clients.iter().map(|client| client.metadata.client_id.to_string()),
    );
    once(faults, "account", state.accounts.iter().map(|account| account.username.to_lowercase()));
    if state.apis.iter().filter(|api| api.default).count() > 1 {
        faults.push("more than one api has default = true".into());
    }
    let mut known: Scope = state.apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect();
    known = known
        .union(&context.known_scopes)
        .union(&OIDC_SCOPES.iter().filter_map(|s| ScopeToken::parse(s).ok()).collect());
    for client in &state.clients {
        for token in client.metadata.scope.difference(&known).iter() {
            faults.push(format!(
                "client {:?}: no api has the scope {token}",
                client.metadata.client_id.as_str()
            ));
        }
    }
    for api in &state.apis {
        for id in &api.introspected_by {
            let declared = state.clients.iter().find(|client| client.metadata.client_id == *id);
            if declared.is_none() && !context.known_clients.contains(id) {
                faults.push(format!(
                    "api {:?}: introspected_by names an unknown client {id}",
                    api.identifier.as_str()
                ));
            }
            if declared.is_some_and(|client| {
                client.metadata.token_endpoint_auth_method == AuthMethod::None
            }) {
                faults.push(format!(
                    "api {:?}: {id} cannot introspect, it does not authenticate",
                    api.identifier.as_str()
                ));
            }
        }
    }
}

fn once(faults: &mut Vec<String>, kind: &str, names: impl Iterator<Item = String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            faults.push(format!("{kind} {name:?} stands twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DeclaredState, Vec<String>> {
        let issuer = Issuer::parse("http://localhost:9000").unwrap();
        let context = Context {
            issuer: &issuer,
            folder: Path::new("."),
            default_alg: SigningAlg::Es256,
            known_scopes: Scope::default(),
            known_clients: BTreeSet::new(),
        };
        parse(text, &context)
    }

    const GOOD: &str = r#"
        [[api]]
        identifier = "http://localhost:9001"
        scopes = { "documents:read" = "Read your documents" }
        access_token_lifetime = "10m"
        default = true
        [[client]]
        client_id = "machine"
        grant_types = ["client_credentials"]
        client_secret = "0123456789abcdef0123456789abcdef"
        scope = "documents:read"
        [[account]]
        username = "alice"
        claims = { name = "Alice Example", email = "alice@example.com", email_verified = true }
    "#;

    #[test]
    fn a_good_file_is_read_with_its_defaults() {
        let state = read(GOOD).unwrap();
        assert_eq!(state.apis[0].access_token_lifetime, 600);
        assert_eq!(state.apis[0].signing_alg, SigningAlg::Es256);
        assert_eq!(
            state.clients[0].metadata.token_endpoint_auth_method,
            AuthMethod::ClientSecretBasic
        );
        assert!(state.clients[0].metadata.require_pkce);
        assert_eq!(state.accounts[0].username, "alice");
    }

    #[test]
    fn json_of_the_same_shape_is_read_too() {
        let value: Value = toml::from_str(GOOD).unwrap();
        assert_eq!(read(&value.to_string()).unwrap().clients.len(), 1);
    }

    #[test]
    fn every_fault_is_listed_at_once() {
        let text = r#"
            [[api]]
            identifier = "http://localhost:9001"
            access_token_lifetime = "5"
            scopes = { openid = "no" }
            [[client]]
            client_id = "a"
            token_endpoint_auth_method = "none"
            grant_types = ["client_credentials"]
            require_pkce = false
            scope = "nowhere"
            [[client]]
            client_id = "b"
            colour = "red"
        "#;
        let faults = read(text).unwrap_err().join("\n");
        for part in
            ["not a duration", "openid", "client_credentials needs", "require_pkce", "colour"]
        {
            assert!(faults.contains(part), "{part} in:\n{faults}");
        }
    }

    #[test]
    fn a_secret_must_be_long_and_never_appears_in_a_fault() {
        let text = "[[client]]\nclient_id = \"a\"\nclient_secret = \"hunter2\"\nredirect_uris = [\"https://a.example/cb\"]";
        let faults = read(text).unwrap_err().join("\n");
        assert!(faults.contains("shorter than 32"), "{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }

    #[test]
    fn links_on_our_pages_are_web_pages() {
        let text = "[[client]]\nclient_id = \"a\"\nredirect_uris = [\"https://a.example/cb\"]\npolicy_uri = \"javascript:alert(1)\"";
        assert!(read(text).unwrap_err().join("\n").contains("not an http or https URL"));
    }
}
