//! `auth-server config`: the settings in force, as a settings file that documents itself.

use super::{CliError, output};
use crate::config::{self, Settings};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints every setting as it is in force, secrets hidden.
pub fn run(settings: &Settings, args: &Args) -> Result<(), CliError> {
    if args.json {
        output::json(&config::to_json(settings))
    } else {
        output::line(config::to_toml(settings))
    }
}
