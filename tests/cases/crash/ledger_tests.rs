//! The ledger catches what it is there for, and lets pass what the rules allow.

use super::ledger::{Answer, Fault, Ledger, Op, RETRIES};

fn tokens(name: &str) -> Answer {
    Answer::Tokens(name.to_owned())
}

/// Enters calls one after the other; the first fault.
fn enter(ledger: &mut Ledger, calls: &[(Op, Answer)]) -> Result<(), Fault> {
    calls.iter().try_for_each(|(op, answer)| ledger.enter(*op, answer.clone()))
}

/// A signed-in browser with one code.
fn with_code(offline: bool) -> Ledger {
    let mut ledger = Ledger::signed_in();
    ledger.enter(Op::Authorize { offline }, Answer::Code).unwrap();
    ledger
}

/// The same with the code redeemed.
fn with_family() -> Ledger {
    let mut ledger = with_code(false);
    ledger.enter(Op::Redeem(0), tokens("r0")).unwrap();
    ledger
}

#[test]
fn it_catches_a_rotation_that_was_answered_and_lost() {
    let mut ledger = with_family();
    ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    // A server that fell back to generation 0 knows no token 1.
    assert!(ledger.clone().enter(Op::Refresh(0, 1), Answer::Refused).is_err());
    assert!(ledger.clone().enter(Op::IsCurrent(0, 1), Answer::Is(false)).is_err());
    assert!(ledger.clone().enter(Op::IsCurrent(0, 0), Answer::Is(true)).is_err());
    ledger.enter(Op::Refresh(0, 1), tokens("r2")).unwrap();
}

#[test]
fn it_catches_a_token_that_rotates_into_two() {
    let mut ledger = with_family();
    ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    assert!(ledger.clone().enter(Op::Refresh(0, 0), tokens("other")).is_err());
    ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    let mut racing = with_family();
    let both = [(Op::Refresh(0, 0), tokens("a")), (Op::Refresh(0, 0), tokens("b"))];
    assert!(racing.enter_all(&both).is_err());
}

#[test]
fn it_catches_two_families_of_one_code() {
    let two = [(Op::Redeem(0), tokens("a")), (Op::Redeem(0), tokens("b"))];
    assert!(enter(&mut with_code(false), &two).is_err());
    assert!(with_code(false).enter_all(&two).is_err(), "at the same time, too");
    let mut one = with_code(false);
    one.enter_all(&[(Op::Redeem(0), tokens("a")), (Op::Redeem(0), Answer::Refused)]).unwrap();
    assert!(one.clone().enter(Op::IsCurrent(0, 0), Answer::Is(true)).is_err(), "a replay ends it");
    one.enter(Op::Refresh(0, 0), Answer::Refused).unwrap();
}

#[test]
fn it_catches_a_revoked_token_that_lives() {
    let mut ledger = with_family();
    ledger.enter(Op::Revoke(0, 0), Answer::Done).unwrap();
    assert!(ledger.clone().enter(Op::IsCurrent(0, 0), Answer::Is(true)).is_err());
    assert!(ledger.clone().enter(Op::Refresh(0, 0), tokens("r1")).is_err());
    assert!(ledger.clone().enter(Op::IsLive(0), Answer::Is(true)).is_err());
    let mut ledger = with_family();
    ledger.enter(Op::Deny(0), Answer::Done).unwrap();
    assert!(ledger.clone().enter(Op::IsLive(0), Answer::Is(true)).is_err());
    ledger.enter(Op::IsCurrent(0, 0), Answer::Is(true)).unwrap();
}

#[test]
fn it_catches_what_outlives_its_sign_out() {
    let mut ledger = with_family();
    ledger.enter(Op::Authorize { offline: true }, Answer::Code).unwrap();
    ledger.enter(Op::Redeem(1), tokens("o0")).unwrap();
    ledger.enter(Op::SignOut, Answer::Done).unwrap();
    for question in [Op::IsSignedIn, Op::IsCurrent(0, 0), Op::IsLive(0)] {
        assert!(ledger.clone().enter(question, Answer::Is(true)).is_err(), "{question:?}");
    }
    assert!(ledger.clone().enter(Op::Authorize { offline: false }, Answer::Code).is_err());
    for question in [Op::IsCurrent(1, 0), Op::IsLive(1)] {
        assert!(ledger.clone().enter(question, Answer::Is(false)).is_err(), "{question:?}");
    }
}

#[test]
fn what_was_not_answered_is_either_and_stays_that() {
    let mut ledger = with_family();
    ledger.enter(Op::Revoke(0, 0), Answer::Unknown).unwrap();
    assert_eq!(ledger.must(Op::IsCurrent(0, 0)), None);
    let (living, dead) = (Answer::Is(true), Answer::Is(false));
    for (first, then) in [(&living, &dead), (&dead, &living)] {
        let mut ledger = ledger.clone();
        ledger.enter(Op::IsCurrent(0, 0), first.clone()).unwrap();
        ledger.enter(Op::IsCurrent(0, 0), first.clone()).unwrap();
        assert!(ledger.enter(Op::IsCurrent(0, 0), then.clone()).is_err());
    }
}

#[test]
fn a_redemption_without_an_answer_happens_once_at_most() {
    let mut ledger = with_code(false);
    ledger.enter(Op::Redeem(0), Answer::Unknown).unwrap();
    let mut not_yet = ledger.clone();
    not_yet.enter(Op::Redeem(0), tokens("r0")).unwrap();
    assert!(not_yet.enter(Op::Redeem(0), tokens("x")).is_err());
    ledger.enter(Op::Redeem(0), Answer::Refused).unwrap();
    assert!(ledger.enter(Op::Redeem(0), tokens("r0")).is_err());
}

#[test]
fn a_rotation_without_an_answer_is_told_again() {
    let mut ledger = with_family();
    ledger.enter(Op::Refresh(0, 0), Answer::Unknown).unwrap();
    ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    assert_eq!(ledger.must(Op::IsCurrent(0, 1)), Some(true));
    // Whether the first one happened decides how many retries are left, and the answers tell.
    for _ in 1..RETRIES {
        ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    }
    let mut counted = ledger.clone();
    counted.enter(Op::Refresh(0, 0), Answer::Refused).unwrap();
    ledger.enter(Op::Refresh(0, 0), tokens("r1")).unwrap();
    assert!(ledger.enter(Op::Refresh(0, 0), tokens("r1")).is_err());
}

#[test]
fn an_old_token_ends_its_family() {
    let mut ledger = with_family();
    let calls = [
        (Op::Refresh(0, 0), tokens("r1")),
        (Op::Refresh(0, 1), tokens("r2")),
        (Op::Refresh(0, 0), Answer::Refused),
    ];
    enter(&mut ledger, &calls).unwrap();
    assert!(ledger.clone().enter(Op::Refresh(0, 2), tokens("r3")).is_err());
    ledger.enter(Op::IsCurrent(0, 2), Answer::Is(false)).unwrap();
}

#[test]
fn a_token_has_one_place() {
    let mut ledger = with_family();
    ledger.enter(Op::Authorize { offline: false }, Answer::Code).unwrap();
    assert!(ledger.enter(Op::Redeem(1), tokens("r0")).is_err());
}

#[test]
fn a_fault_tells_the_history_and_no_token() {
    let mut ledger = with_family();
    ledger.note("killed");
    let fault = ledger.enter(Op::IsCurrent(0, 0), Answer::Is(false)).unwrap_err().to_string();
    assert!(fault.contains("Redeem(0) → Tokens") && fault.contains("killed"), "{fault}");
    assert!(!fault.contains("r0"), "{fault}");
}
