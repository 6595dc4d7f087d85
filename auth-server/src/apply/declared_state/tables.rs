//! The tables of a file, each read as a whole: one fault hides no other of the same table.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared_types::{Audience, ClientId, ScopeToken, SigningAlg};

use super::{Context, DeclaredAccount, DeclaredClient};
use crate::domain::account::{check_claims, check_username};
use crate::domain::api::{Api, MAX_TOKEN_LIFETIME};
use crate::domain::audience::ISSUER_SCOPES;
use crate::domain::client::{AuthMethod, ClientMetadata, metadata_faults};
use crate::domain::password::check_password;
use crate::domain::secret::PlainSecret;
use service::duration::parse_seconds;

/// The shortest declared client secret, in characters: it is stored under a fast hash, so it must not be guessable.
pub const MIN_CLIENT_SECRET: usize = 32;

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

/// What could be read of a table, and every fault of its members.
struct Read<T> {
    /// What it says without the members that are unknown or only name it. `None` if another one is wrong: what hangs together cannot be
    /// judged then.
    item: Option<T>,
    faults: Vec<String>,
}

/// Reads a table member by member on top of `needed`, a table of the same kind that is good, so that every wrong or unknown member is
/// found and not only the first. A member that is missing is found last. `besides` are members that were taken out before.
fn table<T: DeserializeOwned>(
    needed: &Map<String, Value>,
    given: Value,
    besides: &[&str],
) -> Read<T> {
    let Value::Object(given) = given else {
        return Read { item: None, faults: vec!["must be a table".into()] };
    };
    let (mut good, mut faults, mut is_whole) = (Map::new(), Vec::new(), true);
    for (name, value) in given {
        let mut one = needed.clone();
        one.insert(name.clone(), value.clone());
        let Err(error) = serde_json::from_value::<T>(Value::Object(one)) else {
            good.insert(name, value);
            continue;
        };
        let error = error.to_string();
        if error.starts_with(&format!("unknown field `{name}`")) {
            let besides: Vec<String> = besides.iter().map(|name| format!(", `{name}`")).collect();
            faults.push(format!("{error}{}", besides.concat()));
        } else {
            faults.push(format!("{name}: {error}"));
            match needed.get(&name) {
                Some(instead) => drop(good.insert(name, instead.clone())),
                None => is_whole = false,
            }
        }
    }
    if let Err(error) = serde_json::from_value::<T>(Value::Object(good.clone())) {
        faults.push(error.to_string());
        good.extend(needed.clone());
    }
    let item = is_whole.then(|| serde_json::from_value(Value::Object(good)).ok()).flatten();
    Read { item, faults }
}

/// A table of one member that is good.
fn needed(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::from(value))])
}

/// Reads every table, so that one fault does not hide the next.
pub(super) fn each<T>(
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

pub(super) fn api(given: Value, context: &Context<'_>) -> Result<Api, Vec<String>> {
    let Read { item, mut faults } = table(&needed("identifier", "https://api.example"), given, &[]);
    let Some(table): Option<ApiTable> = item else { return Err(faults) };
    let lifetime = match table.access_token_lifetime.as_deref().map_or(Ok(300), parse_seconds) {
        Ok(seconds) if (1..=MAX_TOKEN_LIFETIME).contains(&seconds) => seconds,
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

pub(super) fn client(
    mut given: Value,
    context: &Context<'_>,
) -> Result<DeclaredClient, Vec<String>> {
    let mut take = |name: &str| given.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("client_secret"), take("client_secret_file"));
    let besides = ["client_secret", "client_secret_file"];
    let Read { item, mut faults } = table(&needed("client_id", "client"), given, &besides);
    let secret = secret("client_secret", inline, file, context.folder).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if let Some(secret) = &secret
        && secret.expose().chars().count() < MIN_CLIENT_SECRET
    {
        faults.push(format!("client_secret is shorter than {MIN_CLIENT_SECRET} characters"));
    }
    let Some(metadata): Option<ClientMetadata> = item else { return Err(faults) };
    faults.extend(metadata_faults(&metadata));
    if secret.is_some() && metadata.token_endpoint_auth_method == AuthMethod::None {
        faults.push("a client with token_endpoint_auth_method none has no client_secret".into());
    }
    done(faults, DeclaredClient { metadata, secret })
}

pub(super) fn account(
    mut given: Value,
    context: &Context<'_>,
) -> Result<DeclaredAccount, Vec<String>> {
    // Taken out first: a fault of the rest may quote what it found.
    let mut take = |name: &str| given.as_object_mut().and_then(|members| members.remove(name));
    let (inline, file) = (take("password"), take("password_file"));
    let besides = ["password", "password_file"];
    let Read { item, mut faults } = table(&needed("username", "name"), given, &besides);
    if inline.is_some() && !context.issuer.is_loopback() {
        faults.push("password stands in clear text: use password_file (allowed only where the issuer is on loopback)".into());
    }
    let password = secret("password", inline, file, context.folder).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if let Some(Err(fault)) = password.as_ref().map(check_password) {
        faults.push(fault.to_string());
    }
    let Some(table): Option<AccountTable> = item else { return Err(faults) };
    if let Err(fault) = check_username(&table.username) {
        faults.push(fault.to_string());
    }
    if let Err(fault) = check_claims(&table.claims) {
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
