//! What one unit of work may rely on.

use super::{
    Stage, ids, insert, insert_and_stay, insert_later, until, with_items, with_items_in_a_row,
};
use crate::{DatabaseError, Sql, Value};

pub(super) async fn committed_work_is_seen_by_every_later_read(stage: &impl Stage) {
    let (writer, other) = (with_items(stage).await, with_items(stage).await);
    for id in 1..=50 {
        writer.write(move |sql| insert(sql, id)).await.unwrap();
        assert_eq!(ids(&writer).await.last(), Some(&id), "through the same instance");
        assert_eq!(ids(&other).await.last(), Some(&id), "through another one");
    }
}

pub(super) async fn rolled_back_work_leaves_nothing(stage: &impl Stage) {
    #[derive(Debug, PartialEq)]
    enum Refusal {
        ChangedMyMind,
        Database(DatabaseError),
    }
    impl From<DatabaseError> for Refusal {
        fn from(error: DatabaseError) -> Self {
            Self::Database(error)
        }
    }

    let database = with_items(stage).await;
    let outcome: Result<(), Refusal> = database
        .write(|sql| {
            insert(sql, 1)?;
            let own = sql.query("SELECT id FROM item", &[])?;
            assert_eq!(own.len(), 1, "a unit sees its own changes");
            Err(Refusal::ChangedMyMind)
        })
        .await;
    assert_eq!(outcome, Err(Refusal::ChangedMyMind));
    assert!(ids(&database).await.is_empty());
}

pub(super) async fn a_failed_unit_undoes_itself_and_no_neighbor(stage: &impl Stage) {
    let database = with_items_in_a_row(stage).await;
    // All of these wait for the first, and may then share its transaction.
    let (gate, first) = insert_and_stay(&database, 1).await;
    let failing = {
        let database = database.clone();
        tokio::spawn(async move {
            let work = |sql: &mut dyn Sql| {
                insert(sql, 2)?;
                insert(sql, 3)?;
                Err::<(), _>(DatabaseError::Corrupt("a fault of its own".into()))
            };
            database.write(work).await
        })
    };
    let last = insert_later(&database, 4);
    until(|| database.statistics().queued_writes == 2).await;
    gate.open();

    assert_eq!(first.await.unwrap(), Ok(()));
    assert!(failing.await.unwrap().is_err());
    assert_eq!(last.await.unwrap(), Ok(()));
    assert_eq!(ids(&database).await, [1, 4]);
}

pub(super) async fn the_first_failure_wins_over_an_ok(stage: &impl Stage) {
    let database = with_items(stage).await;
    let outcome: Result<(), DatabaseError> = database
        .write(|sql| {
            insert(sql, 1)?;
            let first = insert(sql, 1).unwrap_err();
            let later = sql.execute("INSERT INTO item (id) VALUES (2)", &[]).unwrap_err();
            assert_eq!(later, first, "nothing works after a failure");
            assert_eq!(sql.query("SELECT id FROM item", &[]).unwrap_err(), first);
            Ok(())
        })
        .await;
    assert!(matches!(outcome, Err(DatabaseError::Conflict(_))), "{outcome:?}");
    assert!(ids(&database).await.is_empty());
}

pub(super) async fn a_panic_harms_only_its_own_unit(stage: &impl Stage) {
    let database = with_items_in_a_row(stage).await;
    let (gate, first) = insert_and_stay(&database, 1).await;
    let panicking = {
        let database = database.clone();
        tokio::spawn(async move {
            let work = |sql: &mut dyn Sql| -> Result<(), DatabaseError> {
                insert(sql, 2)?;
                panic!("a bug in a store");
            };
            database.write(work).await
        })
    };
    let last = insert_later(&database, 3);
    until(|| database.statistics().queued_writes == 2).await;
    gate.open();

    assert_eq!(first.await.unwrap(), Ok(()));
    let outcome = panicking.await.unwrap();
    assert!(
        matches!(&outcome, Err(DatabaseError::Panicked(place)) if place.contains("units.rs")),
        "the answer names the place that asked: {outcome:?}"
    );
    assert_eq!(last.await.unwrap(), Ok(()));

    let read: Result<(), DatabaseError> = database.read(|_| panic!("a bug in a store")).await;
    assert!(matches!(read, Err(DatabaseError::Panicked(_))), "{read:?}");
    assert_eq!(ids(&database).await, [1, 3]);
    assert!(database.is_healthy());
}

pub(super) async fn a_read_cannot_write(stage: &impl Stage) {
    let database = with_items(stage).await;
    let outcome = database.read(|sql| insert(sql, 1)).await;
    assert!(matches!(outcome, Err(DatabaseError::Statement(_))), "{outcome:?}");
    assert!(ids(&database).await.is_empty());
}

pub(super) async fn values_and_rows_round_trip(stage: &impl Stage) {
    const INSERT: &str = "INSERT INTO item (id, name, flag, data) VALUES (?1, ?2, ?3, ?4)";
    const SELECT: &str = "SELECT id, name, flag, data FROM item ORDER BY id";
    const SELECT_BY_NAME: &str = "SELECT id FROM item WHERE name = ?1";
    type Sample = (i64, Option<&'static str>, bool, Option<Vec<u8>>);
    let samples: [Sample; 4] = [
        (i64::MIN, None, false, None),
        (0, Some(""), true, Some(Vec::new())),
        (1, Some("Zoë's ‘naïve’ 🦀; DROP TABLE item --"), false, Some(vec![0, 1, 127, 128, 255])),
        (i64::MAX, Some("x"), true, Some(vec![7; 100_000])),
    ];

    let database = with_items(stage).await;
    let given = samples.clone();
    let outcome: Result<(), DatabaseError> = database
        .write(move |sql| {
            for (id, name, flag, data) in given.clone() {
                sql.execute(INSERT, &[id.into(), name.into(), flag.into(), data.into()])?;
            }
            Ok(())
        })
        .await;
    outcome.unwrap();

    let rows = database.read(|sql| sql.query(SELECT, &[])).await.unwrap();
    assert_eq!(rows.len(), samples.len());
    for (row, (id, name, flag, data)) in rows.iter().zip(samples) {
        assert_eq!(row.int(0), Ok(id));
        assert_eq!(row.opt_int(0), Ok(Some(id)));
        assert_eq!(row.opt_text(1), Ok(name.map(str::to_owned)));
        assert_eq!(row.flag(2), Ok(flag));
        assert_eq!(row.opt_bytes(3), Ok(data.clone()));
        assert_eq!(row.text(1).is_ok(), name.is_some(), "text() refuses NULL");
        assert_eq!(row.bytes(3).is_ok(), data.is_some(), "bytes() refuses NULL");
    }

    let null = database.read(|sql| sql.query(SELECT_BY_NAME, &[Value::Null])).await.unwrap();
    assert!(null.is_empty(), "NULL equals nothing, not even NULL");
}

pub(super) async fn returning_gives_the_changed_rows(stage: &impl Stage) {
    const SPEND: &str =
        "UPDATE item SET flag = 1 WHERE id = ?1 AND flag IS NULL RETURNING id, flag";
    let database = with_items(stage).await;
    database.write(|sql| insert(sql, 7)).await.unwrap();
    let spend = || database.write(|sql| sql.query(SPEND, &[7.into()]));

    let won = spend().await.unwrap();
    assert_eq!(won.len(), 1);
    assert_eq!((won[0].int(0), won[0].flag(1)), (Ok(7), Ok(true)));
    assert!(spend().await.unwrap().is_empty(), "spent is spent");
}

pub(super) async fn a_constraint_is_a_conflict_and_a_bug_is_not(stage: &impl Stage) {
    let database = with_items(stage).await;
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let conflict = database.write(|sql| insert(sql, 1)).await.unwrap_err();
    assert!(matches!(conflict, DatabaseError::Conflict(_)), "{conflict}");

    let bugs: [(&'static str, &'static [Value]); 4] = [
        ("SELECT nothing FROM nowhere", &[]),
        ("SELECT id FROM item WHERE id = ?1", &[]),
        ("SELECT id FROM item", &[Value::Int(1)]),
        ("INSERT INTO item (id, flag) VALUES (2, 'not a number')", &[]),
    ];
    for (text, params) in bugs {
        let bug = database.write(move |sql| sql.query(text, params)).await.unwrap_err();
        assert!(matches!(bug, DatabaseError::Statement(_)), "{text}: {bug}");
    }
    assert_eq!(ids(&database).await, [1]);
}

pub(super) async fn an_expected_conflict_is_a_row_count(stage: &impl Stage) {
    const INSERT: &str = "INSERT INTO item (id) VALUES (?1) ON CONFLICT (id) DO NOTHING";
    let database = with_items(stage).await;
    for expected in [1, 0] {
        let changed = database.write(|sql| sql.execute(INSERT, &[1.into()])).await;
        assert_eq!(changed, Ok(expected));
    }
}
