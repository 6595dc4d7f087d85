//! `auth-server serve`: the server until a signal ends it.

use std::sync::Arc;
use std::time::Duration;

use shared_types::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, Workbench, apply};
use crate::app::{App, Ports};
use crate::config::Settings;
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
    Box::pin(apply_declared_state(&settings)).await?;
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

/// What `--apply` names, before anybody is served; generated secrets are shown as by `auth-server apply`.
async fn apply_declared_state(settings: &Settings) -> Result<(), CliError> {
    let Some(file) = settings.apply.clone() else {
        return Ok(());
    };
    let bench = Workbench::open(settings.clone()).await?;
    let args = apply::Args { file, dry_run: false, prune: false, json: false };
    let applied = apply::run(&bench, &args).await;
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
