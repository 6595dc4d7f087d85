//! What happens to units of work that wait.

use std::time::Duration;

use super::{
    Stage, gate, ids, insert, insert_and_stay, insert_later, one_writer, open, until, with_items,
    with_items_and, with_items_in_a_row,
};
use crate::{Database, DatabaseError, Options, Sql};

pub(super) async fn a_full_queue_refuses_at_once(stage: &impl Stage) {
    with_items_in_a_row(stage).await.close().await;
    let options = Options { queue: 2, ..one_writer() };
    let database = Database::open(&stage.url(), &options).await.unwrap();
    let (gate, first) = insert_and_stay(&database, 1).await;
    let (second, third) = (insert_later(&database, 2), insert_later(&database, 3));
    until(|| database.statistics().queued_writes == 2).await;

    // The gate is still closed, so this answer did not wait for anything.
    let refused = database.write(|sql| insert(sql, 4)).await;
    assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{refused:?}");
    assert_eq!(database.statistics().refused, 1);
    assert!(ids(&database).await.is_empty(), "reads have a queue of their own");

    gate.open();
    for waiting in [first, second, third] {
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
    assert_eq!(ids(&database).await, [1, 2, 3]);
}

pub(super) async fn a_late_job_never_starts(stage: &impl Stage) {
    with_items(stage).await.close().await;
    // With no patience at all every job is late by the time a thread looks at it.
    let options = Options { deadline: Duration::ZERO, ..Options::default() };
    let hasty = Database::open(&stage.url(), &options).await.unwrap();
    let late: Result<(), DatabaseError> = hasty.write(|_| panic!("a late write started")).await;
    assert!(matches!(late, Err(DatabaseError::Unavailable(_))), "{late:?}");
    let late: Result<(), DatabaseError> = hasty.read(|_| panic!("a late read started")).await;
    assert!(matches!(late, Err(DatabaseError::Unavailable(_))), "{late:?}");
    assert_eq!(hasty.statistics().dropped, 2);
}

pub(super) async fn a_job_without_a_waiter_never_starts(stage: &impl Stage) {
    let database = with_items_in_a_row(stage).await;
    let (gate, first) = insert_and_stay(&database, 1).await;
    let abandoned = insert_later(&database, 2);
    let last = insert_later(&database, 3);
    until(|| database.statistics().queued_writes == 2).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    gate.open();

    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(last.await.unwrap(), Ok(()));
    assert_eq!(ids(&database).await, [1, 3]);
    assert_eq!(database.statistics().dropped, 1);
}

pub(super) async fn a_started_job_ends_without_its_waiter(stage: &impl Stage) {
    let database = with_items(stage).await;
    let (gate, started) = insert_and_stay(&database, 1).await;
    started.abort();
    assert!(started.await.unwrap_err().is_cancelled());
    gate.open();
    // Closing waits for the thread, so the commit has happened by then.
    database.close().await;
    assert_eq!(ids(&open(stage).await).await, [1]);
}

pub(super) async fn close_finishes_what_is_queued_and_refuses_the_rest(stage: &impl Stage) {
    let database = with_items_in_a_row(stage).await;
    let (gate, first) = insert_and_stay(&database, 1).await;
    let (second, third) = (insert_later(&database, 2), insert_later(&database, 3));
    until(|| database.statistics().queued_writes == 2).await;
    let closing = tokio::spawn({
        let database = database.clone();
        async move { database.close().await }
    });
    gate.open();
    closing.await.unwrap();

    for queued in [first, second, third] {
        assert_eq!(queued.await.unwrap(), Ok(()));
    }
    let refused = database.write(|sql| insert(sql, 4)).await;
    assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{refused:?}");
    let refused = database.read(|sql| sql.query("SELECT id FROM item", &[])).await;
    assert!(matches!(refused, Err(DatabaseError::Unavailable(_))), "{refused:?}");
    assert_eq!(ids(&open(stage).await).await, [1, 2, 3]);
}

pub(super) async fn closing_twice_waits_twice(stage: &impl Stage) {
    let database = with_items_in_a_row(stage).await;
    let (gate, staying) = insert_and_stay(&database, 1).await;
    let close = || {
        let database = database.clone();
        tokio::spawn(async move { database.close().await })
    };
    let both = (close(), close());
    tokio::task::yield_now().await;
    assert!(!both.0.is_finished() && !both.1.is_finished(), "a unit is still at work");
    gate.open();
    both.0.await.unwrap();
    both.1.await.unwrap();
    assert_eq!(staying.await.unwrap(), Ok(()));
    database.close().await;
}

pub(super) async fn a_read_sees_what_was_acknowledged_while_its_reader_was_busy(
    stage: &impl Stage,
) {
    let database = with_items_and(stage, Options { readers: 1, ..Options::default() }).await;
    let count = |sql: &mut dyn Sql| sql.query("SELECT id FROM item", &[]).map(|rows| rows.len());
    let (gate, mut door) = gate();
    let busy = tokio::spawn({
        let database = database.clone();
        let work = move |sql: &mut dyn Sql| {
            let before = count(sql)?;
            door.pass();
            Ok::<_, DatabaseError>((before, count(sql)?))
        };
        async move { database.read(work).await }
    });
    let gate = gate.entered().await;
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let later = tokio::spawn({
        let database = database.clone();
        async move { database.read(count).await }
    });
    until(|| database.statistics().queued_reads == 1).await;
    gate.open();
    assert_eq!(later.await.unwrap(), Ok(1), "it was asked after the acknowledgement");
    let (before, after) = busy.await.unwrap().unwrap();
    assert_eq!(before, 0, "and the busy one before it");
    assert!(after <= 1);
}

pub(super) async fn reads_that_wait_together_answer_each_for_itself(stage: &impl Stage) {
    let database = with_items_and(stage, Options { readers: 1, ..Options::default() }).await;
    database.write(|sql| insert(sql, 1)).await.unwrap();
    let (gate, mut door) = gate();
    let later = |number: usize| {
        let database = database.clone();
        tokio::spawn(async move {
            let work = move |sql: &mut dyn Sql| match number {
                1 => sql.query("SELECT nothing FROM nowhere", &[]),
                2 => panic!("one of the reads"),
                _ => sql.query("SELECT id FROM item", &[]),
            };
            database.read(work).await.map(|rows| rows.len())
        })
    };
    let busy = tokio::spawn({
        let database = database.clone();
        let work = move |_: &mut dyn Sql| {
            door.pass();
            Ok::<_, DatabaseError>(())
        };
        async move { database.read(work).await }
    });
    let gate = gate.entered().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(later(number));
        until(|| database.statistics().queued_reads == number + 1).await;
    }
    gate.open();
    busy.await.unwrap().unwrap();
    for (number, read) in waiting.into_iter().enumerate() {
        let answer = read.await.unwrap();
        match number {
            1 => assert!(matches!(answer, Err(DatabaseError::Statement(_))), "{answer:?}"),
            2 => assert!(matches!(answer, Err(DatabaseError::Panicked(_))), "{answer:?}"),
            _ => assert_eq!(answer, Ok(1), "read {number}"),
        }
    }
}

pub(super) async fn a_slow_read_holds_up_nobody_behind_it(stage: &impl Stage) {
    let database = with_items_and(stage, Options { readers: 2, ..Options::default() }).await;
    let stay = || {
        let (gate, mut door) = gate();
        let database = database.clone();
        let work = move |_: &mut dyn Sql| {
            door.pass();
            Ok::<_, DatabaseError>(())
        };
        (gate, tokio::spawn(async move { database.read(work).await }))
    };
    let ((one, first), (other, second)) = (stay(), stay());
    let (one, other) = (one.entered().await, other.entered().await);
    let (slow, third) = stay();
    until(|| database.statistics().queued_reads == 1).await;
    let mut quick = Vec::new();
    for number in 0..5 {
        let asked = database.clone();
        quick.push(tokio::spawn(async move {
            asked.read(|sql| sql.query("SELECT id FROM item", &[])).await
        }));
        until(|| database.statistics().queued_reads == number + 2).await;
    }
    one.open();
    let slow = slow.entered().await;
    other.open();
    for read in quick {
        assert!(read.await.unwrap().unwrap().is_empty());
    }
    slow.open();
    for stayed in [first, second, third] {
        stayed.await.unwrap().unwrap();
    }
}
