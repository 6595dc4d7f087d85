//! Declared state: the APIs, clients and accounts that a file says there shall be, read and checked as a whole.
//!
//! Nothing here touches the store: [`parse`] turns a text into checked declarations, [`faults_beside`] holds them against what is
//! registered already, and both list every fault.

mod beside;
mod tables;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};
use shared_types::{Issuer, SigningAlg, json};

use crate::domain::api::Api;
use crate::domain::client::ClientMetadata;
use crate::domain::secret::PlainSecret;

pub use beside::{Registered, faults_beside};
pub use tables::MIN_CLIENT_SECRET;

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
        apis: tables::each(&mut faults, "api", "identifier", apis, |table| {
            tables::api(table, context)
        }),
        clients: tables::each(&mut faults, "client", "client_id", clients, |table| {
            tables::client(table, context)
        }),
        accounts: tables::each(&mut faults, "account", "username", accounts, |table| {
            tables::account(table, context)
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

fn once(faults: &mut Vec<String>, kind: &str, names: impl Iterator<Item = String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            faults.push(format!("{kind} {name:?} stands twice"));
        }
    }
}

#[cfg(test)]
mod tests;
