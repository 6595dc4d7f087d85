//! `resource-server healthcheck`: whether the running server is ready, for container health checks.
//!
//! It reads the same settings as the server, opens no database, and asks the port that the server listens on.

use service::healthcheck::Question;

use super::Failed;
use crate::config::Settings;
use crate::endpoints::health::READYZ;

/// `Ok` only if `/readyz` answers 200.
pub fn run(settings: &Settings) -> Result<(), Failed> {
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
    question.verdict(question.ask()).map_err(Failed)
}
