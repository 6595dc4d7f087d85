//! Key pairs of every algorithm, and every form in which their public half gets about.

use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::b64;

/// An algorithm that the house takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alg {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA with PKCS #1 v1.5.
    Rs256,
    /// RSA with PSS.
    Ps256,
}

impl Alg {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// Its name in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

#[derive(Clone)]
enum Pair {
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

/// A key pair with its algorithm and its name.
#[derive(Clone)]
pub struct Key {
    /// What it signs with.
    pub alg: Alg,
    /// Its name in headers and sets.
    pub kid: String,
    pair: Pair,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.alg.name(), self.kid)
    }
}

/// RSA keys take a while to make, and no case needs more than two that differ.
static RSA_PAIRS: LazyLock<[Arc<RsaKeyPair>; 2]> = LazyLock::new(|| {
    [2_048, 2_048].map(|_| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
});

impl Key {
    /// A key of that algorithm. EC and Ed25519 keys are fresh; all RSA keys of the process share one pair.
    pub fn new(alg: Alg, kid: &str) -> Self {
        let pair = match alg {
            Alg::Es256 => Pair::Ec(Arc::new(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            )),
            Alg::EdDsa => Pair::Ed(Arc::new(Ed25519KeyPair::generate().unwrap())),
            Alg::Rs256 | Alg::Ps256 => Pair::Rsa(RSA_PAIRS[0].clone()),
        };
        Self { alg, kid: kid.to_owned(), pair }
    }

    /// A key that nobody published, of the same algorithm and under the same name: what a forger has.
    #[must_use]
    pub fn forged(&self) -> Self {
        let mut forged = Self::new(self.alg, &self.kid);
        if matches!(forged.pair, Pair::Rsa(_)) {
            forged.pair = Pair::Rsa(RSA_PAIRS[1].clone());
        }
        forged
    }

    /// The same key under another name.
    #[must_use]
    pub fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self.clone() }
    }

    /// The signature of `input`, as its algorithm has it on the wire.
    pub fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (&self.pair, self.alg) {
            (Pair::Ec(pair), _) => pair.sign(&random, input).unwrap().as_ref().to_vec(),
            (Pair::Ed(pair), _) => pair.sign(input).as_ref().to_vec(),
            (Pair::Rsa(pair), alg) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn RsaEncoding =
                    if alg == Alg::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, input, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The public half as a JWK with `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                // An uncompressed point: 4, then x, then y.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())})
            }
            Pair::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": b64(public.n), "e": b64(public.e)})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.alg.name().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The public half as DER (`SubjectPublicKeyInfo`).
    pub fn der(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// The public half as PEM, with its final line end.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(self.der());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// Whether the published key `jwk` verifies `signature` over `input`, by the algorithm that the JWK itself names.
pub(super) fn verifies(jwk: &Value, input: &[u8], signature: &[u8]) -> bool {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    match jwk["alg"].as_str().unwrap() {
        "ES256" => {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature).is_ok()
        }
        "EdDSA" => UnparsedPublicKey::new(&ED25519, part("x")).verify(input, signature).is_ok(),
        name => {
            let padding = match name {
                "RS256" => &RSA_PKCS1_2048_8192_SHA256,
                "PS256" => &RSA_PSS_2048_8192_SHA256,
                other => panic!("a key for {other} was published"),
            };
            let public = PublicKeyComponents { n: part("n"), e: part("e") };
            public.verify(padding, input, signature).is_ok()
        }
    }
}
