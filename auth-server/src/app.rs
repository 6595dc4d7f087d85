//! The only composition root: everything that a handler may use, built once and shared by all workers.

use std::sync::Arc;

use database::Database;
use shared_types::Clock;

use crate::config::Settings;
use crate::domain::password::PasswordHasher;
use crate::domain::row_id::{CANDIDATES, RowId, RowIds};
use crate::freshness::Freshness;
use crate::keys::ring::KeyRing;
use crate::keys::vault::Vault;
use crate::metrics::Metrics;
use crate::random::{self, SecureRandom};

/// What the world outside provides: injected, so that a test holds time and chance in its hand.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn SecureRandom>,
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
    /// Candidates for the id of a new row.
    pub fn fresh_ids(&self) -> [RowId; CANDIDATES] {
        self.row_ids.fresh(self.clock.now_millis(), &*self.random)
    }

    /// Fresh bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        random::bytes(&*self.random)
    }
}
