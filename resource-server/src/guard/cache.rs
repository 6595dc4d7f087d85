//! Verified tokens that a worker remembers, so that a client's second request costs no signature.
//!
//! One per worker, made inside the app factory: no lock, no sharing. Found by the **whole** token, compared exactly. Only proven tokens
//! come in, so nobody can fill it with garbage. What can change with time is checked on each hit by [`Verifier::still_holds`], the scope
//! by whoever asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use shared_types::UnixSeconds;

use super::verify::{VerifiedToken, Verifier};

/// The bytes at a token's end that choose its place: the signature's, which differ wherever tokens do. The rest is compared, not hashed.
const HASHED_TAIL: usize = 64;

/// The cache of one worker.
#[derive(Debug)]
pub struct WorkerCache {
    hasher: RandomState,
    generations: RefCell<Generations>,
}

/// Two halves: when the young one is full it becomes the old one, and what was old and not used since is gone. Constant work, no list.
#[derive(Debug, Default)]
struct Generations {
    half: usize,
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    token: Box<str>,
    verified: VerifiedToken,
}

impl WorkerCache {
    /// A cache for at most `capacity` tokens; 0 remembers nothing.
    pub fn new(capacity: usize) -> Self {
        let generations = Generations { half: capacity / 2, ..Generations::default() };
        Self { hasher: RandomState::new(), generations: RefCell::new(generations) }
    }

    /// The verified form of `token`, if it is known and still holds at `now`.
    pub fn get(&self, token: &str, verifier: &Verifier, now: UnixSeconds) -> Option<VerifiedToken> {
        let place = self.place(token);
        let mut generations = self.generations.borrow_mut();
        let verified = generations.find(place, token)?;
        if verifier.still_holds(&verified, now) {
            return Some(verified);
        }
        generations.young.remove(&place);
        None
    }

    /// Remembers a token that was just proven.
    pub fn put(&self, token: &str, verified: VerifiedToken) {
        let place = self.place(token);
        let entry = Entry { token: token.into(), verified };
        self.generations.borrow_mut().insert(place, entry);
    }

    fn place(&self, token: &str) -> u64 {
        let bytes = token.as_bytes();
        let tail = bytes.get(bytes.len().saturating_sub(HASHED_TAIL)..).unwrap_or(bytes);
        self.hasher.hash_one(tail)
    }
}

impl Generations {
    fn find(&mut self, place: u64, token: &str) -> Option<VerifiedToken> {
        if let Some(entry) = self.young.get(&place) {
            return (*entry.token == *token).then(|| entry.verified.clone());
        }
        let entry = self.old.remove(&place)?;
        let verified = (*entry.token == *token).then(|| entry.verified.clone());
        self.insert(place, entry);
        verified
    }

    fn insert(&mut self, place: u64, entry: Entry) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half && !self.young.contains_key(&place) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::json;

    use super::super::verify::tests::{NOW, TestIssuer};
    use super::*;

    #[test]
    fn a_hit_checks_expiry_and_the_epoch_of_the_keys() {
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        let cache = WorkerCache::new(10);
        let token = issuer.token();
        let remember = || cache.put(&token, verifier.verify(&token, NOW).unwrap());
        remember();
        assert!(cache.get(&token, &verifier, NOW).is_some());
        assert!(cache.get(&token, &verifier, UnixSeconds::new(1_299)).is_some());
        assert!(cache.get(&token, &verifier, UnixSeconds::new(1_300)).is_none(), "expired");
        assert!(cache.get(&token, &verifier, NOW).is_none(), "what failed once is forgotten");
        remember();
        assert!(
            cache.get(&token, &verifier, UnixSeconds::new(989)).is_none(),
            "issued in the future"
        );
        remember();
        issuer.epoch.store(2, Ordering::SeqCst);
        assert!(cache.get(&token, &verifier, NOW).is_none(), "the keys have changed");
        remember();
        issuer.gone.store(true, Ordering::SeqCst);
        assert!(cache.get(&token, &verifier, NOW).is_none(), "the keys are too old");
    }

    #[test]
    fn a_token_is_found_only_by_its_whole_text() {
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        let cache = WorkerCache::new(10);
        let token = issuer.token();
        cache.put(&token, verifier.verify(&token, NOW).unwrap());
        let mut other = issuer.claims();
        other["sub"] = json!("acct_2");
        let forged = issuer.sign(&TestIssuer::header(), &other);
        let (signed, _) = forged.rsplit_once('.').unwrap();
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(cache.get(&format!("{signed}.{signature}"), &verifier, NOW).is_none());
        assert!(cache.get(&token, &verifier, NOW).is_some());
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        let cache = WorkerCache::new(10);
        let used = issuer.token();
        cache.put(&used, verifier.verify(&used, NOW).unwrap());
        for number in 0..100 {
            let mut claims = issuer.claims();
            claims["jti"] = json!(number.to_string());
            let token = issuer.sign(&TestIssuer::header(), &claims);
            cache.put(&token, verifier.verify(&token, NOW).unwrap());
            assert!(cache.get(&used, &verifier, NOW).is_some(), "{number}");
        }
        let generations = cache.generations.borrow();
        assert!(generations.young.len() + generations.old.len() <= 10);
    }
}
