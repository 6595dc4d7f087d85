//! The checkpoint thread: moves the write-ahead log into the main file beside the writer.
//!
//! Inside a commit, as SQLite does by default, a checkpoint is what makes the slowest requests
//! slow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use super::fault;
use crate::statistics::Gauges;

/// Hangs on the writer's connection, counts its commits and rings when the log has grown enough.
pub(super) struct Bell {
    rope: SyncSender<()>,
    every: u32,
    gauges: Arc<Gauges>,
}

/// See [`Bell::hold`].
#[derive(Clone)]
pub(super) struct Hold(#[expect(dead_code, reason = "its end is its message")] SyncSender<()>);

impl Bell {
    /// A bell that rings each time the log has grown by `every` pages, and its listener.
    pub(super) fn new(every: u32, gauges: Arc<Gauges>) -> (Self, Receiver<()>) {
        // Room for one: a ring during a checkpoint asks for another one, many ask for no more.
        let (rope, rings) = sync_channel(1);
        (Self { rope, every, gauges }, rings)
    }

    /// A hold on the checkpointer: it works on until every one is gone. Each thread keeps one for
    /// as long as it has its connection, because whoever closes the last connection moves the
    /// rest of the log and removes it, and two that close at once leave that to each other.
    pub(super) fn hold(&self) -> Hold {
        Hold(self.rope.clone())
    }

    /// SQLite calls the hook after each commit that wrote to the log, with the log's length.
    pub(super) fn hang(self, connection: &mut Connection) -> rusqlite::Result<()> {
        let mut rung_at = 0;
        connection.wal_hook(Some(move |_wal: &mut rusqlite::hooks::Wal, pages: i32| {
            Gauges::count(&self.gauges.commits);
            let pages = u32::try_from(pages).unwrap_or(0);
            if pages < rung_at {
                rung_at = 0; // The log was moved away and started over.
            }
            if pages - rung_at >= self.every {
                rung_at = pages;
                // A full channel holds a ring already, a closed one has nobody to ring for.
                self.rope.try_send(()).ok();
            }
            Ok(())
        }))
    }
}

/// The connection that checkpoints, and nothing else.
pub(super) struct Checkpointer {
    connection: Connection,
    log_file: PathBuf,
    truncate_bytes: u64,
    gauges: Arc<Gauges>,
}

impl Checkpointer {
    pub(super) fn new(
        connection: Connection,
        database: &Path,
        truncate_bytes: u64,
        gauges: Arc<Gauges>,
    ) -> Self {
        let mut log_file = database.as_os_str().to_owned();
        log_file.push("-wal");
        Self { connection, log_file: log_file.into(), truncate_bytes, gauges }
    }

    /// Works at each ring, and once more when all others have gone.
    pub(super) fn serve(self, rings: &Receiver<()>) {
        while rings.recv().is_ok() {
            self.checkpoint();
        }
        self.checkpoint();
    }

    /// PASSIVE waits for nobody. It cannot shrink the file, so a log that a long read once made
    /// huge is cut by TRUNCATE, which holds writers up for a moment.
    fn checkpoint(&self) {
        self.run("PRAGMA wal_checkpoint(PASSIVE)");
        let bytes = std::fs::metadata(&self.log_file).map_or(0, |file| file.len());
        if bytes > self.truncate_bytes {
            self.run("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn run(&self, pragma: &'static str) {
        if !self.gauges.is_healthy() {
            return; // The log is the better copy now; leave it as it is.
        }
        let done = self.connection.prepare_cached(pragma).and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        });
        match done {
            Ok((pages, moved)) => {
                Gauges::count(&self.gauges.checkpoints);
                log::debug!(pages, moved; "checkpoint");
            }
            Err(error) if fault::is_busy(&error) => log::debug!("checkpoint put off: {error}"),
            Err(error) => {
                log::error!(error:%; "a checkpoint failed");
                if fault::is_fatal(&error) {
                    self.gauges.give_up();
                }
            }
        }
    }
}
