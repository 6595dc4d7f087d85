//! `auth-server serve`: the server until a signal ends it.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use service::log_format;
use service::process::{End, Signals, raise_file_limit};
use shared_types::SystemClock;

use super::{CliError, Workbench, apply};
use crate::app::{App, Ports};
use crate::apply::DeclaredState;
use crate::config::Settings;
use crate::keys::vault::{MasterKey, VaultFault};
use crate::random::OsRandom;
use crate::server::{Running, spawn};

/// Every argument is a setting.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until SIGTERM or SIGINT. `Err` when it could not start, or had to end by itself.
pub async fn run(settings: Settings, _args: &Args) -> Result<(), CliError> {
    let _log = log_format::init(settings.log_format, &settings.log);
    if let Err(error) = raise_file_limit() {
        log::warn!(error:%; "the limit of open files stays as it was");
    }
    // Before the first request: a signal that comes during the start is not lost.
    let mut signals =
        Signals::listen().map_err(|error| CliError::Failed(format!("signals: {error}")))?;
    let state = read_files(&settings)?;
    Box::pin(apply_declared_state(&settings, state)).await?;
    let ports = Ports { clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
    let running = spawn(settings, ports).await?;
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

/// Reads every file that the settings name, before anything is opened or made, so that all their faults are told at once.
fn read_files(settings: &Settings) -> Result<Option<DeclaredState>, CliError> {
    let mut faults = Vec::new();
    let state = settings.apply.as_deref().and_then(|file| match apply::read(settings, file) {
        Ok(state) => Some(state),
        Err(error) => {
            faults.extend(error.to_string().lines().map(|line| format!("apply: {line}")));
            None
        }
    });
    let tls = settings.tls.iter().flat_map(|tls| [("tls_cert", &tls.cert), ("tls_key", &tls.key)]);
    for (name, path) in tls {
        if let Err(error) = File::open(path) {
            faults.push(format!("{name}: {} cannot be read: {error}", path.display()));
        }
    }
    if let Some(path) = &settings.master_key_file {
        let folder_is_there =
            path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir());
        match MasterKey::read(path) {
            Err(VaultFault::File(_, error))
                if error.kind() == ErrorKind::NotFound && folder_is_there => {}
            Err(fault) => faults.push(format!("master_key_file: {fault}")),
            Ok(_) => {}
        }
    }
    if faults.is_empty() { Ok(state) } else { Err(CliError::Faults(faults)) }
}

/// What `--apply` names, before anybody is served; generated secrets are shown as by `auth-server apply`.
async fn apply_declared_state(
    settings: &Settings,
    state: Option<DeclaredState>,
) -> Result<(), CliError> {
    let Some((file, state)) = settings.apply.clone().zip(state) else {
        return Ok(());
    };
    let bench = Workbench::open(settings.clone()).await?;
    let args = apply::Args { file, dry_run: false, prune: false, json: false };
    let applied = apply::run(&bench, &args, &state).await;
    bench.close().await;
    match applied {
        // The state is in force. A full disk under a log file is no reason not to serve.
        Err(CliError::Unprinted(cause)) => {
            log::warn!(cause = cause.as_str(); "what was applied could not be printed");
            Ok(())
        }
        applied => applied,
    }
}

fn announce(running: &Running) {
    let app: &App = running.app();
    let (listen, issuer) = (running.addr(), app.settings.issuer.as_str());
    let metrics = running.metrics_addr().map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    log::info!(listen:%, issuer, metrics; "auth-server is ready");
}
