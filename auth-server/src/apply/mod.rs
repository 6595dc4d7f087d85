//! Brings clients, APIs and accounts to a declared state: first a plan that can be shown, then one unit of work for each change.
//!
//! Applying twice changes nothing the second time, so a run that was cut off is finished by the next. A password or a generated
//! secret acts only at creation; nothing is re-enabled, and nothing that the file omits is deleted unless `prune` is asked for.
//! Accounts are people: not even `prune` deletes them.

mod carry_out;
pub mod declared_state;
mod plan;

use std::path::Path;
use std::sync::Arc;

use database::Database;
use shared_types::Clock;

pub use carry_out::{Generated, carry_out, carry_out_showing, delete_client};
pub use declared_state::DeclaredState;
pub use plan::{Change, Known, plan_beside};

use crate::config::Settings;
use crate::random::SecureRandom;
use crate::store::StoreError;

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

/// Reads a declared state by itself, before any database is opened. `folder` is what the files it names are relative to.
pub fn read(settings: &Settings, text: &str, folder: &Path) -> Result<DeclaredState, ApplyFault> {
    let context = declared_state::Context {
        issuer: &settings.issuer,
        folder,
        default_alg: settings.signing.default_alg,
    };
    declared_state::parse(text, &context).map_err(ApplyFault::Faults)
}

/// Reads a declared state and says what it would change.
pub async fn plan(
    target: &Target,
    text: &str,
    folder: &Path,
    prune: bool,
) -> Result<Vec<Change>, ApplyFault> {
    let state = read(&target.settings, text, folder)?;
    let known = Known::load(&target.database, &state).await?;
    plan_beside(&state, &known, prune).map_err(ApplyFault::Faults)
}
