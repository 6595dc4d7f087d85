//! The outside of a signed token: three segments, and a header that names a key but is not believed.
//!
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515) compact serialization only. The algorithm that counts is the key's own, never the header's
//! ([RFC 8725 section 3.1](https://www.rfc-editor.org/rfc/rfc8725#section-3.1)).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::KeyId;
use crate::json;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest encoded header that is looked at, in bytes.
pub const MAX_HEADER_BYTES: usize = 4 * 1024;

/// The signature algorithms of this project: a closed list without `none` and without MACs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlg {
    /// ECDSA on P-256 with SHA-256 ([RFC 7518 section 3.4](https://www.rfc-editor.org/rfc/rfc7518#section-3.4)).
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 ([RFC 8037 section 3.1](https://www.rfc-editor.org/rfc/rfc8037#section-3.1)).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 ([RFC 7518 section 3.3](https://www.rfc-editor.org/rfc/rfc7518#section-3.3)).
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256 ([RFC 7518 section 3.5](https://www.rfc-editor.org/rfc/rfc7518#section-3.5)).
    #[serde(rename = "PS256")]
    Ps256,
}

impl SigningAlg {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The name in a header or JWK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of that exact name (names are case-sensitive, RFC 7515 section 4.1.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }
}

impl fmt::Display for SigningAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a signed token that we look at any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsFault {
    /// Longer than [`MAX_TOKEN_BYTES`], or the header longer than [`MAX_HEADER_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three non-empty segments.
    #[error("the token is not three segments separated by dots")]
    Segments,
    /// A segment is not base64url without padding.
    #[error("a segment is not base64url")]
    Encoding,
    /// The header is not a strict JSON object, or a member has the wrong type.
    #[error("the header is malformed")]
    Header,
    /// `alg` is not one of [`SigningAlg`].
    #[error("the algorithm is not one of ours")]
    Algorithm,
    /// `crit` names extensions; we implement none, and "If any of the listed extension Header Parameters are not understood and
    /// supported by the recipient, then the JWS is invalid" ([RFC 7515 section 4.1.11](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11)).
    #[error("the header has critical extensions")]
    Critical,
    /// The header brings a key or the address of one, compression, or encryption.
    #[error("the header has a member that we refuse")]
    Refused,
}

/// A token taken apart but not yet believed.
#[derive(Clone, Copy, Debug)]
pub struct CompactJws<'a> {
    /// `header.payload`, the bytes under the signature.
    pub signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    /// The encoded signature.
    pub signature: &'a str,
}

/// The header of a token. Every field is a claim of whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedHeader {
    /// The algorithm it says; compare it with the key's.
    pub unverified_alg: SigningAlg,
    /// The media type it says.
    pub unverified_typ: Option<String>,
    /// The key it says.
    pub unverified_kid: Option<KeyId>,
}

impl<'a> CompactJws<'a> {
    /// Splits `token` at exactly two dots, before anything is allocated.
    ///
    /// ```
    /// use shared_types::CompactJws;
    /// assert!(CompactJws::split("a.b.c").is_ok());
    /// assert!(CompactJws::split("a.b.").is_err());
    /// assert!(CompactJws::split("a.b.c.d.e").is_err());
    /// ```
    pub fn split(token: &'a str) -> Result<Self, JwsFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsFault::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsFault::Segments)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsFault::Segments)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() || payload.contains('.')
        {
            return Err(JwsFault::Segments);
        }
        if header.len() > MAX_HEADER_BYTES {
            return Err(JwsFault::TooLong);
        }
        Ok(Self { signing_input, header, payload, signature })
    }

    /// Reads the header.
    pub fn header(&self) -> Result<UnverifiedHeader, JwsFault> {
        let bytes = URL_SAFE_NO_PAD.decode(self.header).map_err(|_| JwsFault::Encoding)?;
        let members = json::parse_object(&bytes).map_err(|_| JwsFault::Header)?;
        if members.contains_key("crit") {
            return Err(JwsFault::Critical);
        }
        if ["jwk", "jku", "x5u", "x5c", "zip", "enc", "b64", "p2c"]
            .iter()
            .any(|name| members.contains_key(*name))
        {
            return Err(JwsFault::Refused);
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(JwsFault::Header),
        };
        let alg = text("alg")?.ok_or(JwsFault::Header)?;
        Ok(UnverifiedHeader {
            unverified_alg: SigningAlg::parse(&alg).ok_or(JwsFault::Algorithm)?,
            unverified_typ: text("typ")?,
            unverified_kid: text("kid")?
                .map(KeyId::parse)
                .transpose()
                .map_err(|_| JwsFault::Header)?,
        })
    }

    /// The decoded payload. Believe it only after the signature is checked.
    pub fn payload(&self) -> Result<Vec<u8>, JwsFault> {
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| JwsFault::Encoding)
    }
}

/// Whether `typ` says `expected`, with or without the `application/` prefix, in any case of letters
/// ([RFC 7515 section 4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9), [RFC 9068 section 4](https://www.rfc-editor.org/rfc/rfc9068#section-4)).
pub fn typ_is(typ: &str, expected: &str) -> bool {
    let short = match typ.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => {
            typ.get(12..).unwrap_or_default()
        }
        _ => typ,
    };
    short.eq_ignore_ascii_case(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"))
    }

    fn header(text: &str) -> Result<UnverifiedHeader, JwsFault> {
        CompactJws::split(&token(text)).unwrap().header()
    }

    #[test]
    fn only_algorithms_of_the_closed_list_are_read() {
        assert!(header(r#"{"alg":"ES256"}"#).is_ok());
        for alg in ["none", "None", "HS256", "es256", "RS1", ""] {
            assert_eq!(header(&format!(r#"{{"alg":"{alg}"}}"#)), Err(JwsFault::Algorithm), "{alg}");
        }
        assert_eq!(header("{}"), Err(JwsFault::Header));
        assert_eq!(header(r#"{"alg":1}"#), Err(JwsFault::Header));
    }

    #[test]
    fn any_crit_is_refused() {
        for crit in [r#"["b64"]"#, "[]", r#"["exp"]"#, "null"] {
            assert_eq!(
                header(&format!(r#"{{"alg":"ES256","crit":{crit}}}"#)),
                Err(JwsFault::Critical)
            );
        }
    }

    #[test]
    fn a_key_in_the_header_refuses_the_token() {
        for name in ["jwk", "jku", "x5u", "x5c", "zip"] {
            assert_eq!(
                header(&format!(r#"{{"alg":"ES256","{name}":"x"}}"#)),
                Err(JwsFault::Refused)
            );
        }
    }

    #[test]
    fn size_and_shape_are_checked_before_anything_else() {
        assert_eq!(
            CompactJws::split(&"a".repeat(MAX_TOKEN_BYTES + 1)).unwrap_err(),
            JwsFault::TooLong
        );
        for bad in ["", "a", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", &".".repeat(9_000)] {
            assert_eq!(CompactJws::split(bad).unwrap_err(), JwsFault::Segments, "{bad:.20}");
        }
        let padded = format!("{}=.e30.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
        assert_eq!(CompactJws::split(&padded).unwrap().header(), Err(JwsFault::Encoding));
    }

    #[test]
    fn typ_is_compared_without_prefix_and_case() {
        for good in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert!(typ_is(good, "at+jwt"), "{good}");
        }
        for bad in ["JWT", "application/", "application/application/at+jwt", "", "ät+jwt......"] {
            assert!(!typ_is(bad, "at+jwt"), "{bad}");
        }
    }
}
