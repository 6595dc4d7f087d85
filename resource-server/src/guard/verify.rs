//! Proves a token: every check in one order, and the only way to a [`VerifiedToken`] ([RFC 9068 section 4](https://www.rfc-editor.org/rfc/rfc9068#section-4)).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use shared_types::claims::TOKEN_TYP;
use shared_types::jws::{JwsFault, UnverifiedHeader, typ_is};
use shared_types::{
    AccessTokenClaims, ClaimFault, CompactJws, Issuer, KeyId, Rules, UnixSeconds, json,
};

use super::bearer::BearerError;
use super::jwks::{KeySource, KeyStatus};
use super::key::{KeySet, VerifyingKey};

/// Why a token is not valid here. The client learns the class, the log learns the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Its outside is not that of a signed token of ours.
    #[error("{0}")]
    Jws(#[from] JwsFault),
    /// `typ` is absent or another: an ID token, a logout token, a proof.
    #[error("the typ is not at+jwt")]
    Typ,
    /// `iss` is absent, or nobody whom we trust.
    #[error("the issuer is not one that is trusted here")]
    UnknownIssuer,
    /// The header names no key.
    #[error("the header has no kid")]
    NoKid,
    /// The issuer publishes no key of that name.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// The header's algorithm is not the key's.
    #[error("the header's alg is not that of the key")]
    KeyAlgorithm,
    /// The signature is not this key's over this token.
    #[error("the signature does not verify")]
    Signature,
    /// The claims do not hold.
    #[error("{0}")]
    Claims(#[from] ClaimFault),
    /// The token is bound to a key that a bearer does not prove.
    #[error("the token is sender-constrained (cnf) and was sent as a bearer token")]
    SenderConstrained,
    /// There is no usable key of that issuer: says nothing about the token.
    #[error("there are no usable keys of the issuer")]
    NoKeys,
}

impl TokenFault {
    /// One word for logs and metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Jws(JwsFault::TooLong) => "too_long",
            Self::Jws(JwsFault::Segments) => "segments",
            Self::Jws(JwsFault::Encoding) => "encoding",
            Self::Jws(JwsFault::Header) => "header",
            Self::Jws(JwsFault::Algorithm) => "alg",
            Self::Jws(JwsFault::Critical) => "crit",
            Self::Jws(JwsFault::Refused) => "header_member",
            Self::Typ => "typ",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NoKid => "no_kid",
            Self::UnknownKey => "unknown_key",
            Self::KeyAlgorithm => "key_alg",
            Self::Signature => "signature",
            Self::Claims(ClaimFault::Json) => "claims_json",
            Self::Claims(ClaimFault::Missing(_)) => "claim_missing",
            Self::Claims(ClaimFault::Malformed(_)) => "claim_malformed",
            Self::Claims(ClaimFault::Issuer) => "iss",
            Self::Claims(ClaimFault::Audience) => "aud",
            Self::Claims(ClaimFault::Expired) => "expired",
            Self::Claims(ClaimFault::NotYetValid) => "not_yet_valid",
            Self::SenderConstrained => "cnf",
            Self::NoKeys => "keys_unavailable",
        }
    }
}

impl From<TokenFault> for BearerError {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::NoKeys => Self::KeysUnavailable,
            fault => Self::InvalidToken(fault),
        }
    }
}

/// A token whose signature and claims have been proven. There is no other constructor than [`Verifier::verify`].
#[derive(Clone, Debug)]
pub struct VerifiedToken(Arc<Verified>);

#[derive(Debug)]
struct Verified {
    claims: AccessTokenClaims,
    trusted: usize,
    epoch: u64,
    fingerprint: u64,
}

impl VerifiedToken {
    /// What the token says.
    pub fn claims(&self) -> &AccessTokenClaims {
        &self.0.claims
    }

    /// A short hash of the whole token, for logs: it names the token and opens nothing.
    pub fn fingerprint(&self) -> u64 {
        self.0.fingerprint
    }
}

struct Trusted {
    rules: Rules,
    keys: Arc<dyn KeySource>,
}

/// Checks tokens of one or several issuers, each with its own keys: the token's `iss` picks the set before its `kid` picks a key, and
/// no key of one issuer can ever prove a token of another.
pub struct Verifier {
    trusted: Vec<Trusted>,
    by_issuer: HashMap<Box<str>, usize>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.trusted.iter().map(|trusted| trusted.rules.issuer.as_str()))
            .finish()
    }
}

/// A token taken apart, nothing proven yet.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) jws: CompactJws<'a>,
    pub(crate) unverified_header: UnverifiedHeader,
    pub(crate) unverified_payload: Vec<u8>,
}

impl<'a> UnverifiedToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenFault> {
        let jws = CompactJws::split(token)?;
        Ok(Self { jws, unverified_header: jws.header()?, unverified_payload: jws.payload()? })
    }

    /// "The resource server MUST verify that the "typ" header value is "at+jwt" or "application/at+jwt" and reject tokens carrying any
    /// other value" (RFC 9068 section 4). So an ID token opens nothing.
    pub(crate) fn check_typ(&self) -> Result<(), TokenFault> {
        match &self.unverified_header.unverified_typ {
            Some(typ) if typ_is(typ, TOKEN_TYP) => Ok(()),
            _ => Err(TokenFault::Typ),
        }
    }

    /// The issuer that the payload names, only to pick the keys that will prove it.
    pub(crate) fn unverified_issuer(&self) -> Result<String, TokenFault> {
        let mut members =
            json::parse_object(&self.unverified_payload).map_err(|_| ClaimFault::Json)?;
        match members.remove("iss") {
            None => Err(ClaimFault::Missing("iss").into()),
            Some(serde_json::Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(ClaimFault::Malformed("iss").into()),
        }
    }

    pub(crate) fn unverified_kid(&self) -> Result<&KeyId, TokenFault> {
        self.unverified_header.unverified_kid.as_ref().ok_or(TokenFault::NoKid)
    }

    /// "The algorithm used is the key's": the header may only agree (RFC 8725 section 3.1).
    pub(crate) fn check_alg(&self, key: &VerifyingKey) -> Result<(), TokenFault> {
        if self.unverified_header.unverified_alg == key.alg() {
            Ok(())
        } else {
            Err(TokenFault::KeyAlgorithm)
        }
    }

    pub(crate) fn check_signature(&self, key: &VerifyingKey) -> Result<(), TokenFault> {
        if key.verifies(self.jws.signing_input.as_bytes(), self.jws.signature) {
            Ok(())
        } else {
            Err(TokenFault::Signature)
        }
    }
}

/// A token that is bound to a key ([RFC 7800](https://www.rfc-editor.org/rfc/rfc7800)) is worth nothing without proof of that key. We take no
/// proofs yet, so any `cnf` refuses: to ignore it would turn a bound token into a bearer token for whoever stole it.
pub(crate) fn check_bearer(claims: &AccessTokenClaims) -> Result<(), TokenFault> {
    if claims.cnf.is_none() { Ok(()) } else { Err(TokenFault::SenderConstrained) }
}

impl Verifier {
    /// A verifier that trusts these issuers.
    pub fn new(sources: Vec<(Rules, Arc<dyn KeySource>)>) -> Self {
        let trusted: Vec<Trusted> =
            sources.into_iter().map(|(rules, keys)| Trusted { rules, keys }).collect();
        let by_issuer = trusted
            .iter()
            .enumerate()
            .map(|(index, trusted)| (trusted.rules.issuer.as_str().into(), index))
            .collect();
        Self { trusted, by_issuer }
    }

    /// Proves `token` with the keys that are there.
    pub fn verify(&self, token: &str, now: UnixSeconds) -> Result<VerifiedToken, TokenFault> {
        let unverified = UnverifiedToken::parse(token)?;
        unverified.check_typ()?;
        let (index, trusted) = self.trusted_by(&unverified.unverified_issuer()?)?;
        let kid = unverified.unverified_kid()?;
        let set = trusted.usable_keys(now)?;
        let key = set.get(kid).ok_or(TokenFault::UnknownKey)?;
        unverified.check_alg(key)?;
        unverified.check_signature(key)?;
        let claims = AccessTokenClaims::parse(&unverified.unverified_payload)?;
        claims.check(&trusted.rules, now)?;
        check_bearer(&claims)?;
        let fingerprint = fingerprint(token);
        Ok(VerifiedToken(Arc::new(Verified {
            claims,
            trusted: index,
            epoch: set.epoch,
            fingerprint,
        })))
    }

    /// Has the keys fetched that `token` lacked, if they may be asked for now. Look again afterwards.
    pub async fn fetch_key_for(&self, token: &str, now: UnixSeconds) {
        let Ok(unverified) = UnverifiedToken::parse(token) else {
            return;
        };
        let trusted = unverified.unverified_issuer().and_then(|issuer| self.trusted_by(&issuer));
        let (Ok((_, trusted)), Ok(kid)) = (trusted, unverified.unverified_kid()) else {
            return;
        };
        let kid = trusted.usable_keys(now).is_ok().then_some(kid);
        trusted.keys.ask(kid).await;
    }

    /// What can change while a verified token lies in a cache: its times, the age of the keys, and whether they still are the same.
    pub fn still_holds(&self, token: &VerifiedToken, now: UnixSeconds) -> bool {
        let Some(trusted) = self.trusted.get(token.0.trusted) else {
            return false;
        };
        trusted.keys.usable_epoch(now) == Some(token.0.epoch)
            && token.claims().check_times(trusted.rules.clock_leeway, now).is_ok()
    }

    /// The state of each issuer's keys.
    pub fn key_status(&self, now: UnixSeconds) -> Vec<KeyStatus> {
        let status = |trusted: &Trusted| {
            let set = trusted.keys.snapshot();
            KeyStatus {
                issuer: trusted.rules.issuer.clone(),
                keys: set.len(),
                age: set.fetched_at.map(|at| now.since(at)),
                usable: !set.is_empty() && set.is_usable(trusted.keys.max_age(), now),
            }
        };
        self.trusted.iter().map(status).collect()
    }

    /// The rules and usable keys of an issuer, for a report.
    pub(crate) fn rules_and_keys(
        &self,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<(&Rules, Arc<KeySet>), TokenFault> {
        let (_, trusted) = self.trusted_by(issuer)?;
        Ok((&trusted.rules, trusted.usable_keys(now)?))
    }

    /// The issuers that are trusted.
    pub fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.trusted.iter().map(|trusted| &trusted.rules.issuer)
    }

    fn trusted_by(&self, unverified_issuer: &str) -> Result<(usize, &Trusted), TokenFault> {
        let index =
            self.by_issuer.get(unverified_issuer).copied().ok_or(TokenFault::UnknownIssuer)?;
        let trusted = self.trusted.get(index).ok_or(TokenFault::UnknownIssuer)?;
        Ok((index, trusted))
    }
}

impl Trusted {
    fn usable_keys(&self, now: UnixSeconds) -> Result<Arc<KeySet>, TokenFault> {
        let set = self.keys.snapshot();
        if set.is_usable(self.keys.max_age(), now) { Ok(set) } else { Err(TokenFault::NoKeys) }
    }
}

/// The first 64 bits of the token's SHA-256.
pub(crate) fn fingerprint(token: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    let head = hash.as_ref().iter().take(8);
    head.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use futures_util::future::BoxFuture;
    use serde_json::{Value, json};
    use shared_types::jwk::PublicKey;
    use shared_types::{Audience, JwkSet, PublicJwk, SigningAlg};

    use super::*;

    pub(crate) const NOW: UnixSeconds = UnixSeconds::new(1_000);

    /// An issuer with one Ed25519 key, whose epoch and presence a test can change.
    #[derive(Debug)]
    pub(crate) struct TestIssuer {
        name: &'static str,
        pair: Ed25519KeyPair,
        pub(crate) epoch: AtomicU64,
        pub(crate) gone: AtomicBool,
    }

    impl TestIssuer {
        pub(crate) fn new(name: &'static str) -> Arc<Self> {
            let pair = Ed25519KeyPair::generate().unwrap();
            Arc::new(Self { name, pair, epoch: AtomicU64::new(1), gone: AtomicBool::new(false) })
        }

        pub(crate) fn trust(self: &Arc<Self>) -> (Rules, Arc<dyn KeySource>) {
            let rules = Rules {
                issuer: Issuer::parse(self.name).unwrap(),
                audience: Audience::parse("https://api.example").unwrap(),
                clock_leeway: 10,
            };
            (rules, Arc::clone(self) as Arc<dyn KeySource>)
        }

        pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let input = format!("{}.{}", part(header), part(claims));
            let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(input.as_bytes()));
            format!("{input}.{signature}")
        }

        pub(crate) fn header() -> Value {
            json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"})
        }

        pub(crate) fn claims(&self) -> Value {
            json!({"iss": self.name, "sub": "acct_1", "aud": "https://api.example", "client_id": "web",
                "scope": "a", "exp": 1_300, "iat": 1_000, "jti": "j"})
        }

        pub(crate) fn token(&self) -> String {
            self.sign(&Self::header(), &self.claims())
        }
    }

    impl KeySource for TestIssuer {
        fn snapshot(&self) -> Arc<KeySet> {
            if self.gone.load(Ordering::SeqCst) {
                return Arc::default();
            }
            let x = self.pair.public_key().as_ref().try_into().unwrap();
            let kid = KeyId::parse("k").unwrap();
            let jwk = PublicJwk { kid, alg: SigningAlg::EdDsa, key: PublicKey::Ed25519 { x } };
            let set = JwkSet { keys: vec![jwk], skipped: 0 };
            Arc::new(KeySet::load(set, self.epoch.load(Ordering::SeqCst), NOW))
        }

        fn usable_epoch(&self, _: UnixSeconds) -> Option<u64> {
            (!self.gone.load(Ordering::SeqCst)).then(|| self.epoch.load(Ordering::SeqCst))
        }

        fn ask<'a>(&'a self, _: Option<&'a KeyId>) -> BoxFuture<'a, ()> {
            Box::pin(std::future::ready(()))
        }

        fn max_age(&self) -> i64 {
            86_400
        }
    }

    fn cause(verifier: &Verifier, token: &str) -> &'static str {
        verifier.verify(token, NOW).err().map_or("accepted", |fault| fault.cause())
    }

    #[test]
    fn a_right_token_is_accepted_and_each_fault_is_found_by_its_own_check() {
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        let refused = |header: &[(&str, Value)], claims: &[(&str, Value)]| {
            let (mut h, mut c) = (TestIssuer::header(), issuer.claims());
            for (name, value) in header {
                h[*name] = value.clone();
            }
            for (name, value) in claims {
                c[*name] = value.clone();
            }
            cause(&verifier, &issuer.sign(&h, &c))
        };
        assert_eq!(refused(&[], &[]), "accepted");
        assert_eq!(refused(&[("typ", json!("JWT"))], &[]), "typ");
        assert_eq!(refused(&[("alg", json!("none"))], &[]), "alg");
        assert_eq!(refused(&[("alg", json!("ES256"))], &[]), "key_alg");
        assert_eq!(refused(&[("kid", json!("x"))], &[]), "unknown_key");
        assert_eq!(refused(&[("crit", json!(["b64"]))], &[]), "crit");
        assert_eq!(refused(&[("jwk", json!({}))], &[]), "header_member");
        assert_eq!(refused(&[], &[("iss", json!("https://other.example"))]), "unknown_issuer");
        assert_eq!(refused(&[], &[("iss", json!(1))]), "claim_malformed");
        assert_eq!(refused(&[], &[("aud", json!("https://other.example"))]), "aud");
        assert_eq!(refused(&[], &[("exp", json!(1_000))]), "expired");
        assert_eq!(refused(&[], &[("nbf", json!(1_011))]), "not_yet_valid");
        assert_eq!(refused(&[], &[("cnf", json!({"jkt": "x"}))]), "cnf");
        assert_eq!(refused(&[], &[("cnf", json!({}))]), "cnf");
        let mut token = issuer.token();
        token.replace_range(token.len() - 4.., "AAAA");
        assert_eq!(cause(&verifier, &token), "signature");
    }

    #[test]
    fn one_issuers_key_does_not_sign_for_another() {
        let (a, b) = (TestIssuer::new("https://a.example"), TestIssuer::new("https://b.example"));
        let verifier = Verifier::new(vec![a.trust(), b.trust()]);
        assert_eq!(cause(&verifier, &a.token()), "accepted");
        assert_eq!(cause(&verifier, &a.sign(&TestIssuer::header(), &b.claims())), "signature");
    }

    #[test]
    fn without_keys_nothing_is_accepted_and_the_token_is_not_blamed() {
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        issuer.gone.store(true, Ordering::SeqCst);
        let fault = verifier.verify(&issuer.token(), NOW).unwrap_err();
        assert_eq!(BearerError::from(fault), BearerError::KeysUnavailable);
    }
}
