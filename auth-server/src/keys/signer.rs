//! A key pair that signs: parsed once, shared by all threads, without a database or a parser on the way of a signature.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};
use shared_types::jwk::{PublicKey, thumbprint};
use shared_types::{KeyId, PublicJwk, SigningAlg};

/// The crypto library refused: a stored key is damaged, or the system has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key pair cannot be made, read or used")]
pub struct KeyPairFault;

/// The private half, ready to sign.
pub enum KeyPair {
    /// P-256 with SHA-256.
    Es256(EcdsaKeyPair),
    /// Ed25519.
    EdDsa(Ed25519KeyPair),
    /// RSA with PKCS #1 v1.5 or PSS.
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// A pair as it comes out of the generator, on its way into a row.
pub struct NewPair {
    /// The public half, named by its thumbprint.
    pub public: PublicJwk,
    /// The private half, PKCS #8. It is sealed before it leaves this process.
    pub pkcs8: Vec<u8>,
}

impl fmt::Debug for NewPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl NewPair {
    /// Makes a pair. For RSA this takes tens to hundreds of milliseconds: keep it off async threads.
    pub fn generate(alg: SigningAlg) -> Result<Self, KeyPairFault> {
        let pair = KeyPair::generate(alg)?;
        let key = pair.public_key()?;
        let kid = KeyId::parse(thumbprint(&key)).map_err(|_| KeyPairFault)?;
        Ok(Self { public: PublicJwk { kid, alg, key }, pkcs8: pair.to_pkcs8()? })
    }
}

impl KeyPair {
    fn generate(alg: SigningAlg) -> Result<Self, KeyPairFault> {
        let fault = |_| KeyPairFault;
        Ok(match alg {
            SigningAlg::Es256 => Self::Es256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(fault)?,
            ),
            SigningAlg::EdDsa => Self::EdDsa(Ed25519KeyPair::generate().map_err(fault)?),
            SigningAlg::Rs256 | SigningAlg::Ps256 => {
                Self::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048).map_err(fault)?, padding(alg))
            }
        })
    }

    /// Reads a private half.
    pub fn from_pkcs8(alg: SigningAlg, pkcs8: &[u8]) -> Result<Self, KeyPairFault> {
        let fault = |_| KeyPairFault;
        Ok(match alg {
            SigningAlg::Es256 => Self::Es256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(fault)?,
            ),
            SigningAlg::EdDsa => Self::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(fault)?),
            SigningAlg::Rs256 | SigningAlg::Ps256 => {
                Self::Rsa(rsa::KeyPair::from_pkcs8(pkcs8).map_err(fault)?, padding(alg))
            }
        })
    }

    /// The signature of `message` as a JWS holds it ([RFC 7518 section 3](https://www.rfc-editor.org/rfc/rfc7518#section-3)): for ES256 r ‖ s, not DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyPairFault> {
        // The library signs with its own generator whatever it is given here.
        let rng = SystemRandom::new();
        match self {
            Self::Es256(pair) => {
                pair.sign(&rng, message).map(|signature| signature.as_ref().to_vec())
            }
            Self::EdDsa(pair) => {
                pair.try_sign(message).map(|signature| signature.as_ref().to_vec())
            }
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &rng, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| KeyPairFault)
    }

    fn public_key(&self) -> Result<PublicKey, KeyPairFault> {
        match self {
            Self::Es256(pair) => match pair.public_key().as_ref() {
                // SEC 1 section 2.3.3: 4 says that both coordinates follow.
                [4, point @ ..] => {
                    let (x, y) = point.split_first_chunk::<32>().ok_or(KeyPairFault)?;
                    Ok(PublicKey::P256 { x: *x, y: y.try_into().map_err(|_| KeyPairFault)? })
                }
                _ => Err(KeyPairFault),
            },
            Self::EdDsa(pair) => Ok(PublicKey::Ed25519 {
                x: pair.public_key().as_ref().try_into().map_err(|_| KeyPairFault)?,
            }),
            Self::Rsa(pair, _) => Ok(PublicKey::Rsa {
                n: pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
                e: pair.public_key().exponent().big_endian_without_leading_zero().to_vec(),
            }),
        }
    }

    fn to_pkcs8(&self) -> Result<Vec<u8>, KeyPairFault> {
        match self {
            Self::Es256(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Self::EdDsa(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Self::Rsa(pair, _) => {
                let der: Result<Pkcs8V1Der<'static>, _> = pair.as_der();
                der.map(|der| der.as_ref().to_vec())
            }
        }
        .map_err(|_| KeyPairFault)
    }
}

fn padding(alg: SigningAlg) -> &'static dyn RsaEncoding {
    if alg == SigningAlg::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 }
}
