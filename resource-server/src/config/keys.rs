//! Every setting on one page: its name in the file, its flag, its variable, its meaning with unit and default, and how it is read.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use database::DatabaseUrl;
use service::duration::{format_seconds, parse_seconds};
use service::log_format::LogFormat;
use service::proxies::{NETWORKS, network};
use service::settings::Setting;
use service::tls::TlsFiles;
use shared_types::{Audience, Issuer};
use url::Url;

use super::Settings;
use crate::guard::HostPort;

/// What every variable begins with.
pub(super) const PREFIX: &str = "RESOURCE_SERVER_";

/// Settings under construction.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name in the file: `listen`, or `group.name`.
    pub(super) name: &'static str,
    /// What stands for its value in the help.
    pub(super) value: &'static str,
    /// What it means, with its unit.
    pub(super) help: &'static str,
    /// The default as one would write it; empty: none.
    pub(super) default: &'static str,
    /// Whether it takes several values.
    pub(super) list: bool,
    /// Takes the values (one, unless it is a list), or says what good ones are.
    pub(super) set: fn(&mut Draft, &[String]) -> Result<(), String>,
}

impl Key {
    /// What the command line has to know of it.
    pub(super) fn setting(&self) -> Setting {
        let Self { name, value, help, list, .. } = *self;
        Setting { prefix: PREFIX, name, value, help, list }
    }
}

macro_rules! key {
    ($name:literal, $value:literal, $default:literal, $help:literal, $set:expr) => {
        Key { name: $name, value: $value, default: $default, help: $help, list: false, set: $set }
    };
    (list $name:literal, $value:literal, $default:literal, $help:literal, $set:expr) => {
        Key { name: $name, value: $value, default: $default, help: $help, list: true, set: $set }
    };
    (duration $name:literal, $default:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!($name, "TIME", $default, $help, |draft, values| {
            draft.settings.$($field).+ = seconds(values, $bounds)?;
            Ok(())
        })
    };
    (period $name:literal, $default:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!($name, "TIME", $default, $help, |draft, values| {
            draft.settings.$($field).+ = Duration::from_secs(seconds(values, $bounds)?);
            Ok(())
        })
    };
    (number $name:literal, $default:literal, $help:literal, $($field:ident).+, $bounds:expr) => {
        key!($name, "N", $default, $help, |draft, values| {
            draft.settings.$($field).+ = number(values, $bounds)?;
            Ok(())
        })
    };
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Every setting, in the order of the help.
pub(super) static KEYS: &[Key] = &[
    key!("listen", "ADDR", "127.0.0.1:9001", "Where to listen", |draft, values| {
        draft.settings.listen = parsed(values, "an address and a port, like 127.0.0.1:9001")?;
        Ok(())
    }),
    key!(
        "resource",
        "URL",
        "http://localhost:9001",
        "Its identifier: the `aud` that tokens must name, and its public base URL",
        |draft, values| {
            draft.settings.resource = resource(one(values)?)?;
            Ok(())
        }
    ),
    key!(list "issuer", "URL", "http://localhost:9000", "Issuer whose tokens are taken: https, or http on a loopback host. May be repeated", |draft, values| {
        draft.settings.issuers = each(values, |text| Issuer::parse(text).map_err(|fault| fault.to_string()))?;
        Ok(())
    }),
    key!(list "issuer_address", "ISSUER=HOST:PORT", "", "Where that issuer's origin is reached from here; URL, scheme, SNI and Host stay the issuer's. May be repeated", |draft, values| {
        draft.settings.issuer_addresses = each(values, issuer_address)?;
        Ok(())
    }),
    key!(
        "database",
        "URL",
        "sqlite:resource-server.db",
        "sqlite:PATH or postgres://…",
        |draft, values| {
            draft.settings.database =
                one(values)?.parse::<DatabaseUrl>().map_err(|fault| fault.to_string())?;
            Ok(())
        }
    ),
    key!(
        "database_password_file",
        "FILE",
        "",
        "One line: the password of a postgres:// database, read once at the start; it beats one in the URL",
        |draft, values| {
            draft.settings.database_password_file = Some(one(values)?.into());
            Ok(())
        }
    ),
    key!(number "database_connections", "10", "Connections to a postgres:// database: half of them for reads, the rest for writes", postgres.connections, 2..=1_000),
    key!(period "database_connect_timeout", "5s", "Time to make a connection to a postgres:// database", postgres.connect_timeout, 1..=5 * MINUTE),
    key!(period "database_statement_timeout", "5s", "Time of one statement on a postgres:// database", postgres.statement_timeout, 1..=HOUR),
    key!(period "database_lock_timeout", "2s", "Time that one statement on a postgres:// database waits for another", postgres.lock_timeout, 1..=HOUR),
    key!(
        "tls_cert",
        "FILE",
        "",
        "Certificate chain of native TLS, PEM; read again on SIGHUP",
        |draft, values| {
            draft.tls_cert = Some(one(values)?.into());
            Ok(())
        }
    ),
    key!(
        "tls_key",
        "FILE",
        "",
        "Private key of native TLS, PEM; read again on SIGHUP",
        |draft, values| {
            draft.tls_key = Some(one(values)?.into());
            Ok(())
        }
    ),
    key!(list "trusted_proxy", "CIDR", "", "Peers whose X-Forwarded-For and X-Request-Id are believed; may be repeated", |draft, values| {
        let network = |text: &String| network(text).ok_or_else(|| format!("must be {NETWORKS}"));
        draft.settings.trusted_proxies = values.iter().map(network).collect::<Result<_, _>>()?;
        Ok(())
    }),
    key!(
        "metrics_listen",
        "ADDR",
        "127.0.0.1:9101",
        "Where Prometheus reads /metrics, or `off`",
        |draft, values| {
            draft.settings.metrics_listen = match one(values)? {
                "off" => None,
                _ => Some(parsed::<SocketAddr>(values, "an address and a port, or `off`")?),
            };
            Ok(())
        }
    ),
    key!(duration "drain", "0s", "How long /readyz answers 503 before the server stops", drain, 0..=HOUR),
    key!("workers", "N", "", "Worker threads [default: one per core]", |draft, values| {
        draft.settings.workers = number(values, 1..=256)?;
        Ok(())
    }),
    key!(duration "clock_leeway", "10s", "How far iat and nbf of a token may be ahead; exp has no leeway", clock_leeway, 0..=MINUTE),
    key!("log_format", "FORM", "text", "Form of log lines: `text` or `json`", |draft, values| {
        draft.settings.log_format = match one(values)? {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err("must be `text` or `json`".into()),
        };
        Ok(())
    }),
    key!(
        "log",
        "FILTER",
        "info,actix_server=warn",
        "What is logged: a level, or env_logger filters such as `info,access=off,actix_server=warn`",
        |draft, values| {
            one(values)?.clone_into(&mut draft.settings.log);
            Ok(())
        }
    ),
    key!(duration "keys.refresh", "5m", "Time from one refresh of an issuer's keys to the next", keys.refresh, 10..=HOUR),
    key!(duration "keys.cooldown", "30s", "Time from one attempt for an unknown key to the next, per issuer", keys.cooldown, 1..=HOUR),
    key!(duration "keys.max_age", "1d", "How long keys live through an outage of their issuer after they were last fetched", keys.max_age, MINUTE..=7 * DAY),
    key!(
        "outbound.extra_ca_file",
        "FILE",
        "",
        "Certificate authorities that are trusted besides the system's, PEM",
        |draft, values| {
            draft.settings.outbound.extra_ca_file = Some(one(values)?.into());
            Ok(())
        }
    ),
    key!(list "outbound.allow_private_hosts", "NAME", "", "Host whose private or loopback address a jwks_uri may name. May be repeated", |draft, values| {
        draft.settings.outbound.allow_private_hosts = values.to_vec();
        Ok(())
    }),
    key!(number "http.max_connections", "12000", "Connections at the same time, over all workers", http.max_connections, 1..=1_000_000),
    key!(number "http.max_connections_per_address", "512", "Connections at the same time from one address that is no trusted proxy; 0 = no limit", http.max_connections_per_address, 0..=1_000_000),
    key!(duration "http.head_timeout", "5s", "Time for the head of a request", http.head_timeout, 1..=MINUTE),
    key!(duration "http.body_timeout", "10s", "Time for the body of a request", http.body_timeout, 1..=10 * MINUTE),
];

/// What holds between settings. `given` may lack one half of a pair.
pub(super) fn finish(draft: Draft) -> (Settings, Vec<(&'static str, String)>) {
    let Draft { mut settings, tls_cert, tls_key } = draft;
    let mut faults: Vec<(&'static str, String)> = Vec::new();
    if let Some(path) = &settings.database_password_file {
        match settings.database.clone().with_password_file(path) {
            Ok(url) => settings.database = url,
            Err(fault) => faults.push(("database_password_file", fault.to_string())),
        }
    }
    match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => settings.tls = Some(TlsFiles { cert, key }),
        (None, None) => {}
        _ => faults.push(("tls_cert, tls_key", "native TLS needs both".into())),
    }
    if settings.metrics_listen.is_some_and(|at| at == settings.listen && at.port() != 0) {
        faults.push((
            "metrics_listen",
            "is the address of `listen`; metrics have a listener of their own".into(),
        ));
    }
    if settings.keys.max_age <= settings.keys.refresh {
        faults.push(("keys.max_age", "is not longer than keys.refresh".into()));
    }
    let known = |issuer: &Issuer| settings.issuers.contains(issuer);
    if !settings.issuer_addresses.iter().all(|(issuer, _)| known(issuer)) {
        faults.push(("issuer_address", "names an issuer that `issuer` does not".into()));
    }
    (settings, faults)
}

fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [one] => Ok(one),
        _ => Err("takes one value".into()),
    }
}

fn each<T>(values: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if values.is_empty() {
        return Err("needs at least one value".into());
    }
    values.iter().map(|text| parse(text)).collect()
}

fn parsed<T: FromStr>(values: &[String], wanted: &str) -> Result<T, String> {
    one(values)?.parse().map_err(|_| format!("must be {wanted}"))
}

fn number<T: TryFrom<i64>>(values: &[String], bounds: RangeInclusive<i64>) -> Result<T, String> {
    let wanted = || format!("must be a whole number from {} to {}", bounds.start(), bounds.end());
    let number: i64 = one(values)?.parse().map_err(|_| wanted())?;
    if !bounds.contains(&number) {
        return Err(wanted());
    }
    T::try_from(number).map_err(|_| wanted())
}

fn seconds<T: TryFrom<i64>>(values: &[String], bounds: RangeInclusive<i64>) -> Result<T, String> {
    let seconds = parse_seconds(one(values)?).map_err(|fault| fault.to_string())?;
    let wanted = || {
        let (least, most) = (format_seconds(*bounds.start()), format_seconds(*bounds.end()));
        format!("must be from {least} to {most}")
    };
    if !bounds.contains(&seconds) {
        return Err(wanted());
    }
    T::try_from(seconds).map_err(|_| wanted())
}

fn resource(text: &str) -> Result<Audience, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let plain = url.filter(|url| {
        url.query().is_none() && url.username().is_empty() && url.password().is_none()
    });
    if plain.is_none() {
        return Err("must be an http or https URL without query and user information".into());
    }
    Audience::parse(text).map_err(|fault| fault.to_string())
}

fn issuer_address(text: &str) -> Result<(Issuer, HostPort), String> {
    let (issuer, address) = text.rsplit_once('=').ok_or("must be ISSUER=HOST:PORT")?;
    let issuer = Issuer::parse(issuer).map_err(|fault| fault.to_string())?;
    Ok((issuer, address.parse::<HostPort>()?))
}

#[cfg(test)]
mod tests {
    use super::super::command_line::fresh_draft;
    use super::*;

    #[test]
    fn the_defaults_of_the_help_are_the_defaults() {
        let mut draft = fresh_draft();
        let before = format!("{draft:?}");
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            (key.set)(&mut draft, &[key.default.to_owned()]).unwrap();
            assert_eq!(format!("{draft:?}"), before, "{}", key.name);
        }
    }

    #[test]
    fn no_fault_repeats_a_value() {
        for key in KEYS {
            if let Err(fault) = (key.set)(&mut fresh_draft(), &["hunter2".to_owned()]) {
                assert!(!fault.contains("hunter2"), "{}: {fault}", key.name);
            }
        }
    }

    #[test]
    fn numbers_and_durations_have_bounds() {
        let leeway = KEYS.iter().find(|key| key.name == "clock_leeway").unwrap();
        for (text, good) in [
            ("0s", true),
            ("60s", true),
            ("1m", true),
            ("61s", false),
            ("-1s", false),
            ("1", false),
        ] {
            assert_eq!(
                (leeway.set)(&mut fresh_draft(), &[text.to_owned()]).is_ok(),
                good,
                "{text}"
            );
        }
        let workers = KEYS.iter().find(|key| key.name == "workers").unwrap();
        for (text, good) in
            [("1", true), ("256", true), ("257", false), ("0", false), ("1s", false)]
        {
            assert_eq!(
                (workers.set)(&mut fresh_draft(), &[text.to_owned()]).is_ok(),
                good,
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_must_be_of_a_known_issuer() {
        let mut draft = fresh_draft();
        draft.settings.issuer_addresses =
            vec![issuer_address("https://other.example=auth:9000").unwrap()];
        let (_, faults) = finish(draft);
        assert_eq!(faults.len(), 1);
    }
}
