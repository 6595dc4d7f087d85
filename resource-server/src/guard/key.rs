//! Keys that verify: each checked once when it is loaded, each with exactly one algorithm.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use shared_types::jwk::PublicKey;
use shared_types::{JwkSet, KeyId, PublicJwk, SigningAlg, UnixSeconds};

/// A key, checked and ready. Its algorithm is its own: a token's header cannot choose another.
pub struct VerifyingKey {
    alg: SigningAlg,
    key: DecodingKey,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.alg)
    }
}

/// The material is not a key of its kind: a point off the curve, or one of small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid public key")]
pub struct KeyFault;

impl VerifyingKey {
    /// Checks the material: a P-256 point must lie on the curve, an Ed25519 key must not have a small order, for which signatures
    /// exist that verify under anything. RSA was checked when the JWK was read.
    pub fn load(jwk: &PublicJwk) -> Result<Self, KeyFault> {
        let key = match &jwk.key {
            PublicKey::P256 { x, y } => {
                let point = [[4].as_slice(), x, y].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyFault)?;
                DecodingKey::from_ec_der(&point)
            }
            PublicKey::Ed25519 { x } => {
                if has_small_order(x) {
                    return Err(KeyFault);
                }
                ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault)?;
                DecodingKey::from_ed_der(x)
            }
            PublicKey::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        };
        Ok(Self { alg: jwk.alg, key })
    }

    /// The one algorithm it verifies.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// Whether `signature` (base64url) is this key's over `input`. The one place where the guard decides that a signature is right.
    pub fn verifies(&self, input: &[u8], signature: &str) -> bool {
        let alg = match self.alg {
            SigningAlg::Es256 => Algorithm::ES256,
            SigningAlg::EdDsa => Algorithm::EdDSA,
            SigningAlg::Rs256 => Algorithm::RS256,
            SigningAlg::Ps256 => Algorithm::PS256,
        };
        jsonwebtoken::crypto::verify(signature, input, &self.key, alg).unwrap_or(false)
    }
}

/// The encodings of points of small order on edwards25519, without the sign bit: 0, 1, two of order 8, and p−1, p, p+1.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn near_p(last: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = last;
        bytes[31] = 0x7f;
        bytes
    }
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
};

fn has_small_order(key: &[u8; 32]) -> bool {
    let mut unsigned = *key;
    if let Some(last) = unsigned.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&unsigned)
}

/// The keys of one issuer, as they were at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Grows whenever the keys change, so that a cached token cannot outlive the key that proved it. 0: never fetched.
    pub epoch: u64,
    /// When the keys were last fetched; `None` before the first fetch.
    pub fetched_at: Option<UnixSeconds>,
    jwks: Vec<PublicJwk>,
    keys: HashMap<KeyId, VerifyingKey>,
}

impl KeySet {
    /// Checks every key of `set`, and passes over those that are none: one bad entry must not take the good ones with it.
    pub fn load(set: JwkSet, epoch: u64, fetched_at: UnixSeconds) -> Self {
        let mut loaded = Self { epoch, fetched_at: Some(fetched_at), ..Self::default() };
        let mut skipped = set.skipped;
        for jwk in set.keys {
            match VerifyingKey::load(&jwk) {
                Ok(key) => {
                    loaded.keys.insert(jwk.kid.clone(), key);
                    loaded.jwks.push(jwk);
                }
                Err(KeyFault) => skipped += 1,
            }
        }
        if skipped > 0 {
            log::warn!(skipped; "entries of a key set were passed over");
        }
        loaded
    }

    /// The set that follows this one: the same epoch if the keys are the same, the next if not.
    pub(super) fn followed_by(&self, set: JwkSet, fetched_at: UnixSeconds) -> Self {
        let next = Self::load(set, self.epoch, fetched_at);
        if self.fetched_at.is_some() && next.jwks == self.jwks {
            return next;
        }
        Self { epoch: self.epoch + 1, ..next }
    }

    /// The key of that name.
    pub fn get(&self, kid: &KeyId) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The set as it is stored.
    pub(super) fn to_json(&self) -> String {
        JwkSet { keys: self.jwks.clone(), skipped: 0 }.to_json().to_string()
    }

    /// Whether the set was fetched, and less than `max_age` seconds ago.
    pub fn is_usable(&self, max_age: i64, now: UnixSeconds) -> bool {
        self.fetched_at.is_some_and(|at| !now.has_reached(at.plus(max_age)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwk(key: PublicKey, alg: SigningAlg) -> PublicJwk {
        PublicJwk { kid: KeyId::parse("k").unwrap(), alg, key }
    }

    #[test]
    fn a_point_off_the_curve_is_refused_at_load() {
        let off = jwk(PublicKey::P256 { x: [7; 32], y: [7; 32] }, SigningAlg::Es256);
        assert_eq!(VerifyingKey::load(&off).err(), Some(KeyFault));
    }

    #[test]
    fn ed25519_keys_of_small_order_are_refused_with_either_sign() {
        for mut x in SMALL_ORDER {
            assert!(VerifyingKey::load(&jwk(PublicKey::Ed25519 { x }, SigningAlg::EdDsa)).is_err());
            x[31] |= 0x80;
            assert!(VerifyingKey::load(&jwk(PublicKey::Ed25519 { x }, SigningAlg::EdDsa)).is_err());
        }
    }

    #[test]
    fn a_bad_key_does_not_take_the_good_ones_with_it() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = pair.public_key().as_ref().try_into().unwrap();
        let mut bad = jwk(PublicKey::P256 { x: [7; 32], y: [7; 32] }, SigningAlg::Es256);
        bad.kid = KeyId::parse("bad").unwrap();
        let keys = vec![bad, jwk(PublicKey::Ed25519 { x }, SigningAlg::EdDsa)];
        let set = KeySet::load(JwkSet { keys, skipped: 0 }, 1, UnixSeconds::new(0));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_set_dies_at_its_hard_age() {
        let set = KeySet::load(JwkSet::default(), 1, UnixSeconds::new(100));
        assert!(set.is_usable(10, UnixSeconds::new(109)));
        assert!(!set.is_usable(10, UnixSeconds::new(110)));
        assert!(!KeySet::default().is_usable(10, UnixSeconds::new(0)));
    }
}
