//! How old this instance's picture of clients, APIs and keys is, and what keeps it young.
//!
//! Every instance polls one row of epochs each second. A picture older than [`MAX_AGE`] seconds is not used: the request polls
//! itself first, and if that fails the answer is 503. So a key revoked, or a client disabled, on another instance stops counting
//! here within five seconds, whatever happens to the network in between.

use std::sync::{Arc, PoisonError, RwLock};

use database::Database;

use crate::app::{self, App};
use crate::domain::registry::Registry;
use crate::keys::rotation::{self, RotationFault};
use crate::store::epochs::{self, Epochs};
use crate::store::{StoreError, apis, clients};

/// The oldest picture that is used, in seconds.
pub const MAX_AGE: i64 = 5;

/// The picture and its age.
#[derive(Debug)]
pub struct Freshness {
    picture: RwLock<Picture>,
    // One poll at a time: a burst of requests after a pause asks the database once.
    polling: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Picture {
    registry: Arc<Registry>,
    epochs: Epochs,
    polled_at_millis: i64,
}

impl Picture {
    /// Whether it is young enough. A clock that went back makes it old: then nobody knows its age.
    fn is_fresh(&self, now_millis: i64) -> bool {
        (0..MAX_AGE * 1_000).contains(&now_millis.saturating_sub(self.polled_at_millis))
    }
}

impl Freshness {
    /// Reads the first picture. `keys_epoch` is the epoch that the key ring was loaded at or before.
    pub async fn load(
        database: &Database,
        now_millis: i64,
        keys_epoch: i64,
    ) -> Result<Self, StoreError> {
        let (registry, epochs) = database.read(move |sql| read_picture(sql)).await?;
        let epochs = Epochs { keys: keys_epoch, ..epochs };
        Ok(Self {
            picture: RwLock::new(Picture {
                registry: Arc::new(registry),
                epochs,
                polled_at_millis: now_millis,
            }),
            polling: tokio::sync::Mutex::new(()),
        })
    }

    fn picture(&self) -> Picture {
        self.picture.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The registry as last seen, however old: for the background and for start-up only.
    pub fn last_seen(&self) -> Arc<Registry> {
        self.picture().registry
    }
}

impl App {
    /// The registry, at most [`MAX_AGE`] seconds old, with keys as young; [`StoreError::Unavailable`] when that cannot be had.
    pub async fn registry(&self) -> Result<Arc<Registry>, StoreError> {
        let picture = self.freshness.picture();
        if picture.is_fresh(self.clock.now_millis()) {
            return Ok(picture.registry);
        }
        let _one_at_a_time = self.freshness.polling.lock().await;
        let picture = self.freshness.picture();
        if picture.is_fresh(self.clock.now_millis()) {
            return Ok(picture.registry);
        }
        self.poll_now(picture).await
    }

    /// Looks at the epochs and reloads what has changed. Called each second in the background.
    pub async fn poll(&self) -> Result<Arc<Registry>, StoreError> {
        let _one_at_a_time = self.freshness.polling.lock().await;
        let picture = self.freshness.picture();
        self.poll_now(picture).await
    }

    async fn poll_now(&self, seen: Picture) -> Result<Arc<Registry>, StoreError> {
        // The age counts from before the read: what changes during it is seen next time.
        let polled_at_millis = self.clock.now_millis();
        let current = self.database.read(|sql| epochs::read(sql)).await?;
        if current.keys != seen.epochs.keys {
            self.keys.reload(&self.database, &self.vault).await?;
        }
        let (registry, registry_epoch) = if current.registry == seen.epochs.registry {
            (seen.registry, seen.epochs.registry)
        } else {
            let (registry, epochs) = self.database.read(move |sql| read_picture(sql)).await?;
            self.have_keys_for(&registry).await?;
            (Arc::new(registry), epochs.registry)
        };
        let epochs = Epochs { keys: current.keys, registry: registry_epoch };
        *self.freshness.picture.write().unwrap_or_else(PoisonError::into_inner) =
            Picture { registry: registry.clone(), epochs, polled_at_millis };
        Ok(registry)
    }

    /// Makes the keys of an algorithm that came into use, before anybody sees the registry that asks for it: no request shall find an API
    /// whose tokens cannot be signed.
    async fn have_keys_for(&self, registry: &Registry) -> Result<(), StoreError> {
        let policy = app::rotation_policy(&self.settings, registry);
        let signing = self.keys.algorithms();
        if policy.algorithms.iter().all(|alg| signing.contains(alg)) {
            return Ok(());
        }
        let made = rotation::keep_up(&self.database, &self.vault, self.clock.now(), &policy).await;
        made.map_err(|fault| match fault {
            RotationFault::Store(error) => error,
            other => StoreError::Unavailable(other.to_string()),
        })?;
        self.keys.reload(&self.database, &self.vault).await
    }
}

fn read_picture(sql: &mut dyn database::Sql) -> Result<(Registry, Epochs), StoreError> {
    let epochs = epochs::read(sql)?;
    let registry = Registry::new(clients::list(sql)?, apis::list(sql)?, epochs.registry);
    Ok((registry, epochs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_old_after_five_seconds_and_when_the_clock_goes_back() {
        let picture = Picture {
            registry: Arc::default(),
            epochs: Epochs::default(),
            polled_at_millis: 10_000,
        };
        assert!(picture.is_fresh(10_000));
        assert!(picture.is_fresh(14_999));
        assert!(!picture.is_fresh(15_000));
        assert!(!picture.is_fresh(9_999));
    }
}
