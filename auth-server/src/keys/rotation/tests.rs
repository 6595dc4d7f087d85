//! The plan over years, without a database or a crypto library: names instead of key pairs.

use super::*;

const DAY: i64 = 86_400;

fn policy() -> Policy {
    Policy {
        algorithms: vec![SigningAlg::Es256],
        rotation_period: 30 * DAY,
        announce_lead: 3_600,
        keep_published: 310,
        keep_for_hints: 180 * DAY,
    }
}

/// What the table would hold, changed by steps as the store changes it.
#[derive(Default)]
struct Table {
    keys: Vec<Key>,
    made: usize,
}

impl Table {
    fn run(&mut self, steps: &[Step], now: UnixSeconds) {
        for step in steps {
            self.apply(step, now);
        }
    }

    fn apply(&mut self, step: &Step, now: UnixSeconds) {
        match step {
            Step::Announce(alg) => self.make(*alg, State::Announced, now),
            Step::SignAtOnce(alg) => self.make(*alg, State::Signing, now),
            Step::Promote(kid) => {
                let key = self.take(kid, &[State::Announced]);
                (key.state, key.signing_at) = (State::Signing, Some(now));
            }
            Step::Retire(kid) => {
                let key = self.take(kid, &[State::Signing]);
                (key.state, key.retired_at) = (State::Retired, Some(now));
            }
            Step::Withdraw(kid) => {
                let key = self.take(kid, &[State::Retired]);
                (key.state, key.withdrawn_at) = (State::Withdrawn, Some(now));
            }
            Step::Revoke(kid) => {
                let key = self.take(
                    kid,
                    &[State::Announced, State::Signing, State::Retired, State::Withdrawn],
                );
                (key.state, key.withdrawn_at) = (State::Revoked, Some(now));
            }
            Step::Delete(kid) => self.keys.retain(|key| key.kid != *kid),
        }
        for state in [State::Announced, State::Signing] {
            for alg in SigningAlg::ALL {
                let same =
                    self.keys.iter().filter(|key| key.alg == alg && key.state == state).count();
                assert!(same <= 1, "two {alg} keys are {} after {step}", state.as_str());
            }
        }
    }

    fn make(&mut self, alg: SigningAlg, state: State, now: UnixSeconds) {
        self.made += 1;
        self.keys.push(Key {
            kid: kid(self.made),
            alg,
            state,
            announced_at: now,
            signing_at: (state == State::Signing).then_some(now),
            retired_at: None,
            withdrawn_at: None,
        });
    }

    fn take(&mut self, kid: &KeyId, from: &[State]) -> &mut Key {
        let key = self.keys.iter_mut().find(|key| key.kid == *kid).expect("a step names a key");
        assert!(from.contains(&key.state), "{kid} is {:?}", key.state);
        key
    }

    fn in_state(&self, alg: SigningAlg, state: State) -> Vec<&Key> {
        self.keys.iter().filter(|key| key.alg == alg && key.state == state).collect()
    }

    fn signing(&self, alg: SigningAlg) -> KeyId {
        self.in_state(alg, State::Signing).first().expect("somebody signs").kid.clone()
    }

    fn fresh(now: UnixSeconds, policy: &Policy) -> Self {
        let mut table = Self::default();
        table.run(&plan(&[], now, policy), now);
        table
    }
}

fn kid(number: usize) -> KeyId {
    KeyId::parse(format!("k{number}")).unwrap()
}

fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds::new(1_700_000_000 + seconds)
}

#[test]
fn the_first_keys_sign_immediately_and_have_successors() {
    let table = Table::fresh(at(0), &policy());
    assert_eq!(table.signing(SigningAlg::Es256), kid(1));
    assert_eq!(table.in_state(SigningAlg::Es256, State::Announced).len(), 1);
    assert!(plan(&table.keys, at(0), &policy()).is_empty(), "nothing is due a moment later");
}

#[test]
fn over_three_years_caches_always_hold_the_key_that_signs_and_every_token_can_be_proven() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    let mut signed_by = Vec::new();
    for minute in (0..3 * 365 * 24 * 60).step_by(10) {
        let now = at(minute * 60);
        let steps = plan(&table.keys, now, &policy);
        table.run(&steps, now);
        assert!(plan(&table.keys, now, &policy).is_empty(), "one look is enough");
        let signing = table.signing(SigningAlg::Es256);
        if signed_by.last() != Some(&signing) {
            let key = table.keys.iter().find(|key| key.kid == signing).unwrap();
            assert!(minute == 0 || now.has_reached(key.announced_at.plus(policy.announce_lead)));
            signed_by.push(signing);
        }
        assert_eq!(table.in_state(SigningAlg::Es256, State::Announced).len(), 1);
        for key in &table.keys {
            let last_signature = key.retired_at.unwrap_or(now);
            if !now.has_reached(last_signature.plus(policy.keep_published)) {
                assert!(key.state.is_published(), "a token of {} may still live", key.kid);
            }
        }
    }
    // One each 30 days, none skipped, none twice.
    let expected: Vec<_> = (1..=signed_by.len()).map(kid).collect();
    assert_eq!(signed_by, expected);
    assert_eq!(signed_by.len(), 37);
    // The table does not grow: one announced, one signing, at most one retired, and half a year of withdrawn ones.
    assert!(table.keys.len() <= 9, "{}", table.keys.len());
}

#[test]
fn each_change_comes_in_its_own_second() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    let es256 = SigningAlg::Es256;
    let cases = [
        (30 * DAY - 1, vec![]),
        (30 * DAY, vec![Step::Retire(kid(1)), Step::Promote(kid(2)), Step::Announce(es256)]),
        (30 * DAY + 309, vec![]),
        (30 * DAY + 310, vec![Step::Withdraw(kid(1))]),
        (60 * DAY - 1, vec![]),
        (60 * DAY, vec![Step::Retire(kid(2)), Step::Promote(kid(3)), Step::Announce(es256)]),
        (60 * DAY + 310, vec![Step::Withdraw(kid(2))]),
    ];
    for (seconds, expected) in cases {
        let steps = plan(&table.keys, at(seconds), &policy);
        assert_eq!(steps, expected, "after {seconds} s");
        table.run(&steps, at(seconds));
    }
    let late = plan(&table.keys, at(210 * DAY - 1), &policy);
    assert!(!late.contains(&Step::Delete(kid(1))));
    let later = plan(&table.keys, at(210 * DAY), &policy);
    assert!(later.contains(&Step::Delete(kid(1))), "180 days after its last signature: {later:?}");
}

#[test]
fn a_key_does_not_sign_before_it_was_announced_long_enough() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    // The announced one was replaced a minute before the period ended.
    let lost = plan_revocation(&table.keys, &kid(2)).unwrap();
    table.run(&lost, at(30 * DAY - 60));
    assert_eq!(lost, [Step::Revoke(kid(2)), Step::Announce(SigningAlg::Es256)]);
    assert!(plan(&table.keys, at(30 * DAY), &policy).is_empty());
    assert!(plan(&table.keys, at(30 * DAY - 60 + 3_599), &policy).is_empty());
    let steps = plan(&table.keys, at(30 * DAY - 60 + 3_600), &policy);
    assert_eq!(
        steps,
        [Step::Retire(kid(1)), Step::Promote(kid(3)), Step::Announce(SigningAlg::Es256)]
    );
}

#[test]
fn after_an_emergency_the_announced_key_signs_and_another_is_announced() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    let steps = plan_revocation(&table.keys, &kid(1)).unwrap();
    assert_eq!(
        steps,
        [Step::Revoke(kid(1)), Step::Promote(kid(2)), Step::Announce(SigningAlg::Es256)]
    );
    table.run(&steps, at(10));
    assert!(!table.keys.iter().any(|key| key.kid == kid(1) && key.state.is_published()));
    assert!(plan(&table.keys, at(10), &policy).is_empty());
    assert_eq!(plan_revocation(&table.keys, &kid(1)), Some(vec![]), "twice is once");
    assert_eq!(plan_revocation(&table.keys, &kid(99)), None);
}

#[test]
fn a_second_emergency_at_once_still_leaves_a_key_that_signs() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    for lost in [1, 2, 3] {
        let steps = plan_revocation(&table.keys, &kid(lost)).unwrap();
        table.run(&steps, at(1));
    }
    assert_eq!(table.signing(SigningAlg::Es256), kid(4));
    assert_eq!(table.in_state(SigningAlg::Es256, State::Announced).len(), 1);
}

#[test]
fn a_new_algorithm_signs_at_once_and_an_old_one_runs_out() {
    let mut policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    policy.algorithms = vec![SigningAlg::EdDsa];
    let steps = plan(&table.keys, at(100), &policy);
    assert_eq!(steps, [Step::SignAtOnce(SigningAlg::EdDsa), Step::Announce(SigningAlg::EdDsa)]);
    table.run(&steps, at(100));
    let steps = plan(&table.keys, at(30 * DAY), &policy);
    assert_eq!(steps, [Step::Retire(kid(1)), Step::Delete(kid(2))]);
    table.run(&steps, at(30 * DAY));
    assert_eq!(plan(&table.keys, at(30 * DAY + 99), &policy), []);
    assert_eq!(
        plan(&table.keys, at(30 * DAY + 310), &policy).last(),
        Some(&Step::Withdraw(kid(1)))
    );
}

#[test]
fn after_a_long_sleep_one_look_mends_everything_but_nothing_is_skipped() {
    let policy = policy();
    let mut table = Table::fresh(at(0), &policy);
    let now = at(1_000 * DAY);
    table.run(&plan(&table.keys, now, &policy), now);
    assert_eq!(table.signing(SigningAlg::Es256), kid(2));
    assert!(
        table.keys.iter().any(|key| key.kid == kid(1) && key.state == State::Retired),
        "its last token may be young"
    );
    assert!(plan(&table.keys, now, &policy).is_empty());
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let policy = policy();
    let table = Table::fresh(at(40 * DAY), &policy);
    assert!(plan(&table.keys, at(0), &policy).is_empty());
}

#[test]
fn the_lead_is_never_shorter_than_caches_keep_the_set() {
    let issuer = shared_types::Issuer::parse("https://id.example").unwrap();
    let mut settings = Settings::new(issuer, database::DatabaseUrl::Sqlite("unused".into()));
    (settings.signing.announce_lead, settings.signing.jwks_max_age) = (10, 300);
    let policy = Policy::new(&settings, vec![SigningAlg::Es256]);
    assert_eq!(policy.announce_lead, 300);
    assert_eq!(policy.keep_published, DAY + 10, "the longest token there may be, and the leeway");
    assert_eq!(policy.keep_for_hints, settings.lifetimes.refresh_absolute);
}
