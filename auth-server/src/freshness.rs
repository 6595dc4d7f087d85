//! How old this instance's picture of clients, APIs and keys is, and what keeps it young.
//!
//! Every instance polls one row of epochs each second. A picture older than [`MAX_AGE`] seconds is not used: the request polls
//! itself first, and if that fails the answer is 503. So a key revoked, or a client disabled, on another instance stops counting
//! here within five seconds, whatever happens to the network in between.
//!
//! Who finds the picture old waits for one attempt at most, his own or the one that is under way, and not longer than [`PATIENCE`]: a
//! database that says nothing keeps nobody, however many ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use database::Database;
use tokio::time::{Instant, timeout_at};

use crate::app::{self, App};
use crate::domain::registry::Registry;
use crate::keys::rotation::{self, RotationFault};
use crate::store::epochs::{self, Epochs};
use crate::store::{StoreError, apis, clients};

/// The oldest picture that is used, in seconds.
pub const MAX_AGE: i64 = 5;
/// The longest that anybody waits for a poll, with those before it. The database's own limits add up to more: those of a statement, and
/// of a new connection after it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The picture and its age.
#[derive(Debug)]
pub struct Freshness {
    picture: RwLock<Picture>,
    polls: Turns,
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
            polls: Turns::new(PATIENCE),
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
    /// The registry, at most [`MAX_AGE`] seconds old, with keys as young; [`StoreError::Unavailable`] when that cannot be had, after
    /// [`PATIENCE`] at the latest.
    pub async fn registry(&self) -> Result<Arc<Registry>, StoreError> {
        if let Some(registry) = self.fresh_registry() {
            return Ok(registry);
        }
        let fresh = || self.fresh_registry();
        self.freshness.polls.take(fresh, |known| self.poll_now(known)).await
    }

    fn fresh_registry(&self) -> Option<Arc<Registry>> {
        let picture = self.freshness.picture();
        picture.is_fresh(self.clock.now_millis()).then_some(picture.registry)
    }

    /// Looks at the epochs and reloads what has changed. Called each second in the background. Where the one before him has just failed,
    /// the caller has failed too; what changed before the call is seen when it succeeds.
    pub async fn poll(&self) -> Result<Arc<Registry>, StoreError> {
        self.freshness.polls.take(|| None, |known| self.poll_now(known)).await
    }

    /// `known`: the poll before this one has succeeded. Otherwise the database was away and may have come back as an earlier state of
    /// itself, restored or taken over, whose epochs may by chance have the same numbers: so everything is read.
    async fn poll_now(&self, known: bool) -> Result<Arc<Registry>, StoreError> {
        let seen = self.freshness.picture();
        // The age counts from before the read: what changes during it is seen next time.
        let polled_at_millis = self.clock.now_millis();
        let current = self.database.read(|sql| epochs::read(sql)).await?;
        if !known || current.keys != seen.epochs.keys {
            self.keys.reload(&self.database, &self.vault).await?;
        }
        let (registry, registry_epoch) = if known && current.registry == seen.epochs.registry {
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

/// Attempts at the same thing, one at a time. A burst of requests after a pause asks the database once; and who waited for somebody's
/// attempt that failed has failed with him, instead of finding out by one of his own, for which others would wait in turn.
#[derive(Debug)]
struct Turns {
    /// What became of the last attempt.
    last: tokio::sync::Mutex<Result<(), StoreError>>,
    ended: AtomicU64,
    patience: Duration,
}

impl Turns {
    fn new(patience: Duration) -> Self {
        Self { last: tokio::sync::Mutex::new(Ok(())), ended: AtomicU64::new(0), patience }
    }

    /// What the caller finds to be `settled` when his turn comes; else the failure of the attempt that he waited for; else his own
    /// attempt, which is told whether the one before has succeeded. All within the patience. An attempt whose caller goes away in the
    /// middle was none, and the next one makes his.
    async fn take<T, A>(
        &self,
        settled: impl FnOnce() -> Option<T>,
        attempt: impl FnOnce(bool) -> A,
    ) -> Result<T, StoreError>
    where
        A: Future<Output = Result<T, StoreError>>,
    {
        let silence = || StoreError::Unavailable("the database does not answer in time".into());
        let deadline = Instant::now() + self.patience;
        let ended = self.ended.load(Ordering::Acquire);
        let mut last = timeout_at(deadline, self.last.lock()).await.map_err(|_| silence())?;
        if let Some(found) = settled() {
            return Ok(found);
        }
        if ended != self.ended.load(Ordering::Acquire)
            && let Err(failure) = &*last
        {
            return Err(failure.clone());
        }
        let outcome = timeout_at(deadline, attempt(last.is_ok())).await;
        let outcome = outcome.unwrap_or_else(|_| Err(silence()));
        *last = outcome.as_ref().map(drop).map_err(Clone::clone);
        self.ended.fetch_add(1, Ordering::Release);
        outcome
    }
}

fn read_picture(sql: &mut dyn database::Sql) -> Result<(Registry, Epochs), StoreError> {
    let epochs = epochs::read(sql)?;
    let registry = Registry::new(clients::list(sql)?, apis::list(sql)?, epochs.registry);
    Ok((registry, epochs))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_util::future::{join_all, pending, poll_immediate};
    use tokio::sync::oneshot;

    use super::*;

    /// Longer than a test may take.
    const LONG: Duration = Duration::from_secs(3_600);

    fn fault() -> StoreError {
        StoreError::Unavailable("away".into())
    }

    #[tokio::test]
    async fn who_waits_for_an_attempt_fails_with_it_and_who_comes_later_tries_anew() {
        let (turns, attempts) = (Turns::new(LONG), Cell::new(0));
        let (fail, failed) = oneshot::channel::<()>();
        let mut first = pin!(turns.take(
            || None::<()>,
            async |_| {
                attempts.set(attempts.get() + 1);
                failed.await.unwrap();
                Err(fault())
            }
        ));
        assert!(poll_immediate(&mut first).await.is_none(), "it is under way");
        let followers = (0..100).map(|_| {
            turns.take(
                || None,
                async |_| {
                    attempts.set(attempts.get() + 1);
                    Ok(())
                },
            )
        });
        let mut followers = pin!(join_all(followers));
        assert!(poll_immediate(&mut followers).await.is_none(), "they wait");
        fail.send(()).unwrap();
        assert_eq!(first.await, Err(fault()));
        assert!(followers.await.into_iter().all(|outcome| outcome == Err(fault())));
        assert_eq!(attempts.get(), 1);
        let known = turns.take(|| None, async |known| Ok(known));
        assert_eq!(known.await, Ok(false), "it learns that the one before has failed");
        assert_eq!(turns.take(|| None, async |known| Ok(known)).await, Ok(true));
    }

    #[tokio::test]
    async fn who_waits_for_an_attempt_that_succeeds_takes_what_it_left() {
        let (turns, left) = (Turns::new(LONG), Cell::new(None));
        let (succeed, succeeded) = oneshot::channel::<()>();
        let mut first = pin!(turns.take(
            || None,
            async |_| {
                succeeded.await.unwrap();
                left.set(Some(7));
                Ok(7)
            }
        ));
        assert!(poll_immediate(&mut first).await.is_none());
        let mut second = pin!(turns.take(|| left.get(), async |_| Err(fault())));
        assert!(poll_immediate(&mut second).await.is_none());
        succeed.send(()).unwrap();
        assert_eq!((first.await, second.await), (Ok(7), Ok(7)));
    }

    #[tokio::test]
    async fn an_attempt_whose_caller_has_gone_away_keeps_nobody() {
        let turns = Turns::new(LONG);
        let mut first = Box::pin(turns.take(|| None::<()>, |_| pending()));
        assert!(poll_immediate(&mut first).await.is_none());
        let mut second = pin!(turns.take(|| None, async |_| Ok(())));
        assert!(poll_immediate(&mut second).await.is_none());
        drop(first);
        assert_eq!(second.await, Ok(()));
    }

    #[tokio::test]
    async fn a_silent_database_keeps_nobody_longer_than_the_patience() {
        let turns = Turns::new(Duration::from_millis(1));
        let silent = (0..100).map(|_| turns.take(|| None::<()>, |_| pending()));
        for outcome in join_all(silent).await {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
    }

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
