//! The command line: one subcommand a file of `cli/`, and every setting as a flag and a variable.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};
use service::settings::Refusal;

use super::check;
use super::keys::{KEYS, Key, PREFIX};
use super::{Settings, sources};
use crate::cli::{account, apply, backup, client, config, healthcheck, key, move_database, serve};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Bring clients, APIs and accounts to the state that a file declares
    Apply(apply::Args),
    /// Manage the people who sign in
    Account(account::Args),
    /// Manage clients
    Client(client::Args),
    /// Manage signature keys
    Key(key::Args),
    /// Copy the database into one SQLite file while the server runs
    Backup(backup::Args),
    /// Move everything to another database, SQLite or PostgreSQL
    Move(move_database::Args),
    /// Print the effective settings as TOML, secrets hidden
    Config(config::Args),
    /// Ask the running server whether it is ready: exit status 0 only then
    Healthcheck(healthcheck::Args),
}

/// The program's arguments, without the settings.
#[derive(Debug, clap::Parser)]
#[command(
    name = "auth-server",
    version,
    about = "An authorization server: OAuth 2.1 and OpenID Connect"
)]
#[command(after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "Every setting is a flag, an environment variable and a key of the TOML file that --config \
names; a flag beats the environment, the environment beats the file. `auth-server serve --help` lists them all, \
`auth-server config` prints what is in force. Secrets are given as paths of files, never as values.";

/// Reads arguments, environment and file, and checks everything before anything starts.
pub fn load(args: impl IntoIterator<Item = OsString>) -> Result<(Command, Settings), Refusal> {
    let matches = command().try_get_matches_from(args).map_err(Refusal::Usage)?;
    let cli = Cli::from_arg_matches(&matches).map_err(Refusal::Usage)?;
    let given = match matches.subcommand() {
        Some((_, of_command)) => sources::given(of_command),
        None => sources::Given::default(),
    };
    let settings = check::settings(&given).map_err(Refusal::Faults)?;
    Ok((cli.command, settings))
}

/// The whole command with a flag for each setting.
fn command() -> clap::Command {
    let defaults = Settings::default();
    Cli::command().mut_subcommands(|command| {
        // What a command beside the server does not use works there too, but its help would drown in it.
        let runs = matches!(command.get_name(), "serve" | "config" | "healthcheck");
        let file = clap::Arg::new(sources::CONFIG_ID)
            .long("config")
            .env(format!("{PREFIX}CONFIG"))
            .hide_env_values(true)
            .value_name("FILE")
            .help("The settings file, TOML");
        let flags = KEYS.iter().map(|key| flag(key, &defaults).hide(!runs && !key.shared));
        command.args(std::iter::once(file).chain(flags).map(|arg| arg.global(true)))
    })
}

fn flag(key: &'static Key, defaults: &Settings) -> clap::Arg {
    let default = (key.get)(defaults).map(|value| plain(&value));
    key.setting().argument(default.as_deref())
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn the_help_of_serve_names_every_setting() {
        let mut command = command();
        command.build();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for key in KEYS {
            assert!(help.contains(&format!("--{}", key.setting().flag())), "{}", key.name);
            assert!(help.contains(&key.setting().variable()), "{}", key.name);
        }
        assert!(help.contains("[default: 1m]"));
    }

    #[test]
    fn a_flag_beats_the_file_and_every_fault_is_reported() {
        let file = file_with("workers = 3\nlisten = \"127.0.0.1:9\"\n");
        let args =
            ["auth-server", "serve", "--config", file.path().to_str().unwrap(), "--workers", "2"];
        let (_, settings) = load(args.map(OsString::from)).unwrap();
        assert_eq!(settings.workers, 2);
        assert_eq!(settings.listen.port(), 9);

        let file =
            file_with("colour = 1\nworkers = \"many\"\n[lifetimes]\ncode = \"1h\"\nteapot = 3\n");
        let args = [
            "auth-server",
            "serve",
            "--config",
            file.path().to_str().unwrap(),
            "--issuer",
            "nonsense",
        ];
        let Err(Refusal::Faults(faults)) = load(args.map(OsString::from)) else {
            panic!("accepted")
        };
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for part in ["`colour`", "`workers`", "`lifetimes.code`", "`lifetimes.teapot`", "--issuer"]
        {
            assert!(said.iter().any(|fault| fault.contains(part)), "{part}: {said:?}");
        }
    }

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }
}
