//! Public keys as JWKs ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)): written by the issuer, and taken one by one from a set that we do not trust.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::ids::KeyId;
use crate::json;
use crate::jws::SigningAlg;

/// The longest set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// The most keys that are taken from one set.
pub const MAX_KEYS: usize = 64;
/// The shortest RSA modulus that is taken, in bits ([RFC 7518 section 3.3](https://www.rfc-editor.org/rfc/rfc7518#section-3.3)).
pub const MIN_RSA_BITS: usize = 2_048;
/// The longest, so that nobody makes us verify with a giant.
pub const MAX_RSA_BITS: usize = 8_192;

/// The key material, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on P-256, 32 bytes each. Whether it lies on the curve is for the crypto library to say.
    P256 {
        /// The x coordinate.
        x: [u8; 32],
        /// The y coordinate.
        y: [u8; 32],
    },
    /// An Ed25519 public key.
    Ed25519 {
        /// The encoded point.
        x: [u8; 32],
    },
    /// An RSA public key, big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

/// A key that verifies signatures: its material, its one algorithm, its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    /// How tokens name it.
    pub kid: KeyId,
    /// The one algorithm that it verifies. A key without `alg` gets it from its type, see [`PublicJwk::take`].
    pub alg: SigningAlg,
    /// The material.
    pub key: PublicKey,
}

/// Why one entry of a set is passed over. The others still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkFault {
    /// A member is missing, of the wrong type, or not base64url.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A type, curve or algorithm that we do not use, or that do not belong together.
    #[error("not a signature key that we use")]
    Unsupported,
    /// `use` or `key_ops` says it is not for verifying.
    #[error("not meant for verifying signatures")]
    Purpose,
    /// The modulus is too short or too long, or the exponent is 1 or even.
    #[error("a weak or oversized key")]
    Weak,
    /// It carries a private part: whoever published it has no secret any more.
    #[error("a private key")]
    Private,
}

impl PublicJwk {
    /// Takes one entry of a set. `alg` absent: ES256 for P-256, `EdDSA` for Ed25519, RS256 for RSA.
    pub fn take(entry: &Map<String, Value>) -> Result<Self, JwkFault> {
        let text = |name: &'static str| match entry.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JwkFault::Malformed(name)),
        };
        let bytes = |name: &'static str| {
            let encoded = text(name)?.ok_or(JwkFault::Malformed(name))?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwkFault::Malformed(name))
        };
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|name| entry.contains_key(*name))
        {
            return Err(JwkFault::Private);
        }
        check_purpose(entry)?;
        let (key, default_alg) = match (text("kty")?, text("crv")?) {
            (Some("EC"), Some("P-256")) => (
                PublicKey::P256 {
                    x: coordinate(bytes("x")?, "x")?,
                    y: coordinate(bytes("y")?, "y")?,
                },
                SigningAlg::Es256,
            ),
            (Some("OKP"), Some("Ed25519")) => {
                (PublicKey::Ed25519 { x: coordinate(bytes("x")?, "x")? }, SigningAlg::EdDsa)
            }
            (Some("RSA"), None) => (rsa(bytes("n")?, bytes("e")?)?, SigningAlg::Rs256),
            _ => return Err(JwkFault::Unsupported),
        };
        let alg = match text("alg")? {
            None => default_alg,
            // Ed25519 is the fully specified name of RFC 9864 for the same algorithm.
            Some("Ed25519") => SigningAlg::EdDsa,
            Some(name) => SigningAlg::parse(name).ok_or(JwkFault::Unsupported)?,
        };
        let fits =
            alg == default_alg || (default_alg == SigningAlg::Rs256 && alg == SigningAlg::Ps256);
        if !fits {
            return Err(JwkFault::Unsupported);
        }
        let kid = text("kid")?.ok_or(JwkFault::Malformed("kid"))?;
        let kid = KeyId::parse(kid).map_err(|_| JwkFault::Malformed("kid"))?;
        Ok(Self { kid, alg, key })
    }

    /// The members as they are published, with `use` and `alg`.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = required_members(&self.key);
        members.insert("kid".into(), self.kid.as_str().into());
        members.insert("alg".into(), self.alg.as_str().into());
        members.insert("use".into(), "sig".into());
        members
    }
}

/// The thumbprint of a key ([RFC 7638 section 3](https://www.rfc-editor.org/rfc/rfc7638#section-3)), base64url of SHA-256.
pub fn thumbprint(key: &PublicKey) -> String {
    // The members stand in the order of their names already, which is the order that the RFC demands.
    let canonical = Value::Object(required_members(key)).to_string();
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()))
}

fn required_members(key: &PublicKey) -> Map<String, Value> {
    let b64 = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
    let members: Vec<(&str, Value)> = match key {
        PublicKey::P256 { x, y } => {
            vec![("crv", "P-256".into()), ("kty", "EC".into()), ("x", b64(x)), ("y", b64(y))]
        }
        PublicKey::Ed25519 { x } => {
            vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", b64(x))]
        }
        PublicKey::Rsa { n, e } => vec![("e", b64(e)), ("kty", "RSA".into()), ("n", b64(n))],
    };
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn check_purpose(entry: &Map<String, Value>) -> Result<(), JwkFault> {
    match entry.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(_) => return Err(JwkFault::Purpose),
    }
    match entry.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(JwkFault::Purpose),
    }
}

fn coordinate(bytes: Vec<u8>, name: &'static str) -> Result<[u8; 32], JwkFault> {
    bytes.try_into().map_err(|_| JwkFault::Malformed(name))
}

fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<PublicKey, JwkFault> {
    let first = n.first().copied().ok_or(JwkFault::Malformed("n"))?;
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    let odd = e.last().is_some_and(|last| last & 1 == 1);
    if first == 0
        || !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)
        || !odd
        || e.as_slice() == [1]
        || e.first() == Some(&0)
        || e.len() > 4
    {
        return Err(JwkFault::Weak);
    }
    Ok(PublicKey::Rsa { n, e })
}

/// A set of keys, as published at `jwks_uri`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwkSet {
    /// The keys that can be used, at most [`MAX_KEYS`].
    pub keys: Vec<PublicJwk>,
    /// How many entries were passed over: a bad one must not take the good ones with it.
    pub skipped: usize,
}

/// The text is not a key set at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JWK Set")]
pub struct JwkSetFault;

impl JwkSet {
    /// Reads a set, passing over every entry that [`PublicJwk::take`] refuses and every second entry of one `kid`.
    ///
    /// ```
    /// use shared_types::JwkSet;
    /// let set = JwkSet::parse(br#"{"keys":[{"kty":"oct","k":"AA","kid":"a"}]}"#).unwrap();
    /// assert!(set.keys.is_empty() && set.skipped == 1);
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, JwkSetFault> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(JwkSetFault);
        }
        let members = json::parse_object(text).map_err(|_| JwkSetFault)?;
        let Some(Value::Array(entries)) = members.get("keys") else {
            return Err(JwkSetFault);
        };
        let mut set = Self::default();
        for entry in entries {
            match entry.as_object().ok_or(JwkFault::Malformed("keys")).and_then(PublicJwk::take) {
                Ok(key)
                    if set.keys.len() < MAX_KEYS && set.keys.iter().all(|k| k.kid != key.kid) =>
                {
                    set.keys.push(key);
                }
                _ => set.skipped += 1,
            }
        }
        Ok(set)
    }

    /// The document as it is published.
    pub fn to_json(&self) -> Value {
        serde_json::json!({ "keys": self.keys.iter().map(PublicJwk::to_json).collect::<Vec<_>>() })
    }
}

impl Serialize for JwkSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Value::deserialize(deserializer)?.to_string();
        Self::parse(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(value: &Value) -> Result<PublicJwk, JwkFault> {
        PublicJwk::take(value.as_object().unwrap())
    }

    fn ec() -> Value {
        let b64 = URL_SAFE_NO_PAD.encode([7; 32]);
        json!({"kty": "EC", "crv": "P-256", "x": b64, "y": b64, "kid": "e"})
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key =
            take(&json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}))
                .unwrap();
        assert_eq!(thumbprint(&key.key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_key_goes_out_and_comes_back() {
        let key = take(&ec()).unwrap();
        assert_eq!(PublicJwk::take(&key.to_json()).unwrap(), key);
    }

    #[test]
    fn purpose_and_algorithm_must_agree_with_the_type() {
        let with = |name: &str, value: Value| {
            let mut entry = ec();
            entry[name] = value;
            take(&entry).unwrap_err()
        };
        assert_eq!(with("use", json!("enc")), JwkFault::Purpose);
        assert_eq!(with("key_ops", json!(["sign"])), JwkFault::Purpose);
        assert_eq!(with("alg", json!("RS256")), JwkFault::Unsupported);
        assert_eq!(with("alg", json!("HS256")), JwkFault::Unsupported);
        assert_eq!(with("crv", json!("P-384")), JwkFault::Unsupported);
        assert_eq!(with("d", json!("AA")), JwkFault::Private);
        assert_eq!(with("kid", json!(7)), JwkFault::Malformed("kid"));
        assert_eq!(with("x", json!("AA")), JwkFault::Malformed("x"));
    }

    #[test]
    fn weak_rsa_keys_are_refused() {
        let key = |bytes: usize, e: &[u8]| {
            let n = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
            take(&json!({"kty": "RSA", "n": n, "e": URL_SAFE_NO_PAD.encode(e), "kid": "r"}))
        };
        assert!(key(256, &[1, 0, 1]).is_ok());
        assert_eq!(key(255, &[1, 0, 1]), Err(JwkFault::Weak));
        assert_eq!(key(2_000, &[1, 0, 1]), Err(JwkFault::Weak));
        assert_eq!(key(256, &[1]), Err(JwkFault::Weak));
        assert_eq!(key(256, &[2]), Err(JwkFault::Weak));
    }

    #[test]
    fn one_bad_entry_does_not_take_the_set_with_it() {
        let text = json!({"keys": [{"kty": "oct"}, ec(), ec(), "text"]}).to_string();
        let set = JwkSet::parse(text.as_bytes()).unwrap();
        assert_eq!((set.keys.len(), set.skipped), (1, 3));
        assert_eq!(JwkSet::parse(b"[]"), Err(JwkSetFault));
    }
}
