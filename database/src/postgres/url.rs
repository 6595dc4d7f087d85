//! What a `postgres://` URL may say, checked before anything connects.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::DatabaseError;

/// Where a PostgreSQL server is and how to reach it. Its password is in no `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    shown: String,
}

/// `sslmode`. Encryption to an unknown party protects from nobody, so whoever asks for TLS gets a verified server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// `disable`; the default for this machine (loopback, a socket).
    Off,
    /// `require`, `verify-full`; the default for any other machine. The certificate must be valid for the host's name and be
    /// issued by one of `roots` (`sslrootcert`, a PEM file) or, without one, by the system's authorities.
    Verified { roots: Option<PathBuf> },
}

impl PostgresUrl {
    /// The same server with the password from another place.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    #[cfg(test)]
    pub(crate) fn has_password(&self, password: &[u8]) -> bool {
        self.config.get_password() == Some(password)
    }
}

impl FromStr for PostgresUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        let (rest, query) = text.split_once('?').unwrap_or((text, ""));
        let mut mode = None;
        let mut roots = None;
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decoded(value)?)),
                _ => others.push(parameter),
            }
        }
        let others = others.join("&");
        let separator = if others.is_empty() { "" } else { "?" };
        let mut config: Config = format!("{rest}{separator}{others}")
            .parse()
            .map_err(|error| open(fault_without_values(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(open("names no host"));
        }
        if config.get_dbname().is_none() {
            return Err(open("names no database"));
        }
        let tls = match mode {
            None if roots.is_none() && is_this_machine(&config) => TlsMode::Off,
            Some("disable") if roots.is_some() => {
                return Err(open("has sslrootcert but sslmode=disable"));
            }
            Some("disable") => TlsMode::Off,
            None | Some("require" | "verify-full") => TlsMode::Verified { roots },
            Some(_) => {
                return Err(open("has an sslmode other than disable, require and verify-full"));
            }
        };
        config.ssl_mode(match tls {
            TlsMode::Off => SslMode::Disable,
            TlsMode::Verified { .. } => SslMode::Require,
        });
        Ok(Self { config, tls, shown: without_credentials(text).to_owned() })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}", self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The driver's reasons name options, never what they were set to.
fn fault_without_values(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("is not valid: {}", source.unwrap_or_else(|| error.to_string()))
}

fn open(fault: impl fmt::Display) -> DatabaseError {
    DatabaseError::Open(format!("the postgres URL {fault}"))
}

fn is_this_machine(config: &Config) -> bool {
    config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
        && config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        })
}

fn decoded(value: &str) -> Result<String, DatabaseError> {
    percent_encoding::percent_decode_str(value)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| open("has an sslrootcert that is not UTF-8"))
}

/// Host, port and database name. Both the user part and the query may hold a password, and a careless one may hold any of `/`, `?`
/// and `@`: cutting at the *last* `@` first cannot show it.
fn without_credentials(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let after_user = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    after_user.split_once('?').map_or(after_user, |(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PostgresUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://user:hunter2@db.example:5432/auth",
            "postgresql://user@db.example:5432/auth?password=hunter2&sslmode=require",
            "postgres://db.example:5432/auth?user=user&password=hunter2",
        ] {
            let url = parsed(url);
            assert_eq!(url.to_string(), "postgres://db.example:5432/auth");
            assert_eq!(format!("{url:?}"), "postgres://db.example:5432/auth");
            assert_eq!(url.config.get_password(), Some(b"hunter2".as_slice()));
        }
        assert!(
            !format!("{:?}", parsed("postgres://u@h/d").with_password("hunter2"))
                .contains("hunter2")
        );
    }

    #[test]
    fn only_this_machine_is_reached_without_tls_unless_told() {
        let off = |text: &str| parsed(text).tls == TlsMode::Off;
        for url in [
            "postgres://u@localhost/d",
            "postgres://u@127.0.0.1:5433/d",
            "postgres://u@[::1]/d",
            "postgres://u@%2Frun%2Fpostgresql/d",
            "postgres://u@db.example/d?sslmode=disable",
        ] {
            assert!(off(url), "{url}");
        }
        for url in [
            "postgres://u@db.example/d",
            "postgres://u@10.0.0.1/d",
            "postgres://u@localhost,db.example/d",
            "postgres://u@localhost/d?sslmode=require",
            "postgres://u@localhost/d?sslmode=verify-full",
            "postgres://u@localhost/d?sslrootcert=ca.pem",
        ] {
            assert!(!off(url), "{url}");
        }
        let roots = |text: &str| parsed(text).tls;
        assert_eq!(
            roots("postgres://u@h/d?sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3"),
            TlsMode::Verified { roots: Some("/etc/ca.pem".into()) }
        );
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_without_its_password() {
        for url in [
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@/d?x",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?sslmode=prefer",
            "postgres://u:hunter2@h/d?sslmode=disable&sslrootcert=a",
            "postgres://u:hunter2@h/d?colour=blue",
            "postgres://u:hunter2@h/d?connect_timeout=hunter2",
        ] {
            let fault = url.parse::<PostgresUrl>().unwrap_err();
            assert!(matches!(fault, DatabaseError::Open(_)), "{url}: {fault}");
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }
}
