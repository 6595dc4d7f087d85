//! From what was given to [`Settings`]: every fault is found before anything starts.

use database::DatabaseUrl;
use service::settings::ConfigFault;
use service::tls::TlsFiles;
use toml::Value;

use super::keys::{Draft, KEYS, Key};
use super::sources::{Entry, Given, Source};
use super::{Settings, sources};

/// The settings in force, or everything that is wrong with them.
pub(super) fn settings(given: &Given) -> Result<Settings, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let mut draft = Draft::default();
    let from_file = read_file(given, &mut faults);
    for (name, value) in &from_file {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => apply(&mut draft, key, Source::File, value, &mut faults),
            None => faults.push(ConfigFault::new(
                format!("`{name}` in the settings file"),
                "there is no such setting",
            )),
        }
    }
    for (key, source, value) in &given.values {
        apply(&mut draft, key, *source, value, &mut faults);
    }
    let settings = finish(draft, &mut faults);
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

fn read_file(given: &Given, faults: &mut Vec<ConfigFault>) -> Vec<Entry> {
    let Some(path) = &given.file else {
        return Vec::new();
    };
    let read = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|text| sources::entries(&text));
    read.unwrap_or_else(|why| {
        faults.push(ConfigFault::new(format!("settings file {}", path.display()), why));
        Vec::new()
    })
}

fn apply(
    draft: &mut Draft,
    key: &Key,
    source: Source,
    value: &Value,
    faults: &mut Vec<ConfigFault>,
) {
    if let Err(why) = (key.set)(draft, value) {
        let place = match source {
            Source::Flag => format!("--{}", key.setting().flag()),
            Source::Environment => key.setting().variable(),
            Source::File => format!("`{}` in the settings file", key.name),
        };
        faults.push(ConfigFault::new(place, why));
    }
}

/// What holds between settings.
fn finish(draft: Draft, faults: &mut Vec<ConfigFault>) -> Settings {
    let Draft { mut settings, tls_cert, tls_key } = draft;
    match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => settings.tls = Some(TlsFiles { cert, key }),
        (None, None) => {}
        _ => faults.push(ConfigFault::new("tls_cert, tls_key", "native TLS needs both")),
    }
    if let Some(path) = &settings.database_password_file {
        match settings.database.clone().with_password_file(path) {
            Ok(url) => settings.database = url,
            Err(fault) => {
                faults.push(ConfigFault::new("database_password_file", fault.to_string()));
            }
        }
    }
    if matches!(settings.database, DatabaseUrl::Postgres(_)) && settings.master_key_file.is_none() {
        // Instances that share a database must share the key, so none may make one of its own.
        faults.push(ConfigFault::new("master_key_file", "is required with a postgres:// database"));
    }
    if settings.metrics_listen.is_some_and(|at| at == settings.listen && at.port() != 0) {
        faults.push(ConfigFault::new(
            "metrics_listen",
            "is the address of `listen`; metrics have a listener of their own",
        ));
    }
    let lifetimes = &settings.lifetimes;
    if lifetimes.session_idle > lifetimes.session_absolute {
        faults.push(ConfigFault::new(
            "lifetimes.session_idle",
            "is longer than lifetimes.session_absolute",
        ));
    }
    if lifetimes.refresh_idle > lifetimes.refresh_absolute {
        faults.push(ConfigFault::new(
            "lifetimes.refresh_idle",
            "is longer than lifetimes.refresh_absolute",
        ));
    }
    let signing = &settings.signing;
    if signing.announce_lead < signing.jwks_max_age {
        // A resource server that holds a fresh JWKS would meet a key that it cannot know yet.
        faults.push(ConfigFault::new(
            "signing.announce_lead",
            "is shorter than signing.jwks_max_age",
        ));
    }
    if signing.rotation_period <= signing.announce_lead {
        faults.push(ConfigFault::new(
            "signing.rotation_period",
            "is not longer than signing.announce_lead",
        ));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(name: &str, text: &str) -> Vec<ConfigFault> {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let given =
            Given { file: None, values: vec![(key, Source::Flag, Value::String(text.into()))] };
        settings(&given).err().unwrap_or_default()
    }

    #[test]
    fn a_certificate_without_its_key_is_a_fault() {
        assert_eq!(faults_of("tls_cert", "cert.pem").len(), 1);
    }

    #[test]
    fn postgres_needs_the_master_key() {
        assert_eq!(faults_of("database", "postgres://db/auth").len(), 1);
    }

    #[test]
    fn sqlite_has_no_password() {
        assert_eq!(faults_of("database_password_file", "/dev/null").len(), 1);
    }

    #[test]
    fn no_fault_repeats_a_value() {
        for name in [
            "database",
            "issuer",
            "listen",
            "lifetimes.code",
            "workers",
            "signing.default_alg",
            "trusted_proxy",
        ] {
            let said = faults_of(name, "hunter2");
            assert!(!said.is_empty(), "{name}");
            assert!(
                said.iter().all(|fault| !fault.to_string().contains("hunter2")),
                "{name}: {said:?}"
            );
        }
    }

    #[test]
    fn the_defaults_hold() {
        assert!(settings(&Given::default()).is_ok());
    }
}
