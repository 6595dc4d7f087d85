//! The contract: one list of claims, proved on every engine.
//!
//! An engine joins with a [`Stage`] and one line at [`contract!`]. Nothing here may assume that
//! writes run one after the other; what only SQLite promises is in `sqlite::tests`.

mod migrations;
pub(crate) mod postgres;
mod queues;
mod races;
mod units;

use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use crate::{Database, DatabaseError, DatabaseUrl, Migration, Options, Sql};

/// The list. `contract!(name, Stage)` makes a module of tests, one for each claim.
macro_rules! contract {
    ($engine:ident, $stage:ty) => {
        contract! { $engine, $stage:
            units::committed_work_is_seen_by_every_later_read,
            units::rolled_back_work_leaves_nothing,
            units::a_failed_unit_undoes_itself_and_no_neighbor,
            units::the_first_failure_wins_over_an_ok,
            units::a_panic_harms_only_its_own_unit,
            units::a_read_cannot_write,
            units::values_and_rows_round_trip,
            units::returning_gives_the_changed_rows,
            units::a_constraint_is_a_conflict_and_a_bug_is_not,
            units::an_expected_conflict_is_a_row_count,
            queues::a_full_queue_refuses_at_once,
            queues::a_late_job_never_starts,
            queues::a_job_without_a_waiter_never_starts,
            queues::a_started_job_ends_without_its_waiter,
            queues::close_finishes_what_is_queued_and_refuses_the_rest,
            queues::closing_twice_waits_twice,
            queues::a_read_sees_what_was_acknowledged_while_its_reader_was_busy,
            queues::reads_that_wait_together_answer_each_for_itself,
            queues::a_slow_read_holds_up_nobody_behind_it,
            races::a_guarded_update_has_one_winner,
            races::the_guard_row_orders_decisions,
            races::a_grant_redeemed_beside_a_sign_out_is_dead,
            migrations::instances_that_start_together_migrate_once,
            migrations::a_schema_grows_by_what_is_new,
            migrations::an_edited_migration_is_refused,
            migrations::a_migration_slipped_in_between_is_refused,
            migrations::a_database_of_a_newer_build_is_refused,
            migrations::a_schema_that_a_newer_build_has_only_added_to_is_accepted,
            migrations::a_migration_that_only_adds_goes_on_where_it_ended,
            migrations::what_was_begun_is_not_gone_on_with_as_something_else,
            migrations::a_newer_schema_is_held_to_what_is_known_of_it,
            migrations::a_migration_that_only_says_that_it_adds_is_not_begun,
            migrations::a_failing_migration_leaves_nothing,
        }
    };
    ($engine:ident, $stage:ty: $($file:ident :: $claim:ident,)+) => {
        mod $engine {
            $(
                #[tokio::test]
                async fn $claim() {
                    if let Some(stage) = <$stage as super::Stage>::empty().await {
                        super::$file::$claim(&stage).await;
                    }
                }
            )+
        }
    };
}

contract!(on_sqlite, super::SqliteFile);
contract!(on_postgres, super::postgres::PostgresDatabase);

/// An engine's empty database. Opening it several times gives what several processes would have.
pub(crate) trait Stage: Sized {
    /// `None` where this machine has no such engine, which is printed.
    async fn empty() -> Option<Self>;
    fn url(&self) -> DatabaseUrl;
}

/// A file in a folder that goes away with the test.
pub(crate) struct SqliteFile(tempfile::TempDir);

impl Stage for SqliteFile {
    async fn empty() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.0.path().join("contract.db"))
    }
}

/// What most claims are made about.
pub(crate) static ITEMS: &[Migration] = &[Migration {
    version: 1,
    compatible_from: 1,
    name: "0001_items",
    sql: "CREATE TABLE item (id ID PRIMARY KEY, name TEXT, flag INT, data BYTES);",
}];

pub(crate) async fn open(stage: &impl Stage) -> Database {
    Database::open(&stage.url(), &Options::default()).await.unwrap()
}

/// Writes one after the other on every engine, for claims about those that wait.
fn one_writer() -> Options {
    Options { writers: 1, ..Options::default() }
}

/// The same with the table `item`, which a database of one writer lets wait.
async fn with_items_in_a_row(stage: &impl Stage) -> Database {
    with_items_and(stage, one_writer()).await
}

/// An open database with the table `item`.
pub(crate) async fn with_items(stage: &impl Stage) -> Database {
    with_items_and(stage, Options::default()).await
}

pub(crate) async fn with_items_and(stage: &impl Stage, options: Options) -> Database {
    let database = Database::open(&stage.url(), &options).await.unwrap();
    database.migrate(ITEMS).await.unwrap();
    database
}

pub(crate) fn insert(sql: &mut dyn Sql, id: i64) -> Result<(), DatabaseError> {
    let changed = sql.execute("INSERT INTO item (id) VALUES (?1)", &[id.into()])?;
    assert_eq!(changed, 1, "an insert changes one row");
    Ok(())
}

/// Queues an insert as a task of its own.
fn insert_later(database: &Database, id: i64) -> JoinHandle<Result<(), DatabaseError>> {
    let database = database.clone();
    tokio::spawn(async move { database.write(move |sql| insert(sql, id)).await })
}

/// The ids in `item`, in order.
pub(crate) async fn ids(database: &Database) -> Vec<i64> {
    let rows = database.read(|sql| sql.query("SELECT id FROM item ORDER BY id", &[])).await;
    rows.unwrap().iter().map(|row| row.int(0).unwrap()).collect()
}

/// Inserts `id` and stays in the closure until the gate opens.
async fn insert_and_stay(
    database: &Database,
    id: i64,
) -> (Gate, JoinHandle<Result<(), DatabaseError>>) {
    let (gate, mut door) = gate();
    let database = database.clone();
    let staying = tokio::spawn(async move {
        let work = move |sql: &mut dyn Sql| {
            insert(sql, id)?;
            door.pass();
            Ok(())
        };
        database.write(work).await
    });
    (gate.entered().await, staying)
}

/// A point inside a closure at which the test takes over.
pub(crate) struct Gate {
    entered: oneshot::Receiver<()>,
    leave: mpsc::Sender<()>,
}

/// The closure's side of a [`Gate`].
pub(crate) struct Door {
    entered: Option<oneshot::Sender<()>>,
    leave: mpsc::Receiver<()>,
}

pub(crate) fn gate() -> (Gate, Door) {
    let (enter, entered) = oneshot::channel();
    let (leave, left) = mpsc::channel();
    (Gate { entered, leave }, Door { entered: Some(enter), leave: left })
}

impl Gate {
    /// Waits until the closure has come to its door.
    pub(crate) async fn entered(mut self) -> Self {
        (&mut self.entered).await.unwrap();
        self
    }

    pub(crate) fn open(self) {
        drop(self.leave);
    }
}

impl Door {
    /// Tells the test, then waits for it.
    pub(crate) fn pass(&mut self) {
        if let Some(entered) = self.entered.take() {
            entered.send(()).unwrap();
        }
        self.leave.recv().unwrap_err();
    }
}

/// Lets other tasks run until something has come true.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now().await;
    }
}
