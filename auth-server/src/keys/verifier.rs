//! A public key that verifies: parsed once, with exactly one algorithm.

use std::fmt;

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::SigningAlg;
use shared_types::jwk::PublicKey;

/// The longest signature, that of RSA with 8,192 bits, in bytes.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// The material is not a key of its kind, or not one for its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid public key for its algorithm")]
pub struct PublicKeyFault;

impl From<KeyRejected> for PublicKeyFault {
    fn from(_: KeyRejected) -> Self {
        Self
    }
}

/// The public half, ready to verify.
pub struct VerifyingKey(ParsedPublicKey);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(..)")
    }
}

impl VerifyingKey {
    /// Parses the material, once instead of for each token. RSA accepts 2,048 to 8,192 bits.
    pub fn load(alg: SigningAlg, key: &PublicKey) -> Result<Self, PublicKeyFault> {
        let parsed =
            match (alg, key) {
                (SigningAlg::Es256, PublicKey::P256 { x, y }) => {
                    // SEC 1 section 2.3.3: 4 says that both coordinates follow.
                    let point = [&[4], x.as_slice(), y].concat();
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)?
                }
                (SigningAlg::EdDsa, PublicKey::Ed25519 { x }) => ParsedPublicKey::new(&ED25519, x)?,
                (SigningAlg::Rs256, PublicKey::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?,
                (SigningAlg::Ps256, PublicKey::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)?,
                (
                    SigningAlg::Es256 | SigningAlg::EdDsa | SigningAlg::Rs256 | SigningAlg::Ps256,
                    PublicKey::P256 { .. } | PublicKey::Ed25519 { .. } | PublicKey::Rsa { .. },
                ) => return Err(PublicKeyFault),
            };
        Ok(Self(parsed))
    }

    /// Whether `signature` (base64url, without padding) is this key's over `input`.
    pub fn verifies(&self, input: &[u8], signature: &str) -> bool {
        let mut bytes = [0; MAX_SIGNATURE_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes).ok();
        let signature = length.and_then(|length| bytes.get(..length));
        signature.is_some_and(|signature| self.0.verify_sig(input, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::signer::{KeyPair, NewPair};

    fn signed(alg: SigningAlg) -> (VerifyingKey, String) {
        let pair = NewPair::generate(alg).unwrap();
        let signature = KeyPair::from_pkcs8(alg, &pair.pkcs8).unwrap().sign(b"message").unwrap();
        let key = VerifyingKey::load(alg, &pair.public.key).unwrap();
        (key, URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn each_algorithm_proves_its_own_message_and_no_other() {
        for alg in SigningAlg::ALL {
            let (key, signature) = signed(alg);
            assert!(key.verifies(b"message", &signature), "{alg}");
            assert!(!key.verifies(b"massage", &signature), "{alg}");
            assert!(!signed(alg).0.verifies(b"message", &signature), "{alg}: another key's");
        }
    }

    #[test]
    fn a_signature_has_one_text_only() {
        let (key, signature) = signed(SigningAlg::Es256);
        let padded = format!("{signature}==");
        let (short, long) = (signature.split_at(84).0, format!("{signature}AAAA"));
        let (head, last) = signature.split_at(85);
        // 64 bytes end in the middle of a character: its last four bits have to be zero.
        let unclean = format!("{head}{}", if last == "A" { "B" } else { "R" });
        for text in ["", short, &long, &padded, &unclean, &"A".repeat(4_096)] {
            assert!(!key.verifies(b"message", text), "{text:.100}");
        }
    }

    #[test]
    fn a_key_of_another_kind_or_off_the_curve_is_refused() {
        let off = PublicKey::P256 { x: [7; 32], y: [7; 32] };
        let ed25519 = NewPair::generate(SigningAlg::EdDsa).unwrap().public.key;
        for (alg, key) in [
            (SigningAlg::Es256, &off),
            (SigningAlg::EdDsa, &off),
            (SigningAlg::Es256, &ed25519),
            (SigningAlg::Rs256, &ed25519),
        ] {
            assert_eq!(VerifyingKey::load(alg, key).err(), Some(PublicKeyFault), "{alg}");
        }
    }
}
