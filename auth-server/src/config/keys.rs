//! The one list of settings: name, meaning, unit, bounds, and how each is written and read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use database::DatabaseError;
use service::log_format::LogFormat;
use service::settings::Setting;
use shared_types::SigningAlg;
use toml::Value;

use super::Settings;
use super::values::{
    filter, fitting, integer, networks, parsed, path, seconds, string, text, whole,
};
use crate::domain::api::MAX_TOKEN_LIFETIME;
use service::duration::format_seconds;

/// What every variable begins with. No setting is called `port` or `service_…`: orchestrators set such variables for a service
/// of our name.
pub(super) const PREFIX: &str = "AUTH_SERVER_";

/// Settings that are being put together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What has its final form already.
    pub settings: Settings,
    /// One half of native TLS.
    pub tls_cert: Option<PathBuf>,
    /// The other half.
    pub tls_key: Option<PathBuf>,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name in the file: `listen`, or `group.name`.
    pub name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it takes several values.
    pub list: bool,
    /// Whether commands beside the server use it too.
    pub shared: bool,
    /// Takes a value, or says what a good one is.
    pub set: fn(&mut Draft, &Value) -> Result<(), String>,
    /// The value in force; none: absent.
    pub get: fn(&Settings) -> Option<Value>,
}

impl Key {
    /// What the command line has to know of it.
    pub fn setting(&self) -> Setting {
        let Self { name, value, help, list, .. } = *self;
        Setting { prefix: PREFIX, name, value, help, list }
    }
}

/// A setting with a reader and a writer of its own.
macro_rules! key {
    ($name:literal, $value:literal, $help:literal, $set:expr, $get:expr) => {
        Key {
            name: $name,
            value: $value,
            help: $help,
            list: false,
            shared: false,
            set: $set,
            get: $get,
        }
    };
}

/// A whole number within bounds.
macro_rules! number {
    ($name:literal, $value:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!(
            $name, $value, $help,
            |draft, value| {
                draft.settings.$($field).+ = fitting(whole(value, $bounds)?)?;
                Ok(())
            },
            |settings| Some(Value::Integer(integer(settings.$($field).+)))
        )
    };
}

/// A duration within bounds, in seconds.
macro_rules! duration {
    ($name:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!(
            $name, "DURATION", $help,
            |draft, value| {
                draft.settings.$($field).+ = fitting(seconds(value, $bounds)?)?;
                Ok(())
            },
            |settings| Some(Value::String(format_seconds(integer(settings.$($field).+))))
        )
    };
}

/// The same for a field that is a [`Duration`].
macro_rules! period {
    ($name:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!(
            $name, "DURATION", $help,
            |draft, value| {
                draft.settings.$($field).+ = Duration::from_secs(fitting(seconds(value, $bounds)?)?);
                Ok(())
            },
            |settings| Some(Value::String(format_seconds(integer(settings.$($field).+.as_secs()))))
        )
    };
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Every setting, in the order of the help.
pub(super) static KEYS: &[Key] = &[
    key!(
        "listen",
        "ADDR",
        "Where to listen",
        |draft, value| {
            draft.settings.listen = parsed(value, "an address and a port, like 127.0.0.1:9000")?;
            Ok(())
        },
        |settings| Some(text(settings.listen))
    ),
    Key {
        shared: true,
        ..key!(
            "issuer",
            "URL",
            "Issuer identifier and public base URL: https, or http on a loopback host",
            |draft, value| {
                draft.settings.issuer = shared_types::Issuer::parse(string(value)?)
                    .map_err(|fault| fault.to_string())?;
                Ok(())
            },
            |settings| Some(text(settings.issuer.as_str()))
        )
    },
    Key {
        shared: true,
        ..key!(
            "database",
            "URL",
            "sqlite:PATH or postgres://…",
            |draft, value| {
                draft.settings.database =
                    string(value)?.parse().map_err(|fault: DatabaseError| fault.to_string())?;
                Ok(())
            },
            |settings| Some(text(&settings.database))
        )
    },
    Key {
        shared: true,
        ..key!(
            "database_password_file",
            "FILE",
            "One line: the password of a postgres:// database, read once at the start; it beats one in the URL",
            |draft, value| {
                draft.settings.database_password_file = Some(path(value)?);
                Ok(())
            },
            |settings| settings.database_password_file.as_ref().map(|path| text(path.display()))
        )
    },
    number!(
        "database_connections",
        "N",
        "Connections to a postgres:// database: half of them for reads, the rest for writes",
        postgres.connections,
        2..=1_000
    ),
    Key {
        shared: true,
        ..period!(
            "database_connect_timeout",
            "Time to make a connection to a postgres:// database",
            postgres.connect_timeout,
            1..=5 * MINUTE
        )
    },
    period!(
        "database_statement_timeout",
        "Time of one statement on a postgres:// database",
        postgres.statement_timeout,
        1..=HOUR
    ),
    period!(
        "database_lock_timeout",
        "Time that one statement on a postgres:// database waits for another",
        postgres.lock_timeout,
        1..=HOUR
    ),
    Key {
        shared: true,
        ..key!(
            "master_key_file",
            "FILE",
            "32 random bytes, base64, that encrypt secrets at rest; beside an SQLite database, and made there while it is empty, when not given",
            |draft, value| {
                draft.settings.master_key_file = Some(path(value)?);
                Ok(())
            },
            |settings| settings.master_key_file.as_ref().map(|path| text(path.display()))
        )
    },
    key!(
        "apply",
        "FILE",
        "Declared state, applied at start",
        |draft, value| {
            draft.settings.apply = Some(path(value)?);
            Ok(())
        },
        |settings| settings.apply.as_ref().map(|path| text(path.display()))
    ),
    key!(
        "tls_cert",
        "FILE",
        "Certificate chain of native TLS, PEM; read again on SIGHUP",
        |draft, value| {
            draft.tls_cert = Some(path(value)?);
            Ok(())
        },
        |settings| settings.tls.as_ref().map(|tls| text(tls.cert.display()))
    ),
    key!(
        "tls_key",
        "FILE",
        "Private key of native TLS, PEM; read again on SIGHUP",
        |draft, value| {
            draft.tls_key = Some(path(value)?);
            Ok(())
        },
        |settings| settings.tls.as_ref().map(|tls| text(tls.key.display()))
    ),
    Key {
        list: true,
        ..key!(
            "trusted_proxy",
            "CIDR",
            "Peers whose X-Forwarded-For and X-Request-Id are believed; may be repeated",
            |draft, value| {
                draft.settings.trusted_proxies = networks(value)?;
                Ok(())
            },
            |settings| Some(Value::Array(
                settings.trusted_proxies.iter().map(|net| Value::String(net.to_string())).collect()
            ))
        )
    },
    key!(
        "metrics_listen",
        "ADDR|off",
        "Where /metrics is served",
        |draft, value| {
            draft.settings.metrics_listen = match string(value)? {
                "off" => None,
                _ => Some(parsed(value, "an address and a port, or off")?),
            };
            Ok(())
        },
        |settings| Some(text(
            settings
                .metrics_listen
                .map_or_else(|| "off".to_owned(), |at: SocketAddr| at.to_string())
        ))
    ),
    number!("drain", "SECONDS", "How long /readyz says 503 before a stop", drain, 0..=3_600),
    number!("workers", "N", "Worker threads; by default one a processor", workers, 1..=256),
    number!(
        "clock_leeway",
        "SECONDS",
        "How far ahead a client's clock may be",
        clock_leeway,
        0..=60
    ),
    key!(
        "log_format",
        "text|json",
        "The form of log lines",
        |draft, value| {
            draft.settings.log_format = match string(value)? {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("must be text or json".into()),
            };
            Ok(())
        },
        |settings| Some(text(match settings.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }))
    ),
    key!(
        "log",
        "FILTER",
        "What is logged: a level, or target=level pairs (targets: access, security, auth_server, database)",
        |draft, value| {
            draft.settings.log = filter(value)?;
            Ok(())
        },
        |settings| Some(text(&settings.log))
    ),
    duration!(
        "lifetimes.code",
        "An authorization code, at most 10m",
        lifetimes.code,
        1..=10 * MINUTE
    ),
    duration!(
        "lifetimes.sign_in_request",
        "An authorization request while a person signs in",
        lifetimes.sign_in_request,
        MINUTE..=DAY
    ),
    duration!("lifetimes.id_token", "An ID token", lifetimes.id_token, 1..=MAX_TOKEN_LIFETIME),
    duration!(
        "lifetimes.access_token",
        "An access token for no API; each API has its own",
        lifetimes.access_token,
        1..=MAX_TOKEN_LIFETIME
    ),
    duration!(
        "lifetimes.session_idle",
        "A session without activity",
        lifetimes.session_idle,
        MINUTE..=YEAR
    ),
    duration!(
        "lifetimes.session_absolute",
        "A session at all",
        lifetimes.session_absolute,
        MINUTE..=YEAR
    ),
    duration!(
        "lifetimes.refresh_idle",
        "A refresh token that is not used",
        lifetimes.refresh_idle,
        MINUTE..=10 * YEAR
    ),
    duration!(
        "lifetimes.refresh_absolute",
        "A family of refresh tokens at all",
        lifetimes.refresh_absolute,
        MINUTE..=10 * YEAR
    ),
    duration!(
        "lifetimes.refresh_retry_window",
        "How long the refresh token before the current one gets the same successor again; 0s: never",
        lifetimes.refresh_retry_window,
        0..=10 * MINUTE
    ),
    number!(
        "lifetimes.refresh_retries",
        "N",
        "How often it does, for one generation",
        lifetimes.refresh_retries,
        0..=100
    ),
    duration!(
        "lifetimes.known_browser",
        "How long a browser is remembered after a sign-in, for throttling",
        lifetimes.known_browser,
        DAY..=10 * YEAR
    ),
    key!(
        "signing.default_alg",
        "ALG",
        "Algorithm of an API that names none: ES256, EdDSA, RS256, PS256",
        |draft, value| {
            draft.settings.signing.default_alg =
                SigningAlg::parse(string(value)?).ok_or("must be ES256, EdDSA, RS256 or PS256")?;
            Ok(())
        },
        |settings| Some(text(settings.signing.default_alg.as_str()))
    ),
    duration!(
        "signing.rotation_period",
        "How long a key signs",
        signing.rotation_period,
        HOUR..=10 * YEAR
    ),
    duration!(
        "signing.announce_lead",
        "How long a key is published before it signs; at least signing.jwks_max_age",
        signing.announce_lead,
        MINUTE..=30 * DAY
    ),
    duration!(
        "signing.jwks_max_age",
        "max-age of the published keys",
        signing.jwks_max_age,
        1..=DAY
    ),
    number!(
        "argon2.memory_kib",
        "KIB",
        "Memory of one password hash, in KiB",
        argon2.memory_kib,
        8..=1_048_576
    ),
    number!("argon2.iterations", "N", "Passes of one password hash", argon2.iterations, 1..=100),
    number!(
        "argon2.concurrency",
        "N",
        "Password hashes at the same time; each holds its memory",
        argon2.concurrency,
        1..=64
    ),
    number!(
        "argon2.queue",
        "N",
        "Password hashes that may wait; one more is 503",
        argon2.queue,
        1..=100_000
    ),
    duration!(
        "purge.period",
        "Time between two rounds that remove expired rows",
        purge.period,
        1..=DAY
    ),
    number!("purge.batch", "ROWS", "Rows looked at in one unit of work", purge.batch, 1..=500),
    number!(
        "http.max_connections",
        "N",
        "Connections at the same time, over all workers",
        http.max_connections,
        1..=1_000_000
    ),
    number!(
        "http.max_connections_per_address",
        "N",
        "Connections at the same time from one address that is no trusted proxy",
        http.max_connections_per_address,
        1..=1_000_000
    ),
    duration!("http.head_timeout", "Time for a request head", http.head_timeout, 1..=5 * MINUTE),
    duration!("http.body_timeout", "Time for a request body", http.body_timeout, 1..=5 * MINUTE),
    number!(
        "http.body_bytes",
        "BYTES",
        "Size of a request body",
        http.body_bytes,
        1_024..=16_777_216
    ),
];
