//! Randomness as an argument: the operating system's in production, a seeded stream in tests.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A source of unpredictable bytes.
///
/// Keys are not made from it: the crypto library generates those with its own generator.
pub trait SecureRandom: fmt::Debug + Send + Sync {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);
}

/// `N` fresh bytes.
pub fn bytes<const N: usize>(random: &dyn SecureRandom) -> [u8; N] {
    let mut out = [0; N];
    random.fill(&mut out);
    out
}

/// The crypto library's generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl SecureRandom for OsRandom {
    #[expect(
        clippy::expect_used,
        reason = "without randomness every secret would be guessable: stopping is the only safe answer"
    )]
    fn fill(&self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the operating system gives no randomness");
    }
}

/// A reproducible stream, so that a test sees the same codes in every run. Never for production.
#[derive(Debug)]
pub struct SeededRandom(Mutex<ChaCha20Rng>);

impl SeededRandom {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl SecureRandom for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream() {
        let draw = |seed| bytes::<16>(&SeededRandom::new(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(bytes::<32>(&OsRandom), bytes::<32>(&OsRandom));
    }
}
