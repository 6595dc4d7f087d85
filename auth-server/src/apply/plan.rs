//! What a declared state would change, as a pure function of what is there.

use std::collections::BTreeSet;
use std::fmt;

use database::Database;
use shared_types::{Audience, ClientId};

use super::declared_state::{
    DeclaredAccount, DeclaredClient, DeclaredState, Registered, faults_beside,
};
use crate::domain::account::Account;
use crate::domain::api::Api;
use crate::domain::client::{AuthMethod, Client, ClientMetadata};
use crate::domain::row_id::RowId;
use crate::store::{StoreError, accounts, apis, clients};

/// One step of a plan.
#[derive(Clone, Debug)]
pub enum Change {
    /// An API that is new or different.
    PutApi {
        /// As it shall be.
        api: Api,
        /// Whether it is there already.
        exists: bool,
    },
    /// A client that is new.
    CreateClient(DeclaredClient),
    /// A client that is different.
    UpdateClient {
        /// As it shall be.
        metadata: ClientMetadata,
        /// The members that differ.
        members: Vec<String>,
    },
    /// A client whose declared secret is another, or which needs one now, or none any more.
    SetSecret {
        /// Whose.
        client: DeclaredClient,
    },
    /// A person who is new.
    CreateAccount(DeclaredAccount),
    /// A person whose claims differ.
    UpdateClaims {
        /// The row.
        id: RowId,
        /// As they shall be.
        account: DeclaredAccount,
    },
    /// An API that the file omits.
    DeleteApi(Audience),
    /// A client that the file omits.
    DeleteClient(ClientId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutApi { api, exists: false } => write!(f, "+ api {}", api.identifier),
            Self::PutApi { api, exists: true } => write!(f, "~ api {}", api.identifier),
            Self::CreateClient(client) => write!(f, "+ client {}", client.metadata.client_id),
            Self::UpdateClient { metadata, members } => {
                write!(f, "~ client {}: {}", metadata.client_id, members.join(", "))
            }
            Self::SetSecret { client } => {
                write!(f, "~ client {}: client_secret", client.metadata.client_id)
            }
            Self::CreateAccount(account) => write!(f, "+ account {}", account.username),
            Self::UpdateClaims { account, .. } => {
                write!(f, "~ account {}: claims", account.username)
            }
            Self::DeleteApi(identifier) => write!(f, "- api {identifier}"),
            Self::DeleteClient(id) => write!(f, "- client {id}"),
        }
    }
}

/// What is there already. The default: nothing, as in a database that does not exist yet.
#[derive(Debug, Default)]
pub struct Known {
    apis: Vec<Api>,
    clients: Vec<Client>,
    /// For each declared account, in its order, the one that is there.
    accounts: Vec<Option<Account>>,
}

impl Known {
    /// Reads what `state` has to be held against.
    pub async fn load(database: &Database, state: &DeclaredState) -> Result<Self, StoreError> {
        let (apis, clients) = database
            .read(|sql| Ok::<_, StoreError>((apis::list(sql)?, clients::list(sql)?)))
            .await?;
        let mut accounts = Vec::new();
        for account in &state.accounts {
            let username = account.username.clone();
            accounts
                .push(database.read(move |sql| accounts::find_by_username(sql, &username)).await?);
        }
        Ok(Self { apis, clients, accounts })
    }
}

/// The changes that lead from `known` to `state`, or what of `state` does not fit what stays. With `prune`, APIs and clients that
/// `state` omits do not stay.
pub fn plan_beside(
    state: &DeclaredState,
    known: &Known,
    prune: bool,
) -> Result<Vec<Change>, Vec<String>> {
    let registered = if prune {
        Registered::default()
    } else {
        let clients = known.clients.iter().map(|client| client.id().clone()).collect();
        Registered { apis: known.apis.clone(), clients }
    };
    let faults = faults_beside(state, &registered);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut changes = api_changes(state, &known.apis);
    changes.extend(client_changes(state, &known.clients));
    changes.extend(account_changes(state, known));
    if prune {
        changes.extend(omitted(state, known));
    }
    Ok(changes)
}

fn api_changes(state: &DeclaredState, known: &[Api]) -> Vec<Change> {
    let changed = state.apis.iter().filter(|api| !known.contains(api));
    changed
        .map(|api| Change::PutApi {
            api: api.clone(),
            exists: known.iter().any(|other| other.identifier == api.identifier),
        })
        .collect()
}

fn client_changes(state: &DeclaredState, known: &[Client]) -> Vec<Change> {
    let mut changes = Vec::new();
    for declared in &state.clients {
        let Some(client) = known.iter().find(|client| *client.id() == declared.metadata.client_id)
        else {
            changes.push(Change::CreateClient(declared.clone()));
            continue;
        };
        let members = differing_members(&client.metadata, &declared.metadata);
        if !members.is_empty() {
            changes.push(Change::UpdateClient { metadata: declared.metadata.clone(), members });
        }
        let public = declared.metadata.token_endpoint_auth_method == AuthMethod::None;
        let differs = match (&client.secret, &declared.secret) {
            (Some(hash), Some(secret)) => !hash.matches(secret.expose().as_bytes()),
            (None, Some(_)) => true,
            (Some(_), None) => public,
            (None, None) => !public,
        };
        if differs {
            changes.push(Change::SetSecret { client: declared.clone() });
        }
    }
    changes
}

fn differing_members(before: &ClientMetadata, after: &ClientMetadata) -> Vec<String> {
    let members = |metadata| {
        serde_json::to_value(metadata)
            .ok()
            .and_then(|value| value.as_object().cloned())
            .unwrap_or_default()
    };
    let (before, after) = (members(before), members(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn account_changes(state: &DeclaredState, known: &Known) -> Vec<Change> {
    let there = known.accounts.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let pairs = state.accounts.iter().zip(there);
    pairs
        .filter_map(|(account, there)| match there {
            None => Some(Change::CreateAccount(account.clone())),
            Some(there) if there.claims == account.claims => None,
            Some(there) => Some(Change::UpdateClaims { id: there.id, account: account.clone() }),
        })
        .collect()
}

fn omitted(state: &DeclaredState, known: &Known) -> Vec<Change> {
    let declared =
        |id: &ClientId| state.clients.iter().any(|client| client.metadata.client_id == *id);
    let clients = known.clients.iter().map(Client::id).filter(|id| !declared(id));
    let declared = |id: &Audience| state.apis.iter().any(|api| api.identifier == *id);
    let apis = known.apis.iter().map(|api| &api.identifier).filter(|id| !declared(id));
    let clients = clients.cloned().map(Change::DeleteClient);
    clients.chain(apis.cloned().map(Change::DeleteApi)).collect()
}
