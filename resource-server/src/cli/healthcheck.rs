//! `resource-server healthcheck`: whether the running server is ready, for container health checks.
//!
//! It reads the same settings as the server, opens no database, and asks the port that the server listens on.

use serde_json::json;
use service::healthcheck::Question;

use super::CliError;
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
    let resource = settings.resource.as_str();
    let question = Question {
        listen: settings.listen,
        tls: settings.tls.as_ref(),
        host: resource
            .split_once("://")
            .and_then(|(_, rest)| rest.split('/').next())
            .unwrap_or("localhost"),
        path: READYZ,
    };
    let outcome = question.ask();
    if args.json {
        print(&json!({ "ready": outcome == Ok(200), "status": outcome.as_ref().ok() }));
    }
    question.verdict(outcome).map_err(CliError::Failed)
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print(answer: &serde_json::Value) {
    println!("{answer}");
}
