//! Time as tokens and rows hold it: whole seconds since 1970-01-01 UTC, read from an injected [`Clock`].

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// A point in time: seconds since the Unix epoch, the `NumericDate` of [RFC 7519 section 2] without fractions.
///
/// [RFC 7519 section 2]: https://www.rfc-editor.org/rfc/rfc7519#section-2
///
/// ```
/// use shared_types::UnixSeconds;
/// let issued = UnixSeconds::new(1_000);
/// let expires = issued.plus(300);
/// assert!(!UnixSeconds::new(1_299).has_reached(expires));
/// assert!(UnixSeconds::new(1_300).has_reached(expires));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// The point `seconds` after the Unix epoch.
    pub const fn new(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// This point moved by `seconds` (negative: earlier), held at the ends of the range.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether `deadline` has come: true from the very second on.
    ///
    /// "on or after which the JWT MUST NOT be accepted" ([RFC 7519 section 4.1.4](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4)):
    /// the last second itself is already too late.
    pub const fn has_reached(self, deadline: Self) -> bool {
        self.0 >= deadline.0
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the time comes from. Read it once per request and pass `now` down as an argument.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_millis(&self) -> i64;

    /// The current second.
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.now_millis().div_euclid(1_000))
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now_millis(&self) -> i64 {
        // A clock before 1970 is a broken clock; 0 makes every token not yet valid, so nothing is let in.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when it is told to, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now`.
    pub const fn new(now: UnixSeconds) -> Self {
        Self(AtomicI64::new(now.0 * 1_000))
    }

    /// Moves the clock by `seconds` (negative: back).
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, now: UnixSeconds) {
        self.0.store(now.0 * 1_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_begins_with_its_own_second() {
        let exp = UnixSeconds::new(100);
        assert!(!UnixSeconds::new(99).has_reached(exp));
        assert!(UnixSeconds::new(100).has_reached(exp));
        assert!(UnixSeconds::new(101).has_reached(exp));
    }

    #[test]
    fn arithmetic_stays_within_the_range() {
        assert_eq!(UnixSeconds::new(i64::MAX).plus(1), UnixSeconds::new(i64::MAX));
        assert_eq!(UnixSeconds::new(i64::MIN).since(UnixSeconds::new(1)), i64::MIN);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(UnixSeconds::new(50));
        assert_eq!(clock.now(), UnixSeconds::new(50));
        clock.advance(-10);
        assert_eq!(clock.now(), UnixSeconds::new(40));
    }
}
