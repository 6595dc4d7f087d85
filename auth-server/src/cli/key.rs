//! `auth-server key …`: look at the signature keys and act on them while the server runs (effect within 5 s).

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use shared_types::{KeyId, SigningAlg};

use super::{CliError, Workbench, output};
use crate::app::{self, StartFault};
use crate::domain::signing_key::Key;
use crate::keys::rotation::{self, RotationFault, Step};
use crate::keys::vault::{self, MasterKey, VaultFault};
use crate::store::keys;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
enum Command {
    /// List all keys with their states
    List,
    /// Let the announced key of an algorithm sign now, before its time
    Rotate {
        /// ES256, EdDSA, RS256 or PS256
        #[arg(value_parser = algorithm)]
        alg: SigningAlg,
    },
    /// An emergency: a key counts for nothing from now on, its announced successor signs
    Revoke {
        /// The key's identifier, as `key list` shows it
        // A thumbprint (RFC 7638): one in 64 begins with a hyphen, and is no option.
        #[arg(allow_hyphen_values = true)]
        kid: KeyId,
    },
    /// Seal everything in the database under another master key; tokens and keys stay valid
    Rewrap {
        /// The file of the new master key; made when it is absent
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

fn algorithm(text: &str) -> Result<SigningAlg, String> {
    SigningAlg::parse(text).ok_or_else(|| "not one of ES256, EdDSA, RS256, PS256".into())
}

impl From<RotationFault> for CliError {
    fn from(fault: RotationFault) -> Self {
        Self::Failed(fault.to_string())
    }
}

/// As at the start of a server: a master key that is missing, malformed or another one is for the operator to mend first.
impl From<VaultFault> for CliError {
    fn from(fault: VaultFault) -> Self {
        StartFault::from(fault).into()
    }
}

/// Runs the command.
pub async fn run(bench: &Workbench, args: Args) -> Result<(), CliError> {
    let now = bench.clock.now();
    match args.command {
        Command::List => list(bench, args.json).await,
        Command::Rotate { alg } => {
            let steps = rotation::rotate_now(&bench.database, &bench.vault, alg, now).await?;
            report(&steps, args.json)
        }
        Command::Revoke { kid } => {
            let steps = rotation::revoke(&bench.database, &bench.vault, &kid, now).await?;
            report(&steps, args.json)
        }
        Command::Rewrap { to } => rewrap(bench, to, args.json).await,
    }
}

async fn list(bench: &Workbench, as_json: bool) -> Result<(), CliError> {
    let keys = bench.database.read(|sql| keys::list(sql)).await?;
    if as_json {
        return output::json(&keys.iter().map(document).collect());
    }
    for key in &keys {
        let since = key.retired_at.or(key.signing_at).unwrap_or(key.announced_at);
        output::line(format_args!(
            "{}\t{}\t{}\tsince {since}",
            key.kid,
            key.alg,
            key.state.as_str()
        ))?;
    }
    Ok(())
}

fn document(key: &Key) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.alg,
        "state": key.state.as_str(),
        "announced_at": key.announced_at,
        "signing_at": key.signing_at,
        "retired_at": key.retired_at,
        "withdrawn_at": key.withdrawn_at,
    })
}

fn report(steps: &[Step], as_json: bool) -> Result<(), CliError> {
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    if as_json {
        return output::json(&json!({ "steps": steps }));
    }
    if steps.is_empty() {
        return output::line("nothing to do");
    }
    steps.iter().try_for_each(output::line)
}

async fn rewrap(bench: &Workbench, to: PathBuf, as_json: bool) -> Result<(), CliError> {
    let from = app::master_key_path(&bench.settings);
    let old = MasterKey::read(&from)?;
    let new = if to.exists() { MasterKey::read(&to)? } else { MasterKey::create(&to)? };
    vault::rewrap(&bench.database, &old, &new).await?;
    if as_json {
        return output::json(&json!({ "master_key_file": to.display().to_string() }));
    }
    output::line(format_args!(
        "sealed under {}: give it as --master-key-file from the next start on",
        to.display()
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Args, Command};

    #[derive(Parser)]
    struct Key {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn every_thumbprint_names_a_key_also_behind_a_hyphen() {
        for kid in [
            "-hbXnQ3kNdVZJ8FvU5sEo2x0yq7LcRt1aWmIi4zGT9k",
            "--jsonQ3kNdVZJ8FvU5sEo2x0yq7LcRt1aWmIi4zGT9",
        ] {
            for args in [["key", "revoke", kid, "--json"], ["key", "revoke", "--json", kid]] {
                let Key { args } =
                    Key::try_parse_from(args).unwrap_or_else(|fault| panic!("{fault}"));
                assert!(args.json);
                assert!(
                    matches!(args.command, Command::Revoke { kid: taken } if taken.as_str() == kid)
                );
            }
        }
        assert!(Key::try_parse_from(["key", "revoke", "--help"]).is_err(), "help stays help");
        assert!(Key::try_parse_from(["key", "revoke"]).is_err());
    }
}
