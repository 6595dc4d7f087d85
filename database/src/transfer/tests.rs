//! Claims about moving and backing up, put to every pair of engines.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{TransferFault, backup, copy, fence, make_schema, release, relocate, schema};
use crate::contract::postgres::PostgresDatabase;
use crate::contract::{SqliteFile, Stage, open, until};
use crate::{Database, DatabaseError, DatabaseUrl, Migration, Options, Sql, Value};

pub(super) static SCHEMA: &[Migration] = &[Migration {
    version: 1,
    compatible_from: 1,
    name: "0001_farm",
    sql: "CREATE TABLE farm (id ID PRIMARY KEY, name TEXT NOT NULL);
          CREATE TABLE animal (farm ID NOT NULL REFERENCES farm (id), name TEXT NOT NULL, age INT, photo BYTES,
              PRIMARY KEY (farm, name));
          INSERT INTO farm (id, name) VALUES (0, 'made by the migration');",
}];

const ADD: &str = "INSERT INTO animal (farm, name, age, photo) VALUES (?1, ?2, ?3, ?4)";
const COUNT: &str = "SELECT count(*) FROM animal";

macro_rules! pairs {
    ($($claim:ident,)+) => {
        pairs! { @ sqlite_to_sqlite, SqliteFile, SqliteFile: $($claim,)+ }
        pairs! { @ sqlite_to_postgres, SqliteFile, PostgresDatabase: $($claim,)+ }
        pairs! { @ postgres_to_sqlite, PostgresDatabase, SqliteFile: $($claim,)+ }
        pairs! { @ postgres_to_postgres, PostgresDatabase, PostgresDatabase: $($claim,)+ }
    };
    (@ $pair:ident, $from:ty, $to:ty: $($claim:ident,)+) => {
        mod $pair {
            use super::*;
            $(
                #[tokio::test]
                async fn $claim() {
                    let from = <$from as Stage>::empty().await;
                    let to = <$to as Stage>::empty().await;
                    if let (Some(from), Some(to)) = (from, to) {
                        super::$claim(&from, &to).await;
                    }
                }
            )+
        }
    };
}

pairs! {
    every_row_of_every_table_arrives,
    the_source_reads_on_and_takes_no_write_until_it_is_released,
    a_target_that_is_not_empty_is_refused_and_nothing_changes,
    whatever_was_acknowledged_during_a_move_is_in_the_target,
    a_move_that_was_broken_off_leaves_two_databases_that_refuse_and_can_be_run_again,
    a_row_that_was_changed_on_the_way_is_found_and_nothing_is_left,
}

pub(super) fn tools() -> Options {
    Options::for_tools()
}

pub(super) async fn with_animals(stage: &impl Stage, count: i64) -> Database {
    let database = open(stage).await;
    database.migrate(SCHEMA).await.unwrap();
    let fill = move |sql: &mut dyn Sql| {
        for id in 1..=3_i64 {
            sql.execute("INSERT INTO farm (id, name) VALUES (?1, ?2)", &[id.into(), "Hof".into()])?;
        }
        (0..count).try_for_each(|number| add(sql, number))
    };
    database.write(fill).await.unwrap();
    database
}

fn add(sql: &mut dyn Sql, number: i64) -> Result<(), DatabaseError> {
    // Names that the two engines sort differently, NULL beside the empty text, all bytes.
    let name = format!("{}{number}-ä", if number % 2 == 0 { "a" } else { "B" });
    let age = (number % 3 != 0).then_some(number - 5);
    let photo = (number % 5 != 0).then(|| number.to_be_bytes().to_vec());
    sql.execute(ADD, &[(number % 4).into(), name.into(), age.into(), photo.into()]).map(drop)
}

pub(super) async fn all(database: &Database) -> Vec<Vec<Value>> {
    let text = "SELECT farm, name, age, photo FROM animal";
    let rows = database.read(move |sql| sql.query(text, &[])).await.unwrap();
    let mut rows: Vec<Vec<Value>> = rows.iter().map(|row| row.values().to_vec()).collect();
    rows.sort_by_key(|row| match row.get(1) {
        Some(Value::Text(name)) => name.clone(),
        other => panic!("{other:?}"),
    });
    rows
}

async fn count(database: &Database) -> i64 {
    let rows = database.read(|sql| sql.query(COUNT, &[])).await.unwrap();
    rows[0].int(0).unwrap()
}

pub(super) async fn write(database: &Database, number: i64) -> Result<(), DatabaseError> {
    database.write(move |sql| add(sql, number)).await
}

/// A place where nothing has ever been, or nothing is left.
pub(super) async fn is_empty(stage: &impl Stage) -> bool {
    if let DatabaseUrl::Sqlite(path) = stage.url() {
        return !path.exists();
    }
    let database = open(stage).await;
    let engine = fence::Engine::of(&stage.url());
    database.read(move |sql| fence::names(sql, engine)).await.unwrap().is_empty()
}

async fn every_row_of_every_table_arrives(from: &impl Stage, to: &impl Stage) {
    let source = with_animals(from, 1_234).await;
    let counted = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await.unwrap();
    let rows: Vec<(&str, u64)> = counted.iter().map(|tally| (tally.table, tally.rows)).collect();
    assert_eq!(rows, [("farm", 4), ("guard", 1), ("migration", 1), ("animal", 1_234)]);
    let target = open(to).await;
    target.migrate(SCHEMA).await.unwrap();
    assert_eq!(all(&target).await, all(&source).await);
    write(&target, 5_000).await.unwrap();
}

async fn the_source_reads_on_and_takes_no_write_until_it_is_released(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 10).await;
    relocate(&from.url(), &to.url(), SCHEMA, &tools()).await.unwrap();
    assert_eq!(count(&source).await, 10);
    for text in ["DELETE FROM animal", "UPDATE animal SET age = 1"] {
        let refused = source.write(move |sql| sql.execute(text, &[])).await;
        assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{text}: {refused:?}");
    }
    assert!(matches!(write(&source, 11).await, Err(DatabaseError::Unavailable(_))));
    let Err(DatabaseError::Fenced(told)) = source.migrate(SCHEMA).await else {
        panic!("a server starts on what was moved")
    };
    assert!(told.contains(&super::absolute(&to.url())), "{told}");
    let again = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await;
    assert!(matches!(again, Err(TransferFault::Refused(_))), "{again:?}");

    let released = release(&from.url(), &tools()).await.unwrap();
    assert_eq!(released, Some(super::absolute(&to.url())));
    write(&source, 11).await.unwrap();
    source.migrate(SCHEMA).await.unwrap();
    assert_eq!(release(&from.url(), &tools()).await, Ok(None));
}

async fn a_target_that_is_not_empty_is_refused_and_nothing_changes(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 10).await;
    let target = open(to).await;
    target.migrate(SCHEMA).await.unwrap();
    let refused = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await;
    assert!(matches!(refused, Err(TransferFault::Refused(_))), "{refused:?}");
    write(&source, 10).await.unwrap();
    target.migrate(SCHEMA).await.unwrap();
    assert_eq!(count(&target).await, 0);
    let same = relocate(&from.url(), &from.url(), SCHEMA, &tools()).await;
    assert!(matches!(same, Err(TransferFault::Refused(_))), "{same:?}");
    write(&source, 11).await.unwrap();
}

async fn whatever_was_acknowledged_during_a_move_is_in_the_target(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 2_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (source, stop) = (source.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let number = 10_000 + number * 4 + writer;
                    match write(&source, number).await {
                        Ok(()) => kept.push(number),
                        Err(DatabaseError::Unavailable(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other}"),
                    }
                }
                kept
            })
        })
        .collect();
    let before = source.statistics().units;
    until(|| source.statistics().units > before + 20).await;
    relocate(&from.url(), &to.url(), SCHEMA, &tools()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut kept = 0;
    for writer in writers {
        kept += i64::try_from(writer.await.unwrap().len()).unwrap();
    }
    assert!(kept > 20);
    let target = open(to).await;
    assert_eq!(count(&target).await, 2_000 + kept);
    assert_eq!(all(&target).await, all(&source).await);
}

async fn a_move_that_was_broken_off_leaves_two_databases_that_refuse_and_can_be_run_again(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 100).await;
    let target = open(to).await;
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let (here, there) = (fence::Engine::of(&from.url()), fence::Engine::of(&to.url()));
    fence::claim(&target, there, &tables, "source", "first").await.unwrap();
    make_schema(&target, &tables, SCHEMA).await.unwrap();
    fence::raise(&source, here, &tables, SCHEMA, "target", "first").await.unwrap();
    copy::copy(&source, here, &target, &tables, SCHEMA).await.unwrap();
    // Here it is killed.
    for database in [&source, &target] {
        let refused = database.migrate(SCHEMA).await;
        assert!(matches!(refused, Err(DatabaseError::Fenced(_))), "{refused:?}");
    }
    assert!(write(&source, 100).await.is_err());
    let copied = release(&to.url(), &tools()).await;
    assert!(matches!(copied, Err(TransferFault::Refused(_))), "an unfinished copy stays one");
    target.close().await;

    relocate(&from.url(), &to.url(), SCHEMA, &tools()).await.unwrap();
    let target = open(to).await;
    target.migrate(SCHEMA).await.unwrap();
    assert_eq!(all(&target).await, all(&source).await);
    assert_eq!(fence::settle(&source, "first").await, Ok(false), "the first run lost its hold");
}

async fn a_row_that_was_changed_on_the_way_is_found_and_nothing_is_left(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 100).await;
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let side = super::Side::open(&from.url(), &tools()).await.unwrap();
    let target = super::Side::open(&to.url(), &tools()).await.unwrap();
    fence::claim(&target.database, target.engine, &tables, "source", "it").await.unwrap();
    make_schema(&target.database, &tables, SCHEMA).await.unwrap();
    fence::raise(&source, side.engine, &tables, SCHEMA, "target", "it").await.unwrap();
    let read = copy::copy(&source, side.engine, &target.database, &tables, SCHEMA).await.unwrap();
    let tamper = "UPDATE animal SET age = 99 WHERE name = 'B7-ä'";
    assert_eq!(target.database.write(move |sql| sql.execute(tamper, &[])).await, Ok(1));
    let after = copy::tally(&target.database, &tables).await.unwrap();
    let fault = copy::compare(&read, &after, "both").unwrap_err();
    let TransferFault::Differs(told) = &fault else { panic!("{fault}") };
    assert!(told.contains("animal: 100 rows") && !told.contains("farm"), "{told}");
    let told = super::undo(&side, target, &tables, "it", fault.clone()).await;
    assert_eq!(told, fault);
    assert!(is_empty(to).await);
    write(&source, 100).await.unwrap();
    source.migrate(SCHEMA).await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_not_there_is_refused_and_not_made() {
    let (from, to) = (SqliteFile::empty().await.unwrap(), SqliteFile::empty().await.unwrap());
    let refused = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await;
    assert!(matches!(refused, Err(TransferFault::Refused(_))), "{refused:?}");
    assert!(is_empty(&from).await && is_empty(&to).await);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    static OTHER: &[Migration] = &[Migration {
        version: 1,
        compatible_from: 1,
        name: "other",
        sql: "CREATE TABLE a (id ID PRIMARY KEY);",
    }];
    let (from, to) = (SqliteFile::empty().await.unwrap(), SqliteFile::empty().await.unwrap());
    let source = with_animals(&from, 1).await;
    let refused = relocate(&from.url(), &to.url(), OTHER, &tools()).await;
    assert!(
        matches!(refused, Err(TransferFault::Database(DatabaseError::Migration(_)))),
        "{refused:?}"
    );
    assert!(is_empty(&to).await);
    write(&source, 1).await.unwrap();
}

/// It would leave behind what it does not know.
#[tokio::test]
async fn an_older_build_moves_no_newer_schema_though_it_may_serve_on_it() {
    static NEWER: &[Migration] = &[
        SCHEMA[0],
        Migration {
            version: 2,
            name: "more",
            compatible_from: 1,
            sql: "CREATE TABLE more (id ID PRIMARY KEY);",
        },
    ];
    let (from, to) = (SqliteFile::empty().await.unwrap(), SqliteFile::empty().await.unwrap());
    let source = with_animals(&from, 1).await;
    source.migrate(NEWER).await.unwrap();
    source.migrate(SCHEMA).await.unwrap();
    let refused = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await;
    let fault = DatabaseError::TooNew { database: 2, needs: 2, known: 1 };
    assert_eq!(refused, Err(TransferFault::Database(fault)));
    assert!(is_empty(&to).await);
    write(&source, 1).await.unwrap();
    relocate(&from.url(), &to.url(), NEWER, &tools()).await.unwrap();
}

#[tokio::test]
async fn a_backup_of_sqlite_holds_what_was_acknowledged_before_it_began() {
    backup_of(&SqliteFile::empty().await.unwrap()).await;
}

#[tokio::test]
async fn a_backup_of_postgres_holds_what_was_acknowledged_before_it_began() {
    if let Some(stage) = PostgresDatabase::empty().await {
        backup_of(&stage).await;
    }
}

async fn backup_of(stage: &impl Stage) {
    let database = with_animals(stage, 1_000).await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("copy.db");
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (database, stop) = (database.clone(), Arc::clone(&stop));
        async move {
            for number in 10_000.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                write(&database, number).await.unwrap();
            }
        }
    });
    let units = database.statistics().units;
    until(|| database.statistics().units > units + 20).await;
    let acknowledged = all(&database).await;
    let bytes = backup(&stage.url(), &file, SCHEMA, &tools()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();

    let meta = file.metadata().unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (bytes, 0o600));
    let names: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["copy.db"], "nothing else is left");
    let again = backup(&stage.url(), &file, SCHEMA, &tools()).await;
    assert!(matches!(again, Err(TransferFault::Refused(_))), "{again:?}");

    let copy = Database::open(&DatabaseUrl::Sqlite(file), &Options::default()).await.unwrap();
    copy.migrate(SCHEMA).await.unwrap();
    let kept = all(&copy).await;
    for row in &acknowledged {
        assert!(kept.contains(row));
    }
    write(&copy, 5_000).await.unwrap();
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    let absent = DatabaseUrl::Sqlite(folder.path().join("absent.db"));
    let refused = backup(&absent, &file, SCHEMA, &tools()).await;
    assert!(matches!(refused, Err(TransferFault::Refused(_))), "{refused:?}");
    let spoilt = folder.path().join("spoilt.db");
    std::fs::write(&spoilt, [7; 8192]).unwrap();
    let failed = backup(&DatabaseUrl::Sqlite(spoilt), &file, SCHEMA, &tools()).await;
    assert!(matches!(failed, Err(TransferFault::File(_))), "{failed:?}");
    assert!(!file.exists() && !folder.path().join("copy.db.part").exists());
}
