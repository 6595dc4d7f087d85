//! `auth-server move`: everything to another database, on either engine, while the servers go on reading.

use std::path::PathBuf;

use database::{DatabaseUrl, transfer};
use serde_json::{Value, json};

use super::{CliError, output};
use crate::app;
use crate::config::Settings;
use crate::store::MIGRATIONS;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The database to move, as the setting `database` names it
    #[arg(long, value_name = "URL")]
    from: DatabaseUrl,
    /// Where it goes: a database without tables, or a file that is not there
    #[arg(long, value_name = "URL", required_unless_present = "release")]
    to: Option<DatabaseUrl>,
    /// Make --from usable again after a move that was broken off, or to give one up
    #[arg(long, conflicts_with = "to")]
    release: bool,
    /// One line: the password for --from
    #[arg(long, value_name = "FILE")]
    from_password_file: Option<PathBuf>,
    /// One line: the password for --to
    #[arg(long, value_name = "FILE", requires = "to")]
    to_password_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Moves, or releases.
pub async fn run(settings: &Settings, args: Args) -> Result<(), CliError> {
    let options = super::tool_options(settings);
    let from = with_password(args.from, args.from_password_file)?;
    let Some(to) = args.to else {
        let peer = transfer::release(&from, &options).await?;
        return released(&from, peer.as_deref(), args.json);
    };
    let to = with_password(to, args.to_password_file)?;
    let counted = transfer::relocate(&from, &to, MIGRATIONS, &options).await?;
    if args.json {
        let tables: Vec<Value> = counted
            .iter()
            .map(|of| json!({ "table": of.table, "rows": of.rows, "checksum": of.hex() }))
            .collect();
        return output::json(
            &json!({ "from": from.to_string(), "to": to.to_string(), "tables": tables }),
        );
    }
    for of in &counted {
        output::line(format_args!("{}\t{} rows\t{}", of.table, of.rows, of.hex()))?;
    }
    output::line(format_args!(
        "moved: stop the servers on {from}, then start them with --database {to} and the same master key{}",
        master_key(settings, &from)
    ))
}

/// Where it is, as far as that is known here: a PostgreSQL database does not say.
fn master_key(settings: &Settings, from: &DatabaseUrl) -> String {
    if settings.master_key_file.is_none() && matches!(from, DatabaseUrl::Postgres(_)) {
        return String::new();
    }
    let path = app::master_key_path(&Settings { database: from.clone(), ..settings.clone() });
    format!(" (--master-key-file {})", path.display())
}

fn with_password(url: DatabaseUrl, file: Option<PathBuf>) -> Result<DatabaseUrl, CliError> {
    match file {
        None => Ok(url),
        Some(file) => {
            url.with_password_file(&file).map_err(|fault| CliError::Faults(vec![fault.to_string()]))
        }
    }
}

fn released(from: &DatabaseUrl, peer: Option<&str>, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return output::json(&json!({ "released": peer.is_some(), "to": peer }));
    }
    match peer {
        None => output::line(format_args!("{from} was not being moved")),
        Some(peer) => {
            output::line(format_args!("{from} takes writes again; use it or {peer}, never both"))
        }
    }
}
