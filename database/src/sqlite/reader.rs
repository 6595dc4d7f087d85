//! A reader thread: one deferred transaction for the jobs that wait, over before an answer leaves.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Error};

use super::session::SqliteSession;
use super::{RETRIES, control, fault};
use crate::job::{Job, Kind};
use crate::queue::Queue;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// Jobs that share a snapshot at most: a slow one keeps the others waiting.
const BATCH: usize = 32;

/// One of the connections that only read (`query_only`).
pub(super) struct Reader {
    connection: Connection,
    gauges: Arc<Gauges>,
    readers: usize,
    slow: Duration,
}

impl Reader {
    pub(super) fn new(connection: Connection, options: &Options, gauges: Arc<Gauges>) -> Self {
        Self { connection, gauges, readers: options.readers.max(1), slow: options.slow }
    }

    /// Answers reads until the queue is closed and drained.
    pub(super) fn serve(self, queue: &Queue) {
        loop {
            let jobs = queue.pop_share(self.readers, BATCH);
            if jobs.is_empty() {
                return;
            }
            self.batch(jobs);
        }
    }

    /// One snapshot for jobs that all were asked before it: each sees what was acknowledged before it asked.
    fn batch(&self, jobs: Vec<Job>) {
        let (mut done, mut locked) = (Vec::with_capacity(jobs.len()), Vec::new());
        for mut job in jobs {
            if !job.is_wanted() {
                Gauges::count(&self.gauges.dropped);
                job.refuse(DatabaseError::Unavailable("too late"));
                continue;
            }
            match self.run(&mut job) {
                Ok(Met::NoLock) => done.push(job),
                Ok(Met::ALock) => locked.push(job),
                Err(error) => job.refuse(fault::statement(&error, "BEGIN", Kind::Read)),
            }
        }
        self.end();
        for job in done {
            Gauges::count(&self.gauges.reads);
            job.answer();
        }
        for job in locked {
            self.try_again(job);
        }
    }

    /// Runs a job in the open transaction, or in a new one: some errors (I/O) end it.
    fn run(&self, job: &mut Job) -> Result<Met, Error> {
        if self.connection.is_autocommit() {
            control(&self.connection, "BEGIN")?;
        }
        let mut session = SqliteSession::new(&self.connection, Kind::Read);
        // Keep or undo is the same here: nothing was written.
        let _verdict = job.run(&mut session, self.slow);
        Ok(if session.met_a_lock() { Met::ALock } else { Met::NoLock })
    }

    /// A read changes nothing, so after a foreign lock it may always run again.
    fn try_again(&self, mut job: Job) {
        for attempt in 0..RETRIES {
            if !job.is_wanted() {
                break;
            }
            clock::pause_after(attempt);
            let met = self.run(&mut job);
            self.end();
            match met {
                Ok(Met::NoLock) => break,
                Ok(Met::ALock) => {}
                Err(error) => return job.refuse(fault::statement(&error, "BEGIN", Kind::Read)),
            }
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

/// What stood in the way of a job's first failing statement.
enum Met {
    ALock,
    NoLock,
}
