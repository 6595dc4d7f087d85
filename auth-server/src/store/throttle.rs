//! Counters of failed attempts, shared by all instances.

use database::Sql;
use shared_types::UnixSeconds;

use super::StoreError;
use crate::domain::throttle::{Admission, Bucket, Counter};

/// Counts an attempt in every bucket if all of them have room, else in none. Before any hash.
///
/// Survives any number at once: each bucket's row is locked, in the same order by all, before it is looked at. A full bucket is seen
/// without a lock first, so that a flood which is refused writes nothing.
pub fn admit(
    sql: &mut dyn Sql,
    buckets: &[Bucket],
    now: UnixSeconds,
) -> Result<Admission, StoreError> {
    if let wait @ Admission::Wait(_) = look(sql, buckets, now)? {
        return Ok(wait);
    }
    let mut counted = Vec::with_capacity(buckets.len());
    for bucket in in_order(buckets) {
        let counter = lock(sql, bucket, now)?.at(bucket.limit(), now);
        if let wait @ Admission::Wait(_) = counter.admission(bucket.limit(), now) {
            return Ok(wait);
        }
        counted.push((bucket, counter.counted()));
    }
    for (bucket, counter) in counted {
        put(sql, bucket, counter)?;
    }
    Ok(Admission::Go)
}

/// Takes an attempt that was counted at `counted_at` back: it was no failure. Survives any number at once, as [`admit`] does.
pub fn forgive(
    sql: &mut dyn Sql,
    buckets: &[Bucket],
    counted_at: UnixSeconds,
) -> Result<(), StoreError> {
    for bucket in in_order(buckets) {
        // Where the row is gone or its window is another one, the count is gone too.
        let counter = lock(sql, bucket, counted_at)?;
        if counter.holds(bucket.limit(), counted_at) {
            put(sql, bucket, counter.forgiven())?;
        }
    }
    Ok(())
}

/// Whether every bucket seems to have room. Reads only, counts nothing.
pub fn look(
    sql: &mut dyn Sql,
    buckets: &[Bucket],
    now: UnixSeconds,
) -> Result<Admission, StoreError> {
    for bucket in buckets {
        let rows = sql.query(
            "SELECT failures, window_ends_at FROM throttle WHERE bucket = ?1",
            &[bucket.key().into()],
        )?;
        let Some(row) = rows.first() else { continue };
        if let wait @ Admission::Wait(_) =
            counter(row)?.at(bucket.limit(), now).admission(bucket.limit(), now)
        {
            return Ok(wait);
        }
    }
    Ok(Admission::Go)
}

fn in_order(buckets: &[Bucket]) -> Vec<&Bucket> {
    let mut ordered: Vec<&Bucket> = buckets.iter().collect();
    ordered.sort();
    ordered.dedup();
    ordered
}

/// The bucket's counter, its row locked until the unit of work ends; an empty one where there was none.
fn lock(sql: &mut dyn Sql, bucket: &Bucket, now: UnixSeconds) -> Result<Counter, StoreError> {
    let empty = Counter::empty(bucket.limit(), now);
    let rows = sql.query(
        "INSERT INTO throttle (bucket, failures, window_ends_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (bucket) DO UPDATE SET failures = throttle.failures RETURNING failures, window_ends_at",
        &[bucket.key().into(), empty.failures.into(), empty.window_ends_at.as_i64().into()],
    )?;
    counter(rows.first().ok_or_else(|| StoreError::Corrupt("a counter was not stored".into()))?)
}

fn put(sql: &mut dyn Sql, bucket: &Bucket, counter: Counter) -> Result<(), StoreError> {
    sql.execute(
        "UPDATE throttle SET failures = ?2, window_ends_at = ?3 WHERE bucket = ?1",
        &[bucket.key().into(), counter.failures.into(), counter.window_ends_at.as_i64().into()],
    )?;
    Ok(())
}

fn counter(row: &database::Row) -> Result<Counter, StoreError> {
    Ok(Counter { failures: row.int(0)?, window_ends_at: UnixSeconds::new(row.int(1)?) })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::future::join_all;

    use super::*;
    use crate::domain::throttle::sign_in;
    use crate::store::testing::TestStore;

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds)
    }

    fn from(username: &str, address: &str) -> Vec<Bucket> {
        sign_in(username, None, address.parse::<IpAddr>().unwrap())
    }

    async fn attempt(store: &TestStore, buckets: Vec<Bucket>, now: i64) -> Admission {
        store.database.write(move |sql| admit(sql, &buckets, at(now))).await.unwrap()
    }

    async fn succeed(store: &TestStore, buckets: Vec<Bucket>, counted_at: i64) {
        store.database.write(move |sql| forgive(sql, &buckets, at(counted_at))).await.unwrap();
    }

    #[tokio::test]
    async fn of_sixty_four_guesses_at_once_five_are_let_through() {
        let store = TestStore::open().await;
        let guesses = (0..64).map(|_| attempt(&store, from("alice", "192.0.2.1"), 1_000));
        let admitted = join_all(guesses)
            .await
            .into_iter()
            .filter(|admission| *admission == Admission::Go)
            .count();
        assert_eq!(admitted, 5);
    }

    #[tokio::test]
    async fn the_window_opens_again_at_its_own_second() {
        let store = TestStore::open().await;
        for now in [1_000, 1_100, 1_200, 1_300, 1_400] {
            assert_eq!(
                attempt(&store, from("alice", "192.0.2.1"), now).await,
                Admission::Go,
                "{now}"
            );
        }
        assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_599).await, Admission::Wait(1));
        assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_600).await, Admission::Go);
    }

    #[tokio::test]
    async fn an_attempt_that_waits_is_counted_nowhere() {
        let store = TestStore::open().await;
        // Alice's bucket is full, so the other 40 must not fill the address.
        for number in 0..45 {
            let admission = attempt(&store, from("alice", "192.0.2.1"), 1_000).await;
            assert_eq!(admission == Admission::Go, number < 5, "{number}");
        }
        for person in 0..25 {
            assert_eq!(
                attempt(&store, from(&format!("p{person}"), "192.0.2.1"), 1_000).await,
                Admission::Go,
                "{person}"
            );
        }
        assert_eq!(attempt(&store, from("p25", "192.0.2.1"), 1_000).await, Admission::Wait(600));
        assert_eq!(attempt(&store, from("p25", "192.0.2.2"), 1_000).await, Admission::Go);
    }

    #[tokio::test]
    async fn a_success_takes_its_own_count_back() {
        let store = TestStore::open().await;
        for _ in 0..40 {
            assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_000).await, Admission::Go);
            succeed(&store, from("alice", "192.0.2.1"), 1_000).await;
        }
    }

    #[tokio::test]
    async fn a_late_success_takes_nothing_from_the_next_window() {
        let store = TestStore::open().await;
        assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_000).await, Admission::Go);
        for _ in 0..5 {
            assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_600).await, Admission::Go);
        }
        succeed(&store, from("alice", "192.0.2.1"), 1_000).await;
        assert_eq!(attempt(&store, from("alice", "192.0.2.1"), 1_600).await, Admission::Wait(600));
    }

    #[tokio::test]
    async fn a_known_browser_goes_on_while_the_account_is_under_attack() {
        let store = TestStore::open().await;
        for number in 0..100 {
            assert_eq!(
                attempt(&store, from("alice", &format!("192.0.2.{number}")), 1_000).await,
                Admission::Go
            );
        }
        assert_eq!(
            attempt(&store, from("alice", "192.0.2.200"), 1_000).await,
            Admission::Wait(3_600)
        );
        let known = sign_in("alice", Some("browser"), "192.0.2.200".parse().unwrap());
        assert_eq!(attempt(&store, known, 1_000).await, Admission::Go);
    }
}
