//! Secrets of our own making: shown once, kept as a hash, compared in constant time.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::random::{self, SecureRandom};

/// A secret in the clear. It has no `Display`, its `Debug` says nothing, and it is read only through [`expose`](Self::expose).
#[derive(Clone)]
pub struct PlainSecret(String);

impl PlainSecret {
    /// A fresh secret of 256 bits, base64url.
    pub fn generate(random: &dyn SecureRandom) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::bytes::<32>(random)))
    }

    /// A secret that somebody sent or declared.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it. Only for generated or long declared secrets: a person's password needs a slow hash.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for PlainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainSecret(..)")
    }
}

/// SHA-256 of a secret with at least 128 random bits.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(hash)
    }

    /// A hash as it was stored; `None` if the column does not hold 32 bytes.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes for the column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `secret` is the one, in constant time.
    pub fn matches(&self, secret: &[u8]) -> bool {
        constant_time_eq(&self.0, Self::of(secret).as_bytes())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// The one comparison of secrets. Only the length can be learned from its time.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_secret_matches_its_own_hash_only() {
        let random = SeededRandom::new(1);
        let (one, other) = (PlainSecret::generate(&random), PlainSecret::generate(&random));
        assert!(one.hash().matches(one.expose().as_bytes()));
        assert!(!one.hash().matches(other.expose().as_bytes()));
    }

    #[test]
    fn debug_shows_nothing() {
        let secret = PlainSecret::new("hunter2");
        assert!(!format!("{secret:?} {:?}", secret.hash()).contains("hunter2"));
    }
}
