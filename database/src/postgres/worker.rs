//! A worker thread: one connection, one unit of work after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::RETRIES;
use super::connector::{Connector, NoLink};
use super::link::{Link, glance};
use super::outage::{Lookout, pause_after};
use super::session::{Patience, PostgresSession};
use crate::job::{Job, Kind, Verdict};
use crate::queue::Queue;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options, clock};

/// What one thread owns.
pub(super) struct Worker {
    kind: Kind,
    connector: Arc<Connector>,
    runtime: Runtime,
    link: Option<Link>,
    /// Outages before the link was made.
    outages: u64,
    gauges: Arc<Gauges>,
    lookout: Lookout,
    /// How often in a row a server that is there did not let this one in, when to ask again, and what to say until then.
    refusals: u32,
    refused: Option<(Instant, DatabaseError)>,
    slow: Duration,
    patience: Duration,
}

impl Worker {
    pub(super) fn new(
        kind: Kind,
        connector: Arc<Connector>,
        gauges: Arc<Gauges>,
        lookout: Lookout,
        options: &Options,
    ) -> Result<Self, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| DatabaseError::Open(error.to_string()))?;
        Ok(Self {
            kind,
            connector,
            runtime,
            link: None,
            outages: 0,
            gauges,
            lookout,
            refusals: 0,
            refused: None,
            slow: options.slow,
            // The server's own limits come first, so that its reason is what we learn.
            patience: options.statement_timeout + Duration::from_secs(2),
        })
    }

    /// Connects now, for the first time.
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
            } else if let Err(error) = self.reach(job.deadline()) {
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
    fn reach(&mut self, deadline: Instant) -> Result<(), DatabaseError> {
        let outages = self.lookout.outages(deadline)?;
        if let Some(link) = &self.link {
            if self.outages == outages && !self.runtime.block_on(link.is_closed()) {
                return Ok(());
            }
            self.hang_up();
        }
        let now = clock::now();
        if let Some((until, error)) = &self.refused
            && now < *until
        {
            return Err(error.clone());
        }
        let connecting = self.connector.connect();
        let left = deadline.saturating_duration_since(now);
        match self.runtime.block_on(async { timeout(left, connecting).await }) {
            Ok(Ok(link)) => {
                (self.link, self.outages) = (Some(link), outages);
                (self.refusals, self.refused) = (0, None);
                Ok(())
            }
            Ok(Err(NoLink::Refused(why, error))) => {
                if self.refusals == 0 {
                    log::error!(error:% = why; "the database server refuses a connection");
                }
                self.refused = Some((clock::now() + pause_after(self.refusals), error.clone()));
                self.refusals = self.refusals.saturating_add(1);
                self.hang_up();
                Err(error)
            }
            Ok(Err(NoLink::Away(_))) | Err(_) => {
                self.hang_up();
                Err(self.lookout.suspect(outages))
            }
        }
    }

    /// Closes the connection, or what is left of one that was about to be made.
    fn hang_up(&mut self) {
        self.link = None;
        self.runtime.block_on(glance());
    }

    /// Gives up the connection of a unit; one on which nothing was heard says something about the server.
    fn lose(&mut self, was_silent: bool) {
        self.hang_up();
        if was_silent {
            self.lookout.suspect(self.outages);
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
            let patience = Patience::new(self.patience, job.end());
            let mut session =
                PostgresSession::new(&self.runtime, link, &self.gauges, self.kind, patience);
            let verdict = job.run(&mut session, self.slow);
            match (self.kind, verdict) {
                _ if session.is_lost() => {}
                // Nothing was written, and the asker need not wait for the end of a snapshot.
                (Kind::Read, Verdict::Keep) => {
                    Gauges::count(&self.gauges.reads);
                    job.answer();
                    if session.has_begun() && session.end("COMMIT").is_err() {
                        let was_silent = session.was_silent();
                        self.lose(was_silent);
                    }
                    return;
                }
                (Kind::Write, Verdict::Keep) => {
                    if session.has_begun() {
                        if let Err(error) = session.end("COMMIT") {
                            log::error!(error:%; "COMMIT failed, the outcome is unknown");
                            let was_silent = session.was_silent();
                            self.lose(was_silent);
                            return job.refuse(DatabaseError::OutcomeUnknown);
                        }
                        Gauges::count(&self.gauges.commits);
                    }
                    Gauges::count(&self.gauges.units);
                    return job.answer();
                }
                (_, Verdict::Undo) => {
                    if session.has_begun() && session.end("ROLLBACK").is_err() {
                        let was_silent = session.was_silent();
                        self.lose(was_silent);
                    } else if session.may_pass_next_time() && attempt < RETRIES && job.is_wanted() {
                        clock::pause_after(attempt);
                        continue;
                    }
                    return self.undone(job);
                }
            }
            let was_silent = session.was_silent();
            self.lose(was_silent);
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
