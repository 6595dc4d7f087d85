//! A reader thread: one deferred transaction for the jobs that wait, over before an answer leaves.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Error};

use super::session::SqliteSession;
use super::{RETRIES, control, fault};
use crate::job::{Job, Kind};
use crate::queue::{Mark, Queue};
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// Jobs that share a snapshot at most.
const BATCH: usize = 32;
/// How long a snapshot takes in further jobs: those in front wait for those behind.
const BATCH_TIME: Duration = Duration::from_millis(1);

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

    /// Answers reads until the queue is closed and drained.
    pub(super) fn serve(self, queue: &Queue) {
        while let Some((first, mark)) = queue.pop_marked() {
            self.batch(first, queue, &mark);
        }
    }

    /// One snapshot for jobs that were all asked before it, so that each sees what was acknowledged before it asked. They are taken one
    /// by one: what waits behind a slow one is left to the other readers.
    fn batch(&self, first: Job, queue: &Queue, mark: &Mark) {
        let ends_at = clock::now() + BATCH_TIME;
        let (mut done, mut locked) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(mut job) = next {
            if job.is_wanted() {
                match self.run(&mut job) {
                    Ok(Met::NoLock) => done.push(job),
                    Ok(Met::ALock) => locked.push(job),
                    Err(error) => job.refuse(fault::statement(&error, "BEGIN", Kind::Read)),
                }
            } else {
                Gauges::count(&self.gauges.dropped);
                job.refuse(DatabaseError::Unavailable("too late"));
            }
            let full = done.len() >= BATCH || clock::now() >= ends_at;
            next = if full { None } else { queue.try_pop_before(mark) };
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

    /// Gives the snapshot back. One left open would keep checkpoints from resetting the log, and show the next job the past: a reader
    /// that cannot end it must not go on.
    fn end(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = control(&self.connection, "ROLLBACK") {
            log::error!(error:%; "a reader could not end its transaction");
            self.gauges.give_up();
        }
    }
}

/// What stood in the way of a job's first failing statement.
enum Met {
    ALock,
    NoLock,
}
