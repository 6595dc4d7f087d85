//! A worker thread: one connection, one unit of work after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::RETRIES;
use super::connector::Connector;
use super::link::Link;
use super::session::PostgresSession;
use crate::job::{Job, Kind, Verdict};
use crate::queue::Queue;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What one thread owns.
pub(super) struct Worker {
    kind: Kind,
    connector: Arc<Connector>,
    runtime: Runtime,
    link: Option<Link>,
    gauges: Arc<Gauges>,
    /// Shared by all workers, so that an outage is logged once.
    away: Arc<AtomicBool>,
    failures: u32,
    try_again_at: Option<Instant>,
    slow: Duration,
    patience: Duration,
}

impl Worker {
    pub(super) fn new(
        kind: Kind,
        connector: Arc<Connector>,
        gauges: Arc<Gauges>,
        away: Arc<AtomicBool>,
        options: &Options,
    ) -> Result<Self, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| DatabaseError::Open(error.to_string()))?;
        Ok(Self {
            kind,
            connector,
            runtime,
            link: None,
            gauges,
            away,
            failures: 0,
            try_again_at: None,
            slow: options.slow,
            // The server's own limits come first, so that its reason is what we learn.
            patience: options.statement_timeout + Duration::from_secs(2),
        })
    }

    /// Connects now.
    pub(super) fn connect(&mut self) -> Result<(), DatabaseError> {
        self.link = Some(self.runtime.block_on(self.connector.connect())?);
        Ok(())
    }

    /// Serves one job after the other until the queue is closed and drained.
    pub(super) fn serve(mut self, queue: &Queue) {
        while let Some(job) = queue.pop() {
            if !job.is_wanted() {
                Gauges::count(&self.gauges.dropped);
                job.refuse(DatabaseError::Unavailable("too late"));
            } else if let Err(error) = self.reach() {
                job.refuse(error);
            } else {
                self.unit(job);
            }
        }
        if let Some(link) = self.link.take() {
            self.runtime.block_on(link.close());
        }
    }

    /// Makes sure of a connection before a unit begins, so that one which broke while nobody looked harms no unit.
    fn reach(&mut self) -> Result<(), DatabaseError> {
        if let Some(link) = &self.link {
            if !self.runtime.block_on(link.is_closed()) {
                return Ok(());
            }
            self.link = None;
        }
        if self.try_again_at.is_some_and(|at| clock::now() < at) {
            return Err(DatabaseError::Unavailable("the database server is away"));
        }
        match self.connect() {
            Ok(()) => {
                (self.failures, self.try_again_at) = (0, None);
                if self.away.swap(false, Relaxed) {
                    log::info!("the database server is back");
                }
                Ok(())
            }
            Err(error) => {
                if !self.away.swap(true, Relaxed) {
                    log::error!(error:%; "the database server is away");
                }
                let pause = Duration::from_millis(50 << self.failures.min(6)).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.try_again_at = Some(clock::now() + pause);
                Err(DatabaseError::Unavailable("the database server is away"))
            }
        }
    }

    /// Runs a unit, again if it met another one. Only what is surely rolled back runs again: after a lost connection or a COMMIT
    /// without an answer nobody knows, and the work could be done twice.
    fn unit(&mut self, mut job: Job) {
        for attempt in 0.. {
            let Some(link) = &mut self.link else {
                return job
                    .refuse(DatabaseError::Unavailable("the connection to the database was lost"));
            };
            let mut session =
                PostgresSession::new(&self.runtime, link, &self.gauges, self.kind, self.patience);
            let verdict = job.run(&mut session, self.slow);
            match (self.kind, verdict) {
                _ if session.is_lost() => {}
                // Nothing was written, and the asker need not wait for the end of a snapshot.
                (Kind::Read, Verdict::Keep) => {
                    Gauges::count(&self.gauges.reads);
                    job.answer();
                    if session.has_begun() && session.end("COMMIT").is_err() {
                        self.link = None;
                    }
                    return;
                }
                (Kind::Write, Verdict::Keep) => {
                    if session.has_begun() {
                        if let Err(error) = session.end("COMMIT") {
                            log::error!(error:%; "COMMIT failed, the outcome is unknown");
                            self.link = None;
                            return job.refuse(DatabaseError::OutcomeUnknown);
                        }
                        Gauges::count(&self.gauges.commits);
                    }
                    Gauges::count(&self.gauges.units);
                    return job.answer();
                }
                (_, Verdict::Undo) => {
                    if session.has_begun() && session.end("ROLLBACK").is_err() {
                        self.link = None;
                    } else if session.may_pass_next_time() && attempt < RETRIES && job.is_wanted() {
                        clock::pause_after(attempt);
                        continue;
                    }
                    return self.undone(job);
                }
            }
            self.link = None;
            return self.undone(job);
        }
    }

    /// The transaction is gone: rolled back, or with its connection before COMMIT was sent. The job's own result says why.
    fn undone(&self, job: Job) {
        Gauges::count(match self.kind {
            Kind::Read => &self.gauges.reads,
            Kind::Write => &self.gauges.rolled_back,
        });
        job.answer();
    }
}
