//! A unit of work on its way through an engine: the closure, its deadline, and whoever waits.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::{DatabaseError, Sql, clock, migrate::Dialect};

/// What an engine's open transaction offers to this crate, beyond [`Sql`].
pub(crate) trait Session: Sql {
    /// The first statement that failed in this unit; it decides over whatever came after it.
    fn failure(&self) -> Option<&DatabaseError>;

    /// How this engine writes types.
    fn dialect(&self) -> &'static Dialect;

    /// Runs one statement whose text was made here: a migration's.
    fn define(&mut self, statement: &str) -> Result<(), DatabaseError>;

    /// From here on this unit may take its time: a migration waits for another instance's, and may touch every row.
    fn be_patient(&mut self) -> Result<(), DatabaseError>;

    /// From here on it waits for a lock that others want too no longer than [`BRIEF_MILLIS`](crate::migrate::BRIEF_MILLIS), and
    /// fails with [`HELD`](crate::migrate::HELD).
    fn be_brief(&mut self) -> Result<(), DatabaseError>;
}

/// What a job means to do; an engine may serve both kinds on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// What a job's deadline is about besides its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Its waits for a server, too: somebody waits for a request.
    Prompt,
    /// Nothing: each of its statements has its time, and there may be many.
    AtLeisure,
}

/// What must happen to the transaction (or savepoint) that a job ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    Keep,
    Undo,
}

/// One unit of work, queued. However it ends, exactly one of [`Job::answer`], [`Job::refuse`] and
/// dropping ends it.
pub(crate) struct Job {
    deadline: Instant,
    pace: Pace,
    caller: &'static Location<'static>,
    task: Box<dyn Task>,
}

impl Job {
    /// A job that must start before `deadline`, and the ear at which its result arrives.
    pub(crate) fn new<T, E>(
        work: impl FnMut(&mut dyn Session) -> Result<T, E> + Send + 'static,
        deadline: Instant,
        pace: Pace,
        caller: &'static Location<'static>,
    ) -> (Self, oneshot::Receiver<Result<T, E>>)
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Unit { work, result: None, reply });
        (Self { deadline, pace, caller, task }, answer)
    }

    /// When it must have started.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When whoever asked gives up, if it need not wait for its end.
    pub(crate) fn end(&self) -> Option<Instant> {
        (self.pace == Pace::Prompt).then_some(self.deadline)
    }

    /// Is it still worth starting? Somebody waits, and not for too long already.
    pub(crate) fn is_wanted(&self) -> bool {
        clock::now() < self.deadline && !self.task.is_abandoned()
    }

    /// Runs the closure. A panic inside it is caught here and harms this job alone.
    pub(crate) fn run(&mut self, session: &mut dyn Session, slow: Duration) -> Verdict {
        let started = clock::now();
        let verdict = catch_unwind(AssertUnwindSafe(|| self.task.attempt(session)));
        let verdict = verdict.unwrap_or_else(|_| {
            log::error!(caller:% = self.caller; "a unit of work panicked and was rolled back");
            self.task.fail(DatabaseError::Panicked(self.caller.to_string()));
            Verdict::Undo
        });
        let took = started.elapsed();
        if took > slow {
            let took = took.as_millis();
            log::warn!(caller:% = self.caller, took_ms = took; "a unit of work was slow");
        }
        verdict
    }

    /// Sends the closure's own result: call it once the transaction has ended as the verdict said.
    pub(crate) fn answer(self) {
        // Captured values and an unwanted result are dropped here; their Drop is foreign code.
        if catch_unwind(AssertUnwindSafe(|| self.task.answer())).is_err() {
            log::error!("dropping a finished unit of work panicked");
        }
    }

    /// Sends `error` in place of the closure's result.
    pub(crate) fn refuse(mut self, error: DatabaseError) {
        let refused = catch_unwind(AssertUnwindSafe(|| {
            self.task.fail(error);
            self.task.answer();
        }));
        if refused.is_err() {
            log::error!("dropping a refused unit of work panicked");
        }
    }
}

/// A [`Unit`] without its type parameters, so that jobs of all types share a queue.
trait Task: Send {
    fn attempt(&mut self, session: &mut dyn Session) -> Verdict;
    fn fail(&mut self, error: DatabaseError);
    fn answer(self: Box<Self>);
    fn is_abandoned(&self) -> bool;
}

struct Unit<W, T, E> {
    work: W,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<W, T, E> Task for Unit<W, T, E>
where
    W: FnMut(&mut dyn Session) -> Result<T, E> + Send,
    T: Send,
    E: From<DatabaseError> + Send,
{
    fn attempt(&mut self, session: &mut dyn Session) -> Verdict {
        self.result = None;
        let result = match ((self.work)(session), session.failure()) {
            // First failure wins: the closure swallowed an error, its transaction did not.
            (Ok(_), Some(failure)) => Err(E::from(failure.clone())),
            (result, _) => result,
        };
        let verdict = if result.is_ok() { Verdict::Keep } else { Verdict::Undo };
        self.result = Some(result);
        verdict
    }

    fn fail(&mut self, error: DatabaseError) {
        self.result = Some(Err(E::from(error)));
    }

    fn answer(self: Box<Self>) {
        let Self { work, result, reply } = *self;
        drop(work);
        // Without a result the reply is dropped, which the waiter takes for a lost job. A waiter
        // that went away is no fault: what was committed stays committed.
        if let Some(result) = result {
            drop(reply.send(result));
        }
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}
