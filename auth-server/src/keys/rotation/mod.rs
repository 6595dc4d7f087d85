//! How signature keys come and go: a pure plan, and the unit of work that carries it out.
//!
//! announced → signing → retired → withdrawn → deleted. A key is published long enough before its first signature that every cache holds
//! it, and long enough after its last that every token it signed has expired. One announced key of each algorithm is always there, so
//! that an emergency ([`revoke`]) goes on at once with a key that caches know.

use std::fmt;

use shared_types::{KeyId, SigningAlg, UnixSeconds};

use crate::config::{Lifetimes, Settings};
use crate::domain::api::MAX_TOKEN_LIFETIME;
use crate::domain::signing_key::{Key, State};

pub use carry_out::{RotationFault, keep_up, revoke, rotate_now};

mod carry_out;
#[cfg(test)]
mod tests;

/// When things happen, all in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The algorithms in use.
    pub algorithms: Vec<SigningAlg>,
    /// How long a key signs.
    pub rotation_period: i64,
    /// How long a key is published before it signs: at least the `max-age` of the JWK Set.
    pub announce_lead: i64,
    /// How long a key stays published after its last signature: the longest life that any token may have, and the leeway of clocks. Not the
    /// longest of today's APIs: a token lives as long as its API said when it was signed, also if that was shortened or deleted since.
    pub keep_published: i64,
    /// How long after its last signature a key still proves a hint: the longest life of a session or grant.
    pub keep_for_hints: i64,
}

impl Policy {
    /// The policy that follows from the settings and the algorithms in use.
    pub fn new(settings: &Settings, algorithms: Vec<SigningAlg>) -> Self {
        let Lifetimes { session_absolute, refresh_absolute, .. } = settings.lifetimes;
        let signing = &settings.signing;
        Self {
            algorithms,
            rotation_period: signing.rotation_period,
            announce_lead: signing.announce_lead.max(signing.jwks_max_age),
            keep_published: MAX_TOKEN_LIFETIME + settings.clock_leeway,
            keep_for_hints: session_absolute.max(refresh_absolute),
        }
    }
}

/// One change. Steps are carried out in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A fresh key is published, and signs when its time has come.
    Announce(SigningAlg),
    /// A fresh key signs at once: there is none that was announced.
    SignAtOnce(SigningAlg),
    /// An announced key begins to sign.
    Promote(KeyId),
    /// A signing key stops, and its private half is destroyed.
    Retire(KeyId),
    /// A retired key leaves the published set.
    Withdraw(KeyId),
    /// A key is forgotten.
    Delete(KeyId),
    /// A key counts for nothing from now on.
    Revoke(KeyId),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announce(alg) => write!(f, "a new {alg} key is announced"),
            Self::SignAtOnce(alg) => write!(f, "a new {alg} key signs"),
            Self::Promote(kid) => write!(f, "{kid} signs"),
            Self::Retire(kid) => write!(f, "{kid} is retired"),
            Self::Withdraw(kid) => write!(f, "{kid} is withdrawn"),
            Self::Delete(kid) => write!(f, "{kid} is forgotten"),
            Self::Revoke(kid) => write!(f, "{kid} is revoked"),
        }
    }
}

/// What has to happen now. Pure, and idle when nothing is due.
pub fn plan(keys: &[Key], now: UnixSeconds, policy: &Policy) -> Vec<Step> {
    let in_use = |alg: &SigningAlg| policy.algorithms.contains(alg);
    let (used, unused): (Vec<_>, Vec<_>) = SigningAlg::ALL.into_iter().partition(in_use);
    let succession = used
        .into_iter()
        .flat_map(|alg| succeed(keys, alg, |old, new| is_due(old, new, now, policy)));
    let endings = unused.into_iter().flat_map(|alg| run_out(keys, alg, now, policy));
    let aging = keys.iter().filter_map(|key| age(key, now, policy));
    succession.chain(endings).chain(aging).collect()
}

/// The steps of one algorithm in use: somebody signs, somebody is announced.
fn succeed(keys: &[Key], alg: SigningAlg, is_due: impl Fn(&Key, &Key) -> bool) -> Vec<Step> {
    match (find(keys, alg, State::Signing), find(keys, alg, State::Announced)) {
        (None, None) => vec![Step::SignAtOnce(alg), Step::Announce(alg)],
        (None, Some(next)) => vec![Step::Promote(next.kid.clone()), Step::Announce(alg)],
        (Some(_), None) => vec![Step::Announce(alg)],
        (Some(old), Some(next)) if is_due(old, next) => {
            vec![
                Step::Retire(old.kid.clone()),
                Step::Promote(next.kid.clone()),
                Step::Announce(alg),
            ]
        }
        (Some(_), Some(_)) => Vec::new(),
    }
}

/// The steps of an algorithm that nobody uses: its key signs to the end of its time, in case an instance with an older picture of the
/// registry still wants it, and gets no successor.
fn run_out(keys: &[Key], alg: SigningAlg, now: UnixSeconds, policy: &Policy) -> Vec<Step> {
    let over = |since: UnixSeconds| now.has_reached(since.plus(policy.rotation_period));
    let signing = find(keys, alg, State::Signing).filter(|key| over(signing_since(key)));
    let announced = find(keys, alg, State::Announced).filter(|key| over(key.announced_at));
    let retire = signing.map(|key| Step::Retire(key.kid.clone()));
    // It never signed, so nothing has to be proven with it.
    let delete = announced.map(|key| Step::Delete(key.kid.clone()));
    retire.into_iter().chain(delete).collect()
}

fn is_due(old: &Key, next: &Key, now: UnixSeconds, policy: &Policy) -> bool {
    now.has_reached(signing_since(old).plus(policy.rotation_period))
        && now.has_reached(next.announced_at.plus(policy.announce_lead))
}

/// What has to happen once `kid` is lost; `None` when there is no such key. Pure.
fn plan_revocation(keys: &[Key], kid: &KeyId) -> Option<Vec<Step>> {
    let lost = keys.iter().find(|key| key.kid == *kid)?;
    let others: Vec<Key> = keys.iter().filter(|key| key.kid != *kid).cloned().collect();
    match lost.state {
        State::Revoked => Some(Vec::new()),
        State::Retired | State::Withdrawn => Some(vec![Step::Revoke(kid.clone())]),
        State::Announced | State::Signing => {
            let successors = succeed(&others, lost.alg, |_, _| false);
            Some([vec![Step::Revoke(kid.clone())], successors].concat())
        }
    }
}

/// What the years do to a key that signs no more.
fn age(key: &Key, now: UnixSeconds, policy: &Policy) -> Option<Step> {
    let over = |since: Option<UnixSeconds>, keep| {
        since.is_none_or(|since| now.has_reached(since.plus(keep)))
    };
    match key.state {
        State::Retired if over(key.retired_at, policy.keep_published) => {
            Some(Step::Withdraw(key.kid.clone()))
        }
        State::Withdrawn if over(key.retired_at, policy.keep_for_hints) => {
            Some(Step::Delete(key.kid.clone()))
        }
        // The row only tells a person what happened.
        State::Revoked if over(key.withdrawn_at, policy.keep_for_hints) => {
            Some(Step::Delete(key.kid.clone()))
        }
        _ => None,
    }
}

fn signing_since(key: &Key) -> UnixSeconds {
    key.signing_at.unwrap_or(key.announced_at)
}

fn find(keys: &[Key], alg: SigningAlg, state: State) -> Option<&Key> {
    keys.iter().find(|key| key.alg == alg && key.state == state)
}
