//! Pairs of units of work that meet, each on an instance of its own.

use tokio::task::JoinSet;

use super::{Stage, gate, insert, open, with_items};
use crate::{Database, DatabaseError, Migration, Sql};

/// Single use: whoever's guarded UPDATE changes the row has won, nobody else.
pub(super) async fn a_guarded_update_has_one_winner(stage: &impl Stage) {
    const SPEND: &str = "UPDATE item SET flag = 1 WHERE id = ?1 AND flag IS NULL";
    let instances = [with_items(stage).await, with_items(stage).await];
    for code in 1..=5_i64 {
        instances[0].write(move |sql| insert(sql, code)).await.unwrap();
        let redeem = move |sql: &mut dyn Sql| sql.execute(SPEND, &[code.into()]);
        let won = all_at_once(&instances, 64, redeem).await;
        assert_eq!(won.iter().sum::<u64>(), 1, "of {} attempts", won.len());
    }
}

/// Rule (b): "the next number" is a decision over all rows. Without the guard, two units under
/// READ COMMITTED would see the same last number.
pub(super) async fn the_guard_row_orders_decisions(stage: &impl Stage) {
    const GUARD: &str = "UPDATE guard SET version = version + 1 WHERE name = 'migration'";
    const LAST: &str = "SELECT id FROM item ORDER BY id DESC LIMIT 1";
    let instances = [with_items(stage).await, with_items(stage).await];
    let take_number = |sql: &mut dyn Sql| {
        assert_eq!(sql.execute(GUARD, &[])?, 1);
        let next = match sql.query(LAST, &[])?.first() {
            Some(row) => row.int(0)? + 1,
            None => 1,
        };
        insert(sql, next)?;
        Ok::<_, DatabaseError>(next)
    };
    let mut numbers = all_at_once(&instances, 32, take_number).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=32).collect::<Vec<_>>());
}

/// Rule (a): liveness is derived. The grant remembers the epoch it saw of its session, so it is
/// dead however its birth and the sign-out overlap.
pub(super) async fn a_grant_redeemed_beside_a_sign_out_is_dead(stage: &impl Stage) {
    static SCHEMA: &[Migration] = &[Migration {
        version: 1,
        compatible_from: 1,
        name: "0001_sessions",
        sql: "CREATE TABLE session (id ID PRIMARY KEY, epoch INT NOT NULL);
              CREATE TABLE permit (id ID PRIMARY KEY, session INT NOT NULL REFERENCES session (id),
                  session_epoch INT NOT NULL);
              INSERT INTO session (id, epoch) VALUES (1, 0);",
    }];
    const EPOCH: &str = "SELECT epoch FROM session WHERE id = 1";
    const GRANT: &str = "INSERT INTO permit (id, session, session_epoch) VALUES (1, 1, ?1)";
    const END: &str = "UPDATE session SET epoch = epoch + 1 WHERE id = 1";
    const LIVE: &str = "SELECT permit.id FROM permit JOIN session ON session.id = permit.session
        AND session.epoch = permit.session_epoch";

    let (here, there) = (open(stage).await, open(stage).await);
    here.migrate(SCHEMA).await.unwrap();
    let (gate, mut door) = gate();
    let redeem = {
        let here = here.clone();
        tokio::spawn(async move {
            let work = move |sql: &mut dyn Sql| {
                let epoch = sql.query(EPOCH, &[])?[0].int(0)?;
                door.pass();
                sql.execute(GRANT, &[epoch.into()])
            };
            here.write(work).await
        })
    };
    let gate = gate.entered().await; // It has seen a live session,
    let sign_out = tokio::spawn({
        let there = there.clone();
        async move { there.write(|sql| sql.execute(END, &[])).await } // which ends elsewhere,
    });
    tokio::task::yield_now().await;
    gate.open(); // and only now is the grant written.

    assert_eq!(redeem.await.unwrap(), Ok(1));
    assert_eq!(sign_out.await.unwrap(), Ok(1));
    let live = here.read(|sql| sql.query(LIVE, &[])).await.unwrap();
    assert!(live.is_empty(), "a live grant on an ended session");
}

/// Runs the same unit `times` times in parallel, in turn on each instance, and returns what they
/// answered in no order.
async fn all_at_once<T: Send + 'static>(
    instances: &[Database],
    times: usize,
    work: impl FnMut(&mut dyn Sql) -> Result<T, DatabaseError> + Clone + Send + 'static,
) -> Vec<T> {
    let mut racers = JoinSet::new();
    for instance in instances.iter().cycle().take(times) {
        let (instance, work) = (instance.clone(), work.clone());
        racers.spawn(async move { instance.write(work).await });
    }
    racers.join_all().await.into_iter().map(Result::unwrap).collect()
}
