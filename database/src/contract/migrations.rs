//! What a schema's history may rely on.

use tokio::task::JoinSet;

use super::{ITEMS, Stage, ids, insert, open};
use crate::{Database, DatabaseError, Migration};

static GROWN: &[Migration] = &[ITEMS[0], NOTES];

const NOTES: Migration = Migration {
    version: 2,
    compatible_from: 2,
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
            database.migrate(TAGGED).await?;
            Ok::<_, DatabaseError>(database)
        });
    }
    for instance in instances.join_all().await {
        // A migration that ran twice would have met its own row, a statement of one that only adds its own table.
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
    static BETWEEN: &[Migration] = &[
        ITEMS[0],
        NOTES,
        Migration { version: 3, compatible_from: 3, name: "0003_later", sql: "" },
    ];
    static FIRST: &[Migration] = &[ITEMS[0], BETWEEN[2]];
    refused_after(stage, FIRST, BETWEEN, "0003_later").await;
}

/// Only adds, and says so.
const TAGS: Migration = Migration {
    version: 3,
    name: "0003_tags",
    compatible_from: 2,
    sql: "CREATE TABLE tag (id ID PRIMARY KEY, text TEXT NOT NULL);
          ALTER TABLE item ADD COLUMN note TEXT;
          ALTER TABLE item ADD COLUMN weight INT NOT NULL DEFAULT 7;
          CREATE INDEX IF NOT EXISTS item_weight ON item (weight);",
};

static TAGGED: &[Migration] = &[ITEMS[0], NOTES, TAGS];

pub(super) async fn a_database_of_a_newer_build_is_refused(stage: &impl Stage) {
    let fault = refused_after(stage, TAGGED, ITEMS, "schema 3").await;
    assert_eq!(fault, DatabaseError::TooNew { database: 3, needs: 2, known: 1 });
    for version in ["schema 2 or later", "knows schema 1"] {
        assert!(fault.to_string().contains(version), "{fault}");
    }
}

pub(super) async fn a_schema_that_a_newer_build_has_only_added_to_is_accepted(stage: &impl Stage) {
    const WEIGHTS: &str = "SELECT weight FROM item WHERE note IS NULL";
    let (here, there) = (open(stage).await, open(stage).await);
    here.migrate(GROWN).await.unwrap();
    here.write(|sql| insert(sql, 1)).await.unwrap();
    there.migrate(TAGGED).await.unwrap();
    here.write(|sql| insert(sql, 2)).await.unwrap();
    let again = open(stage).await;
    again.migrate(GROWN).await.unwrap();
    again.write(|sql| insert(sql, 3)).await.unwrap();
    assert_eq!(ids(&again).await, [1, 2, 3, 100]);
    let rows = there.read(|sql| sql.query(WEIGHTS, &[])).await.unwrap();
    let weights: Vec<_> = rows.iter().map(|row| row.int(0).unwrap()).collect();
    assert_eq!(weights, [7; 4], "also of rows that older builds have made since");
    there.migrate(TAGGED).await.unwrap();
}

/// As after a crash in the middle: the statement that failed first is begun again, those before it are not.
pub(super) async fn a_migration_that_only_adds_goes_on_where_it_ended(stage: &impl Stage) {
    static FAILING: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            name: "0002_halves",
            compatible_from: 1,
            sql: "CREATE TABLE half (id ID PRIMARY KEY); CREATE TABLE other (id ID PRIMARY KEY);",
        },
    ];
    let database = open(stage).await;
    database.migrate(ITEMS).await.unwrap();
    let run = async |text: &'static str| {
        database.write(move |sql| sql.execute(text, &[]).map(drop)).await
    };
    run("CREATE TABLE other (name TEXT)").await.unwrap();
    let fault = database.migrate(FAILING).await.unwrap_err();
    assert!(matches!(&fault, DatabaseError::Migration(text) if text.contains("0002_halves")));
    run("INSERT INTO half (id) VALUES (5)").await.unwrap();
    database.migrate(ITEMS).await.unwrap();
    run("DROP TABLE other").await.unwrap();
    database.migrate(FAILING).await.unwrap();
    run("INSERT INTO other (id) SELECT id FROM half").await.unwrap();
    let left = database.read(|sql| sql.query("SELECT name FROM guard", &[])).await.unwrap();
    assert_eq!(left.len(), 1, "nothing is left of the count");
}

/// What was begun is finished by the build that began it, or by nobody: its statements would be taken for another's.
pub(super) async fn what_was_begun_is_not_gone_on_with_as_something_else(stage: &impl Stage) {
    const BEGUN: Migration = Migration {
        version: 2,
        name: "0002_begun",
        compatible_from: 1,
        sql: "CREATE TABLE half (id ID PRIMARY KEY); CREATE TABLE other (id ID PRIMARY KEY);",
    };
    const EDITED: Migration = Migration {
        name: "0002_edited",
        sql: "CREATE INDEX IF NOT EXISTS item_flag ON item (flag);",
        ..BEGUN
    };
    static FIRST: &[Migration] = &[ITEMS[0], BEGUN];
    static SECOND: &[Migration] = &[ITEMS[0], EDITED];
    static WHOLE: &[Migration] =
        &[ITEMS[0], Migration { compatible_from: 2, name: "0002_whole", ..EDITED }];
    let database = open(stage).await;
    database.migrate(ITEMS).await.unwrap();
    let run = async |text: &'static str| {
        database.write(move |sql| sql.execute(text, &[]).map(drop)).await.unwrap();
    };
    run("CREATE TABLE other (name TEXT PRIMARY KEY)").await;
    assert!(database.migrate(FIRST).await.is_err());
    for (list, name) in [(SECOND, "0002_edited"), (WHOLE, "0002_whole")] {
        let fault = database.migrate(list).await.unwrap_err();
        let DatabaseError::Migration(told) = &fault else { panic!("{fault}") };
        assert!(told.contains(name) && told.contains("was begun"), "{told}");
    }
    run("DROP TABLE other").await;
    database.migrate(FIRST).await.unwrap();
}

pub(super) async fn a_newer_schema_is_held_to_what_is_known_of_it(stage: &impl Stage) {
    static EDITED: &[Migration] =
        &[ITEMS[0], Migration { sql: "CREATE TABLE note (id ID PRIMARY KEY);", ..NOTES }];
    refused_after(stage, TAGGED, EDITED, "edited").await;
}

pub(super) async fn a_migration_that_only_says_that_it_adds_is_not_begun(stage: &impl Stage) {
    static TAKING: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            name: "0002_taking",
            compatible_from: 1,
            sql: "CREATE TABLE tag (id ID PRIMARY KEY); ALTER TABLE item DROP COLUMN flag;",
        },
    ];
    refused_after(stage, ITEMS, TAKING, "0002_taking").await;
}

pub(super) async fn a_failing_migration_leaves_nothing(stage: &impl Stage) {
    static FAILING: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            compatible_from: 2,
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
) -> DatabaseError {
    let database = open(stage).await;
    database.migrate(first).await.unwrap();
    let before = ids(&database).await;
    let fault = database.migrate(then).await.unwrap_err();
    let of_migrations = matches!(fault, DatabaseError::Migration(_) | DatabaseError::TooNew { .. });
    assert!(of_migrations && fault.to_string().contains(word), "{fault}");
    assert_eq!(ids(&database).await, before);
    database.migrate(first).await.unwrap();
    fault
}
