//! The command line: subcommands, and every setting as a flag, a variable and a key of the file. A flag beats the variable beats the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _};
use database::DatabaseUrl;
use service::settings::{ConfigFault, Refusal};
use shared_types::{Audience, Issuer};
use toml::Value;

use super::Settings;
use super::keys::{Draft, KEYS, Key, PREFIX, finish};
use crate::cli::{backup, explain, healthcheck, move_database};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the server
    Serve,
    /// Ask the running server whether it is ready: exit status 0 only then
    Healthcheck(healthcheck::Args),
    /// Copy the database into one SQLite file while the server runs
    Backup(backup::Args),
    /// Move everything to another database, SQLite or PostgreSQL
    Move(move_database::Args),
    /// Check a token in words, one line a check: exit status 1 if the request would be refused
    Explain(explain::Args),
}

#[derive(Debug, clap::Parser)]
#[command(
    name = "resource-server",
    version,
    about = "An API behind a guard: OAuth 2.0 access tokens as JWTs (RFC 9068)"
)]
#[command(after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every setting is a flag, an environment variable and a key of the TOML file that --config names (`[outbound]
extra_ca_file` is --outbound-extra-ca-file); a flag beats the environment, the environment beats the file.
`resource-server serve --help` lists them all.";

/// Reads arguments, environment and file, and checks everything before anything starts.
pub fn load(args: impl IntoIterator<Item = OsString>) -> Result<(Command, Settings), Refusal> {
    let matches = command().try_get_matches_from(args).map_err(Refusal::Usage)?;
    let cli = Cli::from_arg_matches(&matches).map_err(Refusal::Usage)?;
    let given = matches.subcommand().map_or(&matches, |(_, of_command)| of_command);
    let settings = settings(given).map_err(Refusal::Faults)?;
    Ok((cli.command, settings))
}

/// Every command takes every setting: the others look at the server that `serve` runs.
fn command() -> clap::Command {
    let file = Arg::new("config")
        .long("config")
        .env(format!("{PREFIX}CONFIG"))
        .hide_env_values(true)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The settings file, TOML")
        .help_heading("Settings")
        .global(true);
    Cli::command().arg(file).args(KEYS.iter().map(flag))
}

fn flag(key: &'static Key) -> Arg {
    let default = (!key.default.is_empty()).then_some(key.default);
    key.setting().argument(default).global(true)
}

fn settings(given: &ArgMatches) -> Result<Settings, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let mut draft = fresh_draft();
    if let Some(path) = given.get_one::<PathBuf>("config") {
        match read_file(path) {
            Ok(entries) => apply_file(&mut draft, entries, &mut faults),
            Err(why) => faults.push(ConfigFault::new("the settings file", why)),
        }
    }
    for key in KEYS {
        let setting = key.setting();
        if let Some(values) = given.get_many::<String>(&setting.id()) {
            let values: Vec<String> = values.cloned().collect();
            if let Err(why) = (key.set)(&mut draft, &values) {
                faults.push(ConfigFault::new(
                    format!("--{} or {}", setting.flag(), setting.variable()),
                    why,
                ));
            }
        }
    }
    let (settings, between) = finish(draft);
    faults.extend(between.into_iter().map(|(place, why)| ConfigFault::new(place, why)));
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

fn apply_file(draft: &mut Draft, entries: Vec<Entry>, faults: &mut Vec<ConfigFault>) {
    for (name, values) in entries {
        let set = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => values.and_then(|values| (key.set)(draft, &values)),
            None => Err("there is no such setting".into()),
        };
        if let Err(why) = set {
            faults.push(ConfigFault::new(format!("`{name}` in the settings file"), why));
        }
    }
}

/// A name, and its values as texts or why they are none.
type Entry = (String, Result<Vec<String>, String>);

fn read_file(path: &Path) -> Result<Vec<Entry>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // The parser's own message quotes the line, and a line may hold a secret put in the wrong place.
    let table: toml::Table = text.parse().map_err(|_| "is not TOML".to_owned())?;
    let mut entries = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(group) => {
                entries.extend(
                    group.into_iter().map(|(key, value)| (format!("{name}.{key}"), texts(value))),
                );
            }
            value => entries.push((name, texts(value))),
        }
    }
    Ok(entries)
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) => values.into_iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err("must be a text, a number, or a list of them".into()),
    }
}

/// The defaults of the command line.
#[expect(clippy::expect_used, reason = "constants; a unit test builds them")]
pub(super) fn fresh_draft() -> Draft {
    let resource = Audience::parse("http://localhost:9001").expect("a constant");
    let issuer = Issuer::parse("http://localhost:9000").expect("a constant");
    let settings =
        Settings::new(resource, issuer, DatabaseUrl::Sqlite("resource-server.db".into()));
    Draft { settings, tls_cert: None, tls_key: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, more: &[&str]) -> Result<Settings, Vec<String>> {
        let file = tempfile(text);
        let mut args = vec!["resource-server", "serve", "--config", &file];
        args.extend(more);
        match load(args.into_iter().map(OsString::from)) {
            Ok((_, settings)) => Ok(settings),
            Err(Refusal::Faults(faults)) => Err(faults.iter().map(ToString::to_string).collect()),
            Err(Refusal::Usage(error)) => panic!("{error}"),
        }
    }

    fn tempfile(text: &str) -> String {
        let name = format!("resource-server-{}-{}.toml", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_command_holds_together_and_its_help_names_every_setting() {
        let mut command = command();
        command.clone().debug_assert();
        command.build();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for key in KEYS {
            assert!(help.contains(&format!("--{}", key.setting().flag())), "{}", key.name);
            assert!(help.contains(&key.setting().variable()), "{}", key.name);
        }
    }

    #[test]
    fn a_flag_beats_the_file() {
        let file = "workers = 3\nissuer = [\"https://a.example\", \"https://b.example\"]\n[keys]\nrefresh = \"1m\"\n";
        let settings = with_file(file, &["--workers", "2"]).unwrap();
        assert_eq!((settings.workers, settings.issuers.len(), settings.keys.refresh), (2, 2, 60));
        assert_eq!(settings.keys.cooldown, 30);
    }

    #[test]
    fn proxies_are_networks_and_addresses() {
        let proxies = |settings: Settings| -> Vec<String> {
            settings.trusted_proxies.iter().map(ToString::to_string).collect()
        };
        let file = "trusted_proxy = [\"10.0.0.0/8\", \"2001:db8::1\"]\n";
        assert_eq!(proxies(with_file(file, &[]).unwrap()), ["10.0.0.0/8", "2001:db8::1/128"]);
        let flag = ["--trusted-proxy", "192.0.2.1,192.0.2.2/31"];
        assert_eq!(proxies(with_file(file, &flag).unwrap()), ["192.0.2.1/32", "192.0.2.2/31"]);
        let none = "# nobody\ntrusted_proxy = []\n";
        assert!(with_file(none, &[]).unwrap().trusted_proxies.is_empty());
        let faults = with_file(file, &["--trusted-proxy", "hunter2"]).unwrap_err();
        assert!(faults[0].starts_with("--trusted-proxy ") && !faults[0].contains("hunter2"));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let file = "colour = 1\nworkers = \"many\"\ntls_cert = \"a.pem\"\n[keys]\nteapot = 3\n";
        let faults = with_file(file, &["--issuer", "nonsense"]).unwrap_err();
        for part in ["`colour`", "`workers`", "`keys.teapot`", "--issuer", "tls_cert"] {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
        }
    }
}
