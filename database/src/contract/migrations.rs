//! What a schema's history may rely on.

use tokio::task::JoinSet;

use super::{ITEMS, Stage, ids, insert, open};
use crate::{Database, DatabaseError, Migration};

static GROWN: &[Migration] = &[ITEMS[0], NOTES];

const NOTES: Migration = Migration {
    version: 2,
    name: "0002_notes",
    sql: "CREATE TABLE note (id ID PRIMARY KEY, item INT NOT NULL REFERENCES item (id));
          INSERT INTO item (id) VALUES (100);",
};

pub(super) async fn instances_that_start_together_migrate_once(stage: &impl Stage) {
    let mut instances = JoinSet::new();
    for _ in 0..4 {
        let url = stage.url();
        instances.spawn(async move {
            let database = Database::open(&url, &crate::Options::default()).await?;
            database.migrate(GROWN).await?;
            Ok::<_, DatabaseError>(database)
        });
    }
    for instance in instances.join_all().await {
        // A migration that ran twice would have met its own row.
        assert_eq!(ids(&instance.unwrap()).await, [100]);
    }
}

pub(super) async fn a_schema_grows_by_what_is_new(stage: &impl Stage) {
    const ORPHAN: &str = "INSERT INTO note (id, item) VALUES (1, 55)";
    let database = open(stage).await;
    database.migrate(ITEMS).await.unwrap();
    database.write(|sql| insert(sql, 1)).await.unwrap();
    database.migrate(ITEMS).await.unwrap();
    database.migrate(GROWN).await.unwrap();
    database.migrate(GROWN).await.unwrap();
    assert_eq!(ids(&database).await, [1, 100]);

    let orphan = database.write(|sql| sql.execute(ORPHAN, &[])).await;
    assert!(matches!(orphan, Err(DatabaseError::Conflict(_))), "REFERENCES holds: {orphan:?}");
}

pub(super) async fn an_edited_migration_is_refused(stage: &impl Stage) {
    static EDITED: &[Migration] =
        &[Migration { sql: "CREATE TABLE item (id ID PRIMARY KEY);", ..ITEMS[0] }, NOTES];
    refused_after(stage, ITEMS, EDITED, "edited").await;
}

pub(super) async fn a_migration_slipped_in_between_is_refused(stage: &impl Stage) {
    static BETWEEN: &[Migration] =
        &[ITEMS[0], NOTES, Migration { version: 3, name: "0003_later", sql: "" }];
    static FIRST: &[Migration] = &[ITEMS[0], BETWEEN[2]];
    refused_after(stage, FIRST, BETWEEN, "0003_later").await;
}

pub(super) async fn a_database_of_a_newer_build_is_refused(stage: &impl Stage) {
    refused_after(stage, GROWN, ITEMS, "newer").await;
}

pub(super) async fn a_failing_migration_leaves_nothing(stage: &impl Stage) {
    static FAILING: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            name: "0002_faulty",
            sql: "DELETE FROM item; DELETE FROM nothing;",
        },
    ];
    let database = open(stage).await;
    database.migrate(ITEMS).await.unwrap();
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let fault = database.migrate(FAILING).await.unwrap_err();
    assert!(matches!(&fault, DatabaseError::Migration(text) if text.contains("0002_faulty")));
    assert_eq!(ids(&database).await, [1], "its first statement is undone as well");
    database.migrate(GROWN).await.unwrap();
}

/// Once `first` is applied, `then` is refused with a message that has `word`, and changes nothing.
async fn refused_after(
    stage: &impl Stage,
    first: &'static [Migration],
    then: &'static [Migration],
    word: &str,
) {
    let database = open(stage).await;
    database.migrate(first).await.unwrap();
    let before = ids(&database).await;
    let fault = database.migrate(then).await.unwrap_err();
    assert!(matches!(&fault, DatabaseError::Migration(text) if text.contains(word)), "{fault}");
    assert_eq!(ids(&database).await, before);
    database.migrate(first).await.unwrap();
}
