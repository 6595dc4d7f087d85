//! How many failed attempts are let through, so that guessing is slow and nobody can lock somebody else out.
//!
//! Every attempt is counted before its password is hashed, and a success takes its own count back. A browser that has signed in to
//! the account before has a bucket of its own that nobody else can fill: during an attack a new browser may wait, a known one never
//! does.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Once;

use aws_lc_rs::digest::{self, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::UnixSeconds;

use super::account::username_key;

/// How many attempts fit in a window of how many seconds, which begins with its first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// Attempts that are not taken back.
    pub failures: i64,
    /// Seconds.
    pub window: i64,
}

const TEN_MINUTES: i64 = 600;
const HOUR: i64 = 3_600;

/// One known browser: a person's own slips, or a thief of the cookie.
const KNOWN_BROWSER: Limit = Limit { failures: 10, window: TEN_MINUTES };
/// One account from one address.
const ACCOUNT_FROM_ADDRESS: Limit = Limit { failures: 5, window: TEN_MINUTES };
/// One account from all browsers that are not known to it, wherever they are.
const ACCOUNT_FROM_UNKNOWN: Limit = Limit { failures: 100, window: HOUR };
/// One address, whatever the account: many names with one password each.
const ADDRESS: Limit = Limit { failures: 30, window: TEN_MINUTES };
/// One client from one address.
const CLIENT_FROM_ADDRESS: Limit = Limit { failures: 30, window: TEN_MINUTES };

/// What is counted together. Buckets are ordered, so that two attempts lock them in the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    key: String,
    limit: Limit,
}

impl Bucket {
    /// Its parts are hashed: what people type as a user name is sometimes their password.
    fn new(kind: &str, parts: &[&str], limit: Limit) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for part in parts {
            // With its length first, so that no two lists of parts read the same.
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        Self { key: format!("{kind}:{}", URL_SAFE_NO_PAD.encode(context.finish())), limit }
    }

    /// Its name in the store.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How much fits in.
    pub fn limit(&self) -> Limit {
        self.limit
    }
}

/// The buckets of an attempt to sign in as `username`, as it was typed: unknown names are counted alike.
///
/// `known_browser` is the identifier in a cookie of ours, its signature proven, that says: this browser has signed in to *this very
/// account* before.
pub fn sign_in(username: &str, known_browser: Option<&str>, address: IpAddr) -> Vec<Bucket> {
    let account = username_key(username);
    if let Some(browser) = known_browser {
        return vec![Bucket::new("known-browser", &[&account, browser], KNOWN_BROWSER)];
    }
    let network = network(address);
    let mut buckets = vec![
        Bucket::new("account-address", &[&account, &network], ACCOUNT_FROM_ADDRESS),
        Bucket::new("account", &[&account], ACCOUNT_FROM_UNKNOWN),
    ];
    if is_private(address) {
        warn_of_private_peers();
    } else {
        buckets.push(Bucket::new("address", &[&network], ADDRESS));
    }
    buckets.sort();
    buckets
}

/// The bucket of a failed client authentication.
///
/// Prove the secret first and count only failures: a generated or long secret is not guessed, and to prove it costs a microsecond. So
/// a client with the right secret writes no row and never waits for what others try in its name.
pub fn client_authentication(client_id: &str, address: IpAddr) -> Vec<Bucket> {
    vec![Bucket::new("client-address", &[client_id, &network(address)], CLIENT_FROM_ADDRESS)]
}

/// Whom an address stands for: IPv4 as it is, the /64 of IPv6, since every subscriber gets at least that many.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let host_bits = u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from_bits(v6.to_bits() & !host_bits))
        }
    }
}

/// Whether many people may stand behind the address: a proxy that was not declared, or a local network.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // 100.64.0.0/10 is shared by a carrier's customers (RFC 6598).
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn warn_of_private_peers() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        log::warn!(
            "people sign in from a private address: attempts are not limited by address; set --trusted-proxy if a proxy stands before the server"
        );
    });
}

/// Whether an attempt may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It is counted: check the secret now, and take the count back if it was right.
    Go,
    /// 429 with `Retry-After`, in seconds, at least 1. Nothing was counted and nothing may be hashed.
    Wait(i64),
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Attempts within the window.
    pub failures: i64,
    /// From this second on the window is over.
    pub window_ends_at: UnixSeconds,
}

impl Counter {
    /// A window that begins now, without an attempt.
    pub fn empty(limit: Limit, now: UnixSeconds) -> Self {
        Self { failures: 0, window_ends_at: now.plus(limit.window) }
    }

    /// The counter that is true now: this one, or an empty one when its window is over.
    ///
    /// A window that ends later than any that could have begun by now is left from a clock that went back; it is over too.
    #[must_use]
    pub fn at(self, limit: Limit, now: UnixSeconds) -> Self {
        let fresh = Self::empty(limit, now);
        if now.has_reached(self.window_ends_at) || self.window_ends_at > fresh.window_ends_at {
            fresh
        } else {
            self
        }
    }

    /// Whether one more attempt fits. Ask a counter that is true [`at`](Self::at) this moment.
    pub fn admission(self, limit: Limit, now: UnixSeconds) -> Admission {
        if self.failures < limit.failures {
            Admission::Go
        } else {
            Admission::Wait(self.window_ends_at.since(now).max(1))
        }
    }

    /// With one more attempt.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }

    /// Whether an attempt that was counted at `counted_at` is in this window.
    pub fn holds(self, limit: Limit, counted_at: UnixSeconds) -> bool {
        !counted_at.has_reached(self.window_ends_at)
            && counted_at.has_reached(self.window_ends_at.plus(-limit.window))
    }

    /// Without an attempt that turned out to be no failure.
    #[must_use]
    pub fn forgiven(self) -> Self {
        Self { failures: self.failures.saturating_sub(1).max(0), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { failures: 3, window: 600 };

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds)
    }

    fn counter(failures: i64, window_ends_at: i64) -> Counter {
        Counter { failures, window_ends_at: at(window_ends_at) }
    }

    #[test]
    fn the_last_attempt_that_fits_goes_and_the_next_waits() {
        let table = [
            (0, Admission::Go),
            (2, Admission::Go),
            (3, Admission::Wait(500)),
            (4, Admission::Wait(500)),
        ];
        for (failures, expected) in table {
            assert_eq!(
                counter(failures, 1_600).admission(LIMIT, at(1_100)),
                expected,
                "{failures}"
            );
        }
    }

    #[test]
    fn a_window_is_over_at_its_own_second() {
        let full = counter(3, 1_600);
        let table = [
            (1_599, full, Admission::Wait(1)),
            (1_600, counter(0, 2_200), Admission::Go),
            (1_601, counter(0, 2_201), Admission::Go),
        ];
        for (now, expected, admission) in table {
            let current = full.at(LIMIT, at(now));
            assert_eq!(current, expected, "{now}");
            assert_eq!(current.admission(LIMIT, at(now)), admission, "{now}");
        }
    }

    #[test]
    fn a_clock_that_went_back_locks_nobody_out() {
        let full = counter(3, 1_600);
        // The window began at 1,000: before that it cannot have begun.
        for (now, expected) in [(999, counter(0, 1_599)), (1_000, full), (1_001, full)] {
            assert_eq!(full.at(LIMIT, at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_success_takes_back_what_was_counted_in_the_same_window() {
        let current = counter(2, 1_600);
        for (counted_at, expected) in [(999, false), (1_000, true), (1_599, true), (1_600, false)] {
            assert_eq!(current.holds(LIMIT, at(counted_at)), expected, "{counted_at}");
        }
        assert_eq!(current.counted().forgiven(), current);
        assert_eq!(counter(0, 1_600).forgiven(), counter(0, 1_600));
    }

    fn kinds(buckets: &[Bucket]) -> Vec<&str> {
        buckets
            .iter()
            .filter_map(|bucket| bucket.key().split_once(':'))
            .map(|(kind, _)| kind)
            .collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_known_browser_shares_its_bucket_with_nobody() {
        let known = sign_in("alice", Some("b1"), ip("192.0.2.1"));
        assert_eq!(kinds(&known), ["known-browser"]);
        assert_eq!(known, sign_in("ALICE", Some("b1"), ip("192.0.2.2")), "wherever it is");
        assert_ne!(known, sign_in("alice", Some("b2"), ip("192.0.2.1")));
        assert_ne!(known, sign_in("bob", Some("b1"), ip("192.0.2.1")));
    }

    #[test]
    fn an_unknown_browser_is_counted_by_account_and_by_address() {
        let unknown = sign_in("alice", None, ip("192.0.2.1"));
        assert_eq!(kinds(&unknown), ["account-address", "account", "address"]);
        let limits: Vec<Limit> = unknown.iter().map(Bucket::limit).collect();
        assert_eq!(limits, [ACCOUNT_FROM_ADDRESS, ACCOUNT_FROM_UNKNOWN, ADDRESS]);
    }

    #[test]
    fn behind_a_private_address_nobody_waits_for_a_stranger() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(
                kinds(&sign_in("alice", None, ip(private))),
                ["account-address", "account"],
                "{private}"
            );
        }
        for public in ["192.0.2.1", "100.63.255.255", "100.128.0.0", "2001:db8::1"] {
            assert_eq!(sign_in("alice", None, ip(public)).len(), 3, "{public}");
        }
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_address() {
        let from = |address| client_authentication("c", ip(address));
        assert_eq!(from("2001:db8:0:1::1"), from("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(from("2001:db8:0:1::1"), from("2001:db8:0:2::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
    }

    #[test]
    fn a_bucket_tells_neither_name_nor_address() {
        let key = sign_in("hunter2", None, ip("192.0.2.1"))
            .iter()
            .map(|bucket| bucket.key().to_owned())
            .collect::<String>();
        assert!(!key.contains("hunter2") && !key.contains("192"), "{key}");
    }
}
