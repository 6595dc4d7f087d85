//! The claims of an ID token ([OpenID Connect Core section 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)), written by the issuer and checked by a client.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::claims::{ClaimFault, Members, Rounding};
use crate::ids::{ClientId, Issuer, Subject};
use crate::json;
use crate::jws::SigningAlg;
use crate::time::UnixSeconds;

/// The claims of an ID token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdTokenClaims {
    /// Who issued it.
    pub iss: Issuer,
    /// Who signed in.
    pub sub: Subject,
    /// The client it is for: always one, so `azp` is never needed.
    pub aud: ClientId,
    /// From this second on it is void.
    pub exp: UnixSeconds,
    /// When it was issued.
    pub iat: UnixSeconds,
    /// When the person signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<UnixSeconds>,
    /// The value of the authorization request, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// How well the person was authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By which methods ([RFC 8176](https://www.rfc-editor.org/rfc/rfc8176)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Half the hash of the access token beside it, see [`half_hash`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    /// The session at the issuer ([OpenID Connect Front-Channel Logout section 3](https://openid.net/specs/openid-connect-frontchannel-1_0.html#OPLogout)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// What else the person let the client know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a client demands of an ID token.
#[derive(Clone, Debug)]
pub struct IdTokenRules {
    /// The issuer it was sent to.
    pub issuer: Issuer,
    /// The client itself.
    pub client_id: ClientId,
    /// The nonce it sent, if it sent one.
    pub nonce: Option<String>,
    /// How far ahead `iat` may be, in seconds.
    pub clock_leeway: i64,
}

impl IdTokenClaims {
    /// Reads the payload of an ID token whose signature has been proven.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimFault> {
        let mut members = Members(json::parse_object(payload).map_err(|_| ClaimFault::Json)?);
        let fault = ClaimFault::Malformed("aud");
        let aud = match members.aud_texts()?.as_slice() {
            [one] => ClientId::parse(*one).map_err(|_| fault)?,
            _ => return Err(fault),
        };
        let text = |name| members.opt_text(name).map(|text| text.map(str::to_owned));
        let claims = Self {
            iss: members.id("iss", Issuer::parse)?,
            sub: members.id("sub", Subject::parse)?,
            aud,
            exp: members.time("exp", Rounding::Down)?.ok_or(ClaimFault::Missing("exp"))?,
            iat: members.time("iat", Rounding::Up)?.ok_or(ClaimFault::Missing("iat"))?,
            auth_time: members.time("auth_time", Rounding::Down)?,
            nonce: text("nonce")?,
            acr: text("acr")?,
            amr: amr(&members)?,
            at_hash: text("at_hash")?,
            sid: text("sid")?,
            other: Map::new(),
        };
        for name in [
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "acr",
            "amr",
            "at_hash",
            "sid",
        ] {
            members.0.remove(name);
        }
        Ok(Self { other: members.0, ..claims })
    }

    /// Holds the claims against `rules` ([OpenID Connect Core section 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)).
    pub fn check(&self, rules: &IdTokenRules, now: UnixSeconds) -> Result<(), ClaimFault> {
        if self.iss != rules.issuer {
            return Err(ClaimFault::Issuer);
        }
        if self.aud != rules.client_id {
            return Err(ClaimFault::Audience);
        }
        if now.has_reached(self.exp) {
            return Err(ClaimFault::Expired);
        }
        if self.iat > now.plus(rules.clock_leeway) {
            return Err(ClaimFault::NotYetValid);
        }
        if self.nonce != rules.nonce {
            return Err(ClaimFault::Malformed("nonce"));
        }
        Ok(())
    }
}

/// `at_hash` of an access token beside an ID token signed with `alg`: the left half of its digest, base64url
/// ([OpenID Connect Core section 3.1.3.6](https://openid.net/specs/openid-connect-core-1_0.html#CodeIDToken)). "the hash algorithm used is the
/// hash algorithm used in the alg Header Parameter": SHA-512 for Ed25519 ([RFC 8032 section 5.1](https://www.rfc-editor.org/rfc/rfc8032#section-5.1)), else SHA-256.
pub fn half_hash(alg: SigningAlg, access_token: &str) -> String {
    let digest = match alg {
        SigningAlg::EdDsa => Sha512::digest(access_token.as_bytes()).to_vec(),
        SigningAlg::Es256 | SigningAlg::Rs256 | SigningAlg::Ps256 => {
            Sha256::digest(access_token.as_bytes()).to_vec()
        }
    };
    let (left, _) = digest.split_at(digest.len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}

fn amr(members: &Members) -> Result<Vec<String>, ClaimFault> {
    let fault = ClaimFault::Malformed("amr");
    match members.0.get("amr") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or(fault),
        Some(_) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_the_left_half_of_the_digest() {
        // The example of OpenID Connect Core appendix A.3.
        assert_eq!(
            half_hash(SigningAlg::Rs256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }

    #[test]
    fn ed25519_brings_its_own_digest() {
        assert_eq!(half_hash(SigningAlg::EdDsa, "t").len(), 43, "32 bytes, half of SHA-512");
    }

    fn claims() -> IdTokenClaims {
        let text = r#"{"iss":"https://id.example","sub":"acct_1","aud":"web","exp":1300,"iat":1000,"nonce":"n","name":"Alice"}"#;
        IdTokenClaims::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_nonce_must_be_the_one_that_was_sent() {
        let rules = |nonce: Option<&str>| IdTokenRules {
            issuer: Issuer::parse("https://id.example").unwrap(),
            client_id: ClientId::parse("web").unwrap(),
            nonce: nonce.map(str::to_owned),
            clock_leeway: 10,
        };
        let now = UnixSeconds::new(1_100);
        assert_eq!(claims().check(&rules(Some("n")), now), Ok(()));
        assert_eq!(claims().check(&rules(Some("m")), now), Err(ClaimFault::Malformed("nonce")));
        assert_eq!(claims().check(&rules(None), now), Err(ClaimFault::Malformed("nonce")));
        assert_eq!(
            claims().check(&rules(Some("n")), UnixSeconds::new(1_300)),
            Err(ClaimFault::Expired)
        );
    }

    #[test]
    fn other_claims_are_kept() {
        assert_eq!(claims().other.get("name"), Some(&Value::from("Alice")));
        assert_eq!(
            IdTokenClaims::parse(&serde_json::to_vec(&claims()).unwrap()).unwrap(),
            claims()
        );
    }
}
