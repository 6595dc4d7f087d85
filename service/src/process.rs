//! A program that runs until it is told to end: its signals, and how many files it may hold open.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the disk's health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM or SIGINT.
    Asked,
    /// After a failed fsync nobody knows what the disk holds: only a new process may find out.
    DiskFailed,
}

/// The signals that a server answers to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on signals are kept for [`wait`](Self::wait). Called before the first request: a signal that comes during the start is
    /// not lost.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the server is to end. SIGHUP calls `reload` and goes on; `disk_is_healthy` is asked every second.
    pub async fn wait(&mut self, reload: impl Fn(), disk_is_healthy: impl Fn() -> bool) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Asked,
                _ = self.interrupt.recv() => return End::Asked,
                _ = self.hang_up.recv() => reload(),
                () = tokio::time::sleep(HEALTH_INTERVAL) => {
                    if !disk_is_healthy() {
                        return End::DiskFailed;
                    }
                }
            }
        }
    }
}

/// Raises the soft limit of open files as far as it goes: one connection is one file, and most systems begin with 1,024.
pub fn raise_file_limit() -> io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX).map(|_| ())
}
