//! `resource-server serve`: the server until a signal ends it.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failed;
use crate::app::Ports;
use crate::config::Settings;
use crate::log_format;
use crate::server::{Running, spawn};

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
pub async fn run(settings: Settings) -> Result<(), Failed> {
    log_format::init(settings.log_format, &settings.log);
    // One connection is one file; the soft limit of most systems is 1,024.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        log::warn!(error:%; "the limit of open files stays as it was");
    }
    // Before the first request: a signal that comes during the start is not lost.
    let mut signals = Signals::listen().map_err(|error| Failed(format!("signals: {error}")))?;
    let running =
        spawn(settings, Ports::default()).await.map_err(|fault| Failed(fault.to_string()))?;
    announce(&running);
    let end = signals.wait(&running).await;
    log::info!("stopping");
    running.stop().await;
    match end {
        End::Asked => {
            log::info!("stopped");
            Ok(())
        }
        End::DiskFailed => Err(Failed("the disk has failed".into())),
    }
}

fn announce(running: &Running) {
    let listen = running.addr();
    let resource = running.app().settings.resource.as_str();
    let metrics = running.metrics_addr().map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    log::info!(listen:%, resource, metrics; "resource-server is listening");
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
