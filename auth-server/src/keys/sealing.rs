//! Authenticated encryption with AES-256-GCM under a key of its own for every message.
//!
//! Random nonces of 96 bits must not be drawn more than 2^32 times under one key (NIST SP 800-38D section 8.3), and every anonymous
//! authorization request is sealed once. So half of a longer nonce goes into deriving the message's key, which lifts that bound out of reach.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

/// Bytes of a nonce: the first half derives the message key, the second is GCM's own.
pub const NONCE_BYTES: usize = 2 * NONCE_LEN;

/// A key that seals any number of messages.
pub struct SealingKey(hmac::Key);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl SealingKey {
    /// The key made of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Nonce and ciphertext of `plaintext`, bound to `purpose` and to `bound_to`.
    #[expect(clippy::expect_used, reason = "AES-GCM refuses only plaintexts beyond 64 GiB")]
    pub fn seal(
        &self,
        purpose: &str,
        bound_to: &[u8],
        plaintext: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let (salt, iv) = halves(&nonce);
        let mut message = plaintext.to_vec();
        self.message_key(&salt)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(iv),
                aad(purpose, bound_to),
                &mut message,
            )
            .expect("a plaintext of sane length is sealed");
        let mut sealed = nonce.to_vec();
        sealed.append(&mut message);
        sealed
    }

    /// The plaintext, if `sealed` was made by this key for the same purpose and binding.
    pub fn unseal(&self, purpose: &str, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let (salt, iv) = halves(nonce);
        let mut message = ciphertext.to_vec();
        let length = self
            .message_key(&salt)
            .open_in_place(Nonce::assume_unique_for_key(iv), aad(purpose, bound_to), &mut message)
            .ok()?
            .len();
        message.truncate(length);
        Some(message)
    }

    #[expect(clippy::expect_used, reason = "the key has the length that AES-256 wants")]
    fn message_key(&self, salt: &[u8; NONCE_LEN]) -> LessSafeKey {
        let key = hmac::sign(&self.0, salt);
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("32 bytes are an AES-256 key"),
        )
    }
}

fn halves(nonce: &[u8; NONCE_BYTES]) -> ([u8; NONCE_LEN], [u8; NONCE_LEN]) {
    let (mut salt, mut iv) = ([0; NONCE_LEN], [0; NONCE_LEN]);
    let (first, second) = nonce.split_at(NONCE_LEN);
    salt.copy_from_slice(first);
    iv.copy_from_slice(second);
    (salt, iv)
}

/// No purpose contains a zero byte, so purpose and binding cannot run into each other.
fn aad(purpose: &str, bound_to: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([purpose.as_bytes(), &[0], bound_to].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

    #[test]
    fn only_the_same_key_purpose_and_binding_unseal() {
        let key = SealingKey::new(&[1; 32]);
        let sealed = key.seal("a", b"b", b"plain", NONCE);
        assert_eq!(key.unseal("a", b"b", &sealed).as_deref(), Some(b"plain".as_slice()));
        assert_eq!(key.unseal("b", b"b", &sealed), None);
        assert_eq!(key.unseal("a", b"c", &sealed), None);
        assert_eq!(key.unseal("ab", b"", &sealed), None);
        assert_eq!(SealingKey::new(&[2; 32]).unseal("a", b"b", &sealed), None);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = SealingKey::new(&[1; 32]);
        let sealed = key.seal("a", b"b", b"plain", NONCE);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.unseal("a", b"b", &changed), None, "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.unseal("a", b"b", &sealed[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn either_half_of_the_nonce_changes_the_ciphertext() {
        let key = SealingKey::new(&[1; 32]);
        let body = |nonce| key.seal("a", b"b", b"plain", nonce).split_off(NONCE_BYTES);
        let (mut salt, mut iv) = (NONCE, NONCE);
        salt[0] = 0;
        iv[NONCE_BYTES - 1] = 0;
        assert_ne!(body(NONCE), body(salt));
        assert_ne!(body(NONCE), body(iv));
    }
}
