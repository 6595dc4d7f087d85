//! Settings: flags, environment and file, checked as a whole. Nothing else reads the environment.
//!
//! `keys` is the one list of settings: flag, variable, file key, help and default all follow from it.

mod check;
mod command_line;
mod keys;
mod print;
mod sources;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use database::{DatabaseUrl, PostgresSettings};
use ipnet::IpNet;
use shared_types::{Issuer, SigningAlg};

pub(crate) use command_line::{Command, load};
pub use print::{to_json, to_toml};
pub use service::log_format::LogFormat;
pub use service::tls::TlsFiles;

use crate::domain::password::Argon2Cost;

/// Checked settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its issuer identifier and public base URL; never taken from `Host`.
    pub issuer: Issuer,
    /// Its database, with the password of `database_password_file`.
    pub database: DatabaseUrl,
    /// The file that the password came from (PostgreSQL).
    pub database_password_file: Option<PathBuf>,
    /// Connections and timeouts (PostgreSQL).
    pub postgres: PostgresSettings,
    /// The file with the master key; beside the database when absent (SQLite only).
    pub master_key_file: Option<PathBuf>,
    /// Declared state that is applied at start.
    pub apply: Option<PathBuf>,
    /// Native TLS.
    pub tls: Option<TlsFiles>,
    /// Peers whose `X-Forwarded-For` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The metrics listener; none: off.
    pub metrics_listen: Option<SocketAddr>,
    /// How long `/readyz` says 503 before the server stops, in seconds.
    pub drain: u64,
    /// Worker threads.
    pub workers: usize,
    /// Lifetimes.
    pub lifetimes: Lifetimes,
    /// Signature keys.
    pub signing: Signing,
    /// Password hashing.
    pub argon2: Argon2Cost,
    /// How far ahead a client's clock may be, in seconds (at most 60).
    pub clock_leeway: i64,
    /// Removal of expired rows.
    pub purge: Purge,
    /// Limits of the listener.
    pub http: HttpLimits,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// What is logged: a level, or `target=level` pairs, as `env_logger` reads them.
    pub log: String,
}

/// How long things live, all in seconds.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// An authorization code ([RFC 6749 section 4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2) recommends at most 600).
    pub code: i64,
    /// A sealed authorization request while a person signs in.
    pub sign_in_request: i64,
    /// An ID token.
    pub id_token: i64,
    /// An access token for no API (userinfo alone).
    pub access_token: i64,
    /// A session without activity.
    pub session_idle: i64,
    /// A session at all.
    pub session_absolute: i64,
    /// A refresh token that is not used.
    pub refresh_idle: i64,
    /// A refresh family at all.
    pub refresh_absolute: i64,
    /// How long the refresh token before the current one is answered again with the same successor; 0: never.
    pub refresh_retry_window: i64,
    /// How often it is, for one generation.
    pub refresh_retries: i64,
    /// The cookie that says this browser has signed in before.
    pub known_browser: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self {
            code: 60,
            sign_in_request: 30 * 60,
            id_token: 5 * 60,
            access_token: 5 * 60,
            session_idle: DAY,
            session_absolute: 14 * DAY,
            refresh_idle: 30 * DAY,
            refresh_absolute: 180 * DAY,
            refresh_retry_window: 30,
            refresh_retries: 5,
            known_browser: 180 * DAY,
        }
    }
}

/// How signature keys live, times in seconds.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The algorithm of an API that names none.
    pub default_alg: SigningAlg,
    /// How long a key signs.
    pub rotation_period: i64,
    /// How long a key is published before it signs: at least the JWKS max-age.
    pub announce_lead: i64,
    /// `max-age` of the JWKS.
    pub jwks_max_age: i64,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            default_alg: SigningAlg::Es256,
            rotation_period: 30 * 86_400,
            announce_lead: 3_600,
            jwks_max_age: 300,
        }
    }
}

/// Removal of expired rows.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Seconds between two rounds.
    pub period: u64,
    /// Rows looked at in one unit of work, at most 500.
    pub batch: i64,
}

impl Default for Purge {
    fn default() -> Self {
        Self { period: 60, batch: 500 }
    }
}

/// Limits of the listener.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at the same time, over all workers.
    pub max_connections: usize,
    /// Connections at the same time from one address that is no trusted proxy.
    pub max_connections_per_address: usize,
    /// Seconds for a request head.
    pub head_timeout: u64,
    /// Seconds for a request body.
    pub body_timeout: u64,
    /// Bytes of a request body.
    pub body_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 12_000,
            max_connections_per_address: 512,
            head_timeout: 5,
            body_timeout: 10,
            body_bytes: 64 * 1024,
        }
    }
}

impl Default for Settings {
    #[expect(clippy::expect_used, reason = "two constants; every test would notice")]
    fn default() -> Self {
        let issuer = Issuer::parse("http://localhost:9000").expect("a good issuer");
        Self::new(issuer, DatabaseUrl::Sqlite(PathBuf::from("auth-server.db")))
    }
}

impl Settings {
    /// The defaults with this issuer and database: what tests and the command line both start from.
    pub fn new(issuer: Issuer, database: DatabaseUrl) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            issuer,
            database,
            database_password_file: None,
            postgres: PostgresSettings::default(),
            master_key_file: None,
            apply: None,
            tls: None,
            trusted_proxies: Vec::new(),
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9100))),
            drain: 0,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            lifetimes: Lifetimes::default(),
            signing: Signing::default(),
            argon2: Argon2Cost::default(),
            clock_leeway: 10,
            purge: Purge::default(),
            http: HttpLimits::default(),
            log_format: LogFormat::default(),
            log: "info,actix_server=warn".into(),
        }
    }
}
