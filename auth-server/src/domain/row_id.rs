//! Row ids of tokens: time-ordered, so that new rows touch the same few pages, and random enough not to collide.
//!
//! Nothing is decided by their order, and none leaves the server unmasked.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::random::{self, SecureRandom};

/// 2025-01-01T00:00:00Z in milliseconds: the ids' own epoch.
const EPOCH_MILLIS: i64 = 1_735_689_600_000;
/// How many low bits are random.
const RANDOM_BITS: u32 = 22;

/// An integer primary key: 41 bits of milliseconds, then 22 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowId(i64);

impl RowId {
    /// The id that a row or a token holds.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number, for statements only.
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

/// Ids are never written out: a log line with one would link tokens.
impl std::fmt::Debug for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowId(..)")
    }
}

impl From<RowId> for database::Value {
    fn from(id: RowId) -> Self {
        Self::Int(id.0)
    }
}

/// How many candidates an insert may try.
pub const CANDIDATES: usize = 4;

/// Makes ids that grow within the process.
#[derive(Debug, Default)]
pub struct RowIds(AtomicI64);

impl RowIds {
    /// Four candidates, drawn before the unit of work that inserts with the first that is free.
    pub fn fresh(&self, now_millis: i64, random: &dyn SecureRandom) -> [RowId; CANDIDATES] {
        std::array::from_fn(|_| self.next(now_millis, random))
    }

    fn next(&self, now_millis: i64, random: &dyn SecureRandom) -> RowId {
        let noise = i64::from(u32::from_le_bytes(random::bytes(random)) >> (32 - RANDOM_BITS));
        let age = now_millis.saturating_sub(EPOCH_MILLIS).clamp(1, (1 << 41) - 1);
        let candidate = (age << RANDOM_BITS) | noise;
        // max(candidate, last + 1): two ids of one process never agree, whatever the clock does.
        let last = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
                Some(candidate.max(last.saturating_add(1)))
            })
            .unwrap_or_default();
        RowId(candidate.max(last.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn ids_grow_although_the_clock_goes_back() {
        let (ids, random) = (RowIds::default(), SeededRandom::new(1));
        let first = ids.fresh(EPOCH_MILLIS + 5_000, &random);
        let later = ids.fresh(EPOCH_MILLIS, &random);
        let all: Vec<i64> = first.iter().chain(&later).map(|id| id.as_i64()).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    }

    #[test]
    fn ids_are_positive_even_before_their_epoch() {
        let id = RowIds::default().next(0, &SeededRandom::new(1));
        assert!(id.as_i64() > 0);
    }
}
