//! `auth-server backup`: a consistent copy of the database in one SQLite file, made beside the running server.

use std::path::PathBuf;

use database::transfer;
use serde_json::json;

use super::{CliError, output};
use crate::config::Settings;
use crate::store::MIGRATIONS;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write, which must not be there
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the copy, checks it, and says so when it is on the disk.
pub async fn run(settings: &Settings, args: Args) -> Result<(), CliError> {
    let options = super::tool_options(settings);
    let bytes = transfer::backup(&settings.database, &args.to, MIGRATIONS, &options).await?;
    let file = args.to.display();
    if args.json {
        return output::json(&json!({ "file": file.to_string(), "bytes": bytes }));
    }
    output::line(format_args!(
        "{file}: {bytes} bytes, checked; worth nothing without the master key, which is not in it"
    ))
}
