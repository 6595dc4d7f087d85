//! When an issuer's keys are fetched: a pure state machine, so that a table test covers outages and floods.
//!
//! Two reasons to fetch. *The clock*: every `refresh` seconds, sooner and sooner less often after failures. *A demand*: a token names a
//! key that we do not have. A demand is an attack as often as a rotation, so there is one attempt per `cooldown` and issuer, **counted
//! on attempts**: a limiter that counts successes is none while the issuer is down. Known keys never come here.

use std::collections::VecDeque;

use shared_types::{KeyId, UnixSeconds};

/// Unknown key names that are remembered at most.
const MAX_MISSING: usize = 256;
/// The longest wait after failures, in seconds.
const MAX_BACKOFF: i64 = 30;

/// What a request with an unknown key is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Refuse at once.
    Refuse,
    /// Wait until that many fetches have ended, then look again.
    WaitFor(u64),
}

/// The state for one issuer.
#[derive(Debug)]
pub struct Schedule {
    refresh: i64,
    cooldown: i64,
    next_refresh: UnixSeconds,
    failures: u32,
    last_demand: Option<UnixSeconds>,
    demanded: bool,
    running: bool,
    ended: u64,
    missing: VecDeque<(KeyId, UnixSeconds)>,
}

impl Schedule {
    /// A schedule whose first fetch is due at once. Both times in seconds.
    pub fn new(refresh: i64, cooldown: i64, now: UnixSeconds) -> Self {
        Self {
            refresh,
            cooldown,
            next_refresh: now,
            failures: 0,
            last_demand: None,
            demanded: false,
            running: false,
            ended: 0,
            missing: VecDeque::new(),
        }
    }

    /// A request came for a key that is not there; `None` when there are no keys at all.
    pub fn ask(&mut self, kid: Option<&KeyId>, now: UnixSeconds) -> Ask {
        if kid.is_some_and(|kid| self.is_missing(kid, now)) {
            return Ask::Refuse;
        }
        if self.running || self.demanded {
            return Ask::WaitFor(self.ended + 1);
        }
        if self.last_demand.is_some_and(|last| (0..self.cooldown).contains(&now.since(last))) {
            return Ask::Refuse;
        }
        self.last_demand = Some(now);
        self.demanded = true;
        Ask::WaitFor(self.ended + 1)
    }

    /// Whether a fetch is to begin now. After `true`, [`end`](Self::end) must follow.
    pub fn begin(&mut self, now: UnixSeconds) -> bool {
        // The second comparison is for a clock that was set back: keys must not wait until it has caught up.
        let due = now.has_reached(self.next_refresh) || self.next_refresh.since(now) > self.refresh;
        let due = !self.running && (self.demanded || due);
        if due {
            self.running = true;
            self.demanded = false;
        }
        due
    }

    /// A fetch has ended. Answers how many have by now.
    pub fn end(&mut self, success: bool, now: UnixSeconds) -> u64 {
        self.running = false;
        self.ended += 1;
        let wait = if success {
            self.failures = 0;
            self.refresh
        } else {
            // 1, 2, 4, … seconds: an issuer that starts together with us is found soon, one that is down is left alone.
            let wait = 1_i64 << self.failures.min(5);
            self.failures = self.failures.saturating_add(1);
            wait.min(MAX_BACKOFF).min(self.refresh)
        };
        self.next_refresh = now.plus(wait);
        self.ended
    }

    /// Remembers that a fetch did not bring `kid`: whoever names it again within the cooldown is refused without waiting.
    pub fn note_missing(&mut self, kid: &KeyId, now: UnixSeconds) {
        if !self.is_missing(kid, now) {
            if self.missing.len() >= MAX_MISSING {
                self.missing.pop_front();
            }
            self.missing.push_back((kid.clone(), now));
        }
    }

    fn is_missing(&mut self, kid: &KeyId, now: UnixSeconds) -> bool {
        while self
            .missing
            .front()
            .is_some_and(|(_, at)| !(0..self.cooldown).contains(&now.since(*at)))
        {
            self.missing.pop_front();
        }
        self.missing.iter().any(|(missing, _)| missing == kid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_000;

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(T0 + seconds)
    }

    fn kid(name: &str) -> KeyId {
        KeyId::parse(name).unwrap()
    }

    /// A schedule whose first fetch was good.
    fn fetched() -> Schedule {
        let mut schedule = Schedule::new(300, 30, at(0));
        assert!(schedule.begin(at(0)));
        assert_eq!(schedule.end(true, at(0)), 1);
        schedule
    }

    #[test]
    fn keys_are_refreshed_every_five_minutes() {
        let mut schedule = fetched();
        assert!(!schedule.begin(at(299)));
        assert!(schedule.begin(at(300)));
        assert!(!schedule.begin(at(300)), "one at a time");
    }

    #[test]
    fn a_flood_of_unknown_kids_is_one_attempt_per_cooldown() {
        let mut schedule = fetched();
        assert_eq!(schedule.ask(Some(&kid("a")), at(10)), Ask::WaitFor(2));
        assert_eq!(
            schedule.ask(Some(&kid("b")), at(10)),
            Ask::WaitFor(2),
            "joins the one that is coming"
        );
        assert!(schedule.begin(at(10)));
        assert_eq!(
            schedule.ask(Some(&kid("c")), at(11)),
            Ask::WaitFor(2),
            "joins the one that runs"
        );
        assert_eq!(schedule.end(true, at(12)), 2);
        for second in 12..40 {
            assert_eq!(schedule.ask(Some(&kid(&format!("x{second}"))), at(second)), Ask::Refuse);
            assert!(!schedule.begin(at(second)));
        }
        assert_eq!(schedule.ask(Some(&kid("d")), at(40)), Ask::WaitFor(3));
    }

    #[test]
    fn the_cooldown_counts_attempts_not_successes() {
        let mut schedule = Schedule::new(300, 30, at(0));
        assert!(schedule.begin(at(0)));
        schedule.end(false, at(0));
        assert_eq!(schedule.ask(None, at(0)), Ask::WaitFor(2));
        assert!(schedule.begin(at(0)));
        schedule.end(false, at(0));
        assert_eq!(schedule.ask(None, at(29)), Ask::Refuse);
        assert_eq!(schedule.ask(None, at(30)), Ask::WaitFor(3));
    }

    #[test]
    fn failures_are_retried_less_and_less_often() {
        let mut schedule = Schedule::new(300, 30, at(0));
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert!(schedule.begin(at(now)), "{wait}");
            schedule.end(false, at(now));
            assert!(!schedule.begin(at(now + wait - 1)), "{wait}");
            now += wait;
        }
        assert!(schedule.begin(at(now)));
        schedule.end(true, at(now));
        assert!(!schedule.begin(at(now + 299)));
    }

    #[test]
    fn a_missing_kid_does_not_wait_again_until_the_cooldown_is_over() {
        let mut schedule = fetched();
        schedule.note_missing(&kid("a"), at(10));
        assert_eq!(schedule.ask(Some(&kid("a")), at(39)), Ask::Refuse);
        assert_eq!(
            schedule.ask(Some(&kid("a")), at(40)),
            Ask::WaitFor(2),
            "its key may be published by now"
        );
        for index in 0..1_000 {
            schedule.note_missing(&kid(&format!("n{index}")), at(41));
        }
        assert_eq!(schedule.missing.len(), MAX_MISSING);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lock_the_limiter() {
        let mut schedule = fetched();
        assert_eq!(schedule.ask(None, at(10)), Ask::WaitFor(2));
        assert!(schedule.begin(at(10)));
        schedule.end(true, at(10));
        assert_eq!(schedule.ask(None, at(-500)), Ask::WaitFor(3));
        let mut schedule = fetched();
        assert!(schedule.begin(at(-500)));
    }

    /// What may happen to a schedule, in any order.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(Option<u8>),
        Begin,
        End(bool),
        NoteMissing(u8),
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::option::of(0u8..6).prop_map(Step::Ask),
            Just(Step::Begin),
            any::<bool>().prop_map(Step::End),
            (0u8..6).prop_map(Step::NoteMissing),
            prop_oneof![0i64..5, 25i64..35, 0i64..400].prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn however_it_is_used_it_keeps_to_one_demand_a_cooldown_and_one_fetch_at_a_time(
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let mut schedule = Schedule::new(300, 30, at(0));
            let (mut now, mut running, mut demanded, mut ended) = (0, false, false, 0);
            let mut last_demand: Option<i64> = None;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::NoteMissing(name) => schedule.note_missing(&kid(&name.to_string()), at(now)),
                    Step::Ask(name) => {
                        let name = name.map(|name| kid(&name.to_string()));
                        if let Ask::WaitFor(fetch) = schedule.ask(name.as_ref(), at(now)) {
                            prop_assert_eq!(fetch, ended + 1, "the next that ends");
                            if !running && !demanded {
                                let early = last_demand.is_some_and(|last| now - last < 30);
                                prop_assert!(!early, "demanded at {:?} and again at {}", last_demand, now);
                                (last_demand, demanded) = (Some(now), true);
                            }
                        }
                    }
                    Step::Begin => {
                        let begins = schedule.begin(at(now));
                        prop_assert!(!(begins && running), "two run at once");
                        prop_assert!(begins || running || !demanded, "a demand is met by the next fetch");
                        running |= begins;
                        demanded &= !begins;
                    }
                    // What was not begun does not end.
                    Step::End(success) if running => {
                        let count = schedule.end(success, at(now));
                        prop_assert_eq!(count, ended + 1, "one more, and never fewer");
                        (ended, running) = (count, false);
                    }
                    Step::End(_) => {}
                }
                prop_assert!(schedule.missing.len() <= MAX_MISSING);
            }
        }
    }
}
