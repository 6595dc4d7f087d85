//! What only PostgreSQL promises; what every engine does is in `contract`.

use std::time::Duration;

use crate::contract::postgres::PostgresDatabase;
use crate::contract::{ITEMS, Stage, gate, ids, insert, open, with_items, with_items_and};
use crate::{Database, DatabaseError, DatabaseUrl, Migration, Options, Sql};

/// Ends every other connection to the database, as a failing network or an operator does.
const KILL: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";
/// Locks a row.
const TOUCH: &str = "UPDATE item SET flag = 1 WHERE id = ?1";
/// Cancels what every other connection is doing.
const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

fn is_unavailable<T>(outcome: &Result<T, DatabaseError>) -> bool {
    matches!(outcome, Err(DatabaseError::Unavailable(_)))
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_harms_no_unit() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    for id in 1..=20 {
        stage.command(KILL).await;
        database.write(move |sql| insert(sql, id)).await.unwrap();
        assert_eq!(ids(&database).await.len(), usize::try_from(id).unwrap());
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_unit_keeps_nothing_and_the_next_unit_works() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    let (gate, mut door) = gate();
    let staying = tokio::spawn({
        let database = database.clone();
        async move {
            let work = move |sql: &mut dyn Sql| {
                insert(sql, 1)?;
                door.pass();
                insert(sql, 2)
            };
            database.write(work).await
        }
    });
    let gate = gate.entered().await;
    stage.command(KILL).await;
    gate.open();
    let outcome = staying.await.unwrap();
    assert!(is_unavailable(&outcome), "{outcome:?}");
    database.write(|sql| insert(sql, 3)).await.unwrap();
    assert_eq!(ids(&database).await, [3]);
}

#[tokio::test]
async fn a_commit_that_nobody_confirms_is_unknown() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    let (gate, mut door) = gate();
    let staying = tokio::spawn({
        let database = database.clone();
        async move {
            let work = move |sql: &mut dyn Sql| {
                insert(sql, 1)?;
                door.pass();
                Ok(())
            };
            database.write(work).await
        }
    });
    let gate = gate.entered().await;
    stage.command(KILL).await;
    gate.open();
    assert_eq!(staying.await.unwrap(), Err(DatabaseError::OutcomeUnknown));
    assert!(database.is_healthy(), "the server's disk is the server's care");
    database.write(|sql| insert(sql, 2)).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_statement_undoes_its_unit() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    let sleeping = tokio::spawn({
        let database = database.clone();
        let work = |sql: &mut dyn Sql| {
            insert(sql, 1)?;
            sql.query("SELECT count(*) FROM (SELECT pg_sleep(60)) AS t", &[])
        };
        async move { database.write(work).await }
    });
    // Nobody hears when it has begun to sleep, so it is cancelled until it is.
    while !sleeping.is_finished() {
        stage.command(CANCEL).await;
    }
    let outcome = sleeping.await.unwrap();
    assert!(is_unavailable(&outcome), "{outcome:?}");
    assert!(ids(&database).await.is_empty());
}

#[tokio::test]
async fn a_statement_and_a_lock_have_their_time() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let hasty = Options {
        statement_timeout: Duration::from_millis(200),
        lock_timeout: Duration::from_millis(50),
        writers: 2,
        ..Options::default()
    };
    let database = with_items_and(&stage, hasty).await;
    let slow =
        database.read(|sql| sql.query("SELECT count(*) FROM (SELECT pg_sleep(60)) AS t", &[]));
    let slow = slow.await;
    assert!(is_unavailable(&slow), "{slow:?}");

    database.write(|sql| insert(sql, 1)).await.unwrap();
    let (gate, mut door) = gate();
    let holding = tokio::spawn({
        let database = database.clone();
        async move {
            let work = move |sql: &mut dyn Sql| {
                sql.execute(TOUCH, &[1.into()])?;
                door.pass();
                Ok::<_, DatabaseError>(())
            };
            database.write(work).await
        }
    });
    let gate = gate.entered().await;
    let waiting = database.write(|sql| sql.execute(TOUCH, &[1.into()])).await;
    assert!(is_unavailable(&waiting), "{waiting:?}");
    gate.open();
    holding.await.unwrap().unwrap();
}

#[tokio::test]
async fn units_that_deadlock_both_end_well() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    database.write(|sql| insert(sql, 1).and_then(|()| insert(sql, 2))).await.unwrap();
    let (gates, doors): (Vec<_>, Vec<_>) = [gate(), gate()].into_iter().unzip();
    let units: Vec<_> = doors
        .into_iter()
        .zip([(1, 2), (2, 1)])
        .map(|(mut door, (first, second))| {
            let database = database.clone();
            let mut runs = 0;
            let work = move |sql: &mut dyn Sql| {
                sql.execute(TOUCH, &[first.into()])?;
                runs += 1;
                if runs == 1 {
                    door.pass();
                }
                sql.execute(TOUCH, &[second.into()])
            };
            tokio::spawn(async move { database.write(work).await })
        })
        .collect();
    let mut open = Vec::new();
    for gate in gates {
        open.push(gate.entered().await);
    }
    open.into_iter().for_each(crate::contract::Gate::open);
    for unit in units {
        assert_eq!(unit.await.unwrap(), Ok(1));
    }
}

#[tokio::test]
async fn a_statement_survives_a_change_of_the_schema_by_another_instance() {
    static WIDER: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            compatible_from: 2,
            name: "0002_wider",
            sql: "ALTER TABLE item ADD COLUMN note TEXT;",
        },
    ];
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (here, there) = (with_items(&stage).await, open(&stage).await);
    let all = async |database: &Database| {
        let rows = database.read(|sql| sql.query("SELECT * FROM item", &[])).await;
        rows.map(|rows| rows.len())
    };
    here.write(|sql| insert(sql, 1)).await.unwrap();
    assert_eq!(all(&here).await, Ok(1));
    there.migrate(WIDER).await.unwrap();
    assert_eq!(all(&here).await, Ok(1), "prepared before the column came");
}

/// Who waits for a table makes everybody behind wait; so a migration waits a little at a time, and lets them pass.
#[tokio::test]
async fn a_migration_that_waits_for_a_long_reader_stops_nobody() {
    static WIDER: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            name: "0002_wider",
            compatible_from: 1,
            sql: "ALTER TABLE item ADD COLUMN note TEXT;",
        },
    ];
    const WAITING: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.relation = 'item'::regclass AND NOT l.granted";
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (here, there) = (with_items(&stage).await, open(&stage).await);
    let (gate, mut door) = gate();
    let reading = here.clone();
    let reading = tokio::spawn(async move {
        let long = move |sql: &mut dyn Sql| {
            sql.query("SELECT id FROM item", &[])?;
            door.pass();
            Ok::<_, DatabaseError>(())
        };
        reading.read(long).await
    });
    let gate = gate.entered().await;
    let migrating = tokio::spawn(async move { there.migrate(WIDER).await });
    for id in 1..=3 {
        while here.read(|sql| sql.query(WAITING, &[])).await.unwrap()[0].int(0) == Ok(0) {
            tokio::task::yield_now().await;
        }
        here.write(move |sql| insert(sql, id)).await.unwrap();
    }
    gate.open();
    reading.await.unwrap().unwrap();
    migrating.await.unwrap().unwrap();
    assert_eq!(ids(&here).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_comparison_is_a_flag_and_a_count_an_integer() {
    const ASK: &str = "SELECT id = ?1, count(*) FROM item GROUP BY id";
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items(&stage).await;
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let rows = database.read(|sql| sql.query(ASK, &[1.into()])).await.unwrap();
    assert_eq!((rows[0].flag(0), rows[0].int(1)), (Ok(true), Ok(1)));
}

#[tokio::test]
async fn what_a_unit_costs_is_counted() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let database = with_items_and(&stage, Options { writers: 1, ..Options::default() }).await;
    let cost = async |id: i64| {
        let before = database.statistics();
        database.write(move |sql| insert(sql, id)).await.unwrap();
        let after = database.statistics();
        (after.statements - before.statements, after.round_trips - before.round_trips)
    };
    assert_eq!(cost(1).await, (1, 4), "BEGIN, PREPARE, the statement, COMMIT");
    assert_eq!(cost(2).await, (1, 3), "prepared once");
}

/// `IF NOT EXISTS` looks at the name alone, and what a failed CREATE INDEX CONCURRENTLY leaves bears it for ever.
#[tokio::test]
async fn an_index_that_was_built_beforehand_is_taken_only_if_it_is_the_one_that_is_meant() {
    static INDEXED: &[Migration] = &[
        ITEMS[0],
        Migration {
            version: 2,
            name: "0002_flags",
            compatible_from: 1,
            sql: "CREATE TABLE other (id ID PRIMARY KEY);
                  CREATE INDEX IF NOT EXISTS item_flag ON item (flag);",
        },
    ];
    static WHOLE: &[Migration] = &[ITEMS[0], Migration { compatible_from: 2, ..INDEXED[1] }];
    for (list, beforehand, word) in [
        (
            INDEXED,
            "CREATE INDEX item_flag ON item (flag);
             UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'item_flag'::regclass;",
            "CONCURRENTLY",
        ),
        (
            WHOLE,
            "CREATE INDEX item_flag ON item (flag);
             UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'item_flag'::regclass;",
            "CONCURRENTLY",
        ),
        (INDEXED, "CREATE UNIQUE INDEX item_flag ON item (flag);", "UNIQUE"),
        (INDEXED, "CREATE INDEX item_flag ON guard (name);", "of the table item"),
    ] {
        let Some(stage) = PostgresDatabase::empty().await else { return };
        let database = with_items(&stage).await;
        stage.command(beforehand).await;
        let fault = database.migrate(list).await.unwrap_err();
        let DatabaseError::Migration(told) = &fault else { panic!("{fault}") };
        for word in ["0002_flags", "DROP INDEX item_flag", word] {
            assert!(told.contains(word), "{told}");
        }
        stage.command("DROP INDEX item_flag; CREATE INDEX item_flag ON item (flag)").await;
        database.migrate(list).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_when_opening() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let url = stage.url().to_string();
    let elsewhere = |from: &str, to: &str| url.replace(from, to).parse::<DatabaseUrl>().unwrap();
    for (wrong, word) in [
        (elsewhere("/contract_", "/absent_"), "does not exist"),
        ("postgres://postgres@127.0.0.1:1/d".parse().unwrap(), "refused"),
        ("postgres://postgres@host.invalid/d?sslmode=disable".parse().unwrap(), ""),
    ] {
        let fault = Database::open(&wrong, &Options::default()).await.unwrap_err();
        assert!(matches!(&fault, DatabaseError::Open(text) if text.contains(word)), "{fault}");
    }
    let encrypted = format!("{url}?sslmode=require").replacen("://", "://postgres@", 1);
    let fault = Database::open(&encrypted.parse().unwrap(), &Options::default()).await.unwrap_err();
    assert!(fault.to_string().contains("TLS"), "the server of the tests speaks none: {fault}");
}
