//! `auth-server client …`: register clients by hand, and act on them while the server runs (effect within 5 s).

use std::collections::BTreeSet;

use clap::Subcommand;
use serde_json::{Value, json};
use shared_types::{ClientId, Scope};

use super::output::{self, Shown};
use super::{CliError, Workbench};
use crate::apply::delete_client;
use crate::domain::api::Api;
use crate::domain::audience::ISSUER_SCOPES;
use crate::domain::client::{
    AuthMethod, Client, ClientMetadata, ConsentMode, GrantType, metadata_faults,
};

use crate::domain::secret::PlainSecret;
use crate::store::clients::{self, NewClient};
use crate::store::{StoreError, apis};
use service::duration::parse_seconds;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Args {
    /// Whether the command may begin with a database that does not exist yet.
    pub fn may_begin(&self) -> bool {
        matches!(self.command, Command::Add(_))
    }

    /// What is wrong with the arguments where nothing is registered yet: a new database is not made for them.
    pub fn check_beside_nothing(&self) -> Result<(), CliError> {
        match &self.command {
            Command::Add(add) => check(&add.metadata(), &[]),
            _ => Ok(()),
        }
    }
}

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register a client; a secret is generated and shown once
    Add(Add),
    /// List all clients
    List,
    /// Show one client
    Show(Which),
    /// Generate a new secret and show it once
    RotateSecret(RotateSecret),
    /// Let a disabled client in again (its old grants stay ended)
    Enable(Which),
    /// Refuse the client and end all its grants
    Disable(Which),
    /// End all grants of the client and the tokens it got for itself
    RevokeTokens(Which),
    /// Remove the client, its grants and what people allowed it
    Delete(Which),
}

/// Names a client.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The client's identifier
    client_id: ClientId,
}

/// A new client.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The client's identifier
    client_id: ClientId,
    /// The name that people see
    #[arg(long)]
    name: Option<String>,
    /// Where answers may go (repeatable)
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Where a browser may go after signing out (repeatable)
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `refresh_token`, `client_credentials` (repeatable) [default: `authorization_code`]
    #[arg(long = "grant-type", value_name = "TYPE", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// The most it may ask for, separated by blanks
    #[arg(long, default_value = "")]
    scope: Scope,
    /// A public client: no secret, PKCE always
    #[arg(long)]
    public: bool,
    /// Send the secret in the form instead of HTTP Basic
    #[arg(long, conflicts_with = "public")]
    secret_post: bool,
}

/// A new secret for a client.
#[derive(Debug, clap::Args)]
pub struct RotateSecret {
    /// The client's identifier
    client_id: ClientId,
    /// How long the old secret is still taken, as in 24h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_old: Option<i64>,
}

fn grant_type(text: &str) -> Result<GrantType, String> {
    GrantType::ALL
        .into_iter()
        .find(|grant| grant.as_str() == text)
        .ok_or_else(|| "not a grant type of this server".into())
}

fn duration(text: &str) -> Result<i64, String> {
    parse_seconds(text).map_err(|fault| fault.to_string())
}

/// Runs the command.
pub async fn run(bench: &Workbench, args: Args) -> Result<(), CliError> {
    let (as_json, now) = (args.json, bench.clock.now());
    match args.command {
        Command::Add(add) => register(bench, add, as_json).await,
        Command::List => list(bench, as_json).await,
        Command::Show(which) => show(bench, which.client_id, as_json).await,
        Command::RotateSecret(rotate) => rotate_secret(bench, rotate, as_json).await,
        Command::Enable(which) => {
            act(bench, which.client_id, "enabled", as_json, move |sql, id| {
                clients::set_enabled(sql, id, true, now)
            })
            .await
        }
        Command::Disable(which) => {
            act(bench, which.client_id, "disabled", as_json, move |sql, id| {
                clients::set_enabled(sql, id, false, now)
            })
            .await
        }
        Command::RevokeTokens(which) => {
            act(bench, which.client_id, "tokens revoked", as_json, move |sql, id| {
                clients::revoke_tokens(sql, id, now)
            })
            .await
        }
        Command::Delete(which) => delete(bench, which.client_id, as_json).await,
    }
}

impl Add {
    /// The client as it would be registered.
    fn metadata(&self) -> ClientMetadata {
        let method = match (self.public, self.secret_post) {
            (true, _) => AuthMethod::None,
            (false, true) => AuthMethod::ClientSecretPost,
            (false, false) => AuthMethod::ClientSecretBasic,
        };
        let grant_types = if self.grant_types.is_empty() {
            BTreeSet::from([GrantType::AuthorizationCode])
        } else {
            self.grant_types.iter().copied().collect()
        };
        ClientMetadata {
            client_name: self.name.clone(),
            redirect_uris: self.redirect_uris.clone(),
            post_logout_redirect_uris: self.post_logout_redirect_uris.clone(),
            grant_types,
            token_endpoint_auth_method: method,
            scope: self.scope.clone(),
            consent: ConsentMode::Remember,
            ..ClientMetadata::new(self.client_id.clone())
        }
    }
}

/// Every fault of a new client beside the APIs that there are.
fn check(metadata: &ClientMetadata, apis: &[Api]) -> Result<(), CliError> {
    let mut faults = metadata_faults(metadata);
    let known: Scope = apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect();
    let unknown = metadata.scope.difference(&known);
    let unknown = unknown.iter().filter(|token| !ISSUER_SCOPES.contains(&token.as_str()));
    faults.extend(unknown.map(|token| format!("no api has the scope {token}")));
    if faults.is_empty() { Ok(()) } else { Err(CliError::Faults(faults)) }
}

async fn register(bench: &Workbench, add: Add, as_json: bool) -> Result<(), CliError> {
    let metadata = add.metadata();
    check(&metadata, &bench.database.read(|sql| apis::list(sql)).await?)?;
    let secret = (metadata.token_endpoint_auth_method != AuthMethod::None)
        .then(|| PlainSecret::generate(&*bench.random));
    let new = NewClient {
        metadata: metadata.clone(),
        secret: secret.as_ref().map(PlainSecret::hash),
        epoch: bench.clock.now_millis(),
        created_at: bench.clock.now(),
    };
    let created: bool = bench.database.write(move |sql| clients::insert(sql, &new)).await?;
    if !created {
        return Err(CliError::Failed(format!("a client {} exists already", metadata.client_id)));
    }
    let shown = secret
        .map(|secret| {
            output::show_once(
                &bench.settings,
                output::CLIENT_SECRET,
                metadata.client_id.as_str(),
                &secret,
            )
        })
        .transpose()?;
    report(&metadata.client_id, "registered", shown.as_ref(), as_json)
}

async fn list(bench: &Workbench, as_json: bool) -> Result<(), CliError> {
    let clients = bench.database.read(|sql| clients::list(sql)).await?;
    if as_json {
        return output::json(&clients.iter().map(document).collect());
    }
    for client in &clients {
        let state = if client.enabled { "enabled" } else { "disabled" };
        output::line(format_args!("{}\t{state}\t{}", client.id(), client.name()))?;
    }
    Ok(())
}

async fn show(bench: &Workbench, id: ClientId, as_json: bool) -> Result<(), CliError> {
    let found = bench.database.read({
        let id = id.clone();
        move |sql| clients::find(sql, &id)
    });
    let client = found.await?.ok_or_else(|| unknown(&id))?;
    if as_json {
        return output::json(&document(&client));
    }
    output::line(
        toml::to_string(&document(&client)).map_err(|error| CliError::Failed(error.to_string()))?,
    )
}

async fn rotate_secret(
    bench: &Workbench,
    rotate: RotateSecret,
    as_json: bool,
) -> Result<(), CliError> {
    let id = rotate.client_id;
    let secret = PlainSecret::generate(&*bench.random);
    let until = rotate.keep_old.map(|seconds| bench.clock.now().plus(seconds));
    let (hash, key) = (secret.hash(), id.clone());
    let done = bench
        .database
        .write(move |sql| match clients::find(sql, &key)? {
            None => Err(StoreError::Conflict("no such client")),
            Some(client) if client.is_public() => Ok(false),
            Some(_) => clients::set_secret(sql, &key, Some(&hash), until),
        })
        .await;
    match done {
        Ok(true) => {}
        Ok(false) => {
            return Err(CliError::Failed(format!("{id} is a public client: it has no secret")));
        }
        Err(StoreError::Conflict(_)) => return Err(unknown(&id)),
        Err(error) => return Err(error.into()),
    }
    let shown = output::show_once(&bench.settings, output::CLIENT_SECRET, id.as_str(), &secret)?;
    report(&id, "secret rotated", Some(&shown), as_json)
}

async fn act(
    bench: &Workbench,
    id: ClientId,
    done: &str,
    as_json: bool,
    change: impl Fn(&mut dyn database::Sql, &ClientId) -> Result<bool, StoreError> + Send + 'static,
) -> Result<(), CliError> {
    let key = id.clone();
    let exists: bool = bench
        .database
        .write(move |sql| {
            let exists = clients::find(sql, &key)?.is_some();
            change(sql, &key)?;
            Ok::<_, StoreError>(exists)
        })
        .await?;
    if !exists {
        return Err(unknown(&id));
    }
    report(&id, done, None, as_json)
}

async fn delete(bench: &Workbench, id: ClientId, as_json: bool) -> Result<(), CliError> {
    if !delete_client(&bench.database, &id, bench.clock.now()).await? {
        return Err(unknown(&id));
    }
    report(&id, "deleted", None, as_json)
}

fn unknown(id: &ClientId) -> CliError {
    CliError::Failed(format!("there is no client {id}"))
}

fn document(client: &Client) -> Value {
    let mut value = json!({ "enabled": client.enabled });
    if let (Some(members), Ok(Value::Object(metadata))) =
        (value.as_object_mut(), serde_json::to_value(&client.metadata))
    {
        members.extend(metadata);
    }
    value
}

fn report(
    id: &ClientId,
    done: &str,
    secret: Option<&Shown>,
    as_json: bool,
) -> Result<(), CliError> {
    let mut text = format!("client {id}: {done}");
    if as_json {
        let mut value = json!({ "client_id": id, "done": done });
        if let (Some(members), Some(shown)) = (value.as_object_mut(), secret) {
            members.extend([shown.members(output::CLIENT_SECRET)]);
        }
        text = format!("{value:#}");
    } else if let Some(shown) = secret {
        text = format!("{text}\n{}", shown.sentence(output::CLIENT_SECRET));
    }
    output::line_with(secret.map(|shown| (output::CLIENT_SECRET, id.as_str(), shown)), text)
}
