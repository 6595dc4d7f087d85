//! Claims about a source whose schema a newer build changes meanwhile: nothing of it is lost, whoever comes first.

use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;

use super::tests::{SCHEMA, all, is_empty, tools, with_animals, write};
use super::{FENCED, TransferFault, backup, copy, fence, relocate, schema};
use crate::contract::postgres::PostgresDatabase;
use crate::contract::{SqliteFile, Stage, gate, open};
use crate::job::{Kind, Session};
use crate::migrate::{self, Progress};
use crate::{Database, DatabaseError, DatabaseUrl, Migration, Options, Sql};

static NEWER: &[Migration] = &[
    SCHEMA[0],
    Migration {
        version: 2,
        name: "0002_more",
        compatible_from: 1,
        sql: "CREATE TABLE more (id ID PRIMARY KEY);
              ALTER TABLE animal ADD COLUMN note TEXT;
              CREATE TABLE blocker (id ID PRIMARY KEY);
              CREATE TABLE last (id ID PRIMARY KEY);",
    },
];

const BEGUN: DatabaseError = DatabaseError::Unfinished { version: 2 };

pairs! {
    a_schema_that_a_newer_build_has_begun_is_not_moved,
    a_migration_that_begins_after_the_check_is_stopped_by_the_fence,
    a_statement_that_is_under_way_when_the_fence_comes_is_seen,
    a_newer_build_that_migrates_beside_a_move_loses_nothing,
}

/// As after a crash behind two of four statements.
async fn begun(stage: &impl Stage) -> Database {
    let source = with_animals(stage, 10).await;
    run(&source, "CREATE TABLE blocker (name TEXT PRIMARY KEY)").await;
    let fault = source.migrate(NEWER).await;
    assert!(matches!(fault, Err(DatabaseError::Migration(_))), "{fault:?}");
    source.migrate(SCHEMA).await.unwrap();
    source
}

async fn run(database: &Database, text: &'static str) {
    database.write(move |sql| sql.execute(text, &[]).map(drop)).await.unwrap();
}

async fn step(database: &Database) -> Result<Progress, DatabaseError> {
    let step = |session: &mut dyn Session| migrate::step(session, NEWER);
    database.submit(Kind::Write, Location::caller(), step).await
}

/// All of it is there, and no count is left.
async fn has_the_newer_schema(database: &Database) {
    database.migrate(NEWER).await.unwrap();
    let ask = |sql: &mut dyn Sql| {
        for text in ["SELECT id FROM more", "SELECT id FROM blocker", "SELECT id FROM last"] {
            sql.query(text, &[])?;
        }
        sql.query("SELECT note FROM animal", &[])?;
        sql.query("SELECT name FROM guard", &[])
    };
    let guards = database.read(ask).await.unwrap();
    let guards: Vec<_> = guards.iter().map(|row| row.text(0).unwrap()).collect();
    assert_eq!(guards, ["migration"]);
}

async fn a_schema_that_a_newer_build_has_begun_is_not_moved(from: &impl Stage, to: &impl Stage) {
    let source = begun(from).await;
    let refused = relocate(&from.url(), &to.url(), SCHEMA, &tools()).await;
    assert_eq!(refused, Err(TransferFault::Database(BEGUN)));
    assert!(BEGUN.to_string().contains("migration 2"), "{BEGUN}");
    assert!(is_empty(to).await);
    write(&source, 10).await.unwrap();

    run(&source, "DROP TABLE blocker").await;
    relocate(&from.url(), &to.url(), NEWER, &tools()).await.unwrap();
    let target = open(to).await;
    has_the_newer_schema(&target).await;
    assert_eq!(all(&target).await, all(&source).await);
}

async fn a_migration_that_begins_after_the_check_is_stopped_by_the_fence(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 10).await;
    let newer = open(from).await;
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let engine = fence::Engine::of(&from.url());
    fence::raise(&source, engine, &tables, SCHEMA, "target", "first").await.unwrap();
    // It was through with what it asks at its start.
    assert_eq!(step(&newer).await, Err(DatabaseError::Unavailable(FENCED)));
    let names = source.read(move |sql| fence::names(sql, engine)).await.unwrap();
    assert!(!names.iter().any(|name| name == "more"), "{names:?}");

    relocate(&from.url(), &to.url(), SCHEMA, &tools()).await.unwrap();
    has_the_newer_schema(&open(to).await).await;
}

async fn a_statement_that_is_under_way_when_the_fence_comes_is_seen(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 10).await;
    let newer = open(from).await;
    let (gate, mut door) = gate();
    let stepping = tokio::spawn({
        let newer = newer.clone();
        async move {
            let work = move |session: &mut dyn Session| {
                let progress = migrate::step(session, NEWER)?;
                door.pass();
                Ok::<_, DatabaseError>(progress)
            };
            newer.submit(Kind::Write, Location::caller(), work).await
        }
    });
    let gate = gate.entered().await;
    // Nothing of it can be seen yet.
    let seen = source.read(|sql| migrate::is_current(sql, SCHEMA)).await;
    assert_eq!(seen, Ok(true));
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let engine = fence::Engine::of(&from.url());
    let fencing = async {
        let tool = Database::open(&from.url(), &tools()).await.unwrap();
        fence::raise(&tool, engine, &tables, SCHEMA, "target", "first").await
    };
    let leaving = async {
        tokio::task::yield_now().await;
        gate.open();
    };
    let (refused, ()) = tokio::join!(fencing, leaving);
    assert_eq!(refused, Err(TransferFault::Database(BEGUN)));
    assert_eq!(stepping.await.unwrap(), Ok(Progress::Begun));

    newer.migrate(NEWER).await.unwrap();
    relocate(&from.url(), &to.url(), NEWER, &tools()).await.unwrap();
    has_the_newer_schema(&open(to).await).await;
}

async fn a_newer_build_that_migrates_beside_a_move_loses_nothing(
    from: &impl Stage,
    to: &impl Stage,
) {
    let source = with_animals(from, 100).await;
    let newer = Database::open(&from.url(), &tools()).await.unwrap();
    let migrating = tokio::spawn(async move { newer.migrate(NEWER).await });
    match relocate(&from.url(), &to.url(), SCHEMA, &tools()).await {
        Ok(_) => {
            let migrated = migrating.await.unwrap();
            assert!(
                matches!(
                    migrated,
                    Err(DatabaseError::Unavailable(FENCED) | DatabaseError::Fenced(_))
                ),
                "{migrated:?}"
            );
            has_the_newer_schema(&open(to).await).await;
        }
        Err(TransferFault::Database(BEGUN | DatabaseError::TooNew { database: 2, .. })) => {
            migrating.await.unwrap().unwrap();
            assert!(is_empty(to).await);
            has_the_newer_schema(&source).await;
        }
        Err(fault) => panic!("{fault}"),
    }
}

#[tokio::test]
async fn a_half_done_migration_goes_into_a_backup_of_sqlite_as_it_is() {
    let stage = SqliteFile::empty().await.unwrap();
    drop(begun(&stage).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    backup(&stage.url(), &file, SCHEMA, &tools()).await.unwrap();
    let copy = Database::open(&DatabaseUrl::Sqlite(file), &Options::default()).await.unwrap();
    run(&copy, "DROP TABLE blocker").await;
    has_the_newer_schema(&copy).await;
}

#[tokio::test]
async fn a_schema_that_a_newer_build_has_begun_is_not_backed_up_by_rows() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let source = begun(&stage).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    let refused = backup(&stage.url(), &file, SCHEMA, &tools()).await;
    assert_eq!(refused, Err(TransferFault::Database(BEGUN)));
    assert!(!file.exists());
    run(&source, "DROP TABLE blocker").await;
    source.migrate(NEWER).await.unwrap();
    backup(&stage.url(), &file, NEWER, &tools()).await.unwrap();
    has_the_newer_schema(&opened(file).await).await;
}

#[tokio::test]
async fn a_newer_build_that_migrates_beside_a_backup_loses_nothing() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let source = with_animals(&stage, 100).await;
    let newer = open(&stage).await;
    let migrating = tokio::spawn(async move { newer.migrate(NEWER).await });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    let outcome = backup(&stage.url(), &file, SCHEMA, &tools()).await;
    migrating.await.unwrap().unwrap();
    has_the_newer_schema(&source).await;
    match outcome {
        Ok(_) => has_the_newer_schema(&opened(file).await).await,
        Err(TransferFault::Database(BEGUN | DatabaseError::TooNew { database: 2, .. })) => {}
        Err(fault) => panic!("{fault}"),
    }
}

async fn opened(file: PathBuf) -> Database {
    Database::open(&DatabaseUrl::Sqlite(file), &Options::default()).await.unwrap()
}

/// Past every earlier check: what counts is the moment of which the rows are.
#[tokio::test]
async fn what_is_copied_is_judged_by_the_snapshot_that_it_is_read_from() {
    let (from, to) = (SqliteFile::empty().await.unwrap(), SqliteFile::empty().await.unwrap());
    judged_by_its_snapshot(&from, &to).await;
    if let Some(from) = PostgresDatabase::empty().await {
        judged_by_its_snapshot(&from, &to).await;
    }
}

async fn judged_by_its_snapshot(from: &impl Stage, to: &impl Stage) {
    let source = begun(from).await;
    let target = open(to).await;
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let engine = fence::Engine::of(&from.url());
    let refused = copy::copy(&source, engine, &target, &tables, SCHEMA).await;
    assert_eq!(refused, Err(TransferFault::Database(BEGUN)));
    let fenced = fence::raise(&source, engine, &tables, SCHEMA, "target", "first").await;
    assert_eq!(fenced, Err(TransferFault::Database(BEGUN)));
    let counted = copy::tally(&source, &tables).await.unwrap();
    let guard = counted.iter().find(|tally| tally.table == "guard").unwrap();
    assert_eq!(guard.rows, 1, "how far a migration has come is none of what is moved");
}

/// A table that is written anew under a reader would be empty to it.
#[tokio::test]
async fn nobody_redefines_a_table_that_a_copy_has_still_to_read() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let source = with_animals(&stage, 10).await;
    let tables: Arc<[_]> = schema::tables(SCHEMA).unwrap().into();
    let (gate, mut door) = gate();
    let reading = tokio::spawn({
        let source = source.clone();
        async move {
            let read = move |session: &mut dyn Session| {
                fence::hold_definitions(session, fence::Engine::Postgres, &tables)?;
                session.query("SELECT version FROM guard", &[])?;
                door.pass();
                session.query("SELECT name FROM animal", &[])
            };
            source.submit::<_, DatabaseError>(Kind::Read, Location::caller(), read).await
        }
    });
    let gate = gate.entered().await;
    let rewrite = |session: &mut dyn Session| {
        session.be_brief()?;
        session.define("ALTER TABLE animal ALTER COLUMN age TYPE TEXT")
    };
    let held = source.submit(Kind::Write, Location::caller(), rewrite).await;
    assert_eq!(held, Err(DatabaseError::Unavailable(migrate::HELD)));
    gate.open();
    assert_eq!(reading.await.unwrap().unwrap().len(), 10);
    source.submit(Kind::Write, Location::caller(), rewrite).await.unwrap();
}
