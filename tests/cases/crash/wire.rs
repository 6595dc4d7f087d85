//! What all clients of a run share, and how they send: an answer, or how it got lost.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How long anything may take before the run is stuck.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What became of a request without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nobody was there to take it.
    Unsent,
    /// It was sent, and happened or not.
    Unknown,
}

/// Where a refresh token or a code belongs: client, visit, grant, generation.
pub type Place = (usize, u64, usize, Option<u32>);

/// One run: the server's state as far as clients have to know it, and what is counted.
#[derive(Debug)]
pub struct Run {
    /// The server's address.
    pub issuer: String,
    /// Draws everything that is random in this run.
    pub seed: u64,
    /// How often something was killed so far.
    pub life: AtomicU64,
    /// Requests under way.
    pub in_flight: AtomicI64,
    /// Requests with an effect that were answered.
    pub acknowledged: AtomicU64,
    /// Requests with an effect that were sent and not answered.
    pub unknown: AtomicU64,
    /// Answers whose truth the ledger knew before.
    pub verified: AtomicU64,
    /// Answers that told which way an unknown request had gone.
    pub settled: AtomicU64,
    /// Sign-ins that were told to wait.
    pub waits: AtomicU64,
    up: watch::Sender<bool>,
    stopped: AtomicBool,
    fuse: AtomicI64,
    blown: Notify,
    given: Mutex<HashMap<String, Place>>,
}

impl Run {
    /// A run against the server at `issuer`, which is up.
    pub fn new(issuer: &str, seed: u64) -> Self {
        Self {
            issuer: issuer.to_owned(),
            seed,
            life: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            up: watch::Sender::new(true),
            stopped: AtomicBool::new(false),
            fuse: AtomicI64::new(i64::MAX),
            blown: Notify::new(),
            given: Mutex::default(),
        }
    }

    /// Says whether it makes sense to ask.
    pub fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    /// Waits until it does.
    pub async fn until_up(&self) {
        let mut up = self.up.subscribe();
        let waited = tokio::time::timeout(PATIENCE, up.wait_for(|up| *up)).await;
        assert!(waited.is_ok(), "the server comes back");
    }

    /// No more work.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether there is no more work.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Lets the next `effects` acknowledged ones pass.
    pub fn light(&self, effects: i64) {
        self.fuse.store(effects, Ordering::Relaxed);
    }

    /// Waits until they have.
    pub async fn until_blown(&self) {
        let waited = tokio::time::timeout(PATIENCE, self.blown.notified()).await;
        assert!(waited.is_ok(), "the clients get on");
    }

    /// Counts an acknowledged effect.
    pub fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.blown.notify_one();
        }
    }

    /// Waits for an answer.
    pub async fn call<T>(
        &self,
        request: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Lost> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = request.await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        answer.map_err(|error| if error.is_connect() { Lost::Unsent } else { Lost::Unknown })
    }

    /// A code or a refresh token belongs to one place; where else it was given, if it was.
    pub fn given_elsewhere(&self, token: &str, place: Place) -> Option<Place> {
        let mut given = self.given.lock().unwrap();
        let known = *given.entry(token.to_owned()).or_insert(place);
        (known != place).then_some(known)
    }
}
