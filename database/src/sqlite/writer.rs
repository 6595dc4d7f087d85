//! The writer thread: many units of work share one commit, and none is answered before it.
//!
//! ```text
//! BEGIN IMMEDIATE
//!   SAVEPOINT unit, closure, RELEASE or ROLLBACK TO     once for each unit
//! COMMIT                                                the only fsync
//! answer all
//! ```
//! The group forms by itself: while one commit waits for the disk, the next units queue up.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error};

use super::session::SqliteSession;
use super::{RETRIES, control, fault};
use crate::job::{Job, Kind, Session, Verdict};
use crate::queue::Queue;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// The one connection that writes.
pub(super) struct Writer {
    connection: Connection,
    gauges: Arc<Gauges>,
    batch_units: usize,
    batch_time: Duration,
    slow: Duration,
}

/// The whole transaction is gone, and with it every unit of the batch.
struct Lost(String);

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl Writer {
    pub(super) fn new(connection: Connection, options: &Options, gauges: Arc<Gauges>) -> Self {
        let Options { batch_units, batch_time, slow, .. } = *options;
        Self { connection, gauges, batch_units, batch_time, slow }
    }

    /// Commits batch after batch until the queue is closed and drained.
    pub(super) fn serve(self, queue: &Queue) {
        while let Some(job) = queue.pop() {
            if let Some(first) = self.admit(job) {
                self.batch(first, queue);
            }
        }
    }

    /// Lets a job pass that should still start; any other one ends here.
    fn admit(&self, job: Job) -> Option<Job> {
        if !self.gauges.is_healthy() {
            job.refuse(DatabaseError::Unavailable("the disk has failed"));
            return None;
        }
        if !job.is_wanted() {
            Gauges::count(&self.gauges.dropped);
            job.refuse(DatabaseError::Unavailable("too late"));
            return None;
        }
        Some(job)
    }

    /// One transaction around the first job and whatever is queued by now.
    fn batch(&self, first: Job, queue: &Queue) {
        // Who is about to ask and waits for this processor may share the commit; nobody else is waited for.
        thread::yield_now();
        if let Err(error) = self.begin(&first) {
            return first.refuse(fault::statement(&error, "BEGIN IMMEDIATE", Kind::Write));
        }
        let begun = clock::now();
        let mut last = begun;
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(mut job) = next {
            match self.unit(&mut job) {
                Ok(verdict) => jobs.push((job, verdict)),
                Err(Lost(cause)) => {
                    jobs.push((job, Verdict::Undo));
                    return self.lose(jobs, &cause);
                }
            }
            let now = clock::now();
            Gauges::note_time(&self.gauges.longest_unit, now.duration_since(last));
            last = now;
            // Never wait for more: an empty queue ends the batch.
            let full =
                jobs.len() >= self.batch_units || now.duration_since(begun) >= self.batch_time;
            next = if full { None } else { self.next_wanted(queue) };
        }
        self.commit(jobs, begun);
    }

    fn next_wanted(&self, queue: &Queue) -> Option<Job> {
        while let Some(job) = queue.try_pop() {
            if let Some(job) = self.admit(job) {
                return Some(job);
            }
        }
        None
    }

    /// BUSY here means that another process (a command-line tool, a second server) writes just
    /// now. Nothing has happened yet, so trying again is safe.
    fn begin(&self, first: &Job) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            match control(&self.connection, "BEGIN IMMEDIATE") {
                Err(error) if fault::is_busy(&error) && attempt < RETRIES && first.is_wanted() => {
                    clock::pause_after(attempt);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Runs one closure so that its failure undoes its own changes and no other.
    fn unit(&self, job: &mut Job) -> Result<Verdict, Lost> {
        control(&self.connection, "SAVEPOINT unit")?;
        let mut session = SqliteSession::new(&self.connection, Kind::Write);
        let verdict = job.run(&mut session, self.slow);
        // After some errors (disk full, I/O) SQLite ends the whole transaction by itself; going
        // on would run each further unit in a transaction of its own, and commit half a batch.
        if self.connection.is_autocommit() {
            let cause = session.failure().map_or_else(
                || "a unit of work ended the transaction itself".to_owned(),
                ToString::to_string,
            );
            return Err(Lost(cause));
        }
        if verdict == Verdict::Undo {
            control(&self.connection, "ROLLBACK TO unit")?;
        }
        control(&self.connection, "RELEASE unit")?;
        Ok(verdict)
    }

    /// Makes the batch durable, then answers. Units that failed wait as well: what they saw and
    /// judged by may have been a neighbor's change, which is true only from here on.
    fn commit(&self, jobs: Vec<(Job, Verdict)>, begun: Instant) {
        if let Err(error) = control(&self.connection, "COMMIT") {
            return self.doubt(jobs, &error);
        }
        Gauges::note_time(&self.gauges.longest_batch, begun.elapsed());
        for (job, verdict) in jobs {
            Gauges::count(match verdict {
                Verdict::Keep => &self.gauges.units,
                Verdict::Undo => &self.gauges.rolled_back,
            });
            job.answer();
        }
    }

    /// Everything since BEGIN is surely rolled back, whichever unit caused it.
    fn lose(&self, jobs: Vec<(Job, Verdict)>, cause: &str) {
        log::error!(cause, units = jobs.len(); "a write transaction was lost");
        self.abandon();
        for (job, _) in jobs {
            Gauges::count(&self.gauges.rolled_back);
            job.refuse(DatabaseError::Unavailable("the transaction was lost"));
        }
    }

    /// COMMIT failed: the log may or may not hold the batch.
    fn doubt(&self, jobs: Vec<(Job, Verdict)>, error: &Error) {
        log::error!(error:%, units = jobs.len(); "COMMIT failed, the outcome is unknown");
        if fault::is_fatal(error) {
            self.gauges.give_up();
        }
        self.abandon();
        for (job, _) in jobs {
            job.refuse(DatabaseError::OutcomeUnknown);
        }
    }

    /// Leaves no transaction open behind.
    fn abandon(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = control(&self.connection, "ROLLBACK") {
            log::error!(error:%; "ROLLBACK failed");
            self.gauges.give_up();
        }
    }
}
