//! Declared state: the APIs, clients and accounts that a file says there shall be, read and checked as a whole.
//!
//! Nothing here touches the store: [`parse`] turns a text into checked declarations, [`faults_beside`] holds them against what is
//! registered already, and both list every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared_types::{Audience, ClientId, Issuer, Scope, ScopeToken, SigningAlg, json};

use crate::domain::account::{check_claims, check_username};
use crate::domain::api::Api;
use crate::domain::audience::ISSUER_SCOPES;
use crate::domain::client::{AuthMethod, ClientMetadata, metadata_faults};
use crate::domain::password::check_password;
use crate::domain::secret::PlainSecret;
use service::duration::parse_seconds;

/// The shortest declared client secret, in characters: it is stored under a fast hash, so it must not be guessable.
pub const MIN_CLIENT_SECRET: usize = 32;
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
}

/// What is registered already and stays: a file may refer to it.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// The APIs.
    pub apis: Vec<Api>,
    /// The clients.
    pub clients: BTreeSet<ClientId>,
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
    let mut file = members(text).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let [apis, clients, accounts] =
        ["api", "client", "account"].map(|kind| match file.remove(kind) {
            None => Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(_) => {
                faults.push(format!("{kind} must be written [[{kind}]]"));
                Vec::new()
            }
        });
    faults.extend(
        file.keys().map(|key| format!("unknown key {key}: there are api, client and account")),
    );
    let state = DeclaredState {
        apis: each(&mut faults, "api", "identifier", apis, |table| api(table, context)),
        clients: each(&mut faults, "client", "client_id", clients, |table| client(table, context)),
        accounts: each(&mut faults, "account", "username", accounts, |table| {
            account(table, context)
        }),
    };
    once(&mut faults, "api", state.apis.iter().map(|api| api.identifier.to_string()));
    once(
        &mut faults,
        "client",
        state.clients.iter().map(|client| client.metadata.client_id.to_string()),
    );
    once(
        &mut faults,
        "account",
        state.accounts.iter().map(|account| account.username.to_lowercase()),
    );
    if faults.is_empty() { Ok(state) } else { Err(faults) }
}

fn members(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return json::parse_object(text.as_bytes()).map_err(|fault| fault.to_string());
    }
    toml::from_str(text).map_err(|error| format!("not valid TOML: {}", error.message()))
}

/// Reads a table member by member on top of `needed`, a table of the same kind that is good, so that every wrong or unknown member is
/// found and not only the first. A member that is missing is found last.
fn table<T: DeserializeOwned>(needed: Value, table: Value) -> Result<T, Vec<String>> {
    let Value::Object(given) = &table else {
        return Err(vec!["must be a table".into()]);
    };
    let mut faults = Vec::new();
    for (name, value) in given {
        let mut one = needed.clone();
        if let Some(members) = one.as_object_mut() {
            members.insert(name.clone(), value.clone());
        }
        if let Err(error) = serde_json::from_value::<T>(one) {
            faults.push(format!("{name}: {error}"));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    serde_json::from_value(table).map_err(|error| vec![error.to_string()])
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

fn api(given: Value, context: &Context<'_>) -> Result<Api, Vec<String>> {
    let table: ApiTable = table(json!({ "identifier": "https://api.example" }), given)?;
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
    for token in table.scopes.keys().filter(|token| ISSUER_SCOPES.contains(&token.as_str())) {
        faults.push(format!("scope {token} belongs to OpenID Connect"));
    }
    if table.identifier.is_requested_by(context.issuer.as_str()) {
        faults.push("the identifier is the issuer's own, which is the audience of userinfo".into());
    }
    let api = Api {
        name: table.name.unwrap_or_else(|| table.identifier.to_string()),
        identifier: table.identifier,
        scopes: table.scopes,
        access_token_lifetime: lifetime,
        signing_alg: table.signing_alg.unwrap_or(context.default_alg),
        default: table.default,
        introspected_by: table.introspected_by,
    };
    faults.extend(api.text_faults());
    done(faults, api)
}

fn client(mut given: Value, context: &Context<'_>) -> Result<DeclaredClient, Vec<String>> {
    let mut take = |name: &str| given.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("client_secret"), take("client_secret_file"));
    let needed = json!({ "client_id": "client" });
    let (metadata, mut faults) = match table::<ClientMetadata>(needed.clone(), given.clone()) {
        Ok(metadata) => (metadata, Vec::new()),
        // A wrong name alone hides nothing else.
        Err(faults) => {
            take_name(&mut given, &needed);
            let rest = table::<ClientMetadata>(needed, given).map_err(|_| faults.clone())?;
            (rest, faults)
        }
    };
    faults.extend(metadata_faults(&metadata));
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

fn account(mut given: Value, context: &Context<'_>) -> Result<DeclaredAccount, Vec<String>> {
    // Taken out first: a fault of the rest may quote what it found.
    let mut take = |name: &str| given.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("password"), take("password_file"));
    let table: AccountTable = table(json!({ "username": "name" }), given)?;
    let mut faults = Vec::new();
    if inline.is_some() && !context.issuer.is_loopback() {
        faults.push("password stands in clear text: use password_file (allowed only where the issuer is on loopback)".into());
    }
    let password = secret("password", inline, file, context.folder).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if let Err(fault) = check_username(&table.username) {
        faults.push(fault.to_string());
    }
    if let Some(Err(fault)) = password.as_ref().map(check_password) {
        faults.push(fault.to_string());
    }
    if let Err(fault) = check_claims(&table.claims) {
        faults.push(fault.to_string());
    }
    done(faults, DeclaredAccount { username: table.username, password, claims: table.claims })
}

/// Puts the name of `needed` in the place of the one given.
fn take_name(given: &mut Value, needed: &Value) {
    if let (Some(given), Some(needed)) = (given.as_object_mut(), needed.as_object()) {
        given.extend(needed.clone());
    }
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

/// What of `state` does not fit what is registered already and stays.
pub fn faults_beside(state: &DeclaredState, registered: &Registered) -> Vec<String> {
    let declared = |api: &Api| state.apis.iter().any(|other| other.identifier == api.identifier);
    let staying: Vec<&Api> = registered.apis.iter().filter(|api| !declared(api)).collect();
    let apis: Vec<&Api> = state.apis.iter().chain(staying).collect();
    let mut faults = clashes(&apis);
    let known: Scope = apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect();
    for client in &state.clients {
        let unknown = client.metadata.scope.difference(&known);
        for token in unknown.iter().filter(|token| !ISSUER_SCOPES.contains(&token.as_str())) {
            faults.push(format!(
                "client {:?}: no api has the scope {token}",
                client.metadata.client_id.as_str()
            ));
        }
    }
    for api in &state.apis {
        for id in &api.introspected_by {
            let declared = state.clients.iter().find(|client| client.metadata.client_id == *id);
            if declared.is_none() && !registered.clients.contains(id) {
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
    faults
}

/// What no two APIs may share. A scope token in two of them would let a token for one be used up for the other, and the consent page
/// could not say for which it asks; identifiers that differ by a final slash cannot be told apart by clients.
fn clashes(apis: &[&Api]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, api) in apis.iter().enumerate() {
        for other in apis.iter().skip(index + 1) {
            let (one, two) = (api.identifier.as_str(), other.identifier.as_str());
            if api.identifier.is_requested_by(two) || other.identifier.is_requested_by(one) {
                faults.push(format!("api {two:?}: {one:?} is the same resource"));
            }
            if api.default && other.default {
                faults.push(format!("api {two:?}: {one:?} has default = true already"));
            }
            for token in api.scopes.keys().filter(|token| other.scopes.contains_key(*token)) {
                faults.push(format!("api {two:?}: the scope {token} belongs to {one:?}"));
            }
        }
    }
    faults
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
        let context =
            Context { issuer: &issuer, folder: Path::new("."), default_alg: SigningAlg::Es256 };
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
            name = "Documents\u202E"
            scopes = { openid = "no", read = "Read\u000Anothing" }
            [[client]]
            client_id = "a"
            client_name = "A\u2066"
            token_endpoint_auth_method = "none"
            grant_types = ["client_credentials"]
            require_pkce = false
            scope = "nowhere"
            [[client]]
            client_id = "b"
            colour = "red"
            consent = "sideways"
            [[client]]
            client_id = "acct_c"
            client_secret = "short"
            redirect_uris = ["https://c.example/cb"]
            [flat]
        "#;
        let faults = read(text).unwrap_err().join("\n");
        for part in [
            "not a duration",
            "openid",
            "client_credentials needs",
            "require_pkce",
            "colour",
            "sideways",
            "begins with acct_",
            "shorter than 32",
            "unknown key flat",
            "the name is not one line",
            "the sentence of scope read is not one line",
            "client_name is not one line",
        ] {
            assert!(faults.contains(part), "{part} in:\n{faults}");
        }
    }

    fn two_apis(second: &str) -> String {
        let first = r#"[[api]]
            identifier = "https://a.example"
            scopes = { read = "Read" }
            default = true
        "#;
        let state = read(&format!("{first}[[api]]\n{second}")).unwrap();
        faults_beside(&state, &Registered::default()).join("\n")
    }

    #[test]
    fn two_apis_share_no_scope_no_resource_and_no_default() {
        assert_eq!(two_apis("identifier = \"https://b.example\""), "");
        let scope = two_apis("identifier = \"https://b.example\"\nscopes = { read = \"Too\" }");
        assert!(scope.contains("the scope read belongs to"), "{scope}");
        let slash = two_apis("identifier = \"https://a.example/\"");
        assert!(slash.contains("the same resource"), "{slash}");
        let default = two_apis("identifier = \"https://b.example\"\ndefault = true");
        assert!(default.contains("default = true already"), "{default}");
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
