//! Access tokens of ours whose signature was proven before, so that asking again costs none.
//!
//! Remembered is what cannot change: that a key of ours signed exactly this text, what it says, and what its `jti` says it came from. What can
//! change is checked on each hit: its times here, keys by their reading here, and by the callers in `grants/issued.rs` whatever the store knows
//! (given back, grant ended, client disabled). A text that was refused is never remembered, so nobody can fill the room with garbage.
//!
//! One for all workers, since a token comes back on any connection: the memory is bounded once, and a token is proven once. Its lock is held
//! for a look-up, in one of [`SHARDS`] parts that the signature picks, so that workers rarely meet.

use std::sync::{Arc, Mutex, PoisonError};

use shared_types::{AccessTokenClaims, Issuer, UnixSeconds};

use super::access_token::{self, AccessTokenFault};
use super::opaque::{self, Source};
use super::remembered::Remembered;
use crate::keys::ring::KeyRing;
use crate::keys::vault::Vault;
use crate::metrics::Metrics;

/// How many tokens are remembered at most: some 2 kB each.
pub const CAPACITY: usize = 2_048;
/// Parts with a lock of their own; a power of two.
const SHARDS: usize = 8;

/// An access token that was proven to be ours.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: AccessTokenClaims,
    /// What it came from; `None` where its `jti` does not say.
    pub source: Option<Source>,
    keys_reading: u64,
}

/// The memory of proven tokens.
#[derive(Debug)]
pub struct VerifiedTokens([Mutex<Remembered<Arc<VerifiedToken>>>; SHARDS]);

/// What a token is proven with.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// Our signature keys.
    pub keys: &'a KeyRing,
    /// Our own keys.
    pub vault: &'a Vault,
    /// Our name, which the token has to bear.
    pub issuer: &'a Issuer,
    /// Counts which tokens were proven before.
    pub metrics: &'a Metrics,
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl VerifiedTokens {
    /// Room for `capacity` tokens, nearly.
    pub fn new(capacity: usize) -> Self {
        Self(std::array::from_fn(|_| Mutex::new(Remembered::new(capacity / SHARDS))))
    }

    /// The token behind `text`, if it is one of ours and good at `now`, for whichever audience. Ask for the registry first: with stale keys
    /// a revoked one could still prove a signature.
    pub fn verify(
        &self,
        proof: Proof<'_>,
        text: &str,
        now: UnixSeconds,
    ) -> Result<Arc<VerifiedToken>, AccessTokenFault> {
        if let Some(known) = self.with(text, |tokens| tokens.get(text)) {
            // In another reading some key has changed its state, perhaps the one that signed this: then the text is proven anew.
            if known.keys_reading == proof.keys.reading() {
                return match access_token::check_times(&known.claims, now) {
                    Ok(()) => {
                        proof.metrics.count_verified("memory");
                        Ok(known)
                    }
                    Err(fault) => {
                        self.with(text, |tokens| tokens.forget(text));
                        Err(fault.into())
                    }
                };
            }
            self.with(text, |tokens| tokens.forget(text));
        }
        let (claims, keys_reading) = access_token::verify_own(proof.keys, proof.issuer, text, now)?;
        let source = opaque::source_of_jti(proof.vault, &claims.jti);
        let token = Arc::new(VerifiedToken { claims, source, keys_reading });
        proof.metrics.count_verified("signature");
        self.with(text, |tokens| tokens.put(text, Arc::clone(&token)));
        Ok(token)
    }

    fn with<T>(
        &self,
        text: &str,
        action: impl FnOnce(&mut Remembered<Arc<VerifiedToken>>) -> T,
    ) -> T {
        // The last character of a signature has few values. So has the one before it with Ed25519, whose last byte is at most 16.
        let byte = text.bytes().nth_back(2).unwrap_or_default();
        let [first, rest @ ..] = &self.0;
        let shard = rest.get(usize::from(byte) % SHARDS).unwrap_or(first);
        action(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};
    use shared_types::{ClaimFault, JwtId, KeyId, SigningAlg};

    use super::super::tests::{NOW, access, issuer, policy};
    use super::*;
    use crate::domain::row_id::RowId;
    use crate::keys::ring::VerifyFault;
    use crate::keys::rotation;
    use crate::random::SeededRandom;
    use crate::store::testing::TestStore;

    const ALG: SigningAlg = SigningAlg::Es256;

    /// Keys that sign and change, and a memory of what they signed.
    struct World {
        store: TestStore,
        vault: Vault,
        ring: KeyRing,
        metrics: Metrics,
        memory: VerifiedTokens,
    }

    impl World {
        async fn new() -> Self {
            let (store, vault) = (TestStore::open().await, Vault::of_seed(1));
            let policy = policy(&[ALG, SigningAlg::EdDsa]);
            rotation::keep_up(&store.database, &vault, NOW, &policy).await.unwrap();
            let ring = KeyRing::load(&store.database, &vault).await.unwrap();
            let memory = VerifiedTokens::default();
            Self { store, vault, ring, metrics: Metrics::new(), memory }
        }

        fn signed(&self, claims: &AccessTokenClaims) -> String {
            access_token::issue(&self.ring, ALG, claims).unwrap().expose().to_owned()
        }

        fn verify_at(
            &self,
            text: &str,
            now: UnixSeconds,
        ) -> Result<Arc<VerifiedToken>, AccessTokenFault> {
            self.verify_as(&issuer(), text, now)
        }

        fn verify_as(
            &self,
            issuer: &Issuer,
            text: &str,
            now: UnixSeconds,
        ) -> Result<Arc<VerifiedToken>, AccessTokenFault> {
            let Self { ring: keys, vault, metrics, .. } = self;
            self.memory.verify(Proof { keys, vault, issuer, metrics }, text, now)
        }

        fn fault(&self, text: &str) -> Option<AccessTokenFault> {
            self.verify_at(text, NOW).err()
        }

        /// Whether the answer comes from memory: then it is the very same.
        fn is_remembered(&self, text: &str) -> bool {
            let (one, other) = (self.verify_at(text, NOW), self.verify_at(text, NOW));
            matches!((one, other), (Ok(one), Ok(other)) if Arc::ptr_eq(&one, &other))
        }

        fn remembered(&self) -> usize {
            self.memory.0.iter().map(|shard| shard.lock().unwrap().len()).sum()
        }

        async fn change_keys(&self, kid: Option<&str>) {
            let (database, vault) = (&self.store.database, &self.vault);
            match kid {
                Some(kid) => {
                    let kid = KeyId::parse(kid).unwrap();
                    rotation::revoke(database, vault, &kid, NOW).await.unwrap();
                }
                None => drop(rotation::rotate_now(database, vault, ALG, NOW).await.unwrap()),
            }
            self.ring.reload(database, vault).await.unwrap();
        }
    }

    fn header(token: &str) -> Value {
        let header = token.split('.').next().unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_was_proven_once_comes_from_memory_and_is_counted() {
        let world = World::new().await;
        let source = Source::Grant(RowId::new(42));
        let jti = opaque::jti(&world.vault, source, &SeededRandom::new(1));
        let claims = AccessTokenClaims { jti, ..access() };
        let token = world.signed(&claims);
        let first = world.verify_at(&token, NOW).unwrap();
        assert_eq!((&first.claims, first.source), (&claims, Some(source)));
        assert!(Arc::ptr_eq(&first, &world.verify_at(&token, NOW).unwrap()));
        let page = world.metrics.page(&database::Statistics::default(), 0).unwrap();
        for line in [r#"{by="signature"} 1"#, r#"{by="memory"} 1"#] {
            let line = format!("auth_server_verified_access_tokens_total{line}");
            assert!(page.contains(&line), "{page}");
        }
    }

    #[tokio::test]
    async fn tokens_of_every_algorithm_are_spread_over_all_parts() {
        let world = World::new().await;
        for alg in [ALG, SigningAlg::EdDsa] {
            let memory = VerifiedTokens::default();
            let World { vault, ring: keys, metrics, .. } = &world;
            let issuer = issuer();
            for number in 0..200 {
                let jti = JwtId::parse(format!("token-{number}")).unwrap();
                let token = access_token::issue(keys, alg, &AccessTokenClaims { jti, ..access() });
                let proof = Proof { keys, vault, issuer: &issuer, metrics };
                memory.verify(proof, token.unwrap().expose(), NOW).unwrap();
            }
            let parts: Vec<usize> =
                memory.0.iter().map(|part| part.lock().unwrap().len()).collect();
            assert!(parts.iter().all(|tokens| (1..=80).contains(tokens)), "{alg:?}: {parts:?}");
        }
    }

    #[tokio::test]
    async fn whoever_changes_anything_of_a_remembered_token_has_another_one() {
        let world = World::new().await;
        let token = world.signed(&access());
        assert!(world.is_remembered(&token));
        let other = AccessTokenClaims { jti: JwtId::parse("other").unwrap(), ..access() };
        let other = world.signed(&other);
        let [head, payload, signature]: [&str; 3] =
            token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let [_, other_payload, other_signature]: [&str; 3] =
            other.split('.').collect::<Vec<_>>().try_into().unwrap();
        let with_alg = |alg: &str| {
            let members = json!({"alg": alg, "typ": "at+jwt", "kid": header(&token)["kid"]});
            format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(members.to_string()))
        };
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let spoilt = format!("{head}.{payload}.{flipped}{}", signature.split_at(1).1);
        for (text, fault) in [
            (spoilt, VerifyFault::Signature),
            (format!("{head}.{payload}.{other_signature}"), VerifyFault::Signature),
            // The same tail: it is found in the same place.
            (format!("{head}.{other_payload}.{signature}"), VerifyFault::Signature),
            (with_alg("EdDSA"), VerifyFault::Algorithm),
        ] {
            for _ in 0..2 {
                assert_eq!(world.fault(&text), Some(fault.clone().into()), "{text}");
            }
        }
        for text in [with_alg("none"), format!("{head}.{payload}."), format!("{token}A")] {
            assert!(world.fault(&text).is_some(), "{text}");
        }
        assert_eq!(world.remembered(), 1, "what is refused is not remembered");
        assert!(world.is_remembered(&token), "and does not throw out what is");
    }

    #[tokio::test]
    async fn a_remembered_token_ends_with_its_time_and_does_not_begin_before() {
        let world = World::new().await;
        let token = world.signed(&AccessTokenClaims { nbf: Some(NOW.plus(10)), ..access() });
        for _ in 0..2 {
            for (at, fault) in [
                (9, Some(ClaimFault::NotYetValid)),
                (10, None),
                (9, Some(ClaimFault::NotYetValid)),
                (299, None),
                (300, Some(ClaimFault::Expired)),
                (300, Some(ClaimFault::Expired)),
            ] {
                let found = world.verify_at(&token, NOW.plus(at)).err();
                assert_eq!(found, fault.map(AccessTokenFault::Claims), "{at}");
            }
        }
        assert_eq!(world.remembered(), 0);
    }

    #[tokio::test]
    async fn a_remembered_token_ends_with_its_key_and_outlives_a_rotation() {
        let world = World::new().await;
        let token = world.signed(&access());
        let first = world.verify_at(&token, NOW).unwrap();
        world.change_keys(None).await;
        let again = world.verify_at(&token, NOW).unwrap();
        assert!(!Arc::ptr_eq(&first, &again), "it is proven anew");
        assert!(world.is_remembered(&token));
        world.change_keys(header(&token)["kid"].as_str()).await;
        for _ in 0..2 {
            assert_eq!(world.fault(&token), Some(VerifyFault::Key.into()));
        }
        assert_eq!(world.remembered(), 0);
    }

    #[tokio::test]
    async fn a_remembered_token_ends_when_the_database_comes_back_with_other_keys_and_the_same_epoch()
     {
        let (world, restored) = (World::new().await, World::new().await);
        let (lost, kept) = (world.signed(&access()), restored.signed(&access()));
        assert!(world.is_remembered(&lost));
        world.ring.reload(&restored.store.database, &world.vault).await.unwrap();
        assert_eq!(world.fault(&lost), Some(VerifyFault::Key.into()));
        assert_eq!(world.fault(&kept), None);
    }

    #[tokio::test]
    async fn a_token_of_another_issuer_or_type_is_never_remembered() {
        let world = World::new().await;
        let other = Issuer::parse("https://other.example").unwrap();
        let token = world.signed(&AccessTokenClaims { iss: other.clone(), ..access() });
        let of_another_type = world.ring.sign(ALG, "JWT", &access()).unwrap();
        for _ in 0..2 {
            assert_eq!(world.fault(&token), Some(ClaimFault::Issuer.into()));
            assert_eq!(world.fault(&of_another_type), Some(VerifyFault::Type.into()));
        }
        assert_eq!(world.remembered(), 0);
        assert!(world.verify_as(&other, &token, NOW).is_ok());
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let world = World { memory: VerifiedTokens::new(SHARDS * 4), ..World::new().await };
        for number in 0..200 {
            let jti = JwtId::parse(number.to_string()).unwrap();
            let token = world.signed(&AccessTokenClaims { jti, ..access() });
            assert!(world.is_remembered(&token), "{number}");
            assert!(world.remembered() <= SHARDS * 4);
        }
        assert!(world.remembered() > SHARDS, "all parts are used");
    }
}
