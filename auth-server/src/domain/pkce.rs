//! Proof Key for Code Exchange ([RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)): only `S256`; with `plain` whoever sees the request could redeem the code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::secret::constant_time_eq;

/// A challenge of method `S256`: the base64url form of 32 bytes, kept as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Takes `text` if it can be the base64url form of a SHA-256 digest
    /// ([RFC 7636 section 4.2](https://www.rfc-editor.org/rfc/rfc7636#section-4.2)); anything else could never be met.
    pub fn parse(text: &str) -> Option<Self> {
        let digest = URL_SAFE_NO_PAD.decode(text).ok()?;
        (digest.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The challenge as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is a verifier at all.
///
/// ```text
/// code-verifier = 43*128unreserved        unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"
/// ```
pub fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// Whether `verifier` is the one behind a stored challenge, in constant time.
///
/// "`BASE64URL-ENCODE(SHA256(ASCII(code_verifier))) == code_challenge`"
/// ([RFC 7636 section 4.6](https://www.rfc-editor.org/rfc/rfc7636#section-4.6))
pub fn verifier_matches(challenge: &CodeChallenge, verifier: &str) -> bool {
    let expected = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    is_verifier(verifier) && constant_time_eq(expected.as_bytes(), challenge.0.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_vector_of_rfc_7636_appendix_b_matches() {
        let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
        assert!(verifier_matches(&challenge, VERIFIER));
        assert!(!verifier_matches(&challenge, &VERIFIER.replacen('d', "e", 1)));
        let plain = CodeChallenge::parse(VERIFIER).unwrap();
        assert!(!verifier_matches(&plain, VERIFIER), "that would be the method plain");
    }

    #[test]
    fn a_challenge_is_the_form_of_32_bytes() {
        assert_eq!(CodeChallenge::parse(CHALLENGE).unwrap().as_str(), CHALLENGE);
        for bad in [
            "",
            "short",
            CHALLENGE.trim_end_matches('M'),
            &format!("{CHALLENGE}="),
            &format!("{CHALLENGE}A"),
            &CHALLENGE.replace('-', "+"),
        ] {
            assert!(CodeChallenge::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        assert!(is_verifier(&"~".repeat(43)) && is_verifier(&"a".repeat(128)));
        for bad in ["a".repeat(42), "a".repeat(129), "ä".repeat(43), " ".repeat(43)] {
            assert!(!is_verifier(&bad), "{bad:?}");
        }
    }
}
