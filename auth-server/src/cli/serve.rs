//! `auth-server serve`: the server until a signal ends it.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use shared_types::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, Workbench, apply};
use crate::app::{App, Ports};
use crate::apply::DeclaredState;
use crate::config::Settings;
use crate::keys::vault::{MasterKey, VaultFault};
use crate::log_format;
use crate::random::OsRandom;
use crate::server::{Running, spawn};

/// Every argument is a setting.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// How often the disk's health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server ends.
enum End {
    /// SIGTERM or SIGINT.
    Asked,
    /// After a failed fsync nobody knows what the disk holds: only a new process may find out.
    DiskFailed,
}

/// Runs until SIGTERM or SIGINT. `Err` when it could not start, or had to end by itself.
pub async fn run(settings: Settings, _args: &Args) -> Result<(), CliError> {
    log_format::init(settings.log_format, &settings.log);
    raise_file_limit();
    // Before the first request: a signal that comes during the start is not lost.
    let mut signals =
        Signals::listen().map_err(|error| CliError::Failed(format!("signals: {error}")))?;
    let state = read_files(&settings)?;
    Box::pin(apply_declared_state(&settings, state)).await?;
    let ports = Ports { clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
    let running = spawn(settings, ports).await?;
    announce(&running);
    let end = signals.wait(&running).await;
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
    applied
}

fn announce(running: &Running) {
    let app: &App = running.app();
    let (listen, issuer) = (running.addr(), app.settings.issuer.as_str());
    let metrics = running.metrics_addr().map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    log::info!(listen:%, issuer, metrics; "auth-server is ready");
}

/// One connection is one file; the soft limit of most systems is 1,024.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        log::warn!(error:%; "the limit of open files stays as it was");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// SIGHUP reloads the certificate and goes on.
    async fn wait(&mut self, running: &Running) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Asked,
                _ = self.interrupt.recv() => return End::Asked,
                _ = self.hang_up.recv() => running.reload_tls(),
                () = tokio::time::sleep(HEALTH_INTERVAL) => {
                    if !running.app().database.is_healthy() {
                        return End::DiskFailed;
                    }
                }
            }
        }
    }
}
