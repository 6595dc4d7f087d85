//! The only composition root: everything that a handler may use, built once and shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use database::{Database, DatabaseError, DatabaseUrl, Options};
use service::tls::TlsFault;
use shared_types::{Clock, SystemClock};

use crate::config::Settings;
use crate::endpoints::scopes;
use crate::guard::{Guard, GuardFault, GuardOptions};
use crate::metrics::Metrics;
use crate::store::MIGRATIONS;
use crate::store::key_sets::StoredKeySets;

/// What the world outside provides: injected, so that a test holds time in its hand. Document ids come from the crypto library's own
/// generator; nothing that a test compares depends on them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The database cannot be opened or brought up to date.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Certificate and key cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The guard cannot be opened.
    #[error(transparent)]
    Guard(#[from] GuardFault),
}

impl StartFault {
    /// The exit status: 2 for what an operator has to mend first, 1 for what may pass.
    pub fn status(&self) -> u8 {
        match self {
            Self::Listen(..)
            | Self::Database(DatabaseError::Unavailable(_) | DatabaseError::OutcomeUnknown) => 1,
            Self::Database(_) | Self::Tls(_) | Self::Guard(_) => 2,
        }
    }
}

/// Everything that a request may use.
#[derive(Debug)]
pub struct App {
    /// Checked settings.
    pub settings: Settings,
    /// The time; read it once per request.
    pub clock: Arc<dyn Clock>,
    /// The store's database.
    pub database: Database,
    /// Who gets in.
    pub guard: Guard,
    /// Counters for `/metrics`.
    pub metrics: Metrics,
    draining: AtomicBool,
}

impl App {
    /// Opens the database and the guard. Does not wait for any issuer.
    pub async fn build(settings: Settings, ports: Ports) -> Result<Self, StartFault> {
        let database = Database::open(&settings.database, &database_options(&settings)).await?;
        database.migrate(MIGRATIONS).await?;
        let store = Arc::new(StoredKeySets(database.clone()));
        let guard = Guard::open(guard_options(&settings), Arc::clone(&ports.clock), store).await?;
        let draining = AtomicBool::new(false);
        Ok(Self {
            settings,
            clock: ports.clock,
            database,
            guard,
            metrics: Metrics::new(),
            draining,
        })
    }

    /// From now on the server is about to stop: `/readyz` says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

fn database_options(settings: &Settings) -> Options {
    match settings.database {
        DatabaseUrl::Sqlite(_) => {
            Options { readers: settings.workers.clamp(1, 4), ..Options::default() }
        }
        DatabaseUrl::Postgres(_) => Options::default().on_postgres(&settings.postgres),
    }
}

/// What the guard has to know, from the settings.
pub fn guard_options(settings: &Settings) -> GuardOptions {
    GuardOptions {
        issuer_addresses: settings.issuer_addresses.clone(),
        clock_leeway: settings.clock_leeway,
        keys: settings.keys,
        outbound: settings.outbound.clone(),
        resource_name: scopes::API_NAME.to_owned(),
        scopes: scopes::ALL.iter().map(|scope| (*scope).to_owned()).collect(),
        ..GuardOptions::new(settings.resource.clone(), settings.issuers.clone())
    }
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
