//! The claims of an access token ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)), and every check that is made on them.
//!
//! The signature is *not* checked here: call this only with a payload whose signature has been proven.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{Audience, ClientId, Issuer, JwtId, Subject};
use crate::json;
use crate::scope::Scope;
use crate::time::UnixSeconds;

/// The `typ` of an access token: "JWT access tokens MUST include this media type in the "typ" header parameter" (RFC 9068 section 2.1).
pub const TOKEN_TYP: &str = "at+jwt";

/// The largest magnitude of a `NumericDate` that a double holds exactly, 2^53 seconds.
const MAX_NUMERIC_DATE: i64 = 1 << 53;

/// One or more audiences, written as a string when there is one ([RFC 7519 section 4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
///
/// What we issue names resources; what we read may name anything: "each a case-sensitive string containing a `StringOrURI` value".
/// Keycloak, for one, writes `"account"` beside a URL. A name that is not ours is of no concern to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audiences(Vec<Box<str>>);

impl Audiences {
    /// The audiences in the given order; `None` when there is none, since a token for nobody in particular is a token for everybody.
    ///
    /// ```
    /// assert!(shared_types::Audiences::new(vec![]).is_none());
    /// ```
    pub fn new(audiences: Vec<Audience>) -> Option<Self> {
        (!audiences.is_empty()).then(|| {
            Self(audiences.into_iter().map(|audience| String::from(audience).into()).collect())
        })
    }

    /// Whether `audience` is among them, byte for byte.
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|name| name == audience)
    }

    /// The audiences in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl Serialize for Audiences {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessTokenClaims {
    /// Who issued it.
    pub iss: Issuer,
    /// For whom it acts: a person (`acct_…`) or the client itself.
    pub sub: Subject,
    /// Which resource servers it is for.
    pub aud: Audiences,
    /// The client it was given to.
    pub client_id: ClientId,
    /// What it allows; absent in tokens of other issuers that allow nothing in particular.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// From this second on it is void.
    pub exp: UnixSeconds,
    /// When it was issued.
    pub iat: UnixSeconds,
    /// Before this second it is not yet good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<UnixSeconds>,
    /// Its own identifier.
    pub jti: JwtId,
    /// When the person last signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<UnixSeconds>,
    /// How well the person was authenticated ([OpenID Connect Core section 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The key that the presenter has to prove ([RFC 7800](https://www.rfc-editor.org/rfc/rfc7800#section-3.1)). Present means: a bearer alone is not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Map<String, Value>>,
}

/// What a verifier demands of a token.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The issuer whose keys proved the signature.
    pub issuer: Issuer,
    /// The audience that the verifier answers to.
    pub audience: Audience,
    /// How far ahead `iat` and `nbf` may be, in seconds; at most 60. There is no leeway for `exp`.
    pub clock_leeway: i64,
}

/// Why the claims of a token are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// The payload is not a strict JSON object.
    #[error("the payload is not a strict JSON object")]
    Json,
    /// A claim that must be there is not.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has the wrong type or form.
    #[error("the claim {0} is malformed")]
    Malformed(&'static str),
    /// `iss` is not the issuer whose key signed.
    #[error("the token is of another issuer")]
    Issuer,
    /// `aud` does not name this verifier.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` has been reached.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is too far ahead.
    #[error("the token is not yet valid")]
    NotYetValid,
}

impl AccessTokenClaims {
    /// Reads the payload of a token whose signature has been proven.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimFault> {
        let members = Members(json::parse_object(payload).map_err(|_| ClaimFault::Json)?);
        Ok(Self {
            iss: members.id("iss", Issuer::parse)?,
            sub: members.id("sub", Subject::parse)?,
            aud: members.audiences()?,
            client_id: members.id("client_id", ClientId::parse)?,
            scope: Scope::parse(members.opt_text("scope")?.unwrap_or_default())
                .map_err(|_| ClaimFault::Malformed("scope"))?,
            exp: members.time("exp", Rounding::Down)?.ok_or(ClaimFault::Missing("exp"))?,
            iat: members.time("iat", Rounding::Up)?.ok_or(ClaimFault::Missing("iat"))?,
            nbf: members.time("nbf", Rounding::Up)?,
            jti: members.id("jti", JwtId::parse)?,
            auth_time: members.time("auth_time", Rounding::Down)?,
            acr: members.opt_text("acr")?.map(str::to_owned),
            cnf: members.opt_object("cnf")?,
        })
    }

    /// Holds the claims against `rules` at `now`, in the order of the fields: issuer, audience, expiry, then `nbf` and `iat`.
    pub fn check(&self, rules: &Rules, now: UnixSeconds) -> Result<(), ClaimFault> {
        if self.iss != rules.issuer {
            return Err(ClaimFault::Issuer);
        }
        if !self.aud.contains(rules.audience.as_str()) {
            return Err(ClaimFault::Audience);
        }
        self.check_times(rules.clock_leeway, now)
    }

    /// The part of [`check`](Self::check) that can change while a token lies in a cache.
    pub fn check_times(&self, clock_leeway: i64, now: UnixSeconds) -> Result<(), ClaimFault> {
        if now.has_reached(self.exp) {
            return Err(ClaimFault::Expired);
        }
        let latest = now.plus(clock_leeway);
        if self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest) {
            return Err(ClaimFault::NotYetValid);
        }
        Ok(())
    }
}

/// To which side a fractional time is rounded: always to the stricter one.
#[derive(Clone, Copy)]
pub(crate) enum Rounding {
    Down,
    Up,
}

/// The members of a payload, read one by one with their types.
pub(crate) struct Members(pub(crate) Map<String, Value>);

impl Members {
    pub(crate) fn opt_text(&self, name: &'static str) -> Result<Option<&str>, ClaimFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimFault::Malformed(name)),
        }
    }

    pub(crate) fn id<T, F>(
        &self,
        name: &'static str,
        parse: impl Fn(String) -> Result<T, F>,
    ) -> Result<T, ClaimFault> {
        let text = self.opt_text(name)?.ok_or(ClaimFault::Missing(name))?;
        parse(text.to_owned()).map_err(|_| ClaimFault::Malformed(name))
    }

    pub(crate) fn opt_object(
        &self,
        name: &'static str,
    ) -> Result<Option<Map<String, Value>>, ClaimFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members.clone())),
            Some(_) => Err(ClaimFault::Malformed(name)),
        }
    }

    /// The strings of `aud`, at least one.
    pub(crate) fn aud_texts(&self) -> Result<Vec<&str>, ClaimFault> {
        let fault = ClaimFault::Malformed("aud");
        let texts = match self.0.get("aud") {
            None => return Err(ClaimFault::Missing("aud")),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => {
                many.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or(fault.clone())?
            }
            Some(_) => return Err(fault),
        };
        if texts.is_empty() { Err(fault) } else { Ok(texts) }
    }

    fn audiences(&self) -> Result<Audiences, ClaimFault> {
        Ok(Audiences(self.aud_texts()?.into_iter().map(Into::into).collect()))
    }

    /// A `NumericDate`: an integer, or a finite number with a fraction, within 2^53 of the epoch. A string of digits is not a number:
    /// libraries that took `"exp":"…"` for absent let tokens live for ever.
    pub(crate) fn time(
        &self,
        name: &'static str,
        rounding: Rounding,
    ) -> Result<Option<UnixSeconds>, ClaimFault> {
        let fault = ClaimFault::Malformed(name);
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(_) => return Err(fault),
        };
        let seconds = match number.as_i64() {
            Some(whole) => whole,
            None => whole_seconds(number.as_f64().ok_or(fault.clone())?, rounding)
                .ok_or(fault.clone())?,
        };
        if !(0..=MAX_NUMERIC_DATE).contains(&seconds) {
            return Err(fault);
        }
        Ok(Some(UnixSeconds::new(seconds)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the value is checked to lie within 2^53, where both casts are exact"
)]
fn whole_seconds(number: f64, rounding: Rounding) -> Option<i64> {
    let rounded = match rounding {
        Rounding::Down => number.floor(),
        Rounding::Up => number.ceil(),
    };
    (rounded.is_finite() && rounded.abs() <= MAX_NUMERIC_DATE as f64).then_some(rounded as i64)
}

/// As strictly as [`AccessTokenClaims::parse`] reads `aud`, which no derive would be.
impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members =
            Members(Map::from_iter([("aud".to_owned(), Value::deserialize(deserializer)?)]));
        members.audiences().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload() -> Map<String, Value> {
        let value = json!({
            "iss": "https://id.example", "sub": "acct_1", "aud": "https://api.example", "client_id": "web",
            "scope": "a b", "exp": 1_300, "iat": 1_000, "jti": "j"
        });
        value.as_object().unwrap().clone()
    }

    fn with(name: &str, value: Value) -> Result<AccessTokenClaims, ClaimFault> {
        let mut members = payload();
        members.insert(name.into(), value);
        AccessTokenClaims::parse(&serde_json::to_vec(&members).unwrap())
    }

    fn rules() -> Rules {
        Rules {
            issuer: Issuer::parse("https://id.example").unwrap(),
            audience: Audience::parse("https://api.example").unwrap(),
            clock_leeway: 10,
        }
    }

    #[test]
    fn claims_survive_the_wire() {
        let claims = AccessTokenClaims::parse(&serde_json::to_vec(&payload()).unwrap()).unwrap();
        assert_eq!(
            AccessTokenClaims::parse(&serde_json::to_vec(&claims).unwrap()).unwrap(),
            claims
        );
        assert_eq!(claims.check(&rules(), UnixSeconds::new(1_100)), Ok(()));
    }

    #[test]
    fn every_required_claim_is_required() {
        for name in ["iss", "sub", "aud", "client_id", "exp", "iat", "jti"] {
            let mut members = payload();
            members.remove(name);
            let fault =
                AccessTokenClaims::parse(&serde_json::to_vec(&members).unwrap()).unwrap_err();
            assert_eq!(fault, ClaimFault::Missing(name));
        }
    }

    #[test]
    fn times_of_another_type_are_faults_not_absences() {
        for value in [
            json!("1300"),
            json!(true),
            json!([1300]),
            json!({}),
            json!(null),
            json!(-1),
            json!(1e300),
        ] {
            for name in ["exp", "iat", "nbf"] {
                assert_eq!(
                    with(name, value.clone()).unwrap_err(),
                    ClaimFault::Malformed(name),
                    "{value}"
                );
            }
        }
        assert_eq!(with("exp", json!(1300.9)).unwrap().exp, UnixSeconds::new(1_300));
        assert_eq!(with("nbf", json!(1000.1)).unwrap().nbf, Some(UnixSeconds::new(1_001)));
    }

    #[test]
    fn expiry_and_leeway_hold_to_the_second() {
        let claims = with("nbf", json!(1_050)).unwrap();
        let at = |now| claims.check(&rules(), UnixSeconds::new(now));
        assert_eq!(at(1_299), Ok(()));
        assert_eq!(at(1_300), Err(ClaimFault::Expired));
        assert_eq!(at(1_040), Ok(()));
        assert_eq!(at(1_039), Err(ClaimFault::NotYetValid));
        let early = with("iat", json!(1_111)).unwrap();
        assert_eq!(early.check(&rules(), UnixSeconds::new(1_100)), Err(ClaimFault::NotYetValid));
        assert_eq!(early.check(&rules(), UnixSeconds::new(1_101)), Ok(()));
    }

    #[test]
    fn issuer_and_audience_are_compared_byte_for_byte() {
        let now = UnixSeconds::new(1_100);
        let check = |name, value| with(name, value).unwrap().check(&rules(), now);
        assert_eq!(check("iss", json!("https://id.example/")), Err(ClaimFault::Issuer));
        assert_eq!(check("aud", json!("https://api.example/")), Err(ClaimFault::Audience));
        assert_eq!(check("aud", json!(["https://x.example", "https://api.example"])), Ok(()));
        for nobody in
            [json!([]), json!([1]), json!(["https://api.example", 1]), json!({}), json!(1)]
        {
            assert_eq!(with("aud", nobody).unwrap_err(), ClaimFault::Malformed("aud"));
        }
    }

    #[test]
    fn an_audience_may_stand_beside_names_that_are_no_uris() {
        let now = UnixSeconds::new(1_100);
        let mixed = json!(["account", "", "https://api.example"]);
        let claims = with("aud", mixed.clone()).unwrap();
        assert_eq!(claims.check(&rules(), now), Ok(()));
        assert_eq!(serde_json::to_value(&claims.aud).unwrap(), mixed, "written as it was read");
        for foreign in [json!("account"), json!(["account", "api.example"])] {
            let claims = with("aud", foreign).unwrap();
            assert_eq!(claims.check(&rules(), now), Err(ClaimFault::Audience));
        }
    }
}
