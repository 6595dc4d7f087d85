//! `resource-server serve`: the server until a signal ends it.

use service::log_format;
use service::process::{End, Signals, raise_file_limit};

use super::{CliError, preflight};
use crate::app::Ports;
use crate::config::Settings;
use crate::server::{Running, spawn};

/// Runs until SIGTERM or SIGINT. `Err` when it could not start, or had to end by itself.
pub async fn run(settings: Settings) -> Result<(), CliError> {
    preflight::of_server(&settings)?;
    let _log = log_format::init(settings.log_format, &settings.log);
    if let Err(error) = raise_file_limit() {
        log::warn!(error:%; "the limit of open files stays as it was");
    }
    // Before the first request: a signal that comes during the start is not lost.
    let mut signals =
        Signals::listen().map_err(|error| CliError::Failed(format!("signals: {error}")))?;
    let running = spawn(settings, Ports::default()).await?;
    announce(&running);
    let end = signals.wait(|| running.reload_tls(), || running.app().database.is_healthy()).await;
    log::info!("stopping");
    running.stop().await;
    match end {
        End::Asked => {
            log::info!("stopped");
            Ok(())
        }
        End::DiskFailed => Err(CliError::Failed("the disk has failed".into())),
    }
}

fn announce(running: &Running) {
    let listen = running.addr();
    let resource = running.app().settings.resource.as_str();
    let metrics = running.metrics_addr().map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    log::info!(listen:%, resource, metrics; "resource-server is listening");
}
