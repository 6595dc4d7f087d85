//! The only composition root: everything that a handler may use, built once and shared by all workers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use database::{Database, DatabaseError, DatabaseUrl};
use service::requests::RequestIds;
use service::tls::TlsFault;
use shared_types::{Clock, SigningAlg};

use crate::config::Settings;
use crate::domain::password::PasswordHasher;
use crate::domain::registry::Registry;
use crate::domain::row_id::{CANDIDATES, RowId, RowIds};
use crate::freshness::Freshness;
use crate::keys::ring::KeyRing;
use crate::keys::rotation::{self, Policy, RotationFault, Step};
use crate::keys::vault::{MasterKey, Vault, VaultFault};
use crate::metrics::Metrics;
use crate::random::{self, SecureRandom};
use crate::store::{self, StoreError};
use crate::tokens::verified::{Proof, VerifiedTokens};

/// What the world outside provides: injected, so that a test holds time and chance in its hand.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn SecureRandom>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The database cannot be opened, or its schema cannot be brought up to date.
    #[error("database: {0}")]
    Database(#[from] DatabaseError),
    /// The master key is missing, malformed or another one.
    #[error("{0}")]
    Vault(#[from] VaultFault),
    /// The store does not answer.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// No signature keys could be made.
    #[error("keys: {0}")]
    Rotation(#[from] RotationFault),
    /// A listener cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Bind(std::net::SocketAddr, std::io::Error),
    /// The operating system refuses a socket or a thread.
    #[error("{0}")]
    Io(std::io::Error),
    /// Certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsFault),
}

impl StartFault {
    /// The exit status: 2 for what an operator has to mend first, 1 for what may pass.
    pub fn status(&self) -> u8 {
        match self {
            Self::Database(DatabaseError::Unavailable(_) | DatabaseError::OutcomeUnknown)
            | Self::Vault(VaultFault::Store(_))
            | Self::Store(_)
            | Self::Rotation(_)
            | Self::Bind(..)
            | Self::Io(_) => 1,
            Self::Vault(_) | Self::Database(_) | Self::Tls(_) => 2,
        }
    }
}

/// Where the server is in its life.
#[derive(Debug)]
pub struct Lifecycle {
    draining: AtomicBool,
    /// Ids for requests that bring none.
    pub ids: RequestIds,
}

impl Lifecycle {
    /// Of a server that begins.
    pub fn new(ids: RequestIds) -> Self {
        Self { draining: AtomicBool::new(false), ids }
    }

    /// From now on it is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to stop: "not ready".
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Everything that a request may use.
#[derive(Debug)]
pub struct App {
    /// Checked settings.
    pub settings: Settings,
    /// The time; read it once per request.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn SecureRandom>,
    /// The store's database.
    pub database: Database,
    /// Our own keys, unsealed: of opaque tokens, cookies and sealed requests.
    pub vault: Vault,
    /// Signature keys, parsed once.
    pub keys: KeyRing,
    /// Access tokens that were proven before.
    pub verified: VerifiedTokens,
    /// Clients and APIs in memory, and how old that picture is.
    pub freshness: Freshness,
    /// Password hashing with bounded memory.
    pub passwords: PasswordHasher,
    /// Counters for `/metrics`.
    pub metrics: Metrics,
    /// Ids of new rows.
    pub row_ids: RowIds,
}

impl App {
    /// Opens the store, unseals the keys, makes the signature keys that are due, and reads what is registered.
    pub async fn build(settings: Settings, ports: Ports) -> Result<Self, StartFault> {
        let database = open_database(&settings, &database_options(&settings)).await?;
        let vault = open_vault(&settings, &database, &*ports.random).await?;
        let first = Freshness::load(&database, ports.clock.now_millis(), 0).await?;
        let policy = rotation_policy(&settings, &first.last_seen());
        rotation::keep_up(&database, &vault, ports.clock.now(), &policy).await?;
        let keys = KeyRing::load(&database, &vault).await?;
        let freshness = Freshness::load(&database, ports.clock.now_millis(), keys.epoch()).await?;
        Ok(Self {
            passwords: PasswordHasher::new(&settings.argon2),
            settings,
            clock: ports.clock,
            random: ports.random,
            database,
            vault,
            keys,
            verified: VerifiedTokens::default(),
            freshness,
            metrics: Metrics::new(),
            row_ids: RowIds::default(),
        })
    }

    /// Does what is due with the signature keys, as far as this instance's picture of the registry asks for algorithms.
    pub async fn rotate_keys(&self) -> Result<Vec<Step>, RotationFault> {
        let policy = rotation_policy(&self.settings, &self.freshness.last_seen());
        rotation::keep_up(&self.database, &self.vault, self.clock.now(), &policy).await
    }

    /// What access tokens that come back are proven with.
    pub fn proof(&self) -> Proof<'_> {
        Proof {
            keys: &self.keys,
            vault: &self.vault,
            issuer: &self.settings.issuer,
            metrics: &self.metrics,
        }
    }

    /// Candidates for the id of a new row.
    pub fn fresh_ids(&self) -> [RowId; CANDIDATES] {
        self.row_ids.fresh(self.clock.now_millis(), &*self.random)
    }

    /// Fresh bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        random::bytes(&*self.random)
    }
}

/// How a server opens its database.
pub fn database_options(settings: &Settings) -> database::Options {
    let options = database::Options::default();
    match settings.database {
        DatabaseUrl::Sqlite(_) => options,
        DatabaseUrl::Postgres(_) => options.on_postgres(&settings.postgres),
    }
}

/// Opens the database and brings its schema up to date.
pub async fn open_database(
    settings: &Settings,
    options: &database::Options,
) -> Result<Database, StartFault> {
    let database = Database::open(&settings.database, options).await?;
    database.migrate(store::MIGRATIONS).await?;
    Ok(database)
}

/// Finds the master key, makes it on an empty SQLite database, and unseals the vault.
pub async fn open_vault(
    settings: &Settings,
    database: &Database,
    random: &dyn SecureRandom,
) -> Result<Vault, StartFault> {
    let path = master_key_path(settings);
    let master = match &settings.database {
        DatabaseUrl::Sqlite(_) => MasterKey::find(&path, database).await?,
        // Several instances share it: each must bring the same file, so none is ever made up here.
        DatabaseUrl::Postgres(_) => MasterKey::read(&path)?,
    };
    Ok(Vault::open(database, &master, random).await?)
}

/// The file of the master key: as set, else beside the SQLite database with the ending `master-key`.
pub fn master_key_path(settings: &Settings) -> PathBuf {
    match (&settings.master_key_file, &settings.database) {
        (Some(path), _) => path.clone(),
        (None, DatabaseUrl::Sqlite(path)) => path.with_extension("master-key"),
        (None, DatabaseUrl::Postgres(_)) => Path::new("auth-server.master-key").to_owned(),
    }
}

/// Every algorithm that an API or a client asks for, besides the defaults.
pub(crate) fn rotation_policy(settings: &Settings, registry: &Registry) -> Policy {
    let mut algorithms = BTreeSet::from([settings.signing.default_alg, SigningAlg::Rs256]);
    algorithms.extend(registry.apis().map(|api| api.signing_alg));
    algorithms
        .extend(registry.clients().map(|client| client.metadata.id_token_signed_response_alg));
    Policy::new(settings, algorithms.into_iter().collect())
}

/// The longest life of a token that is signed now, in seconds, with the leeway of clocks.
pub(crate) fn longest_token(settings: &Settings, registry: &Registry) -> i64 {
    let of_apis = registry.apis().map(|api| api.access_token_lifetime);
    let longest = of_apis.fold(settings.lifetimes.access_token, i64::max);
    longest.max(settings.lifetimes.id_token) + settings.clock_leeway
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_locked_or_away_may_pass_and_a_broken_one_is_to_be_mended() {
        for (fault, status) in [
            (DatabaseError::Unavailable("another process holds the lock"), 1),
            (DatabaseError::OutcomeUnknown, 1),
            (DatabaseError::Open("file is not a database".into()), 2),
            (DatabaseError::Migration("it is newer".into()), 2),
        ] {
            assert_eq!(StartFault::from(fault.clone()).status(), status, "{fault}");
        }
    }
}
