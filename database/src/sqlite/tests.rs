//! What holds for SQLite alone: the group commit, the disk, and the log beside the file.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Error};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use super::writer::Writer;
use super::{connect, create_private};
use crate::contract::{gate, until};
use crate::job::Kind;
use crate::machine::Machine;
use crate::statistics::Gauges;
use crate::{Database, DatabaseError, DatabaseUrl, Migration, Options, Sql};

static SCHEMA: &[Migration] = &[Migration {
    version: 1,
    compatible_from: 1,
    name: "0001_items",
    sql: "CREATE TABLE item (id ID PRIMARY KEY, data BYTES);",
}];

/// A folder for the file, and the file.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    (folder, file)
}

async fn open(file: &Path, options: &Options) -> Database {
    let database = open_as_is(file, options).await.unwrap();
    database.migrate(SCHEMA).await.unwrap();
    database
}

async fn open_as_is(file: &Path, options: &Options) -> Result<Database, DatabaseError> {
    Database::open(&DatabaseUrl::Sqlite(file.to_owned()), options).await
}

fn insert(sql: &mut dyn Sql, id: i64) -> Result<(), DatabaseError> {
    sql.execute("INSERT INTO item (id) VALUES (?1)", &[id.into()]).map(drop)
}

/// A batch that ends only with the queue, however slow the machine that tests.
fn patient() -> Options {
    Options { batch_time: Duration::from_secs(60), ..Options::default() }
}

/// Runs a unit of work as a task of its own.
fn later<T: Send + 'static>(
    database: &Database,
    work: impl FnMut(&mut dyn Sql) -> Result<T, DatabaseError> + Send + 'static,
) -> JoinHandle<Result<T, DatabaseError>> {
    let database = database.clone();
    tokio::spawn(async move { database.write(work).await })
}

/// Queues an insert for each id behind a unit that keeps the writer until all have arrived.
async fn queue_up(database: &Database, ids: RangeInclusive<i64>) {
    let (gate, mut door) = gate();
    let staying = later(database, move |_| {
        door.pass();
        Ok(())
    });
    let gate = gate.entered().await;
    let count = ids.clone().count();
    let units: Vec<_> = ids.map(|id| later(database, move |sql| insert(sql, id))).collect();
    until(|| database.statistics().queued_writes == count).await;
    gate.open();
    for unit in std::iter::once(staying).chain(units) {
        assert_eq!(unit.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn units_that_wait_together_share_one_commit() {
    let (_folder, file) = place();
    let database = open(&file, &patient()).await;
    let before = database.statistics();
    queue_up(&database, 1..=64).await;
    let after = database.statistics();
    assert_eq!(after.units - before.units, 65);
    assert_eq!(after.commits - before.commits, 1, "one fsync for all");
}

#[tokio::test]
async fn the_longest_hold_of_the_writer_is_kept() {
    let (_folder, file) = place();
    let database = open(&file, &patient()).await;
    queue_up(&database, 1..=8).await;
    let first = database.statistics();
    assert!(first.longest_unit_micros > 0, "a unit stayed until the others had come");
    assert!(first.longest_batch_micros >= first.longest_unit_micros, "a batch has its commit too");
    later(&database, |sql| insert(sql, 9)).await.unwrap().unwrap();
    let then = database.statistics();
    assert!(then.longest_batch_micros >= first.longest_batch_micros, "a short one changes nothing");
}

#[tokio::test]
async fn a_batch_ends_at_its_size() {
    let (_folder, file) = place();
    let database = open(&file, &Options { batch_units: 8, ..patient() }).await;
    let before = database.statistics();
    queue_up(&database, 1..=63).await;
    assert_eq!(database.statistics().commits - before.commits, 64 / 8);
}

#[tokio::test]
async fn a_batch_ends_with_its_time() {
    let (_folder, file) = place();
    let database = open(&file, &Options { batch_time: Duration::ZERO, ..Options::default() }).await;
    let before = database.statistics();
    queue_up(&database, 1..=10).await;
    assert_eq!(
        database.statistics().commits - before.commits,
        10,
        "the unit that stays has no change"
    );
}

#[tokio::test]
async fn writers_in_parallel_share_commits_without_being_held_up() {
    let (_folder, file) = place();
    let database = open(&file, &Options::default()).await;
    let before = database.statistics();
    let mut writers = JoinSet::new();
    for writer in 0..64 {
        let database = database.clone();
        writers.spawn(async move {
            for id in 0..10 {
                database.write(move |sql| insert(sql, writer * 10 + id)).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let after = database.statistics();
    assert_eq!(after.units - before.units, 640);
    assert!(after.commits - before.commits < 320, "{after:?}");
}

/// SQLite ends the whole transaction when the disk is full, also for the units before. Without
/// the check after each closure, the ones after would be committed one by one.
#[tokio::test]
async fn a_full_disk_loses_the_batch_and_keeps_the_rest() {
    const FILL: &str = "INSERT INTO item (id, data) VALUES (1000, zeroblob(1000000))";
    let (_folder, file) = place();
    let database = open(&file, &patient()).await;
    let limit = database.write(|sql| sql.query("PRAGMA max_page_count = 20", &[])).await.unwrap();
    assert_eq!(limit[0].int(0), Ok(20));

    let (gate, mut door) = gate();
    let before = later(&database, move |sql| {
        insert(sql, 1)?;
        door.pass();
        Ok(())
    });
    let gate = gate.entered().await;
    let filling = later(&database, |sql| sql.execute(FILL, &[]).map(drop));
    let after = later(&database, |sql| insert(sql, 2));
    until(|| database.statistics().queued_writes == 2).await;
    gate.open();

    for lost in [before, filling] {
        let lost = lost.await.unwrap();
        assert!(matches!(lost, Err(DatabaseError::Unavailable(_))), "{lost:?}");
    }
    assert_eq!(after.await.unwrap(), Ok(()), "the next batch finds room");
    let rows = database.read(|sql| sql.query("SELECT id FROM item", &[])).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.int(0).unwrap()).collect::<Vec<_>>(), [2]);
    assert!(database.is_healthy(), "a full disk is no broken disk");
}

/// A database without readers whose writer's connection the test has tampered with.
fn tampered(file: &Path, tamper: impl FnOnce(&mut Connection)) -> Database {
    let options = Options::default();
    create_private(file).unwrap();
    let mut connection = connect(file, &options, 100, Duration::ZERO).unwrap();
    connection.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY)").unwrap();
    tamper(&mut connection);
    let gauges = Arc::new(Gauges::default());
    let writer = Writer::new(connection, &options, Arc::clone(&gauges));
    let mut machine = Machine::new(&options, gauges);
    machine.hire("tampered", Kind::Write, move |queue| writer.serve(queue)).unwrap();
    Database { machine: Arc::new(machine) }
}

#[tokio::test]
async fn a_commit_that_fails_is_unknown_and_not_retried() {
    let (_folder, file) = place();
    let (calls, called) = mpsc::channel();
    let database = tampered(&file, |connection| {
        let mut fail = true;
        connection.commit_hook(Some(move || std::mem::take(&mut fail))).unwrap();
    });
    let outcome = database
        .write(move |sql| {
            calls.send(()).unwrap();
            insert(sql, 1)
        })
        .await;
    assert_eq!(outcome, Err(DatabaseError::OutcomeUnknown));
    assert_eq!(called.iter().count(), 1, "the closure ran once");
    assert!(database.is_healthy(), "this failure was not the disk's");
    assert_eq!(database.write(|sql| insert(sql, 1)).await, Ok(()), "no transaction is left open");
}

/// The reason for "unknown": SQLite calls the log's hook when the commit is already durable, and
/// hands the hook's error on as that of COMMIT.
#[tokio::test]
async fn a_commit_of_unknown_outcome_may_have_happened() {
    let (_folder, file) = place();
    let database = tampered(&file, |connection| {
        let fail = |_: &mut Wal, _| Err(Error::InvalidQuery);
        connection.wal_hook(Some(fail)).unwrap();
    });
    let outcome = database.write(|sql| insert(sql, 1)).await;
    assert_eq!(outcome, Err(DatabaseError::OutcomeUnknown));
    let database = open_as_is(&file, &Options::default()).await.unwrap();
    let rows = database.read(|sql| sql.query("SELECT id FROM item", &[])).await;
    assert_eq!(rows.unwrap().len(), 1);
}

/// A limit on the size of files gives a true I/O error. It holds for a whole process, so the test
/// starts itself again in a shell that sets it (and ignores the signal that comes with it), in a
/// folder by which it knows itself.
#[cfg(unix)]
#[tokio::test]
async fn after_an_io_error_in_a_commit_nothing_is_written_any_more() {
    const NAME: &str = "sqlite::tests::after_an_io_error_in_a_commit_nothing_is_written_any_more";
    const LIMITED: &str = "this-test-has-a-file-size-limit";
    if !Path::new(LIMITED).exists() {
        let (folder, _) = place();
        std::fs::write(folder.path().join(LIMITED), "").unwrap();
        let run = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(NAME)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let (_folder, file) = place();
    let database = open(&file, &Options::default()).await;
    assert_eq!(database.write(|sql| insert(sql, 1)).await, Ok(()));
    let outcome = database
        .write(|sql| sql.execute("INSERT INTO item (id, data) VALUES (2, zeroblob(1000000))", &[]));
    assert_eq!(outcome.await, Err(DatabaseError::OutcomeUnknown));
    assert!(!database.is_healthy());
    let refused: Result<(), _> = database.write(|_| panic!("a write on a broken disk")).await;
    assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{refused:?}");
    let rows = database.read(|sql| sql.query("SELECT id FROM item", &[])).await;
    assert_eq!(rows.unwrap().len(), 1, "reads go on");
}

#[tokio::test]
async fn a_lock_held_elsewhere_is_waited_for_a_while() {
    let (_folder, file) = place();
    let options = Options { busy_timeout: Duration::from_millis(1), ..Options::default() };
    let database = open(&file, &options).await;
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = database.write(|sql| insert(sql, 1)).await;
    assert!(matches!(locked, Err(DatabaseError::Unavailable(_))), "{locked:?}");
    let rows = database.read(|sql| sql.query("SELECT id FROM item", &[])).await;
    assert_eq!(rows, Ok(Vec::new()), "readers do not wait for writers");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(database.write(|sql| insert(sql, 1)).await, Ok(()));
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, file) = place();
    let _database = open(&file, &Options::default()).await;
    let mut files = 0;
    for entry in folder.path().read_dir().unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 3, "the file, its log, its index");
}

#[tokio::test]
async fn the_log_is_moved_while_running_and_gone_after_closing() {
    let (folder, file) = place();
    let options = Options { checkpoint_pages: 1, truncate_bytes: 0, ..Options::default() };
    let database = open(&file, &options).await;
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let log = folder.path().join("test.db-wal");
    // A passive one, then the cut.
    until(|| log.metadata().unwrap().len() == 0 && database.statistics().checkpoints >= 2).await;
    database.close().await;
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "the file stands alone");
}

#[tokio::test]
async fn a_file_that_another_holds_for_itself_is_unavailable_and_not_broken() {
    let (_folder, file) = place();
    let options = Options { busy_timeout: Duration::from_millis(1), ..Options::default() };
    let other = Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE a (id INTEGER); BEGIN EXCLUSIVE").unwrap();
    let refused = open_as_is(&file, &options).await;
    assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_database_is_refused_when_opening() {
    let (folder, file) = place();
    std::fs::write(&file, "this is a letter, not a database; ".repeat(100)).unwrap();
    for wrong in [file, folder.path().to_owned(), folder.path().join("no/such/folder.db")] {
        let refused = open_as_is(&wrong, &Options::default()).await;
        assert!(matches!(refused, Err(DatabaseError::Open(_))), "{refused:?}");
    }
}
