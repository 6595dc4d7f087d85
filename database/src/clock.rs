//! The one place that looks at real time: a job's age, a batch's length, a pause between two tries.
//!
//! Nothing stored depends on it. Rules about data take `now` as an argument from their caller, so
//! a test may freeze that clock while queues keep aging by this one.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines of jobs are real even when a test's clock stands"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits 2 ms after the first failed try (number 0), twice as long after each further one, and up
/// to as much again by chance, so that two processes that met once do not meet for ever.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread owns its connection and has nothing else to do"
)]
pub(crate) fn pause_after(attempt: u32) {
    let base = Duration::from_millis(2_u64.saturating_pow(attempt.saturating_add(1)));
    // `RandomState` is seeded by the operating system: good enough to be unlike one's neighbor.
    let chance = u32::try_from(RandomState::new().hash_one(attempt) % 1_000).unwrap_or(0);
    thread::sleep(base + base * chance / 1_000);
}

/// Waits without holding a thread.
pub(crate) async fn rest(pause: Duration) {
    tokio::time::sleep(pause).await;
}
