//! Settings: flags, environment and file, checked as a whole. The only folder that reads the environment.

mod command_line;
mod keys;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use database::{DatabaseUrl, PostgresSettings};
use ipnet::IpNet;
use shared_types::{Audience, Issuer};

use crate::guard::jwks::KeyLimits;
use crate::guard::{HostPort, OutboundOptions};

pub use command_line::{Command, load};
pub use service::log_format::LogFormat;
pub use service::tls::TlsFiles;

/// Checked settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens. Port 0: any free one.
    pub listen: SocketAddr,
    /// Its identifier: the `aud` it demands and its public base URL, never taken from `Host`.
    pub resource: Audience,
    /// Whose tokens it takes.
    pub issuers: Vec<Issuer>,
    /// Where an issuer's origin is reached, if not where its URL says.
    pub issuer_addresses: Vec<(Issuer, HostPort)>,
    /// Its database, with the password of `database_password_file`.
    pub database: DatabaseUrl,
    /// The file that the password came from (PostgreSQL).
    pub database_password_file: Option<PathBuf>,
    /// Connections and timeouts (PostgreSQL).
    pub postgres: PostgresSettings,
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
    /// How far ahead `iat` and `nbf` may be, in seconds (at most 60).
    pub clock_leeway: i64,
    /// Times of the issuers' key sets.
    pub keys: KeyLimits,
    /// Connections to issuers.
    pub outbound: OutboundOptions,
    /// Limits of the listener.
    pub http: HttpLimits,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// What is logged, as `env_logger` filters.
    pub log: String,
}

/// Limits of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at the same time, over all workers.
    pub max_connections: usize,
    /// Connections at the same time from one address that is no trusted proxy; 0: no limit.
    pub max_connections_per_address: usize,
    /// Seconds for a request head.
    pub head_timeout: u64,
    /// Seconds for a request body.
    pub body_timeout: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 12_000,
            max_connections_per_address: 512,
            head_timeout: 5,
            body_timeout: 10,
        }
    }
}

impl Settings {
    /// The defaults for this resource, issuer and database: what tests and the command line both start from.
    pub fn new(resource: Audience, issuer: Issuer, database: DatabaseUrl) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9001)),
            resource,
            issuers: vec![issuer],
            issuer_addresses: Vec::new(),
            database,
            database_password_file: None,
            postgres: PostgresSettings::default(),
            tls: None,
            trusted_proxies: Vec::new(),
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9101))),
            drain: 0,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            clock_leeway: 10,
            keys: KeyLimits::default(),
            outbound: OutboundOptions::default(),
            http: HttpLimits::default(),
            log_format: LogFormat::default(),
            log: "info,actix_server=warn".to_owned(),
        }
    }
}
