//! A reader thread: one deferred transaction a job, over before the answer leaves.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::session::SqliteSession;
use super::{RETRIES, control, fault};
use crate::job::{Job, Kind};
use crate::queue::Queue;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// One of the connections that only read (`query_only`).
pub(super) struct Reader {
    connection: Connection,
    gauges: Arc<Gauges>,
    slow: Duration,
}

impl Reader {
    pub(super) fn new(connection: Connection, options: &Options, gauges: Arc<Gauges>) -> Self {
        Self { connection, gauges, slow: options.slow }
    }

    /// Answers one read after the other until the queue is closed and drained.
    pub(super) fn serve(self, queue: &Queue) {
        while let Some(job) = queue.pop() {
            if job.is_wanted() {
                self.read(job);
            } else {
                Gauges::count(&self.gauges.dropped);
                job.refuse(DatabaseError::Unavailable("too late"));
            }
        }
    }

    /// A read changes nothing, so after a foreign lock it may always run again.
    fn read(&self, mut job: Job) {
        let mut attempt = 0;
        loop {
            if let Err(error) = control(&self.connection, "BEGIN") {
                return job.refuse(fault::statement(&error, "BEGIN", Kind::Read));
            }
            let mut session = SqliteSession::new(&self.connection, Kind::Read);
            // Keep or undo is the same here: nothing was written.
            let _verdict = job.run(&mut session, self.slow);
            let met_a_lock = session.met_a_lock();
            self.end();
            if !met_a_lock || attempt == RETRIES || !job.is_wanted() {
                break;
            }
            clock::pause_after(attempt);
            attempt += 1;
        }
        Gauges::count(&self.gauges.reads);
        job.answer();
    }

    /// Gives the snapshot back. A snapshot left open would keep checkpoints from resetting the
    /// log, and show the next reader the past.
    fn end(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = control(&self.connection, "ROLLBACK") {
            log::error!(error:%; "a reader could not end its transaction");
        }
    }
}
