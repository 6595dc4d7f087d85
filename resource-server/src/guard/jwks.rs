//! The keys of an issuer ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)): kept fresh in the background, kept alive through an outage, never longer than a hard age.
//!
//! One task per issuer is the only one that fetches, so a fetch is shared by construction and no request holds a lock while it waits.
//! Readers take a snapshot. When to fetch is decided in [`schedule`](super::schedule). On failure the old keys stay; there is no
//! fallback key of any kind: without keys the answer is 503.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use shared_types::{Clock, Issuer, JwkSet, KeyId, UnixSeconds};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::discovery::FetchFault;
use super::key::KeySet;
use super::schedule::{Ask, Schedule};

/// How often the task looks at the injected clock.
const TICK: Duration = Duration::from_millis(250);
/// The longest that a request waits for keys: metadata and key set, 5 s each, and a little.
const LONGEST_WAIT: Duration = Duration::from_secs(11);

/// Times of a key set, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// From one refresh to the next (default 300).
    pub refresh: i64,
    /// From one attempt for an unknown key to the next, per issuer (default 30).
    pub cooldown: i64,
    /// From the last good fetch until the keys die (default 86,400). So long can a thief who cuts us off use a revoked key.
    pub max_age: i64,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self { refresh: 300, cooldown: 30, max_age: 86_400 }
    }
}

/// Where the keys of one issuer come from.
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The keys as they are now, whatever their age.
    fn snapshot(&self) -> Arc<KeySet>;

    /// The epoch of the keys, while they may be used.
    fn usable_epoch(&self, now: UnixSeconds) -> Option<u64>;

    /// Says that `kid` is wanted and not there (`None`: that there is no usable key at all), and waits until looking again makes sense.
    fn ask<'a>(&'a self, kid: Option<&'a KeyId>) -> BoxFuture<'a, ()>;

    /// How long keys may be used after they were fetched, in seconds.
    fn max_age(&self) -> i64;
}

/// The state of an issuer's keys, for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyStatus {
    /// Whose keys.
    pub issuer: Issuer,
    /// How many.
    pub keys: usize,
    /// Seconds since they were fetched; none: never.
    pub age: Option<i64>,
    /// Whether tokens can be checked with them.
    pub usable: bool,
}

/// One way to fetch a key set.
pub trait FetchKeys: fmt::Debug + Send + Sync {
    /// Fetches the set once, within a bounded time.
    fn fetch(&self) -> BoxFuture<'_, Result<JwkSet, FetchFault>>;
}

/// A key set as it is stored. It is not believed more than a fetched one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeys {
    /// The document.
    pub jwks: String,
    /// When it was fetched. A restart does not renew it.
    pub fetched_at: UnixSeconds,
}

/// Where the last good set outlives the process, so that a restart during an outage works.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// The last set of that issuer.
    fn load<'a>(&'a self, issuer: &'a Issuer) -> BoxFuture<'a, Option<StoredKeys>>;

    /// Keeps `keys`. A fault is the store's to log: the keys in memory are good all the same.
    fn save<'a>(&'a self, issuer: &'a Issuer, keys: StoredKeys) -> BoxFuture<'a, ()>;
}

/// Forgets everything.
#[derive(Clone, Copy, Debug)]
pub struct NoKeyStore;

impl KeyStore for NoKeyStore {
    fn load<'a>(&'a self, _: &'a Issuer) -> BoxFuture<'a, Option<StoredKeys>> {
        Box::pin(std::future::ready(None))
    }

    fn save<'a>(&'a self, _: &'a Issuer, _: StoredKeys) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Keys that never change: from a file, or fetched once.
#[derive(Debug)]
pub struct FixedKeys(pub Arc<KeySet>);

impl KeySource for FixedKeys {
    fn snapshot(&self) -> Arc<KeySet> {
        Arc::clone(&self.0)
    }

    fn usable_epoch(&self, now: UnixSeconds) -> Option<u64> {
        self.0.is_usable(self.max_age(), now).then_some(self.0.epoch)
    }

    fn ask<'a>(&'a self, _: Option<&'a KeyId>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn max_age(&self) -> i64 {
        i64::MAX
    }
}

/// Keys that an issuer publishes. Dropping it ends the task that fetches them.
#[derive(Debug)]
pub struct RemoteKeys {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    issuer: Issuer,
    fetcher: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn KeyStore>,
    limits: KeyLimits,
    current: RwLock<Arc<KeySet>>,
    schedule: Mutex<Schedule>,
    demand: Notify,
    ended: watch::Sender<u64>,
}

impl RemoteKeys {
    /// Loads the last good set and starts the task that keeps it fresh.
    pub async fn open(
        issuer: Issuer,
        fetcher: Box<dyn FetchKeys>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn KeyStore>,
        limits: KeyLimits,
    ) -> Self {
        let now = clock.now();
        let stored = store.load(&issuer).await.and_then(|stored| revive(&stored, now));
        let shared = Arc::new(Shared {
            issuer,
            fetcher,
            clock,
            store,
            limits,
            current: RwLock::new(Arc::new(stored.unwrap_or_default())),
            schedule: Mutex::new(Schedule::new(limits.refresh, limits.cooldown, now)),
            demand: Notify::new(),
            ended: watch::Sender::new(0),
        });
        let task = tokio::spawn(refresh(Arc::clone(&shared)));
        Self { shared, task }
    }
}

impl Drop for RemoteKeys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeySource for RemoteKeys {
    fn snapshot(&self) -> Arc<KeySet> {
        self.shared.snapshot()
    }

    fn usable_epoch(&self, now: UnixSeconds) -> Option<u64> {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        current.is_usable(self.shared.limits.max_age, now).then_some(current.epoch)
    }

    fn ask<'a>(&'a self, kid: Option<&'a KeyId>) -> BoxFuture<'a, ()> {
        Box::pin(self.shared.ask(kid))
    }

    fn max_age(&self) -> i64 {
        self.shared.limits.max_age
    }
}

impl Shared {
    fn snapshot(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_schedule<T>(&self, act: impl FnOnce(&mut Schedule) -> T) -> T {
        act(&mut self.schedule.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether that key is there, or any usable one.
    fn has(&self, kid: Option<&KeyId>, now: UnixSeconds) -> bool {
        let current = self.snapshot();
        current.is_usable(self.limits.max_age, now)
            && kid.is_none_or(|kid| current.get(kid).is_some())
    }

    async fn ask(&self, kid: Option<&KeyId>) {
        // Subscribed first: a fetch that ends in between is not missed.
        let mut ended = self.ended.subscribe();
        let now = self.clock.now();
        let wait_for = self.with_schedule(|schedule| {
            // A fetch may have ended since the caller looked. Its keys stand before it counts as ended, so looking again in here
            // cannot miss them, and the fetch is shared with those who ask that late.
            if self.has(kid, now) {
                return None;
            }
            match schedule.ask(kid, now) {
                Ask::WaitFor(count) => Some(count),
                Ask::Refuse => None,
            }
        });
        let Some(count) = wait_for else {
            return;
        };
        self.demand.notify_one();
        let wait = ended.wait_for(|ended| *ended >= count);
        if tokio::time::timeout(LONGEST_WAIT, wait).await.is_err() {
            log::warn!(issuer:% = self.issuer; "waited too long for keys");
        }
        if let Some(kid) = kid
            && self.snapshot().get(kid).is_none()
        {
            let now = self.clock.now();
            self.with_schedule(|schedule| schedule.note_missing(kid, now));
        }
    }

    /// Fetches once and swaps the set. On failure the old one stays, until its hard age.
    async fn fetch(&self) -> Option<StoredKeys> {
        let fetched = self.fetcher.fetch().await;
        let now = self.clock.now();
        let old = self.snapshot();
        let set = match fetched {
            Ok(set) => set,
            Err(fault) => {
                let usable = old.is_usable(self.limits.max_age, now);
                log::warn!(issuer:% = self.issuer, fault:%, old_keys_usable = usable; "keys not fetched");
                return None;
            }
        };
        let new = old.followed_by(set, now);
        if new.epoch != old.epoch {
            log::info!(issuer:% = self.issuer, keys = new.len(); "keys changed");
        }
        let stored = StoredKeys { jwks: new.to_json(), fetched_at: now };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Some(stored)
    }
}

/// The one task that fetches this issuer's keys.
async fn refresh(shared: Arc<Shared>) {
    loop {
        let now = shared.clock.now();
        if shared.with_schedule(|schedule| schedule.begin(now)) {
            let fetched = shared.fetch().await;
            let now = shared.clock.now();
            let ended = shared.with_schedule(|schedule| schedule.end(fetched.is_some(), now));
            shared.ended.send_replace(ended);
            if let Some(stored) = fetched {
                shared.store.save(&shared.issuer, stored).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = shared.demand.notified() => {}
        }
    }
}

/// A stored set is validated like a fetched one. One from the future is none: its age could not be told.
fn revive(stored: &StoredKeys, now: UnixSeconds) -> Option<KeySet> {
    let set = JwkSet::parse(stored.jwks.as_bytes()).ok()?;
    (stored.fetched_at <= now).then(|| KeySet::load(set, 1, stored.fetched_at))
}

/// A key store in memory, for tests and for several guards in one process.
#[derive(Debug, Default)]
pub struct MemoryKeyStore(Mutex<HashMap<String, StoredKeys>>);

impl KeyStore for MemoryKeyStore {
    fn load<'a>(&'a self, issuer: &'a Issuer) -> BoxFuture<'a, Option<StoredKeys>> {
        let stored =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(issuer.as_str()).cloned();
        Box::pin(std::future::ready(stored))
    }

    fn save<'a>(&'a self, issuer: &'a Issuer, keys: StoredKeys) -> BoxFuture<'a, ()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(issuer.as_str().to_owned(), keys);
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use shared_types::jwk::PublicKey;
    use shared_types::{ManualClock, PublicJwk, SigningAlg};

    use super::*;

    const HOUR: i64 = 3_600;

    #[derive(Debug, Default)]
    struct Issuerlike {
        answer: Mutex<Option<JwkSet>>,
        fetches: AtomicUsize,
    }

    impl FetchKeys for Arc<Issuerlike> {
        fn fetch(&self) -> BoxFuture<'_, Result<JwkSet, FetchFault>> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            let answer = self.answer.lock().unwrap().clone();
            Box::pin(std::future::ready(answer.ok_or(FetchFault::Timeout)))
        }
    }

    struct World {
        issuer: Arc<Issuerlike>,
        clock: Arc<ManualClock>,
        store: Arc<MemoryKeyStore>,
    }

    impl World {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::new(UnixSeconds::new(10_000)));
            Self { issuer: Arc::default(), clock, store: Arc::default() }
        }

        fn publish(&self, kids: &[&str]) {
            let keys = kids.iter().map(|kid| {
                let pair = Ed25519KeyPair::generate().unwrap();
                let x = pair.public_key().as_ref().try_into().unwrap();
                let kid = KeyId::parse(*kid).unwrap();
                PublicJwk { kid, alg: SigningAlg::EdDsa, key: PublicKey::Ed25519 { x } }
            });
            *self.issuer.answer.lock().unwrap() = Some(JwkSet { keys: keys.collect(), skipped: 0 });
        }

        fn fail(&self) {
            *self.issuer.answer.lock().unwrap() = None;
        }

        async fn open(&self) -> RemoteKeys {
            RemoteKeys::open(
                Issuer::parse("https://id.example").unwrap(),
                Box::new(Arc::clone(&self.issuer)),
                Arc::clone(&self.clock) as Arc<dyn Clock>,
                Arc::clone(&self.store) as Arc<dyn KeyStore>,
                KeyLimits::default(),
            )
            .await
        }
    }

    fn kid(name: &str) -> KeyId {
        KeyId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_key_published_later_is_found_on_demand() {
        let world = World::new();
        world.publish(&["a"]);
        let keys = world.open().await;
        keys.ask(Some(&kid("a"))).await;
        assert!(keys.snapshot().get(&kid("a")).is_some());
        let epoch = keys.usable_epoch(world.clock.now());
        world.publish(&["a", "b"]);
        world.clock.advance(31);
        keys.ask(Some(&kid("b"))).await;
        assert!(keys.snapshot().get(&kid("b")).is_some());
        assert_ne!(keys.usable_epoch(world.clock.now()), epoch, "cached tokens are checked anew");
    }

    #[tokio::test]
    async fn a_fetch_is_shared_with_those_who_looked_before_it_and_ask_after_it() {
        let world = World::new();
        world.publish(&["a"]);
        let keys = world.open().await;
        keys.shared.ended.subscribe().wait_for(|ended| *ended == 1).await.unwrap();
        keys.ask(None).await;
        keys.ask(Some(&kid("a"))).await;
        assert_eq!(world.issuer.fetches.load(Ordering::SeqCst), 1);
        keys.ask(Some(&kid("b"))).await;
        assert_eq!(world.issuer.fetches.load(Ordering::SeqCst), 2, "nothing was demanded before");
    }

    #[tokio::test]
    async fn a_flood_of_unknown_kids_costs_one_fetch() {
        let world = World::new();
        world.publish(&["a"]);
        let keys = world.open().await;
        keys.ask(None).await;
        let names: Vec<KeyId> = (0..100).map(|index| kid(&format!("x{index}"))).collect();
        futures_util::future::join_all(names.iter().map(|name| keys.ask(Some(name)))).await;
        assert!(world.issuer.fetches.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn old_keys_live_through_an_outage_up_to_their_hard_age_and_a_restart_does_not_renew_them()
     {
        let world = World::new();
        world.publish(&["a"]);
        let keys = world.open().await;
        keys.ask(None).await;
        world.fail();
        world.clock.advance(23 * HOUR);
        keys.ask(Some(&kid("b"))).await;
        assert!(keys.usable_epoch(world.clock.now()).is_some());
        drop(keys);
        let keys = world.open().await;
        assert!(keys.usable_epoch(world.clock.now()).is_some(), "loaded from the store");
        assert!(keys.snapshot().get(&kid("a")).is_some());
        world.clock.advance(HOUR);
        assert_eq!(keys.usable_epoch(world.clock.now()), None);
    }

    #[tokio::test]
    async fn a_stored_set_is_checked_like_a_fetched_one() {
        let now = UnixSeconds::new(100);
        let stored =
            |jwks: &str, at| StoredKeys { jwks: jwks.into(), fetched_at: UnixSeconds::new(at) };
        let off_curve = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","y":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}]}"#;
        assert!(revive(&stored(off_curve, 100), now).unwrap().is_empty());
        assert!(revive(&stored("{}", 100), now).is_none());
        assert!(revive(&stored(r#"{"keys":[]}"#, 101), now).is_none(), "from the future");
    }

    #[tokio::test]
    async fn the_same_keys_keep_their_epoch() {
        let world = World::new();
        world.publish(&["a"]);
        let keys = world.open().await;
        keys.ask(None).await;
        let epoch = keys.snapshot().epoch;
        world.clock.advance(31);
        keys.ask(Some(&kid("b"))).await;
        assert_eq!(keys.snapshot().epoch, epoch);
        assert_eq!(keys.snapshot().fetched_at, Some(world.clock.now()));
    }
}
