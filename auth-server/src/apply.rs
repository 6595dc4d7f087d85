//! Brings clients, APIs and accounts to a declared state: first a plan that can be shown, then one unit of work for each change.
//!
//! Applying twice changes nothing the second time, so a run that was cut off is finished by the next. A password or a generated
//! secret acts only at creation; nothing is re-enabled, and nothing that the file omits is deleted unless `prune` is asked for.
//! Accounts are people: not even `prune` deletes them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use database::{Database, Sql};
use shared_types::{Audience, ClientId, Clock, Scope};

use crate::config::Settings;
use crate::domain::account::NewAccount;
use crate::domain::api::Api;
use crate::domain::client::{AuthMethod, Client, ClientMetadata};
use crate::domain::declared_state::{
    self, Context, DeclaredAccount, DeclaredClient, DeclaredState,
};
use crate::domain::password::{self, PasswordHasher};
use crate::domain::row_id::{RowId, RowIds};
use crate::domain::secret::PlainSecret;
use crate::random::SecureRandom;
use crate::store::clients::NewClient;
use crate::store::{StoreError, accounts, apis, clients, consents};

/// Where to apply, and with what.
#[derive(Clone, Debug)]
pub struct Target {
    /// Checked settings.
    pub settings: Settings,
    /// The store's database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn SecureRandom>,
}

/// Why nothing, or not everything, was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyFault {
    /// The file is wrong; nothing was changed.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// The store failed; what the report of a second run does not list was applied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

/// A secret that was generated on the way, to be shown once.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What it is: `client_secret` or `password`.
    pub kind: &'static str,
    /// Whose it is.
    pub owner: String,
    /// The secret.
    pub secret: PlainSecret,
}

/// Reads the file and says what it would change.
pub async fn plan(
    target: &Target,
    text: &str,
    folder: &Path,
    prune: bool,
) -> Result<Vec<Change>, ApplyFault> {
    let (known_apis, known_clients) = target
        .database
        .read(|sql| Ok::<_, StoreError>((apis::list(sql)?, clients::list(sql)?)))
        .await?;
    let context = Context {
        issuer: &target.settings.issuer,
        folder,
        default_alg: target.settings.signing.default_alg,
        known_scopes: if prune {
            Scope::default()
        } else {
            known_apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect()
        },
        known_clients: if prune {
            BTreeSet::new()
        } else {
            known_clients.iter().map(|client| client.id().clone()).collect()
        },
    };
    let state = declared_state::parse(text, &context).map_err(ApplyFault::Faults)?;
    let others_default = |api: &&Api| {
        api.default && state.apis.iter().all(|declared| declared.identifier != api.identifier)
    };
    let declares_default = state.apis.iter().any(|api| api.default);
    if let Some(other) =
        known_apis.iter().find(others_default).filter(|_| declares_default && !prune)
    {
        let fault = format!("api {} has default = true already", other.identifier);
        return Err(ApplyFault::Faults(vec![fault]));
    }
    let mut changes = api_changes(&state, &known_apis);
    changes.extend(client_changes(&state, &known_clients));
    for account in state.accounts.clone() {
        changes.extend(account_change(target, account).await?);
    }
    if prune {
        changes.extend(omitted(&state, known_apis, known_clients));
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

async fn account_change(
    target: &Target,
    account: DeclaredAccount,
) -> Result<Option<Change>, StoreError> {
    let username = account.username.clone();
    let known = target.database.read(move |sql| accounts::find_by_username(sql, &username)).await?;
    Ok(match known {
        None => Some(Change::CreateAccount(account)),
        Some(known) if known.claims == account.claims => None,
        Some(known) => Some(Change::UpdateClaims { id: known.id, account }),
    })
}

fn omitted(state: &DeclaredState, apis: Vec<Api>, clients: Vec<Client>) -> Vec<Change> {
    let declared_client =
        |id: &ClientId| state.clients.iter().any(|client| client.metadata.client_id == *id);
    let gone_clients = clients
        .into_iter()
        .map(|client| client.metadata.client_id)
        .filter(|id| !declared_client(id));
    let declared_api = |id: &Audience| state.apis.iter().any(|api| api.identifier == *id);
    let gone_apis = apis.into_iter().map(|api| api.identifier).filter(|id| !declared_api(id));
    gone_clients.map(Change::DeleteClient).chain(gone_apis.map(Change::DeleteApi)).collect()
}

/// Carries out a plan and returns the secrets that were generated: the APIs in one unit of work, so that there are never two
/// defaults, every other change in one of its own.
pub async fn carry_out(
    target: &Target,
    changes: Vec<Change>,
) -> Result<Vec<Generated>, StoreError> {
    let (of_apis, others): (Vec<Change>, Vec<Change>) = changes
        .into_iter()
        .partition(|change| matches!(change, Change::PutApi { .. } | Change::DeleteApi(_)));
    if !of_apis.is_empty() {
        target
            .database
            .write(move |sql| of_apis.iter().try_for_each(|change| change_api(sql, change)))
            .await?;
    }
    let hasher = PasswordHasher::new(&target.settings.argon2);
    let mut generated = Vec::new();
    for change in others {
        generated.extend(carry_out_one(target, &hasher, change).await?);
    }
    Ok(generated)
}

fn change_api(sql: &mut dyn Sql, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::PutApi { api, .. } => apis::put(sql, api),
        Change::DeleteApi(identifier) => apis::delete(sql, identifier.as_str()).map(drop),
        _ => Ok(()),
    }
}

async fn carry_out_one(
    target: &Target,
    hasher: &PasswordHasher,
    change: Change,
) -> Result<Option<Generated>, StoreError> {
    match change {
        Change::PutApi { .. } | Change::DeleteApi(_) => {}
        Change::CreateClient(client) => return create_client(target, client).await,
        Change::UpdateClient { metadata, .. } => {
            target.database.write(move |sql| clients::update(sql, &metadata).map(drop)).await?;
        }
        Change::SetSecret { client } => return set_secret(target, client).await,
        Change::CreateAccount(account) => return create_account(target, hasher, account).await,
        Change::UpdateClaims { id, account } => {
            let update =
                move |sql: &mut dyn Sql| accounts::set_claims(sql, id, &account.claims).map(drop);
            target.database.write(update).await?;
        }
        Change::DeleteClient(id) => {
            delete_client(&target.database, &id).await?;
        }
    }
    Ok(None)
}

/// Removes a client, then what people allowed it: a later client of the same name must not inherit their consent. False: it was not there.
pub async fn delete_client(database: &Database, id: &ClientId) -> Result<bool, StoreError> {
    let key = id.clone();
    let existed = database.write(move |sql| clients::delete(sql, &key)).await?;
    loop {
        let key = id.clone();
        if database.write(move |sql| consents::forget_client(sql, &key)).await? == 0 {
            return Ok(existed);
        }
    }
}

/// The declared secret, or a fresh one that has to be shown; none for a public client.
fn secret_of(target: &Target, client: &DeclaredClient) -> (Option<PlainSecret>, Option<Generated>) {
    if client.metadata.token_endpoint_auth_method == AuthMethod::None {
        return (None, None);
    }
    if let Some(secret) = &client.secret {
        return (Some(secret.clone()), None);
    }
    let secret = PlainSecret::generate(&*target.random);
    let owner = client.metadata.client_id.to_string();
    (Some(secret.clone()), Some(Generated { kind: "client_secret", owner, secret }))
}

async fn create_client(
    target: &Target,
    client: DeclaredClient,
) -> Result<Option<Generated>, StoreError> {
    let (secret, generated) = secret_of(target, &client);
    let new = NewClient {
        metadata: client.metadata,
        secret: secret.as_ref().map(PlainSecret::hash),
        epoch: target.clock.now_millis(),
        created_at: target.clock.now(),
    };
    // Another run may have been faster: then its secret stands and ours must not be shown.
    let created = target.database.write(move |sql| clients::insert(sql, &new)).await?;
    Ok(generated.filter(|_| created))
}

async fn set_secret(
    target: &Target,
    client: DeclaredClient,
) -> Result<Option<Generated>, StoreError> {
    let (secret, generated) = secret_of(target, &client);
    let hash = secret.as_ref().map(PlainSecret::hash);
    let id = client.metadata.client_id;
    target
        .database
        .write(move |sql| clients::set_secret(sql, &id, hash.as_ref(), None).map(drop))
        .await?;
    Ok(generated)
}

async fn create_account(
    target: &Target,
    hasher: &PasswordHasher,
    account: DeclaredAccount,
) -> Result<Option<Generated>, StoreError> {
    let given = account.password.clone();
    let password = given.clone().unwrap_or_else(|| password::generate(&*target.random));
    let generated = given.is_none().then(|| Generated {
        kind: "password",
        owner: account.username.clone(),
        secret: password.clone(),
    });
    let salt = crate::random::bytes(&*target.random);
    let password_hash = hasher.hash(password, salt).await?;
    let new = NewAccount::new(
        account.username,
        account.claims,
        password_hash,
        target.clock.now(),
        &*target.random,
    );
    let ids = RowIds::default().fresh(target.clock.now_millis(), &*target.random);
    let created = target.database.write(move |sql| accounts::insert(sql, &ids, &new)).await?;
    Ok(generated.filter(|_| created.is_some()))
}
