//! The guard: a library that opens an API only to a valid access token. A fork mounts it in its own actix-web app.
//!
//! ```no_run
//! use std::sync::Arc;
//! use actix_web::{App, HttpResponse, HttpServer, web};
//! use resource_server::guard::{Granted, Guard, GuardOptions, NoKeyStore, RequiredScope};
//! use shared_types::{Audience, Issuer, SystemClock};
//!
//! struct ReadOrders;
//! impl RequiredScope for ReadOrders { const SCOPE: &'static str = "orders:read"; }      // 1. what the route asks for
//!
//! async fn orders(granted: Granted<ReadOrders>) -> HttpResponse {                       // 2. no token, no call
//!     HttpResponse::Ok().body(format!("the orders of {}", granted.claims().sub))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let api = Audience::parse("https://api.example")?;
//! let options = GuardOptions::new(api, vec![Issuer::parse("https://id.example")?]);     // 3. who we are, whom we trust
//! let guard = Guard::open(options, Arc::new(SystemClock), Arc::new(NoKeyStore)).await?; // 4. fetches keys from now on
//! HttpServer::new(move || App::new().configure(guard.mount()).route("/orders", web::get().to(orders))) // 5.
//!     .bind("127.0.0.1:8080")?.run().await?;
//! # Ok(()) }
//! ```
//!
//! The road of a token: [`bearer`] reads it → [`cache`] knows it, or [`verify`] proves it with a key from [`jwks`], which
//! [`discovery`] fetched through [`outbound`] → [`scopes`] holds it against what the route asks for. No other way leads to a
//! [`VerifiedToken`]. All faults leave through [`bearer::Refusal`].

pub mod bearer;
pub mod cache;
pub mod discovery;
pub mod jwks;
pub mod key;
pub mod outbound;
pub mod problem;
pub mod resource_metadata;
pub mod schedule;
pub mod scopes;
pub mod verify;

use std::fmt;
use std::sync::Arc;

use actix_web::web::ServiceConfig;
use shared_types::{Audience, Clock, Issuer, Rules};

pub use bearer::{BearerError, Challenge, Refusal};
pub use jwks::{KeySource, KeyStatus, KeyStore, NoKeyStore, RemoteKeys};
pub use outbound::{HostPort, OutboundOptions};
pub use problem::Problem;
pub use scopes::{AnyToken, Granted, RequiredScope};
pub use verify::{TokenFault, VerifiedToken, Verifier};

use cache::WorkerCache;
use discovery::HttpKeys;
use jwks::KeyLimits;
use outbound::{Outbound, OutboundFault};

/// The most that `iat` and `nbf` may be ahead, in seconds: clocks that are kept at all differ by less.
pub const MAX_CLOCK_LEEWAY: i64 = 60;

/// What a guard has to know.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// Our own identifier: the `aud` that a token must name, and our public base URL.
    pub resource: Audience,
    /// Whose tokens are taken, each with its own keys.
    pub issuers: Vec<Issuer>,
    /// Where an issuer's origin is reached, if not where its URL says.
    pub issuer_addresses: Vec<(Issuer, HostPort)>,
    /// How far ahead `iat` and `nbf` may be, in seconds (default 10, at most [`MAX_CLOCK_LEEWAY`]).
    pub clock_leeway: i64,
    /// Times of the key sets.
    pub keys: KeyLimits,
    /// How connections to issuers are made.
    pub outbound: OutboundOptions,
    /// Name for people, in the RFC 9728 metadata.
    pub resource_name: String,
    /// Scopes that the routes ask for, in the RFC 9728 metadata.
    pub scopes: Vec<String>,
    /// Verified tokens that each worker remembers (default 2,000).
    pub cached_tokens: usize,
}

impl GuardOptions {
    /// The defaults.
    pub fn new(resource: Audience, issuers: Vec<Issuer>) -> Self {
        Self {
            resource_name: resource.as_str().to_owned(),
            resource,
            issuers,
            issuer_addresses: Vec::new(),
            clock_leeway: 10,
            keys: KeyLimits::default(),
            outbound: OutboundOptions::default(),
            scopes: Vec::new(),
            cached_tokens: 2_000,
        }
    }
}

/// Why a guard cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GuardFault {
    /// Connections to issuers cannot be made as configured.
    #[error(transparent)]
    Outbound(#[from] OutboundFault),
    /// There is no issuer, so no token could ever be valid.
    #[error("no issuer is configured")]
    NoIssuer,
    /// The leeway would take tokens from the far future, or refuse those of now.
    #[error("clock_leeway must be from 0 to {MAX_CLOCK_LEEWAY} seconds, and is {0}")]
    ClockLeeway(i64),
}

/// The guard of one API. A clone is another handle; when the last is gone, keys are no longer fetched.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    verifier: Verifier,
    challenge: Arc<Challenge>,
    metadata: resource_metadata::Document,
    clock: Arc<dyn Clock>,
    cached_tokens: usize,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("verifier", &self.inner.verifier).finish_non_exhaustive()
    }
}

impl Guard {
    /// Loads the last good key sets from `store` and starts to keep them fresh. Returns at once: the first requests wait for the first
    /// fetch if they have to. Must be called inside a Tokio runtime that lives as long as the guard.
    pub async fn open(
        options: GuardOptions,
        clock: Arc<dyn Clock>,
        store: Arc<dyn KeyStore>,
    ) -> Result<Self, GuardFault> {
        if options.issuers.is_empty() {
            return Err(GuardFault::NoIssuer);
        }
        if !(0..=MAX_CLOCK_LEEWAY).contains(&options.clock_leeway) {
            return Err(GuardFault::ClockLeeway(options.clock_leeway));
        }
        let outbound = Arc::new(Outbound::new(options.outbound.clone()));
        let mut sources: Vec<(Rules, Arc<dyn KeySource>)> = Vec::new();
        for issuer in &options.issuers {
            let address = options.issuer_addresses.iter().find(|(of, _)| of == issuer);
            let address = address.map(|(_, address)| address.clone());
            let fetcher = HttpKeys::new(issuer.clone(), address, Arc::clone(&outbound))?;
            let keys = RemoteKeys::open(
                issuer.clone(),
                Box::new(fetcher),
                Arc::clone(&clock),
                Arc::clone(&store),
                options.keys,
            )
            .await;
            let rules = Rules {
                issuer: issuer.clone(),
                audience: options.resource.clone(),
                clock_leeway: options.clock_leeway,
            };
            sources.push((rules, Arc::new(keys)));
        }
        Ok(Self::with_sources(&options, clock, sources))
    }

    /// A guard on key sources of one's own, for tests and for keys that do not come by HTTP.
    pub fn with_sources(
        options: &GuardOptions,
        clock: Arc<dyn Clock>,
        sources: Vec<(Rules, Arc<dyn KeySource>)>,
    ) -> Self {
        let metadata = resource_metadata::Document::new(options);
        let challenge = Challenge { resource_metadata: metadata.url.clone() };
        Self {
            inner: Arc::new(Inner {
                verifier: Verifier::new(sources),
                challenge: Arc::new(challenge),
                metadata,
                clock,
                cached_tokens: options.cached_tokens,
            }),
        }
    }

    /// For `App::configure`, inside the factory that runs once per worker: this worker's cache of verified tokens, and the RFC 9728
    /// metadata route.
    pub fn mount(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let guard = self.clone();
        move |config: &mut ServiceConfig| {
            guard.inner.metadata.route(config);
            let cache = WorkerCache::new(guard.inner.cached_tokens);
            config.app_data(scopes::WorkerGuard { guard, cache });
        }
    }

    /// Checks tokens without a request.
    pub fn verifier(&self) -> &Verifier {
        &self.inner.verifier
    }

    /// What a refused client is told besides the error.
    pub fn challenge(&self) -> &Arc<Challenge> {
        &self.inner.challenge
    }

    /// The state of each issuer's keys.
    pub fn key_status(&self) -> Vec<KeyStatus> {
        self.inner.verifier.key_status(self.inner.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use shared_types::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_leeway_out_of_bounds_opens_no_guard() {
        for (leeway, good) in [(-1, false), (0, true), (60, true), (61, false), (i64::MAX, false)] {
            let api = Audience::parse("https://api.example").unwrap();
            let issuers = vec![Issuer::parse("https://id.example").unwrap()];
            let options = GuardOptions { clock_leeway: leeway, ..GuardOptions::new(api, issuers) };
            let opened = Guard::open(options, Arc::new(SystemClock), Arc::new(NoKeyStore)).await;
            match opened {
                Ok(_) => assert!(good, "{leeway}"),
                Err(fault) => {
                    assert!(!good && fault.to_string().contains("clock_leeway"), "{fault}");
                }
            }
        }
    }
}
