//! `auth-server healthcheck`: whether the running server is ready, for container health checks.
//!
//! It reads the same settings as the server, opens no database, and asks the port that the server listens on.

use serde_json::json;
use service::healthcheck::Question;

use super::{CliError, output};
use crate::config::Settings;
use crate::endpoints::health::READYZ;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `Ok` only if `/readyz` answers 200.
pub fn run(settings: &Settings, args: &Args) -> Result<(), CliError> {
    let origin = settings.issuer.origin();
    let question = Question {
        listen: settings.listen,
        tls: settings.tls.as_ref(),
        host: origin.split_once("://").map_or("localhost", |(_, host)| host),
        path: READYZ,
    };
    let outcome = question.ask();
    if args.json {
        let ready = outcome == Ok(200);
        output::json(&json!({ "ready": ready, "status": outcome.as_ref().ok() }))?;
    }
    question.verdict(outcome).map_err(CliError::Failed)
}
