//! One SQL text, two engines: units of work as plain closures, with group commit.
//!
//! ```text
//! handler ── write(closure) ──> queue ──> writer thread: BEGIN, many closures, one COMMIT ──> answers
//!         ── read(closure)  ──> queue ──> reader threads: a snapshot each ──────────────────> answers
//! ```
//! Read it in this order: [`Sql`], the seam that stores are written against; `job` and `queue`,
//! the way of a closure to a thread; `machine`, which is what every engine is; `sqlite::writer`,
//! the heart of the one engine; `postgres::worker`, that of the other; `migrate`; and `contract`, the list of claims that every
//! engine must prove. The crate knows nothing of OAuth, and nothing above it names an engine.
//!
//! What a unit of work may rely on:
//! - `Ok` means durable. `Err` of its own means that nothing of it was kept.
//! - A read that begins after a write was acknowledged sees it.
//! - On PostgreSQL units run side by side under READ COMMITTED. So single use is one guarded
//!   UPDATE whose row count decides, and a decision over several rows first updates its row in
//!   the table `guard` (see [`Database::migrate`]). SQLite runs writes one after the other, but
//!   nothing may be built on that.

mod clock;
mod error;
mod job;
mod location;
mod machine;
mod migrate;
mod options;
mod postgres;
mod queue;
mod sql;
mod sqlite;
mod statistics;
pub mod transfer;

#[cfg(test)]
mod contract;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use error::DatabaseError;
pub use location::DatabaseUrl;
pub use migrate::Migration;
pub use options::{Options, PostgresSettings, Synchronous};
pub use postgres::PostgresUrl;
pub use sql::{Row, Sql, Value};
pub use statistics::{Figure, Reading, Statistics};

use job::{Job, Kind, Pace, Session};
use machine::Machine;
use migrate::Progress;

/// How often a migration asks for a table that somebody uses for long (a backup, say), and how long it lets others pass in
/// between: about a minute in all.
const MIGRATION_TRIES: u32 = 100;
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);

/// An open database; a clone is another handle to the same threads.
///
/// Dropping the last handle lets the threads finish what is queued; [`Database::close`] also
/// waits for them.
#[derive(Clone)]
pub struct Database {
    machine: Arc<Machine>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("statistics", &self.statistics()).finish()
    }
}

impl Database {
    /// Opens or creates the database and starts its threads. An SQLite file is created with mode
    /// 0600 if absent; its directory must exist.
    pub async fn open(url: &DatabaseUrl, options: &Options) -> Result<Self, DatabaseError> {
        let (url, options) = (url.clone(), options.clone());
        let start = move || match &url {
            DatabaseUrl::Sqlite(path) => sqlite::start(path, &options),
            DatabaseUrl::Postgres(url) => postgres::start(url, &options),
        };
        let machine = machine::off_thread("db-open", start).await??;
        Ok(Self { machine: Arc::new(machine) })
    }

    /// Runs a unit of work that may change data: `Ok` commits, `Err` rolls back, so a bad outcome
    /// that must be kept ("replayed: the grant has ended") is an `Ok` value.
    ///
    /// `work` owns its input and may run more than once: after a conflict with another unit it
    /// starts over from a clean transaction. Randomness, the time, hashes and signatures are made
    /// before or after, never inside, also because every other writer waits meanwhile. The answer
    /// arrives when the commit is durable. Once started, the unit ends whether or not the
    /// returned future is still polled.
    #[track_caller]
    pub fn write<T, E>(
        &self,
        mut work: impl FnMut(&mut dyn Sql) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.send(Kind::Write, Location::caller(), Pace::Prompt, move |session| work(session))
    }

    /// Runs a unit of work that only reads; a statement that would change something fails. `work`
    /// may run more than once.
    #[track_caller]
    pub fn read<T, E>(
        &self,
        mut work: impl FnMut(&mut dyn Sql) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.send(Kind::Read, Location::caller(), Pace::Prompt, move |session| work(session))
    }

    /// Brings the schema up to date, one transaction a migration, or one a statement where it only adds; safe when several instances
    /// start at once, and while others serve. Refuses a history that is not that of `migrations`:
    /// an applied one was edited, or one was slipped in between. A schema that a newer build has
    /// brought further is fine where [`Migration::compatible_from`] says so, else
    /// [`DatabaseError::TooNew`].
    ///
    /// Refuses a database that was moved elsewhere, or is an unfinished copy (see [`transfer`]).
    ///
    /// Creates the tables `migration`, `fence` and `guard`; migrations may add rows to the latter:
    /// `INSERT INTO guard (name, version) VALUES ('keys', 0);`.
    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<(), DatabaseError> {
        self.bring_up(migrations, migrate::prepare).await
    }

    async fn bring_up(
        &self,
        migrations: &'static [Migration],
        prepare: fn(&mut dyn Session) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let caller = Location::caller();
        migrate::check(migrations)?;
        self.submit(Kind::Write, caller, prepare).await?;
        let step = move |session: &mut dyn Session| migrate::step(session, migrations);
        let mut tries = 0;
        loop {
            match self.submit(Kind::Write, caller, step).await {
                Ok(Progress::Applied(name)) => {
                    tries = 0;
                    log::info!(name; "migration applied");
                }
                Ok(Progress::Begun) => tries = 0,
                Ok(Progress::Done) => return Ok(()),
                Ok(Progress::Ahead(version)) => {
                    log::info!(version; "a newer build has changed the schema; this one can work on it");
                    return Ok(());
                }
                Err(DatabaseError::Unavailable(migrate::HELD)) if tries < MIGRATION_TRIES => {
                    tries += 1;
                    // Whoever waited behind this one goes first.
                    clock::rest(MIGRATION_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Counters since the start and the present length of the queues.
    pub fn statistics(&self) -> Statistics {
        self.machine.statistics()
    }

    /// False once the disk has failed during a commit or a checkpoint. From then on every write
    /// is refused: readiness must say 503, and the process should end with status 1.
    pub fn is_healthy(&self) -> bool {
        self.machine.is_healthy()
    }

    /// Refuses new work, finishes what is queued, moves the log into the main file and waits for
    /// the threads to end.
    pub async fn close(&self) {
        self.machine.close().await;
    }

    /// A unit of this crate's own, which may take long: a migration, a copy.
    fn submit<T, E>(
        &self,
        kind: Kind,
        caller: &'static Location<'static>,
        work: impl FnMut(&mut dyn Session) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.send(kind, caller, Pace::AtLeisure, work)
    }

    async fn send<T, E>(
        &self,
        kind: Kind,
        caller: &'static Location<'static>,
        pace: Pace,
        work: impl FnMut(&mut dyn Session) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let deadline = clock::now() + self.machine.options.deadline;
        let (job, answer) = Job::new(work, deadline, pace, caller);
        self.machine.submit(kind, job)?;
        // Only a thread that died in the middle of a job leaves it without an answer.
        answer.await.unwrap_or_else(|_| {
            Err(E::from(match kind {
                Kind::Read => DatabaseError::Unavailable("the reader has died"),
                Kind::Write => DatabaseError::OutcomeUnknown,
            }))
        })
    }
}
