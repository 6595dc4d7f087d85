//! A token under construction: valid to begin with, then broken in exactly one place.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::keys::verifies;
use super::{Key, b64};

/// How the third segment is made.
#[derive(Clone, Debug)]
enum Seal {
    Key(Key),
    Mac(Vec<u8>),
    Bytes(Vec<u8>),
}

/// A token that can be broken before it is written down.
///
/// ```
/// use tests::oracle::{Alg, Key, Token};
/// let key = Key::new(Alg::Es256, "k1");
/// let token = Token::access(&key, "https://id.example", "https://api.example", 1_000);
/// assert_eq!(token.clone().text().split('.').count(), 3);
/// assert!(token.without_header("kid").text().starts_with("eyJ"));
/// ```
#[derive(Clone, Debug)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    seal: Seal,
}

impl Token {
    /// A right access token (RFC 9068 section 2.2) of `issuer` for `audience`, issued at `now` (Unix seconds) for five
    /// minutes, which lets `acct_alice` read and write documents.
    pub fn access(key: &Key, issuer: &str, audience: &str, now: i64) -> Self {
        let header = json!({"typ": "at+jwt", "alg": key.alg.name(), "kid": key.kid});
        let claims = json!({
            "iss": issuer, "sub": "acct_alice", "aud": audience, "client_id": "demo-web",
            "scope": "documents:read documents:write", "iat": now, "exp": now + 300,
            "jti": b64(now.to_be_bytes()),
        });
        let members = |value: Value| value.as_object().unwrap().clone();
        Self {
            header: members(header),
            claims: members(claims),
            raw_header: None,
            raw_claims: None,
            seal: Seal::Key(key.clone()),
        }
    }

    /// With a header member set.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Without a header member.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// With a claim set.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// With this text for a header, whatever it is.
    #[must_use]
    pub fn raw_header(mut self, text: impl Into<String>) -> Self {
        self.raw_header = Some(text.into());
        self
    }

    /// With this text for a payload, whatever it is.
    #[must_use]
    pub fn raw_claims(mut self, text: impl Into<String>) -> Self {
        self.raw_claims = Some(text.into());
        self
    }

    /// With `members` (`"a":1,"a":2`) written before the claims, so that names can stand twice.
    #[must_use]
    pub fn claims_after(self, members: &str) -> Self {
        let text = before(members, &self.claims);
        self.raw_claims(text)
    }

    /// With `members` written before the header's own.
    #[must_use]
    pub fn header_after(self, members: &str) -> Self {
        let text = before(members, &self.header);
        self.raw_header(text)
    }

    /// Signed by `key`, and naming it.
    #[must_use]
    pub fn with_key(self, key: &Key) -> Self {
        self.header("alg", key.alg.name()).header("kid", key.kid.as_str()).signed_by(key)
    }

    /// Signed by another key; the header stays as it is.
    #[must_use]
    pub fn signed_by(mut self, key: &Key) -> Self {
        self.seal = Seal::Key(key.clone());
        self
    }

    /// Sealed by HMAC-SHA-256 with `secret`, and saying so (`alg` HS256): the confusion of algorithms.
    #[must_use]
    pub fn maced_with(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.seal = Seal::Mac(secret.into());
        self.header("alg", "HS256")
    }

    /// With these bytes for a signature.
    #[must_use]
    pub fn signature(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.seal = Seal::Bytes(bytes.into());
        self
    }

    /// The payload's text.
    pub fn payload(&self) -> String {
        self.raw_claims.clone().unwrap_or_else(|| Value::Object(self.claims.clone()).to_string())
    }

    /// The token in compact serialization.
    pub fn text(&self) -> String {
        let header = self
            .raw_header
            .clone()
            .unwrap_or_else(|| Value::Object(self.header.clone()).to_string());
        let input = format!("{}.{}", b64(header), b64(self.payload()));
        let signature = match &self.seal {
            Seal::Key(key) => key.sign(input.as_bytes()),
            Seal::Mac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, input.as_bytes()).as_ref().to_vec()
            }
            Seal::Bytes(bytes) => bytes.clone(),
        };
        format!("{input}.{}", b64(signature))
    }

    /// The token in flattened JSON serialization (RFC 7515 section 7.2.2), with `alg` in the unprotected header.
    pub fn flattened_json(&self) -> String {
        let text = self.text();
        let parts: Vec<&str> = text.split('.').collect();
        json!({"protected": parts[0], "payload": parts[1], "signature": parts[2], "header": {"alg": "none"}})
            .to_string()
    }
}

fn before(members: &str, rest: &Map<String, Value>) -> String {
    let rest = Value::Object(rest.clone()).to_string();
    format!("{{{members},{}", &rest[1..])
}

/// The header of a token, for a case that knows that its key may be gone by now.
///
/// # Panics
/// When it is none.
pub fn unverified_header(token: &str) -> Value {
    let (header, _) = token.split_once('.').expect("three segments");
    serde_json::from_slice(&bytes(header)).expect("a JSON header")
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// Reads a token that the house issued: finds its key in `jwks`, proves the signature, and gives header and claims.
pub fn read(token: &str, jwks: &Value) -> (Value, Value) {
    let (input, signature) = token.rsplit_once('.').expect("three segments");
    let (_, payload) = input.split_once('.').expect("three segments");
    let header = unverified_header(token);
    let jwk = jwks["keys"]
        .as_array()
        .expect("a key set")
        .iter()
        .find(|jwk| jwk["kid"] == header["kid"])
        .unwrap_or_else(|| panic!("the key {} is not published", header["kid"]));
    assert_eq!(jwk["alg"], header["alg"], "header and key agree");
    assert!(
        verifies(jwk, input.as_bytes(), &bytes(signature)),
        "the published key verifies the signature"
    );
    let claims = serde_json::from_slice(&bytes(payload)).expect("JSON claims");
    (header, claims)
}

#[cfg(test)]
mod tests {
    use super::super::Alg;
    use super::*;

    #[test]
    fn what_is_signed_can_be_read_with_every_algorithm() {
        for alg in Alg::ALL {
            let key = Key::new(alg, "k");
            let token = Token::access(&key, "https://id.example", "https://api.example", 1_000);
            let (header, claims) = read(&token.text(), &json!({"keys": [key.jwk()]}));
            assert_eq!(header["alg"], alg.name());
            assert_eq!(claims["exp"], 1_300);
        }
    }

    #[test]
    fn a_forged_key_does_not_verify() {
        for alg in Alg::ALL {
            let key = Key::new(alg, "k");
            let signature = key.forged().sign(b"input");
            assert!(!verifies(&key.jwk(), b"input", &signature), "{alg:?}");
            assert!(verifies(&key.jwk(), b"input", &key.sign(b"input")), "{alg:?}");
        }
    }

    #[test]
    fn members_can_stand_twice() {
        let key = Key::new(Alg::EdDsa, "k");
        let token = Token::access(&key, "https://id.example", "https://api.example", 1_000);
        let payload = token.claims_after(r#""sub":"acct_eve""#).payload();
        assert_eq!(payload.matches(r#""sub":"#).count(), 2, "{payload}");
    }
}
